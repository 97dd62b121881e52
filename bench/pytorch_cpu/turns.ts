// Several sides of one workload, timed in turns in one run: A B C A B C ... What slows the machine for a while meets all of them.
import { setTimeout } from 'node:timers/promises';
import type { Worker } from './worker.ts';

export interface Side {
  /** What the samples are called. */
  name: string;
  worker: Worker;
  /** The request that opens it. */
  workload: object;
}

export interface TurnOptions {
  /** How often each side has its turn. */
  rounds: number;
  /** Calls before the first round that are not counted. */
  warmup: number;
  /** Counted calls in a turn; a turn of several begins with some that are not: see SETTLING_SECONDS. Default 1. */
  calls?: number;
}

/** Threads of the side that was last wait in a loop for more work before they sleep, and would take a core from the next. */
export const GAP_MILLISECONDS = 25;

/** A turn of short calls begins with so much of them that is not counted, one at least: the other side has had the caches, and
 * threads that slept may have been woken on one core, from where the system moves them after a while. */
export const SETTLING_SECONDS = 0.02;

/** @returns seconds of every counted call by side, in order */
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
