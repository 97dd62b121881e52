// Every export of rectiflow/io rejects wrong arguments with a RectiflowError that names function, expectation and
// value.
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { ArgumentError } from '../../src/errors.ts';
import { removeLeftovers, requireWritable } from '../../src/io/atomic.ts';
import { crc32c } from '../../src/io/events.ts';
import { asFileError } from '../../src/io/file.ts';
import * as io from '../../src/io/index.ts';
import { faultsOf } from '../support/garbage.ts';
import { readFixture } from './files.ts';

afterEach(() => vi.unstubAllGlobals());

const array = { shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) };
const image = { width: 1, height: 1, channels: 1, data: Uint8Array.of(7) };
const png = { png: Uint8Array.of(1), width: 1, height: 1, channels: 1 };
const bytes = Uint8Array.of(1, 2, 3);
const module = { stateDict: () => new Map(), loadStateDict() {} };

const valid = {
  toFloat32: [[array], [{ ...array, dtype: 'toString' }], [{ ...array, shape: [3] }], [{ ...array, data: null }]],
  writeFileAtomic: [['a.bin', [bytes]]],
  removeLeftovers: [['.']],
  downloadFile: [['file:///etc/hosts', 'a.bin', { sha256: 'ab' }]],
  crc32c: [[bytes]],
  'EventFile.open': [['events', 3]],
  'EventFile.scalars': [[1, { loss: 0.5 }]],
  'EventFile.image': [[1, 'samples', png]],
  asFileError: [['a.bin', new Error('x')]],
  imageGrid: [[Uint8Array.of(1, 2), [2, 1, 1, 1], { columns: 1, padding: 0, scale: 1 }]],
  decodeNpy: [[io.encodeNpy(array as never), 'a.npy']],
  decodeNpz: [[await readFixture('stored.npz'), { names: ['labels'], name: 'a.npz' }]],
  encodeNpy: [[array]],
  readNpy: [['a.npy']],
  writeNpy: [['a.npy', array]],
  'NpyRows.open': [['a.npy']],
  'NpyRows.row': [[1]],
  'NpyRows.rows': [[0, 2]],
  writeNpyRows: [['a.npy', [2, 1], [Float32Array.of(1, 2)]]],
  readNpz: [['a.npz', { names: ['a'], maxBytes: 9 }]],
  writeNpz: [
    ['a.npz', { a: array }, { compress: true }],
    ['a.npz', new Map([['a', array]])],
  ],
  Tuple: [[3]],
  decodePng: [[await io.encodePng(image), 'a.png']],
  encodePng: [[image]],
  readPng: [['a.png']],
  writePng: [['a.png', image]],
  readPth: [['a.pth']],
  writePth: [
    [
      'a.pth',
      new Map<unknown, unknown>([
        ['a', array],
        ['b', [1, io.Tuple.of(2n)]],
      ]),
    ],
  ],
  loadModule: [['a.safetensors', module]],
  saveModule: [['a.safetensors', module, { a: 'b' }]],
  readSafetensors: [['a.safetensors', ['a']]],
  readSafetensorsHeader: [['a.safetensors']],
  writeSafetensors: [['a.safetensors', { a: array }, { note: 'text' }]],
  OrderedDict: [[[['a', 1]]]],
  flattenTorch: [[new Map([['a', array]])]],
  unflattenTorch: [['a', new Map([['a', array]]), '{"tensor":"a"}']],
  Float: [[1]],
};

it('refuses garbage by name, leaves no file and terminates', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-io-arguments-'));
  await io.writeNpy(join(folder, 'rows.npy'), { ...array, shape: [2, 1] } as never);
  const instances = {
    EventFile: await io.EventFile.open(folder),
    NpyRows: await io.NpyRows.open(join(folder, 'rows.npy')),
  };
  const excluded = {
    'EventFile.append': 'private',
    'EventFile.plugin': 'private',
  };
  const internal = { asFileError, crc32c, removeLeftovers, requireWritable };
  expect(await faultsOf({ ...io, ...internal }, { valid, instances, excluded })).toEqual([]);
});

it.each<[call: () => unknown, message: string]>([
  [() => io.writeNpy(5 as never, array as never), '[writeNpy] expected path to be a path, got 5'],
  [() => io.readPng('a\0b'), '[readPng] expected path to be a path, got "a\\u0000b"'],
  [
    () => io.readNpz('a.npz', { name: ['a'] } as never),
    '[readNpz] expected options among names, maxBytes, got "name" (did you mean "names"?)',
  ],
  [
    () => io.writeNpz('a.npz', [] as never),
    '[writeNpz] expected arrays to be a Map or an object of arrays by name, got []',
  ],
  [() => io.encodeNpy(null as never), '[encodeNpy] expected array "npy" to be { shape, dtype, data }, got null'],
  [
    () => io.downloadFile('http://x', 'a', {} as never),
    '[downloadFile] expected sha256 to be 1 to 64 hexadecimal digits, got none in the options',
  ],
  [
    () => io.imageGrid(Uint8Array.of(1), [1, 1, 1, 1], { scale: 0.5 }),
    '[imageGrid] expected scale to be a whole number >= 1, got 0.5',
  ],
  [
    () => new (io.NpyRows as never as new () => unknown)(),
    '[NpyRows] expected a call of NpyRows.open(), got new NpyRows',
  ],
])('%s: %s', async (call, message) => {
  const error = await Promise.resolve()
    .then(call)
    .catch((caught: Error) => caught);
  expect(error).toBeInstanceOf(ArgumentError);
  expect((error as Error).message).toBe(message);
});

it('creates no folder for a download that fails', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('there is no network here')));
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-io-arguments-'));
  const download = io.downloadFile('https://example.com/a', join(folder, 'sub', 'a'), { sha256: 'ab' });
  await expect(download).rejects.toThrow(
    /cannot be downloaded from https:\/\/example\.com\/a \(there is no network here\)/,
  );
  expect(readdirSync(folder)).toEqual([]);
});

it('refuses a grid that no PNG file can hold', () => {
  expect(() => io.imageGrid(Uint8Array.of(1), [1, 1, 1, 1], { scale: 2 ** 20 })).toThrow(/at most 1 GiB/);
});

it('refuses a tree that contains itself', () => {
  const tree: unknown[] = [];
  tree.push(tree);
  expect(() => io.flattenTorch(tree as never)).toThrow(/\[flattenTorch\] expected a tree of at most 100 levels/);
});

it('refuses rows beyond the file, and rows of a closed file, with a FileError', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-io-arguments-'));
  const path = join(folder, 'rows.npy');
  await io.writeNpyRows(path, [2, 1], [Float32Array.of(1, 2)]);
  const rows = await io.NpyRows.open(path);
  await expect(rows.rows(0, Number.NaN)).rejects.toThrow(
    /\[NpyRows\] expected count to be a whole number >= 0, got NaN/,
  );
  await rows.close();
  await expect(rows.row(0)).rejects.toThrow(`${path}: file closed`);
  const events = await io.EventFile.open(join(folder, 'events'));
  await events.close();
  await expect(events.scalars(1, { loss: 1 })).rejects.toThrow(/file closed/);
  expect(readdirSync(folder)).toEqual(['events', 'rows.npy']);
});
