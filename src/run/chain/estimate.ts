// Estimates the cost of each stage of a chain before it starts, from timed steps and evaluations of the network on
// batches of the real size. Reading files is not included.
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { type CompileProgress, type Device, deviceKind } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { probeClassifier } from '../eval/train_classifier.ts';
import { exactly, type TimeEstimate, times, total } from '../machine/timing.ts';
import { evaluationsOfReport, samplesBytes } from '../report/measure.ts';
import { pairBytes } from '../sampling/generate_pairs.ts';
import { checkpointBytes, evaluationsOfSample, evaluationsWhileTraining } from '../training/plan.ts';
import { probeEvaluation, stepMemory, stepTime } from '../training/probe.ts';
import { trainingState } from '../training/session.ts';
import { chainStages, type FlowStage, flowStages, type PairStage } from './stages.ts';

/** The needs of a stage, with the range that its time is expected in. */
export interface StageEstimate extends TimeEstimate {
  name: string;
  /** Peak bytes of device memory. */
  memory: number;
  /** Bytes on disk. */
  disk: number;
}

export interface EstimateOptions {
  /** Called while kernels are compiled. */
  onCompile?: (progress: CompileProgress) => void;
}

const optionKinds: OptionKinds<EstimateOptions> = { onCompile: kinds.callback };

/**
 * Estimates time (seconds), memory and disk (bytes) of a chain's stages and of its report, from a few timed steps on this machine.
 * @throws ConfigError as runChain; DeviceError if not even a few samples fit into memory
 * @example
 * const config = await loadConfig('digits', { model: { nf: 8 }, training: { batch_size: 16 } });
 * const stages = await estimateChain(config, await openDevice('cpu'));
 * stages.map(({ name }) => name).slice(0, 2); // ['classifier for scores', '1-rectified flow']
 * for (const { name, seconds } of stages) console.log(`${name}: about ${seconds} s`);
 */
export async function estimateChain(
  config: Config,
  device: Device,
  options: EstimateOptions = {},
): Promise<StageEstimate[]> {
  requireConfig('estimateChain', config);
  checkArgument('estimateChain', 'device', device, deviceKind);
  const { onCompile } = checkOptions('estimateChain', options, optionKinds);
  const stages = chainStages(config, '.');
  await device.prepare(declaredModules(), onCompile);
  const { model, optimizer } = trainingState(config, device);
  try {
    const { batch_size: batch, accumulation } = config.training;
    const parameters = model.parameterCount();
    const start = performance.now();
    const memory = stepMemory({ model, optimizer, config, device }, batch / accumulation);
    const step = stepTime({ model, optimizer, config, device }, memory);
    // Each stage that trains measures the same before its first step.
    const measuring = exactly((performance.now() - start) / 1000);
    const trained = probeEvaluation(model, config, device, batch);
    const reported = probeEvaluation(model, config, device, Math.min(config.eval.batch_size, config.eval.num_samples));
    const { feature_weight: weight, feature_network: classifier } = config.training;
    const domains =
      weight > 0 && classifier === '' ? [await probeClassifier(config, device, { reads: 'domains' })] : [];
    const training = ({ name, config: own, ...stage }: FlowStage): StageEstimate => ({
      name,
      ...total([
        measuring,
        // The first flow also trains the classifier that weighs the loss.
        ...(stage.source === 'data' ? domains : []),
        times(step, own.training.n_iters + 1),
        times(trained.perSample, evaluationsWhileTraining(own, 0)),
      ]),
      memory,
      disk: checkpointBytes(parameters, own, 0).disk,
    });
    const pairs = ({ name, config: own }: PairStage): StageEstimate => ({
      name,
      ...times(trained.perSample, own.reflow.total_number_of_samples * evaluationsOfSample(own)),
      memory: trained.memory,
      disk: pairBytes(own),
    });
    const flows = flowStages(stages).length;
    const estimated: StageEstimate[] = [];
    for (const stage of stages)
      if (stage.kind === 'classifier')
        estimated.push({ name: stage.name, ...(await probeClassifier(stage.config, device, stage)) });
      else estimated.push(stage.kind === 'pairs' ? pairs(stage) : training(stage));
    return [
      ...estimated,
      {
        name: 'report',
        ...times(reported.perSample, flows * evaluationsOfReport(config)),
        memory: reported.memory,
        disk: flows * samplesBytes(config),
      },
    ];
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}
