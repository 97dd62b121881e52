// Stores of made-up pairs: noise, and smooth images that depend on the pair's number.
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PairPlan, PairWriter } from '../../src/data/index.ts';

export const planOf = (changes: Partial<PairPlan> = {}): PairPlan => ({
  package: '0.0.0',
  device: 'cpu',
  layout: 'shards',
  dtype: 'f32',
  shape: [3, 4, 4],
  count: 50,
  batch: 8,
  noise: { law: 'normal', seed: 7, stream: 2, scale: 1 },
  teacher: 'ab'.repeat(32),
  sampler: { name: 'euler', steps: 2 },
  config: {},
  ...changes,
});

/** An end, f32 [H, W, C]: values in (-1, 1), another mean in each channel. */
export function endOf(index: number, [channels, height, width]: PairPlan['shape']): Float32Array {
  return Float32Array.from(
    { length: channels * height * width },
    (_, i) => 0.2 * (i % channels) - 0.3 + 0.5 * Math.sin(index * 1.7 + Math.floor(i / channels) * 0.3),
  );
}

/** Writes a folder of pairs below `root`, by default a new one. @returns root */
export async function makePairs(
  changes: Partial<PairPlan> = {},
  {
    root = mkdtempSync(join(tmpdir(), 'rectiflow-pairs-')),
    name = '7',
    end = endOf,
    stopAfter = Number.POSITIVE_INFINITY,
    column = undefined as Int32Array | undefined,
  } = {},
): Promise<string> {
  const plan = planOf(changes);
  const folder = join(root, name);
  mkdirSync(folder);
  const writer = await PairWriter.open(folder, plan, () => {}, column);
  try {
    for (let first = 0; first < plan.count; first += plan.batch) {
      if (writer.done >= stopAfter) return root;
      const ends = Array.from({ length: Math.min(plan.batch, plan.count - first) }, (_, i) =>
        end(first + i, plan.shape),
      );
      await writer.write(Float32Array.from(ends.flatMap((values) => Array.from(values))), 2);
    }
    await writer.finish();
    return root;
  } finally {
    await writer.close();
  }
}
