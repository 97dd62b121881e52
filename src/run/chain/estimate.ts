// Estimates the cost of each stage of a chain before it starts, from a timed training step and a timed evaluation of
// the network. Samples and evaluations during training, the classifier and file reads are not included.

import { checkArgument } from '../../arguments.ts';
import { type Device, deviceKind } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { evaluationsAStep } from '../../flow/index.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { evaluationsOfReport, samplesBytes } from '../report/measure.ts';
import { pairBytes } from '../sampling/generate_pairs.ts';
import { ASSUMED_NFE, checkpointBytes, probeEvaluation, probeStep } from '../training/plan.ts';
import { trainingState } from '../training/session.ts';
import { type ChainStage, chainStages, flowStages } from './stages.ts';

export interface StageEstimate {
  name: string;
  seconds: number;
  /** Peak bytes of device memory. */
  memory: number;
  /** Bytes on disk. */
  disk: number;
}

/** Estimates the chain's stages and its report. @throws DeviceError if not even a few samples fit into memory */
export async function estimateChain(config: Config, device: Device): Promise<StageEstimate[]> {
  requireConfig('estimateChain', config);
  checkArgument('estimateChain', 'device', device, deviceKind);
  await device.prepare(declaredModules());
  const { model, optimizer } = trainingState(config, device);
  try {
    const { batch_size: batch, accumulation } = config.training;
    const parameters = model.parameterCount();
    const step = probeStep({ model, optimizer, config, device }, batch / accumulation);
    const evaluation = probeEvaluation(model, config, device);
    const training = ({ name, config: own }: ChainStage): StageEstimate => ({
      name,
      seconds: step.secondsPerSample * batch * (own.training.n_iters + 1),
      memory: step.memory,
      disk: checkpointBytes(parameters, own, 0).disk,
    });
    const pairs = ({ name, config: own }: ChainStage): StageEstimate => ({
      name,
      seconds: evaluation.secondsPerSample * own.reflow.total_number_of_samples * nfeOf(own),
      memory: evaluation.memory,
      disk: pairBytes(own),
    });
    const stages = chainStages(config, '.').filter((stage) => stage.kind !== 'classifier');
    const flows = flowStages(stages).length;
    return [
      ...stages.map((stage) => (stage.kind === 'pairs' ? pairs(stage) : training(stage))),
      {
        name: 'report',
        seconds: evaluation.secondsPerSample * flows * evaluationsOfReport(config, ASSUMED_NFE),
        memory: evaluation.memory,
        disk: flows * samplesBytes(config),
      },
    ];
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}

function nfeOf({ sampling: { use_ode_sampler: solver, sample_N: steps } }: Config): number {
  return solver === 'rk45' ? ASSUMED_NFE : steps * evaluationsAStep(solver);
}
