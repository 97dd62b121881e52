// Estimates what a training run needs, before it starts. Memory and time are measured on the model (probe.ts); the disk
// space for checkpoints follows from their sizes.
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { DeviceError, FileError } from '../../errors.ts';
import { evaluationsAStep } from '../../flow/index.ts';
import { momentsPerParameter } from '../checkpoints/optimizer.ts';
import type { Config } from '../config/types.ts';
import { deviceMemory, freeBytes, megabytes } from '../machine/resources.ts';
import { describeEstimate, type TimeEstimate, times } from '../machine/timing.ts';
import { diagnosticEvaluations } from './diagnostics.ts';
import { EVALUATED_BATCHES } from './evaluation.ts';
import { type Probed, stepMemory, stepTime } from './probe.ts';

/**
 * Assumed evaluations of an RK45 solve: the published CIFAR-10 flow takes 127 at tolerance 1e-5 (paper, table 1a), and
 * the number of steps of a method of order 5 grows as tolerance^(-1/5).
 */
export function assumedNfe(tolerance: number): number {
  return Math.max(7, Math.round(127 * (tolerance / 1e-5) ** -0.2));
}

/** A forward pass takes about a third of a forward and backward pass. */
const FORWARD_SHARE = 1 / 3;

/** The needs of a run. Its time is that of all remaining steps, with their evaluations and samples. */
export interface TrainingPlan extends TimeEstimate {
  /** Folder of the run. */
  workdir: string;
  parameters: number;
  /** First step, and the step at which the run ends, exclusive. */
  from: number;
  total: number;
  /** Bytes of the snapshots and states still to be written, and free bytes. */
  disk: number;
  freeDisk: number;
  /** Bytes of weights, optimiser, activations and gradients at the peak of a step, and the memory of the machine or the card. */
  memory: number;
  totalMemory: number;
}

/**
 * Plans a run that has steps left.
 * @throws FileError if the disk has no room for the next checkpoint, DeviceError if a step does not fit into memory
 */
export async function planTraining(options: Probed & { workdir: string; from: number }): Promise<TrainingPlan> {
  const { model, config, device, workdir, from } = options;
  const { n_iters: last, batch_size: batch, accumulation } = config.training;
  const total = last + 1;
  const parameters = model.parameterCount();
  const { states, snapshot, disk } = checkpointBytes(parameters, config, from);
  const freeDisk = await freeBytes(workdir);
  if (freeDisk < states + snapshot)
    throw new FileError(
      workdir,
      `has ${megabytes(freeDisk)} free, but the next checkpoints alone need ${megabytes(states + snapshot)}; ` +
        'free some space or give another --workdir',
    );
  const part = batch / accumulation;
  const memory = stepMemory(options, part);
  const totalMemory = deviceMemory(device);
  if (memory > totalMemory)
    throw new DeviceError(
      `${part} samples at once need ${megabytes(memory)}, the ${device.kind === 'cuda' ? 'card' : 'machine'} has ` +
        `${megabytes(totalMemory)}; raise ` +
        'training.accumulation, set model.activation_checkpointing, or lower training.batch_size',
    );
  const step = stepTime(options, memory);
  const evaluations = (FORWARD_SHARE * evaluationsWhileTraining(config, from)) / batch;
  const time = times(step, total - from + evaluations);
  return { workdir, parameters, from, total, disk, freeDisk, memory, totalMemory, ...time };
}

/**
 * Evaluations of the network on one sample that evaluations and snapshots of a run take, from step `from` to the end.
 */
export function evaluationsWhileTraining(config: Config, from: number): number {
  const { n_iters: last, batch_size: batch, eval_freq, snapshot_freq, snapshot_sampling: sampled } = config.training;
  const pictures = multiples(snapshot_freq, Math.max(1, from), last) + (last % snapshot_freq === 0 && last > 0 ? 0 : 1);
  const evaluations = multiples(eval_freq, from, last) + (sampled ? pictures : 0);
  return (
    evaluations * (EVALUATED_BATCHES * batch + diagnosticEvaluations(config)) +
    (sampled ? pictures * batch * evaluationsOfSample(config) : 0)
  );
}

/** Number of multiples of `every` from `first` to `last`. */
function multiples(every: number, first: number, last: number): number {
  return Math.floor(last / every) - Math.ceil(first / every) + 1;
}

/** Evaluations of the network for one sample with the configuration's sampler. */
export function evaluationsOfSample({ model, sampling }: Config): number {
  const { use_ode_sampler: solver, sample_N: steps, ode_tol: tolerance, guidance } = sampling;
  const each = model.name === 'unet2d_condition' && guidance > 1 ? 2 : 1;
  return each * (solver === 'rk45' ? assumedNfe(tolerance) : steps * evaluationsAStep(solver));
}

/** Bytes of one snapshot, of the states that exist at one time, and of all checkpoints of a run from step `from`. */
export function checkpointBytes(parameters: number, config: Config, from: number) {
  const { n_iters: last, snapshot_freq: every } = config.training;
  const snapshot = 2 * 4 * parameters;
  // Two states remain while a third is written. Each also holds the moments.
  const states = 3 * (snapshot + 4 * parameters * momentsPerParameter(config));
  const snapshots = Math.floor(last / every) - Math.floor(from / every) + 1;
  return { snapshot, states, disk: states + snapshots * snapshot };
}

const planKinds: OptionKinds<TrainingPlan> = {
  workdir: kinds.text,
  parameters: kinds.number,
  from: kinds.number,
  total: kinds.number,
  disk: kinds.number,
  freeDisk: kinds.number,
  memory: kinds.number,
  totalMemory: kinds.number,
  seconds: kinds.number,
  low: kinds.number,
  high: kinds.number,
};

/** Formats a plan in one line. */
export function describePlan(plan: TrainingPlan): string {
  const { parameters, from, total, disk, freeDisk, memory, totalMemory, ...time } = checkOptions(
    'describePlan',
    plan,
    planKinds,
    Object.keys(planKinds) as (keyof TrainingPlan)[],
  );
  const short = disk > freeDisk ? ' (not enough for all of them)' : '';
  return (
    `${(parameters / 1e6).toFixed(2)} M parameters; steps ${from} to ${total}, about ${describeEstimate(time)}; ` +
    `memory ${megabytes(memory)} of ${megabytes(totalMemory)}; ` +
    `checkpoints ${megabytes(disk)} of ${megabytes(freeDisk)} free disk${short}`
  );
}
