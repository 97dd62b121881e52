// Estimates what a training run needs, before it starts. Passes over one and over a few samples measure memory and time
// on the model; the disk space for checkpoints follows from their sizes.
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import { DeviceError, FileError } from '../../errors.ts';
import { networkVelocity, rectifiedFlowLoss } from '../../flow/index.ts';
import type { Optimizer } from '../../nn/optimizer.ts';
import type { UNet } from '../../nn/unet.ts';
import { ones, zeros } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { momentsPerParameter } from '../checkpoints/optimizer.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { describeDuration, deviceMemory, freeBytes, megabytes } from '../machine/resources.ts';

/** Samples in the pass that measures memory. */
const PROBED = 8;

/** Approximate seconds for which a timed call is repeated. */
const PROBE_SECONDS = 0.3;

/** Longest expected seconds of a batch that is timed. */
const LONGEST_PROBE = 4;

/** Assumed evaluations of an RK45 solve: the published CIFAR-10 flow takes 127 at tolerance 1e-5 (paper, table 1a). */
export const ASSUMED_NFE = 127;

export interface TrainingPlan {
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
  /** Estimated seconds of all remaining steps, without samples and evaluations. */
  seconds: number;
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
  const { memory, secondsPerSample } = probeStep(options, part);
  const totalMemory = deviceMemory(device);
  if (memory > totalMemory)
    throw new DeviceError(
      `${part} samples at once need ${megabytes(memory)}, the ${device.kind === 'cuda' ? 'card' : 'machine'} has ` +
        `${megabytes(totalMemory)}; raise ` +
        'training.accumulation, set model.activation_checkpointing, or lower training.batch_size',
    );
  const seconds = secondsPerSample * batch * (total - from);
  return { workdir, parameters, from, total, disk, freeDisk, memory, totalMemory, seconds };
}

interface Probed {
  model: UNet;
  optimizer: Optimizer;
  config: Config;
  device: Device;
}

/** Measures the bytes at the peak of a step with `part` samples at once, and the seconds per sample. */
export function probeStep(options: Probed, part: number): { memory: number; secondsPerSample: number } {
  const some = Math.min(part, PROBED);
  const one = probe(options, 1);
  const more = probe(options, some);
  const perSample = some > 1 ? Math.max(0, more.bytes - one.bytes) / (some - 1) : 0;
  const memory = one.bytes + (part - 1) * perSample;
  const most = memory > deviceMemory(options.device) ? some : part;
  return { memory, secondsPerSample: secondsPerSample(more.seconds, some, most, (n) => probe(options, n).seconds) };
}

/**
 * Seconds per sample in a large batch. A small network is slower per sample in small batches, above all on a loaded
 * machine, so larger batches are timed while they are faster, up to `most` samples or a few seconds.
 */
function secondsPerSample(seconds: number, samples: number, most: number, time: (samples: number) => number): number {
  let best = seconds / samples;
  for (let n = 4 * samples; samples < most && best * Math.min(n, most) < LONGEST_PROBE; n *= 4) {
    const now = time(Math.min(n, most)) / Math.min(n, most);
    if (now > 0.8 * best || n >= most) return Math.min(best, now);
    best = now;
  }
  return best;
}

/** Peak bytes and seconds of a forward and backward pass. It leaves the gradients zero. */
function probe(options: Probed, n: number) {
  const { model, optimizer, config, device } = options;
  const pass = () =>
    scope(() => {
      const x = zeros([n, ...imageShape(config)], { device });
      rectifiedFlowLoss(networkVelocity(model), x, { seed: 0 }).backward();
    });
  model.train();
  pass();
  device.resetHighWater();
  const seconds = fastest(pass);
  const bytes = device.memory().highWater;
  optimizer.arena.zeroGradients();
  device.resetHighWater();
  return { bytes, seconds };
}

/** Measures memory and seconds per sample of forward passes. */
export function probeEvaluation(
  model: UNet,
  config: Config,
  device: Device,
): { secondsPerSample: number; memory: number } {
  const velocity = networkVelocity(model.eval());
  const pass = (n: number) =>
    scope(() =>
      noGrad(() => velocity(zeros([n, ...imageShape(config)], { device }), ones([n], { device })).dataSync()),
    );
  const measure = (n: number) => {
    pass(n);
    device.resetHighWater();
    return { n, seconds: fastest(() => pass(n)), memory: device.memory().highWater };
  };
  const few = measure(Math.min(PROBED, config.eval.batch_size));
  const most = Math.min(64, config.eval.batch_size);
  return {
    secondsPerSample: secondsPerSample(few.seconds, few.n, most, (n) => measure(n).seconds),
    memory: few.memory,
  };
}

/** Seconds of the fastest of a few calls, since other load on the machine only makes calls slower. */
function fastest(work: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  const begin = performance.now();
  for (let calls = 0; calls < 5 && (calls === 0 || performance.now() - begin < 1000 * PROBE_SECONDS); calls++) {
    const start = performance.now();
    work();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
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
};

/** Formats a plan in one line. */
export function describePlan(plan: TrainingPlan): string {
  const { parameters, from, total, disk, freeDisk, memory, totalMemory, seconds } = checkOptions(
    'describePlan',
    plan,
    planKinds,
    Object.keys(planKinds) as (keyof TrainingPlan)[],
  );
  const short = disk > freeDisk ? ' (not enough for all of them)' : '';
  return (
    `${(parameters / 1e6).toFixed(2)} M parameters; steps ${from} to ${total}, about ${describeDuration(seconds)}; ` +
    `memory ${megabytes(memory)} of ${megabytes(totalMemory)}; ` +
    `checkpoints ${megabytes(disk)} of ${megabytes(freeDisk)} free disk${short}`
  );
}
