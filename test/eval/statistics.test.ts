// Statistics files: our own, and files of other tools (fixtures/eval).
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { FileError, ValueError } from '../../src/errors.ts';
import {
  type DataStatistics,
  frechetDistance,
  gaussianOf,
  readStatistics,
  writeStatistics,
} from '../../src/eval/index.ts';
import { type ArrayFile, readNpz, writeNpz } from '../../src/io/index.ts';
import { temporaryFolder } from '../io/files.ts';
import { normalRows } from './features.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/eval/${name}`, import.meta.url));

it('reads the feature vectors of the official files', async () => {
  const { gaussian, activations, features } = await readStatistics(fixture('scoresde_pool3.npz'));
  expect(activations).toMatchObject({ rows: 64, columns: 16 });
  expect(gaussian).toEqual(gaussianOf(activations as NonNullable<typeof activations>));
  expect(gaussian.count).toBe(64);
  expect(features).toBeUndefined();
});

it('reads mu and sigma, stored or deflated', async () => {
  const read = await Promise.all(
    ['ttur_mu_sigma.npz', 'ttur_mu_sigma_deflate.npz'].map((n) => readStatistics(fixture(n))),
  );
  const arrays = await readNpz(fixture('ttur_mu_sigma.npz'));
  for (const { gaussian, activations, features } of read) {
    expect(gaussian).toEqual({ mean: arrays.get('mu')?.data, covariance: arrays.get('sigma')?.data });
    expect([activations, features]).toEqual([undefined, undefined]);
  }
});

it('reads back its own files bit for bit', async () => {
  const path = `${await temporaryFolder()}/statistics.npz`;
  const gaussian = gaussianOf(normalRows(30, 5, 'written'));
  const written: DataStatistics = { gaussian, features: 'inception-2015-12-05' };
  await writeStatistics(path, gaussian, { features: written.features });
  expect(await readStatistics(path)).toEqual(written);
  const { mean, covariance } = gaussian;
  await writeStatistics(path, { mean, covariance });
  expect(await readStatistics(path)).toEqual({ gaussian: { mean, covariance } });
  expect(frechetDistance((await readStatistics(path)).gaussian, gaussian)).toBeLessThan(1e-12);
  await expect(writeStatistics(path, { mean: mean.slice(1), covariance })).rejects.toThrow(ValueError);
});

const f64 = (shape: number[], ...data: number[]): ArrayFile => ({ shape, dtype: 'f64', data: Float64Array.from(data) });
const whole = (value: bigint): ArrayFile => ({ shape: [], dtype: 'i64', data: BigInt64Array.of(value) });
const good = { mu: f64([2], 1, 2), sigma: f64([2, 2], 1, 0, 0, 1) };

it.each<[string, Record<string, ArrayFile>, string]>([
  ['neither', { mu: good.mu, logits: good.mu }, 'has neither mu and sigma nor pool_3; it has mu, logits'],
  ['shapes', { ...good, mu: f64([3], 1, 2, 3) }, 'mu [3] and sigma [2, 2] do not match'],
  ['infinite', { ...good, mu: f64([2], 1, Number.POSITIVE_INFINITY) }, 'a non-finite value'],
  ['lopsided', { ...good, sigma: f64([2, 2], 1, 0.5, 0, 1) }, 'sigma is not symmetric at (1, 0)'],
  [
    'whole numbers',
    { ...good, mu: { shape: [2], dtype: 'i32', data: Int32Array.of(1, 2) } },
    'mu is i32, expected float32',
  ],
  ['count', { ...good, count: whole(-1n) }, 'count is not a whole number'],
  ['text', { ...good, features: good.mu }, 'features is not text'],
  ['pool_3 of one vector', { pool_3: f64([1, 2], 1, 2) }, 'at least two feature vectors, got 1'],
  ['pool_3 of one axis', { pool_3: f64([2], 1, 2) }, 'pool_3 is [2], expected [N, d]'],
  ['pool_3 with NaN', { pool_3: f64([2, 1], 1, Number.NaN) }, 'value 0 of row 1 is NaN'],
])('refuses %s', async (_, arrays, message) => {
  const path = `${await temporaryFolder()}/wrong.npz`;
  await writeNpz(path, arrays);
  const reading = readStatistics(path);
  await expect(reading).rejects.toThrow(FileError);
  await expect(reading).rejects.toThrow(message);
  await expect(reading).rejects.toThrow(path);
});
