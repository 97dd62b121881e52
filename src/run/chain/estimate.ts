// What a chain will take, stage by stage, before it is begun: a training step and an evaluation of the network are timed on
// this machine and multiplied. Pictures on the way, evaluations on held-out data, a classifier and reading files are not in it.

import { checkArgument } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { type Device, deviceKind } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { evaluationsAStep, networkVelocity } from '../../flow/index.ts';
import type { UNet } from '../../nn/unet.ts';
import { ones, zeros } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/schema.ts';
import { pairBytes } from '../pairs.ts';
import { checkpointBytes, fastest, PROBED, probeStep } from '../plan.ts';
import { evaluationsOfReport, samplesBytes } from '../report/measure.ts';
import { trainingState } from '../session.ts';
import { type ChainStage, chainStages, flowStages } from './stages.ts';

/** Evaluations that RK45 is taken to need: the published CIFAR-10 flow takes 127 at tolerance 1e-5 (paper, table 1a). */
export const ASSUMED_NFE = 127;

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

/** A forward pass of a few samples, and of as many as are evaluated at once where that takes no longer than a moment. */
function probeEvaluation(model: UNet, { data, eval: { batch_size } }: Config, device: Device) {
  const velocity = networkVelocity(model.eval());
  const pass = (n: number) =>
    scope(() =>
      noGrad(() =>
        velocity(
          zeros([n, data.image_size, data.image_size, data.num_channels], { device }),
          ones([n], { device }),
        ).dataSync(),
      ),
    );
  const measure = (n: number) => {
    pass(n);
    device.resetHighWater();
    return { n, seconds: fastest(() => pass(n)), memory: device.memory().highWater };
  };
  const few = measure(Math.min(PROBED, batch_size));
  const { n, seconds, memory } = 8 * few.seconds < 1 && batch_size > few.n ? measure(Math.min(64, batch_size)) : few;
  return { secondsPerSample: seconds / n, memory };
}
