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
  /** Counted calls in a turn; a turn of several begins with one that is not, since the other side has had the caches. Default 1. */
  calls?: number;
}

/** Threads of the side that was last wait in a loop for more work before they sleep, and would take a core from the next. */
export const GAP_MILLISECONDS = 25;

/** A side whose first call takes this many times as long as ours is not called again: PyTorch's bf16 without instructions for it. */
const HOPELESS = 8;
/** Seconds, at least: the first call of a small workload prepares the later ones. */
const LONG = 5;

/** @returns seconds of every counted call by side, in order */
export async function takeTurns(sides: readonly Side[], options: TurnOptions): Promise<Record<string, number[]>> {
  const { rounds, warmup, calls = 1 } = options;
  const uncounted = calls > 1 ? 1 : 0;
  const samples: Record<string, number[]> = {};
  const run = async ({ name, worker }: Side, count: number) => {
    await setTimeout(GAP_MILLISECONDS);
    return (await worker.ask<{ seconds: number[] }>('run', { name, calls: count })).seconds;
  };
  let slow = Number.POSITIVE_INFINITY;
  const hopeless = new Set<Side>();
  for (const side of sides) {
    const { name, worker, workload } = side;
    samples[name] = [];
    await worker.ask('open', { name, ...workload });
    if (warmup === 0) continue;
    const [first] = await run(side, 1);
    if (side === sides[0]) slow = Math.max(LONG, HOPELESS * first);
    if (first > slow) {
      hopeless.add(side);
      samples[name].push(first);
    } else if (warmup > 1) await run(side, warmup - 1);
  }
  for (let round = 0; round < rounds; round++)
    for (const side of sides)
      if (!hopeless.has(side)) samples[side.name].push(...(await run(side, calls + uncounted)).slice(uncounted));
  for (const { name, worker } of sides) await worker.ask('close', { name });
  return samples;
}
