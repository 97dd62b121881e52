// What a chain will take, stage by stage, before it is begun: a training step and an evaluation of the network are timed on
// this machine and multiplied. Pictures on the way, evaluations on held-out data, a classifier and reading files are not in it.

import { checkArgument } from '../../arguments.ts';
import { type Device, deviceKind } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { evaluationsAStep } from '../../flow/index.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/schema.ts';
import { evaluationsOfReport, samplesBytes } from '../report/measure.ts';
import { pairBytes } from '../sampling/generate_pairs.ts';
import { ASSUMED_NFE, checkpointBytes, probeEvaluation, probeStep } from '../training/plan.ts';
import { trainingState } from '../training/session.ts';
import { type ChainStage, chainStages, flowStages } from './stages.ts';

export interface StageEstimate {
  name: string;
  seconds: number;
  /** Bytes of device memory at the peak. */
  memory: number;
  /** Bytes on the disk. */
  disk: number;
}

/** The chain's stages and its report. @throws DeviceError when not even a few samples fit the memory */
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
