// Estimates of time from measurements: a few warm calls of real work give a median and a range, which scale with the
// amount of work.
import { checkArguments, kinds } from '../../arguments.ts';
import { describeDuration } from './resources.ts';

/** An estimated time in seconds, with the range that it is expected in. */
export interface TimeEstimate {
  seconds: number;
  low: number;
  high: number;
}

/** Seconds over which calls are repeated, and the least number of them. */
const MEASURED_SECONDS = 0.4;
const LEAST_CALLS = 3;

/**
 * The speed of a machine changes more in minutes than within one measurement: other programs, the clock of the
 * processor. The range of an estimate is therefore at least 0.8 to 1.3 times its middle.
 */
const LEAST_RANGE = [0.8, 1.3];

/** Longest expected seconds of one timed batch. A larger batch is timed by a part of it. */
const LONGEST_BATCH = 4;

/** Samples in the first, rough measurement. */
const FIRST_SAMPLES = 8;

/** Work on a number of samples, prepared so that `run` is warm: compiled, allocated, recorded. */
export interface TimedWork extends Disposable {
  run(): void;
}

/**
 * Time of one call of `run`, which must be warm, from calls that take a few tenths of a second together: their mean, which counts what
 * happens in some of them only, with their quartiles. If there are three calls, it is their median, which one slow call does not move, and their range.
 */
export function timeCalls(run: () => void): TimeEstimate {
  const times: number[] = [];
  const begin = performance.now();
  while (isTooShort(times, begin)) times.push(secondsOf(run));
  return estimateOf(times);
}

/** The same for calls that are asynchronous. */
export async function timeAsyncCalls(run: () => Promise<unknown>): Promise<TimeEstimate> {
  const times: number[] = [];
  const begin = performance.now();
  while (isTooShort(times, begin)) {
    const start = performance.now();
    await run();
    times.push((performance.now() - start) / 1000);
  }
  return estimateOf(times);
}

const isTooShort = (times: readonly number[], begin: number) =>
  times.length < LEAST_CALLS || performance.now() - begin < 1000 * MEASURED_SECONDS;

function estimateOf(times: number[]): TimeEstimate {
  times.sort((a, b) => a - b);
  const quarter = Math.floor(times.length / 4);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const seconds = times.length > LEAST_CALLS ? mean : times[1];
  return widen({ seconds, low: times[quarter], high: times[times.length - 1 - quarter] });
}

/**
 * Seconds of one batch of `size` samples. A batch that would take longer than a few seconds is timed by a part of it.
 * @param prepare gives the work on n samples
 */
export function timeBatch(size: number, prepare: (samples: number) => TimedWork): TimeEstimate {
  let samples = Math.min(size, FIRST_SAMPLES);
  if (samples < size) {
    using work = prepare(samples);
    // The faster of two, because the first may still be cold.
    const rough = Math.min(secondsOf(work.run), secondsOf(work.run)) / samples;
    samples = Math.max(samples, Math.min(size, Math.floor(LONGEST_BATCH / rough)));
  }
  using work = prepare(samples);
  return times(timeCalls(work.run), size / samples);
}

function secondsOf(run: () => void): number {
  const start = performance.now();
  run();
  return (performance.now() - start) / 1000;
}

function widen({ seconds, low, high }: TimeEstimate): TimeEstimate {
  return {
    seconds,
    low: Math.min(low, LEAST_RANGE[0] * seconds),
    high: Math.max(high, LEAST_RANGE[1] * seconds),
  };
}

/** An estimate that is a measurement of the very work. */
export function exactly(seconds: number): TimeEstimate {
  return { seconds, low: seconds, high: seconds };
}

/** The time of `count` times the work. */
export function times({ seconds, low, high }: TimeEstimate, count: number): TimeEstimate {
  return { seconds: seconds * count, low: low * count, high: high * count };
}

/** The time of one piece of work after another. */
export function total(estimates: readonly TimeEstimate[]): TimeEstimate {
  const sum = (part: keyof TimeEstimate) => estimates.reduce((all, estimate) => all + estimate[part], 0);
  return { seconds: sum('seconds'), low: sum('low'), high: sum('high') };
}

/** "62 s (50 to 80 s)", "2 min (90 s to 3 min)". */
export function describeEstimate({ seconds, low, high }: TimeEstimate): string {
  checkArguments('describeEstimate', {
    seconds: [seconds, kinds.number],
    low: [low, kinds.number],
    high: [high, kinds.number],
  });
  const [middle, ends] = [describeDuration(seconds), describeRange({ low, high })];
  return ends === middle ? middle : `${middle} (${ends})`;
}

/** "50 to 80 s", "90 s to 3 min". */
export function describeRange({ low, high }: Pick<TimeEstimate, 'low' | 'high'>): string {
  const [least, most] = [describeDuration(low), describeDuration(high)];
  if (least === most) return most;
  const [number, unit] = least.split(' ');
  return most.endsWith(` ${unit}`) ? `${number} to ${most}` : `${least} to ${most}`;
}
