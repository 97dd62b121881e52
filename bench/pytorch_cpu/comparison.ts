// One workload, done by our engine and by any number of opponents.
import type { Config } from '../../src/run/config/index.ts';
import { GAP_MILLISECONDS, SETTLING_SECONDS, type Side, type TurnOptions, takeTurns } from './turns.ts';
import type { Worker } from './worker.ts';

export interface Workers {
  engine: Worker;
  torch: Worker;
  /** Absent where the other opponents could not be installed. */
  others?: Worker;
}

export type Layout = 'contiguous' | 'channels_last';

export interface Opponent {
  worker: 'torch' | 'others';
  /** What it is told beyond the workload. */
  options: object;
}

export interface Comparison {
  name: string;
  /** What every side is told: its kind, and that kind's options. */
  workload: { kind: 'train' | 'sample' | 'layer' | 'optimizer'; config?: Config; batch?: number } & Record<
    string,
    unknown
  >;
  opponents: Record<string, Opponent>;
  /** Floating-point operations of a call, counted as direct convolutions and plain products; 0 where time is all that counts. */
  flops: number;
  turns: TurnOptions;
}

/** What our samples are called. */
export const OURS = 'rectiflow';

/** PyTorch in each of the layouts, and in bf16 where `autocast`. */
export function torchSides(layouts: readonly Layout[], autocast?: boolean): Record<string, Opponent> {
  const precision = { true: 'bf16 ', false: 'fp32 ' }[String(autocast)] ?? '';
  return Object.fromEntries(
    layouts.map((layout) => [
      `pytorch ${precision}${layout}`,
      { worker: 'torch', options: autocast === undefined ? { layout } : { layout, autocast } },
    ]),
  );
}

/** @returns seconds of every counted call, by side */
export function compare(
  { workload, opponents, turns }: Comparison,
  workers: Workers,
): Promise<Record<string, number[]>> {
  const sides: Side[] = [{ name: OURS, worker: workers.engine, workload }];
  for (const [name, { worker, options }] of Object.entries(opponents)) {
    const opponent = workers[worker];
    if (opponent) sides.push({ name, worker: opponent, workload: { ...workload, ...options } });
  }
  return takeTurns(sides, turns);
}

/** Of the measured peak, what PyTorch is expected to reach: only for the estimate. */
const EXPECTED_SHARE = 0.5;
/** Of the time of an opponent, what we are expected to take. */
const EXPECTED_TIME = 0.5;
/** Seconds to make a workload, at least. */
const OPENING = 0.02;

/** Roughly how long a comparison takes. @param peak floating-point operations a second */
export function expectedSeconds({ opponents, flops, turns, workload }: Comparison, peak: number): number {
  const { rounds, warmup, calls = 1 } = turns;
  const sides = EXPECTED_TIME + Object.keys(opponents).length;
  const run = rounds * (calls > 1 ? calls + 1 : 1) + warmup;
  const steps = workload.kind === 'sample' ? Number(workload.steps) : 1;
  const idle = (rounds + 1) * (GAP_MILLISECONDS / 1e3) + (calls > 1 ? rounds * SETTLING_SECONDS : 0);
  const waits = (1 + Object.keys(opponents).length) * (OPENING + idle);
  return (sides * run * steps * flops) / (EXPECTED_SHARE * peak) + waits;
}
