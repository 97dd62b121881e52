// Learning rates as functions of the step, which every optimiser takes as its learningRate. Each may begin with a
// warm-up, over which the rate rises linearly from 0:
//   rate(s) = peak s / warmup for s < warmup; from there on the schedule of s - warmup
import { checkArguments, checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { ValueError } from '../errors.ts';

/** The learning rate of the update after `step` updates, from 0. */
export type Schedule = (step: number) => number;

export interface WarmupOptions {
  /** Steps over which the rate rises linearly from 0; default 0, none. */
  warmup?: number;
}

/** Options of schedules that end. */
export interface DecayOptions extends WarmupOptions {
  /** Number of steps until the end, the warm-up included. From then on the rate is `end`. */
  steps: number;
  /** Last rate; default 0. */
  end?: number;
}

export interface StepOptions extends WarmupOptions {
  /** Steps between two changes of the rate. */
  every: number;
  /** Factor of each change; default 0.1. */
  factor?: number;
}

const warmupKinds: OptionKinds<WarmupOptions> = { warmup: kinds.whole };
const decayKinds: OptionKinds<DecayOptions> = { ...warmupKinds, steps: kinds.count, end: kinds.notNegative };
const stepKinds: OptionKinds<StepOptions> = { ...warmupKinds, every: kinds.count, factor: kinds.notNegative };

/** `after(s - warmup)`, behind a linear rise from 0 to its first value. */
function warmed(rate: number, warmup: number, after: Schedule): Schedule {
  return (step) => (step < warmup ? (rate * step) / warmup : after(step - warmup));
}

/** A decay from `rate` to `end`. @param shape the remaining share of the way, from 1 to 0, by the share of time */
function decay(op: string, rate: number, options: DecayOptions, shape: (time: number) => number): Schedule {
  checkArguments(op, { rate: [rate, kinds.notNegative] });
  const { steps, warmup = 0, end = 0 } = checkOptions(op, options, decayKinds, ['steps']);
  if (warmup >= steps) throw new ValueError(`[${op}] expected a warm-up shorter than ${steps} steps, got ${warmup}`);
  return warmed(rate, warmup, (step) => end + (rate - end) * shape(Math.min(step / (steps - warmup), 1)));
}

/**
 * Always the same rate, after the warm-up.
 * @returns the rate by the number of updates made so far
 * @example
 * const rate = constantSchedule(0.1, { warmup: 100 });
 * [0, 50, 100, 5000].map(rate); // [0, 0.05, 0.1, 0.1]
 * const optimizer = new SGD(new Linear(2, 1), { learningRate: rate });
 */
export function constantSchedule(rate: number, options: WarmupOptions = {}): Schedule {
  checkArguments('constantSchedule', { rate: [rate, kinds.notNegative] });
  const { warmup = 0 } = checkOptions('constantSchedule', options, warmupKinds);
  return warmed(rate, warmup, () => rate);
}

/**
 * Falls linearly to `end`, as torch.optim.lr_scheduler.LinearLR.
 * @returns the rate by the number of updates made so far
 * @throws ValueError for a warm-up that is not shorter than `steps`
 * @example
 * const rate = linearSchedule(0.1, { steps: 1000, warmup: 100 });
 * [0, 100, 550, 1000].map(rate); // [0, 0.1, 0.05, 0]
 * const optimizer = new AdamW(new Linear(2, 1), { learningRate: rate });
 */
export function linearSchedule(rate: number, options: DecayOptions): Schedule {
  return decay('linearSchedule', rate, options, (time) => 1 - time);
}

/**
 * Falls to `end` along half a period of a cosine, as torch.optim.lr_scheduler.CosineAnnealingLR (Loshchilov, Hutter
 * 2017).
 * @returns the rate by the number of updates made so far
 * @throws ValueError for a warm-up that is not shorter than `steps`
 * @example
 * const rate = cosineSchedule(0.1, { steps: 1000, end: 0.01 });
 * [0, 500, 1000].map(rate); // [0.1, 0.055, 0.01]
 * const optimizer = new AdamW(new Linear(2, 1), { learningRate: rate });
 */
export function cosineSchedule(rate: number, options: DecayOptions): Schedule {
  return decay('cosineSchedule', rate, options, (time) => (1 + Math.cos(Math.PI * time)) / 2);
}

/**
 * Multiplies the rate by `factor` after every `every` steps, as torch.optim.lr_scheduler.StepLR.
 * @returns the rate by the number of updates made so far
 * @example
 * const rate = stepSchedule(0.1, { every: 3000 });
 * [0, 3000, 6000].map(rate); // [0.1, 0.01, 0.001]
 * const optimizer = new SGD(new Linear(2, 1), { learningRate: rate });
 */
export function stepSchedule(rate: number, options: StepOptions): Schedule {
  checkArguments('stepSchedule', { rate: [rate, kinds.notNegative] });
  const { every, factor = 0.1, warmup = 0 } = checkOptions('stepSchedule', options, stepKinds, ['every']);
  return warmed(rate, warmup, (step) => rate * factor ** Math.floor(step / every));
}
