// Runs one workload on our engine and on any number of opponents.
import type { Config } from '../../src/run/config/index.ts';
import { GAP_MILLISECONDS, SETTLING_SECONDS, type Side, type TurnOptions, takeTurns } from './turns.ts';
import type { Worker } from './worker.ts';

export interface Workers {
  engine: Worker;
  torch: Worker;
  /** Absent if the other opponents could not be installed. */
  others?: Worker;
}

export type Layout = 'contiguous' | 'channels_last';

export interface Opponent {
  worker: 'torch' | 'others';
  /** Options in addition to the workload's. */
  options: object;
}

export interface Comparison {
  name: string;
  /** The kind of the workload and its options, sent to every side. */
  workload: { kind: 'train' | 'sample' | 'layer' | 'optimizer' | 'text'; config?: Config; batch?: number } & Record<
    string,
    unknown
  >;
  opponents: Record<string, Opponent>;
  /** Floating-point operations of a call, counted as direct convolutions and plain products; 0 if only time matters. */
  flops: number;
  turns: TurnOptions;
}

/** The name of our samples. */
export const OURS = 'rectiflow';

/** PyTorch in both memory layouts, and in bf16 if `autocast`. */
export function torchSides(layouts: readonly Layout[], autocast?: boolean): Record<string, Opponent> {
  const precision = { true: 'bf16 ', false: 'fp32 ' }[String(autocast)] ?? '';
  return Object.fromEntries(
    layouts.map((layout) => [
      `pytorch ${precision}${layout}`,
      { worker: 'torch', options: autocast === undefined ? { layout } : { layout, autocast } },
    ]),
  );
}

/** @returns the seconds of every counted call, by side */
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

/** The share of the peak that PyTorch is expected to reach; used only for the time estimate. */
const EXPECTED_SHARE = 0.5;
/** Our expected time relative to an opponent's; used only for the time estimate. */
const EXPECTED_TIME = 0.5;
/** Minimum seconds to set up a workload. */
const OPENING = 0.02;

/** Estimates how long a comparison takes. @param peak floating-point operations per second */
export function expectedSeconds({ opponents, flops, turns, workload }: Comparison, peak: number): number {
  const { rounds, warmup, calls = 1 } = turns;
  const sides = EXPECTED_TIME + Object.keys(opponents).length;
  const run = rounds * (calls > 1 ? calls + 1 : 1) + warmup;
  const steps = workload.kind === 'sample' ? Number(workload.steps) : 1;
  const idle = (rounds + 1) * (GAP_MILLISECONDS / 1e3) + (calls > 1 ? rounds * SETTLING_SECONDS : 0);
  const waits = (1 + Object.keys(opponents).length) * (OPENING + idle);
  return (sides * run * steps * flops) / (EXPECTED_SHARE * peak) + waits;
}
