// Every export of rectiflow/data rejects wrong arguments with a RectiflowError that names function, expectation and
// value.
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import * as data from '../../src/data/index.ts';
import { refuseBroken } from '../../src/data/pairs/check.ts';
import { meanNfe } from '../../src/data/pairs/manifest.ts';
import { ChannelStatistics } from '../../src/data/pairs/pair_statistics.ts';
import { isReal } from '../../src/data/pairs/set.ts';
import { isFlipped } from '../../src/data/scaling.ts';
import { ArgumentError } from '../../src/errors.ts';
import { faultsOf } from '../support/garbage.ts';

afterEach(() => vi.unstubAllGlobals());

const pixels = Uint8Array.of(1, 2, 3, 4);
const values = Float32Array.of(1, 2, 3, 4);
const dataset = data.memoryDataset('four', pixels, [4, 1, 1, 1], Int32Array.of(0, 1, 0, 1));
const decoding = { part: 'train', size: 8, channels: 3, tolerated: 1, notice() {} };
const plan: data.PairPlan = {
  package: '1',
  device: 'cpu',
  layout: 'shards',
  dtype: 'f32',
  shape: [1, 2, 2],
  count: 3,
  batch: 2,
  noise: { law: 'normal', seed: 0, stream: 1, scale: 1 },
  teacher: '0'.repeat(64),
  sampler: { name: 'euler', steps: 1 },
  config: {},
};

/** A root of pairs in shards, and a writer in the middle of another folder. */
async function stores() {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-data-arguments-'));
  const [whole, begun] = ['pairs', 'begun'].map((name) => join(folder, name, '0'));
  for (const path of [whole, begun]) mkdirSync(path, { recursive: true });
  const batch = Float32Array.from({ length: 8 }, (_, i) => i / 8);
  const done = await data.PairWriter.open(whole, plan, () => {});
  await done.write(batch, 1);
  await done.write(batch.subarray(0, 4), 1);
  await done.finish();
  await done.close();
  return {
    root: join(folder, 'pairs'),
    set: await data.PairSet.open(join(folder, 'pairs')),
    writer: await data.PairWriter.open(begun, plan, () => {}),
  };
}

it('refuses garbage by name, leaves no file and terminates', async () => {
  // With the folder as its only argument, downloadCifar10 would contact the authors' server.
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('there is no network here')));
  const { root, set, writer } = await stores();
  const options = { seed: 1, centered: true, dequantize: true, flip: true };
  const folder = join(root, '0');
  const valid = {
    arrayDataset: [[{ x: values }, 'name']],
    batches: [[dataset, { size: 2, shuffle: true, seed: 1, epochs: 2, dropLast: true, map() {} }]],
    loadCsv: [['no such', { label: 'a', columns: ['b'], classes: ['c'], header: true, separator: ';' }]],
    batchIndices: [[0, 2, 4, 1]],
    trainingBatch: [[dataset, 0, 2, options]],
    sequentialBatch: [[dataset, 0, 2, { centered: true, dequantize: { seed: 1, item: 0 } }]],
    loadCifar10: [['no such', 'train']],
    downloadCifar10: [['here', { url: 'file:///etc/hosts', sha256: 'ab' }]],
    memoryDataset: [['four', pixels, [4, 1, 1, 1], Int32Array.of(0, 1, 0, 1)]],
    'dataset.load': [[Int32Array.of(0, 3)], [Int32Array.of(4)]],
    digitsDataset: [['train']],
    openImageFolder: [['no such', decoding]],
    channelsFirst: [[values, [1, 2, 2, 1]]],
    channelsLast: [[values, [1, 2, 2, 1]]],
    openLmdb: [['no such']],
    openLsun: [['no such', { ...decoding, category: 'bedroom' }]],
    loadMnist: [['no such', 'train']],
    checkPairs: [
      [root, { shape: [1, 2, 2], planned: 3, noiseScale: 1, limit: 2, data: { mean: [0], deviation: [1] } }],
      [root, { data: { mean: [0, 1], deviation: [1] } }],
    ],
    refuseBroken: [[set, root, 1]],
    quantisedRange: [[true]],
    meanNfe: [[plan, [{ sha256: '0'.repeat(64), nfe: 1, clipped: 0 }]]],
    readManifest: [[folder]],
    pairCondition: [['text', ['a', 'b'], Int32Array.of(0, 1)]],
    isReal: [[1, 2, 0.5]],
    'PairSet.open': [[root, [1, 2, 2], () => {}]],
    'PairSet.load': [[Int32Array.of(0, 2)], [Int32Array.of(3)]],
    'PairSet.locate': [[2], [3]],
    writePairFile: [['z0.npy', 1, [1, 2, 2], [values]]],
    ChannelStatistics: [[1]],
    'ChannelStatistics.add': [[values]],
    'PairWriter.open': [[folder, plan, () => {}, undefined]],
    'PairWriter.write': [[values, 1]],
    'PairWriter.finish': [[[values]]],
    samplePoints: [['two_moons', 2, 1]],
    dequantizePixels: [[pixels, { centered: true }, 1, 2]],
    flipHorizontal: [[pixels, 2, 1]],
    isFlipped: [[1, 2]],
    scalePixels: [[pixels, { centered: true }]],
    toPixels: [[values, { centered: true, rounding: 'floor' }]],
    shuffledIndex: [[1, 4, 0, 1]],
  };
  const instances = { dataset, PairSet: set, PairWriter: writer, ChannelStatistics: new ChannelStatistics(1) };
  const excluded = { 'PairSet.close': 'the others need it open', 'PairWriter.close': 'the others need it open' };
  const internal = { ChannelStatistics, isFlipped, isReal, meanNfe, refuseBroken };
  expect(await faultsOf({ ...data, ...internal }, { valid, instances, excluded })).toEqual([]);
});

