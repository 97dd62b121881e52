// Times several sides of one workload in turns: A B C A B C ... A machine that is slow for a while affects all of them.
import { setTimeout } from 'node:timers/promises';
import type { Worker } from './worker.ts';

export interface Side {
  /** The name of the samples. */
  name: string;
  worker: Worker;
  /** The request that sets up the workload. */
  workload: object;
}

export interface TurnOptions {
  /** The number of turns of each side. */
  rounds: number;
  /** Warm-up calls before the first round. */
  warmup: number;
  /** Counted calls per turn; a turn of several starts with uncounted ones, see SETTLING_SECONDS. Default 1. */
  calls?: number;
}

/** Threads of the previous side spin before they sleep, and would take a core from the next side. */
export const GAP_MILLISECONDS = 25;

/** A turn of short calls starts with this much uncounted time, at least one call: the caches hold the other side's data, and woken
 * threads may share one core until the system moves them. */
export const SETTLING_SECONDS = 0.02;

/** @returns the seconds of every counted call by side, in order */
export async function takeTurns(sides: readonly Side[], options: TurnOptions): Promise<Record<string, number[]>> {
  const { rounds, warmup, calls = 1 } = options;
  const samples: Record<string, number[]> = {};
  const uncounted: Record<string, number> = {};
  for (const { name, worker, workload } of sides) {
    samples[name] = [];
    await worker.ask('open', { name, ...workload });
    await setTimeout(GAP_MILLISECONDS);
    const { seconds } = await worker.ask<{ seconds: number[] }>('run', { name, calls: warmup });
    uncounted[name] = calls > 1 ? Math.ceil(SETTLING_SECONDS / Math.min(SETTLING_SECONDS, ...seconds)) : 0;
  }
  for (let round = 0; round < rounds; round++)
    for (const { name, worker } of sides) {
      await setTimeout(GAP_MILLISECONDS);
      const { seconds } = await worker.ask<{ seconds: number[] }>('run', { name, calls: uncounted[name] + calls });
      samples[name].push(...seconds.slice(uncounted[name]));
    }
  for (const { name, worker } of sides) await worker.ask('close', { name });
  return samples;
}
