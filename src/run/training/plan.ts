// What a training run will take, asked before it starts: passes of one and of a few samples measure memory and time on the
// model itself; the disk is asked for what checkpoints need.
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import { DeviceError, FileError } from '../../errors.ts';
import { networkVelocity, rectifiedFlowLoss } from '../../flow/index.ts';
import type { Adam } from '../../nn/adam.ts';
import type { UNet } from '../../nn/unet.ts';
import { ones, zeros } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import type { Config } from '../config/schema.ts';
import { imageShape } from '../config/schema.ts';
import { describeDuration, freeBytes, machineMemory, megabytes } from '../machine/resources.ts';

/** Samples of the pass that memory is measured by. */
const PROBED = 8;

/** About how long calls are repeated to be timed. */
const PROBE_SECONDS = 0.3;

/** How long a batch is likely to take at most, to be timed. */
const LONGEST_PROBE = 4;

/** Evaluations that RK45 is taken to need: the published CIFAR-10 flow takes 127 at tolerance 1e-5 (paper, table 1a). */
export const ASSUMED_NFE = 127;

export interface TrainingPlan {
  /** Where the run writes. */
  workdir: string;
  parameters: number;
  /** First step and the one to stop before. */
  from: number;
  total: number;
  /** Bytes that snapshots and states still to be written take, and what is free. */
  disk: number;
  freeDisk: number;
  /** Bytes of weights, optimiser, activations and gradients at the peak of a step, and what the machine has. */
  memory: number;
  totalMemory: number;
  /** Time of all steps left, without pictures and evaluations. */
  seconds: number;
}

/**
 * For a run that has steps left.
 * @throws FileError when not even the next checkpoint fits, DeviceError when a step cannot fit the memory
 */
export async function planTraining(options: Probed & { workdir: string; from: number }): Promise<TrainingPlan> {
  const { model, config, workdir, from } = options;
  const { n_iters: last, batch_size: batch, accumulation } = config.training;
  const total = last + 1;
  const parameters = model.parameterCount();
  const { states, snapshot, disk } = checkpointBytes(parameters, config, from);
  const freeDisk = await freeBytes(workdir);
  if (freeDisk < states + snapshot)
    throw new FileError(
      workdir,
      `has ${megabytes(freeDisk)} free; the next checkpoints alone need ${megabytes(states + snapshot)}. ` +
        'Free some space or give another --workdir',
    );
  const part = batch / accumulation;
  const { memory, secondsPerSample } = probeStep(options, part);
  const totalMemory = machineMemory();
  if (memory > totalMemory)
    throw new DeviceError(
      `${part} samples at once need ${megabytes(memory)}, the machine has ${megabytes(totalMemory)}; raise ` +
        'training.accumulation, set model.activation_checkpointing, or lower training.batch_size',
    );
  const seconds = secondsPerSample * batch * (total - from);
  return { workdir, parameters, from, total, disk, freeDisk, memory, totalMemory, seconds };
}

interface Probed {
  model: UNet;
  optimizer: Adam;
  config: Config;
  device: Device;
}

/** Bytes in use at the peak of a step of `part` samples at once, and the seconds that a sample takes. */
export function probeStep(options: Probed, part: number): { memory: number; secondsPerSample: number } {
  const some = Math.min(part, PROBED);
  const one = probe(options, 1);
  const more = probe(options, some);
  const perSample = some > 1 ? Math.max(0, more.bytes - one.bytes) / (some - 1) : 0;
  const memory = one.bytes + (part - 1) * perSample;
  const most = memory > machineMemory() ? some : part;
  return { memory, secondsPerSample: secondsPerSample(more.seconds, some, most, (n) => probe(options, n).seconds) };
}

/**
 * Samples of a small network take longer a few at a time than in a large batch, above all on a busy machine: larger and larger batches are
 * timed while that pays, up to `most` samples or a few seconds.
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

/** Peak bytes in use and seconds of a forward and backward pass; leaves no gradient. */
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

/** Forward passes of a few samples, and of up to as many as are evaluated at once. */
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

/** Seconds of the fastest of some calls: others on the machine can only slow them down. */
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

/** Of one snapshot, of the states that are there at once, and of all that a run from step `from` leaves. */
export function checkpointBytes(parameters: number, { training }: Config, from: number) {
  const { n_iters: last, snapshot_freq: every } = training;
  const snapshot = 2 * 4 * parameters;
  // Two states stay while a third is written; each has the moments too.
  const states = 3 * 2 * snapshot;
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

/** One line for people. */
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
