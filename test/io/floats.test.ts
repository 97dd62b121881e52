// Numbers of every floating-point dtype, byte order and memory order, in files that NumPy wrote
// (fixtures/io/floats.json), in every place that reads such files: latents, pairs, statistics.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { PairSet } from '../../src/data/index.ts';
import { FileError } from '../../src/errors.ts';
import { readStatistics } from '../../src/eval/index.ts';
import { storedZip } from '../../src/io/archives/zip_writer.ts';
import { type ArrayFile, NpyRows, readNpy, toFloat32, writeNpy, writeNpz } from '../../src/io/index.ts';
import { readLatents } from '../../src/run/index.ts';
import { configWith } from '../support/config.ts';
import { fixture } from './files.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-floats-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Fixture {
  /** .npy files in base64: "<f2 C" has shape [3, 2, 2, 2], little-endian float16 in C order. */
  files: Record<string, string>;
  /** Their numbers as f32, by the element size in bytes. */
  values: Record<'2' | '4' | '8', number[]>;
}
const { files, values }: Fixture = JSON.parse(readFileSync(fixture('floats.json'), 'utf8'));

const orders = ['<', '>'].flatMap((endian) =>
  (['2', '4', '8'] as const).flatMap((bytes) =>
    ['C', 'F'].map((order) => [`${endian}f${bytes} ${order}`, values[bytes]] as const),
  ),
);
const bytesOf = (name: string) => Buffer.from(files[name], 'base64');

function fileOf(name: string, path = join(folder, 'file.npy')): string {
  writeFileSync(path, bytesOf(name));
  return path;
}

/** [3, 2, 2, 2] with channels last. */
const channelsLast = (numbers: readonly number[]) =>
  numbers.map((_, i) => {
    const [n, pixel, c] = [i >> 3, (i >> 1) & 3, i & 1];
    return numbers[8 * n + 4 * c + pixel];
  });

describe.each(orders)('%s', (name, expected) => {
  it('reads it as an array', async () => {
    const array = await readNpy(fileOf(name));
    expect(array.shape).toEqual([3, 2, 2, 2]);
    expect([...toFloat32(array)]).toEqual(expected);
  });

  it('reads it by rows', async () => {
    const rows = await NpyRows.open(fileOf(name));
    expect([rows.count, rows.width]).toEqual([3, 8]);
    expect([...(await rows.row(2)), ...(await rows.rows(0, 2))]).toEqual([
      ...expected.slice(16),
      ...expected.slice(0, 16),
    ]);
    await expect(rows.rows(2, 2)).rejects.toThrow('has 3 rows; row 3 is out of range');
    await rows.close();
  });

  it('reads it as latents', async () => {
    const config = await configWith('base', { 'data.image_size': 2, 'data.num_channels': 2 });
    const { count, data } = await readLatents(fileOf(name), config);
    expect(count).toBe(3);
    expect([...data]).toEqual(channelsLast(expected));
  });

  it('reads it as pairs', async () => {
    const root = join(
      folder,
      name.replaceAll(/\W/g, (sign) => `${sign.charCodeAt(0)}`),
    );
    mkdirSync(join(root, '1'), { recursive: true });
    fileOf(name, join(root, '1/z0.npy'));
    fileOf('<f4 C', join(root, '1/z1.npy'));
    const pairs = await PairSet.open(root);
    const { z0, z1 } = await pairs.load(Int32Array.of(0, 1, 2));
    expect([...z0]).toEqual(channelsLast(expected));
    expect([...z1]).toEqual(channelsLast(values[4]));
    await pairs.close();
  });

  it('reads it as feature vectors, which some tools store as float16', async () => {
    const path = join(folder, 'pool.npz');
    const array = { ...(await readNpy(fileOf(name))), shape: [3, 8] };
    await writeNpz(path, { pool_3: array });
    const { activations } = await readStatistics(path);
    expect(activations).toMatchObject({ rows: 3, columns: 8 });
    expect([...(activations?.values ?? [])].map(Math.fround)).toEqual(expected);
  });
});

