// node --import jiti/register bench/pairs.ts [--pairs N] [--batches N] [--folder DIR] [--dense]
// A store of a million CIFAR-size pairs in shards of 16 bits: how long it takes to open, how fast batches of 128 are read in
// training order, and how much memory that needs. Shards after the first are sparse files of full size, unless --dense writes all
// 6 GB: then the store exceeds what a small machine caches.
import { createHash, randomFillSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { batchIndices, checkPairs, type PairPlan, PairSet, type PairShard, quantisedRange } from '../src/data/index.ts';
import { refuseBroken } from '../src/data/pairs/check.ts';
import { shardLayout } from '../src/data/pairs/folder.ts';
import { batchCount, batchRange, writeManifest } from '../src/data/pairs/manifest.ts';
import { streams } from '../src/tensor/streams.ts';

const { values: flags } = parseArgs({
  options: {
    pairs: { type: 'string', default: '1000000' },
    batches: { type: 'string', default: '300' },
    folder: { type: 'string', default: tmpdir() },
    dense: { type: 'boolean', default: false },
  },
});

/** How many shards hold real numbers, for the check. */
const FILLED = 8;
const BATCH = 128;
const SEED = 3;

const plan: PairPlan = {
  package: 'bench',
  device: 'none',
  layout: 'shards',
  dtype: 'u16',
  range: quantisedRange(true),
  shape: [3, 32, 32],
  count: Number(flags.pairs),
  batch: BATCH,
  noise: { law: 'normal', seed: SEED, stream: streams.samples, scale: 1 },
  teacher: '00'.repeat(32),
  sampler: { name: 'none' },
  config: {},
};

let peak = 0;
const watch = () => {
  peak = Math.max(peak, process.memoryUsage().rss);
};
const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
  const start = performance.now();
  const result = await work();
  watch();
  console.log(`${what}: ${((performance.now() - start) / 1000).toFixed(2)} s`);
  return result;
};

const root = mkdtempSync(join(flags.folder, 'rectiflow-bench-pairs-'));
try {
  await timed(`write ${batchCount(plan)} shards`, write);
  const pairs = await timed('open', () => PairSet.open(root));
  await timed('what training asks before its first step', () => refuseBroken(pairs, root, 1));
  await timed(`check of ${FILLED * BATCH} pairs`, async () => {
    for (const { what, state, detail } of await checkPairs(root, { limit: FILLED * BATCH }))
      console.log(`  ${state.padEnd(6)} ${what.padEnd(11)} ${detail}`);
  });
  const batches = Number(flags.batches);
  const start = performance.now();
  for (let step = 0; step < batches; step++) {
    await pairs.load(batchIndices(step, BATCH, pairs.count, SEED));
    watch();
  }
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `${batches} batches of ${BATCH} at random: ${((batches * BATCH) / seconds).toFixed(0)} pairs/s, ` +
      `${((1000 * seconds) / batches).toFixed(1)} ms a batch`,
  );
  console.log(`resident memory at most ${(peak / 1e6).toFixed(0)} MB`);
  await pairs.close();
} finally {
  rmSync(root, { recursive: true });
}

async function write(): Promise<void> {
  const folder = join(root, String(SEED));
  mkdirSync(folder);
  const shards: PairShard[] = [];
  const sums = new Map<number, string>();
  for (let index = 0; index < batchCount(plan); index++) {
    const { file, header, length } = shardLayout(folder, plan, index);
    writeFileSync(file, header);
    const filled = flags.dense || index < FILLED;
    const bytes = new Uint8Array(length - header.length);
    if (filled) writeFileSync(file, Buffer.concat([header, randomFillSync(bytes)]));
    else truncateSync(file, length);
    const count = batchRange(plan, index)[1];
    const sha256 = (!filled && sums.get(count)) || createHash('sha256').update(bytes).digest('hex');
    if (!filled) sums.set(count, sha256);
    shards.push({ sha256, nfe: 38, clipped: 0 });
  }
  await writeManifest(folder, { ...plan, done: plan.count, shards });
}