it('checks every key of a plan of pairs', async () => {
  const { root } = await stores();
  for (const key of Object.keys(plan).filter((name) => name !== 'config'))
    await expect(data.PairWriter.open(join(root, '0'), { ...plan, [key]: Symbol('s') }, () => {})).rejects.toThrow(
      `[PairWriter.open] expected plan.${key} to be as in PairPlan, got a symbol`,
    );
});

it('refuses to finish before the last batch, and to write after it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-data-arguments-'));
  const writer = await data.PairWriter.open(folder, { ...plan, count: 2 }, () => {});
  await expect(writer.finish()).rejects.toThrow('[PairWriter.finish] expected 1 batches, got 0 so far');
  await writer.write(new Float32Array(8), 1);
  await expect(writer.write(new Float32Array(0), 1)).rejects.toThrow(/at most 1 batches, got another one/);
  await writer.finish();
  await writer.close();
});

it('refuses a width that would loop forever', () => {
  expect(() => data.flipHorizontal(pixels, 0, 1)).toThrow(
    '[flipHorizontal] expected width to be a whole number >= 1, got 0',
  );
});

it('refuses wrong results of a custom data set', async () => {
  const wrong = { ...dataset, load: async () => new Uint8Array(1) };
  await expect(data.sequentialBatch(wrong, 0, 2, { centered: true })).rejects.toThrow(
    '[dataset.load] expected 2 images of 1 bytes, got a Uint8Array of 1',
  );
});

it.each<[call: () => unknown, message: string]>([
  [
    () => data.samplePoints('two_moons', -1, 0),
    '[samplePoints] expected count to be a whole number from 0 to 1073741824, got -1',
  ],
  [
    () => data.loadMnist('mnist', 'test' as never),
    '[loadMnist] expected part to be one of "train", "heldOut", got "test"',
  ],
  [
    () => data.openImageFolder('images', { part: 'train', size: 8 } as never),
    '[openImageFolder] expected channels to be a whole number >= 1, got none in the options',
  ],
  [
    () => data.trainingBatch(dataset, 0, 1, { seed: 1, centre: true } as never),
    '[trainingBatch] expected options among seed, centered, dequantize, flip, got "centre" (did you mean "centered"?)',
  ],
  [() => data.toPixels([1] as never, { centered: true }), '[toPixels] expected values to be a Float32Array, got [1]'],
  [
    () => data.downloadCifar10('here', { url: 'ftp://x' }),
    '[downloadFile] expected url to be an address http://... or https://..., got "ftp://x"',
  ],
])('%s: %s', async (call, message) => {
  const error = await Promise.resolve()
    .then(call)
    .catch((caught: Error) => caught);
  expect(error).toBeInstanceOf(ArgumentError);
  expect((error as Error).message).toBe(message);
});