it.each([
  ['f64', Float64Array.of(0.1, 0.2), Float64Array.of(1, 0.25, 0.25, 2)],
  ['f32', Float32Array.of(0.1, 0.2), Float32Array.of(1, 0.25, 0.25, 2)],
  ['f16', Uint16Array.of(0x2e66, 0x3266), Uint16Array.of(0x3c00, 0x3400, 0x3400, 0x4000)],
] as const)('mu and sigma of %s', async (dtype, mu, sigma) => {
  const path = join(folder, `${dtype}.npz`);
  await writeNpz(path, { mu: { shape: [2], dtype, data: mu }, sigma: { shape: [2, 2], dtype, data: sigma } });
  const { gaussian } = await readStatistics(path);
  expect([...gaussian.covariance]).toEqual([1, 0.25, 0.25, 2]);
  expect(gaussian.mean[0]).toBeCloseTo(0.1, 4);
  // Doubles keep all their digits.
  if (dtype === 'f64') expect(gaussian.mean[0]).toBe(0.1);
});

it('reads statistics next to other arrays, such as images and texts', async () => {
  const npy = (array: ArrayFile) => {
    const path = join(folder, 'part.npy');
    return writeNpy(path, array).then(() => readFileSync(path));
  };
  const mu = await npy({ shape: [1], dtype: 'f64', data: Float64Array.of(1) });
  const sigma = await npy({ shape: [1, 1], dtype: 'f64', data: Float64Array.of(1) });
  const path = join(folder, 'others.npz');
  const entries = [
    { name: 'mu.npy', bytes: mu },
    { name: 'arr_0.npy', bytes: readFileSync(fixture('object.npy')) },
    { name: 'names.npy', bytes: readFileSync(fixture('text.npy')) },
    { name: 'sigma.npy', bytes: sigma },
  ];
  writeFileSync(path, Buffer.concat([...storedZip(entries)]));
  expect((await readStatistics(path)).gaussian).toEqual({ mean: Float64Array.of(1), covariance: Float64Array.of(1) });
});

it.each([
  ['whole', /got i32 \[3, 2, 2, 2\]/],
  ['complex', /elements of type '<c8', which cannot be read; save it as f4, f8/],
  ['longdouble', /elements of type '<f16', which cannot be read; save it as f4, f8/],
])('%s numbers are refused as latents and as pairs', async (name, message) => {
  const config = await configWith('base', { 'data.image_size': 2, 'data.num_channels': 2 });
  for (const read of [() => readLatents(fileOf(name), config), () => NpyRows.open(fileOf(name))]) {
    const error = await read().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FileError);
    expect((error as FileError).message).toMatch(message);
  }
});

it('reads a file in Fortran order up to 1 GiB', async () => {
  const path = join(folder, 'large.npy');
  const header = bytesOf('<f4 F').toString('latin1', 0, 128).replace('(3, 2, 2, 2), }      ', '(99999, 3, 64, 64), }');
  writeFileSync(path, Buffer.from(header, 'latin1'));
  truncateSync(path, 128 + 99_999 * 3 * 64 * 64 * 4);
  await expect(NpyRows.open(path)).rejects.toThrow(
    'is in Fortran order, which is read up to 1 GiB, and has 4915150848',
  );
});

it('refuses latents that are not finite, or not in f32', async () => {
  const config = await configWith('base', { 'data.image_size': 1, 'data.num_channels': 2 });
  const path = join(folder, 'latents.npy');
  for (const [value, message] of [
    [Number.NaN, 'latents.npy: latent 1 holds NaN as f32'],
    [-1e300, 'latents.npy: latent 1 holds -Infinity as f32'],
  ] as const) {
    await writeNpy(path, { shape: [2, 2, 1, 1], dtype: 'f64', data: Float64Array.of(0, 1, 2, value) });
    await expect(readLatents(path, config)).rejects.toThrow(message);
  }
});
