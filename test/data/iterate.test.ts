// Batches of data sets as tensors: contents, order, memory; data sets of arrays and of comma-separated values.
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { arrayDataset, batches, digitsDataset, loadCsv, memoryDataset, shuffledIndex } from '../../src/data/index.ts';
import type { Device } from '../../src/device/device.ts';
import { FileError } from '../../src/errors.ts';
import { keep, mul, type Tensor } from '../../src/index.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

const numbers = (t: Tensor) => Array.from(t.dataSync());
const five = arrayDataset({
  x: { shape: [5, 2], data: Float32Array.from({ length: 10 }, (_, i) => i) },
  y: Int32Array.of(0, 1, 2, 3, 4),
});

async function labelsOf(options: Omit<Parameters<typeof batches>[1], 'map'>): Promise<number[][]> {
  const found: number[][] = [];
  for await (const { y } of batches(five, options)) found.push(numbers(y));
  return found;
}

it('yields rows in order, with a smaller batch at the end', async () => {
  const found: unknown[] = [];
  for await (const { x, y } of batches(five, { size: 2 })) found.push([x.shape, numbers(x), y.dtype, numbers(y)]);
  expect(found).toEqual([
    [[2, 2], [0, 1, 2, 3], 'i32', [0, 1]],
    [[2, 2], [4, 5, 6, 7], 'i32', [2, 3]],
    [[1, 2], [8, 9], 'i32', [4]],
  ]);
});

it('shuffles each epoch by its seed, with every item once', async () => {
  const options = { size: 2, shuffle: true, seed: 3, epochs: 2 };
  const found = await labelsOf(options);
  const order = (epoch: number) => [0, 1, 2, 3, 4].map((position) => shuffledIndex(position, 5, epoch, 3));
  expect(found.flat()).toEqual([...order(0), ...order(1)]);
  expect(await labelsOf(options)).toEqual(found);
  expect(await labelsOf({ ...options, seed: 4 })).not.toEqual(found);
});

it('drops the last batch of each epoch if asked to, and counts its steps', async () => {
  expect(await labelsOf({ size: 2, dropLast: true, epochs: 2 })).toEqual([
    [0, 1],
    [2, 3],
    [0, 1],
    [2, 3],
  ]);
  expect(batches(five, { size: 2, epochs: 3 }).steps).toBe(9);
  expect(batches(five, { size: 2, epochs: 3, dropLast: true }).steps).toBe(6);
  expect(batches(five, { size: 2, epochs: Number.POSITIVE_INFINITY }).steps).toBe(Number.POSITIVE_INFINITY);
});

it('frees the tensors of a batch at the next one and at the end, unless they are kept', async () => {
  const { live } = device.memory();
  let kept: Tensor | undefined;
  let last: Tensor | undefined;
  for await (const { x } of batches(five, { size: 2 })) {
    if (last) expect(last.disposed).toBe(last !== kept);
    kept ??= keep(x);
    last = x;
  }
  expect([last?.disposed, kept?.disposed]).toEqual([true, false]);
  kept?.dispose();
  for await (const { x } of batches(five, { size: 2 })) {
    last = x;
    break;
  }
  expect(last?.disposed).toBe(true);
  expect(device.memory().live).toBe(live);
});

it('maps the tensors of a batch, with its place', async () => {
  const places: unknown[] = [];
  const data = batches(five, {
    size: 3,
    epochs: 2,
    map: ({ x }, { epoch, step, indices }) => {
      places.push([epoch, step, [...indices]]);
      return mul(x, 2);
    },
  });
  const first: number[] = [];
  for await (const doubled of data) first.push(numbers(doubled)[0]);
  expect(first).toEqual([0, 12, 0, 12]);
  expect(places).toEqual([
    [0, 0, [0, 1, 2]],
    [0, 1, [3, 4]],
    [1, 2, [0, 1, 2]],
    [1, 3, [3, 4]],
  ]);
});

it('yields images in [0, 1] and their labels', async () => {
  for await (const { images, labels } of batches(await digitsDataset('heldOut'), { size: 397 })) {
    expect([images.shape, labels.shape, labels.dtype]).toEqual([[397, 8, 8, 1], [397], 'i32']);
    expect(Math.max(...numbers(images))).toBe(1);
    expect(Math.min(...numbers(images))).toBe(0);
  }
  const plain = memoryDataset('two', Uint8Array.of(0, 255), [2, 1, 1, 1]);
  for await (const batch of batches(plain, { size: 2 })) {
    expect(numbers(batch.images)).toEqual([0, 1]);
    expect(batch.labels).toBeUndefined();
  }
});

it.each<[what: string, call: () => unknown, message: string]>([
  [
    'a size that leaves no batch',
    () => batches(five, { size: 6, dropLast: true }),
    '[batches] expected a size of at most 5 with dropLast, got 6',
  ],
  [
    'a seed without effect',
    () => batches(five, { size: 2, seed: 1 }),
    '[batches] expected no seed without shuffle, got 1',
  ],
  [
    'an unknown option',
    () => batches(five, { size: 2, shufle: true } as never),
    'got "shufle" (did you mean "shuffle"?)',
  ],
  [
    'no size',
    () => batches(five, {} as never),
    '[batches] expected size to be a whole number >= 1, got none in the options',
  ],
  [
    'something else than a data set',
    () => batches([] as never, { size: 1 }),
    '[batches] expected dataset to be a data set { count, load }, got []',
  ],
  [
    'no fields',
    () => arrayDataset({}),
    '[arrayDataset] expected fields to be an object of typed arrays or { shape, data }',
  ],
  [
    'fields of different lengths',
    () => arrayDataset({ x: new Float32Array(2), y: new Int32Array(3) }),
    '[arrayDataset] expected fields with the same number of items, at least 1, got [2] for "x" and [3] for "y"',
  ],
  [
    'a shape that does not fit',
    () => arrayDataset({ x: { shape: [2, 2], data: new Float32Array(3) } }),
    '[arrayDataset] expected a shape [items, ...] of 3 numbers for field "x", got [2, 2]',
  ],
  [
    'an array of another type',
    () => arrayDataset({ x: new Float64Array(2) as never }),
    '[arrayDataset] expected field "x" to hold a Float32Array, an Int32Array or a Uint8Array',
  ],
])('refuses %s', (_, call, message) => {
  expect(call).toThrow(message);
});

describe('loadCsv', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-csv-'));
  let files = 0;
  const written = (text: string | Uint8Array) => {
    const path = join(folder, `${files++}.csv`);
    writeFileSync(path, text);
    return path;
  };
  const read = async (path: string, options: Parameters<typeof loadCsv>[1] = {}) => {
    const data = await loadCsv(path, options);
    const { x, y } = (await data.load(Int32Array.from({ length: data.count }, (_, i) => i))) as never as Record<
      string,
      { shape: number[]; data: ArrayLike<number> }
    >;
    return {
      columns: data.columns,
      classes: data.classes,
      shape: x.shape,
      x: [...Array.from(x.data)],
      y: y && Array.from(y.data),
      data,
    };
  };

  it('reads columns of numbers, and labels that are words', async () => {
    const path = written('a,b,kind\n1,2,cat\r\n3,-4.5e1,"dog"\n\n5,6,cat');
    expect(await read(path, { label: 'kind' })).toMatchObject({
      columns: ['a', 'b'],
      classes: ['cat', 'dog'],
      shape: [3, 2],
      x: [1, 2, 3, -45, 5, 6],
      y: [0, 1, 0],
    });
    const named = await read(path, { label: 'kind', classes: ['bird', 'dog', 'cat'], columns: ['b'] });
    expect(named).toMatchObject({ columns: ['b'], x: [2, -45, 6], y: [2, 1, 2] });
  });

  it('keeps labels that are whole numbers, and reads targets as numbers', async () => {
    const path = written('\uFEFFx;y\n0.5;7\n1.5;3\n');
    expect(await read(path, { label: 'y', separator: ';' })).toMatchObject({
      classes: undefined,
      x: [0.5, 1.5],
      y: [7, 3],
    });
    expect(await read(path, { target: 'x', separator: ';' })).toMatchObject({
      columns: ['y'],
      x: [7, 3],
      y: [0.5, 1.5],
    });
    expect((await read(path, { separator: ';' })).y).toBeUndefined();
  });

  it('numbers the columns of a file without a header', async () => {
    expect(await read(written('1,2\n3,4\n'), { header: false, label: '1' })).toMatchObject({
      columns: ['0'],
      x: [1, 3],
      y: [2, 4],
    });
  });

  it('reads quoted cells with separators, quotes and line breaks', async () => {
    const path = written('n,word\n1,"a, ""b"""\r\n2,"two\nlines"\n');
    expect((await read(path, { label: 'word' })).classes).toEqual(['a, "b"', 'two\nlines']);
  });

  it.each<[text: string | Uint8Array, options: Parameters<typeof loadCsv>[1], message: string]>([
    ['a,b\n1,x\n', {}, 'line 2, column "b": "x" is not a number'],
    ['a,b\n1,2\n1,\n', {}, 'line 3, column "b": "" is not a number'],
    ['a,b\n"1\n2",2\n3,Infinity\n', { columns: ['b'] }, 'line 4, column "b": "Infinity" is not a number'],
    ['a,b\n1,2,3\n', {}, 'line 2 has 3 cells, the first line 2'],
    ['a,a\n1,2\n', {}, 'has two columns "a"'],
    ['a,kind\n1,x\n', { label: 'kinds' }, 'has no column "kinds"; did you mean "kind"?'],
    ['a,kind\n1,x\n', { label: 'kind', classes: ['y'] }, 'line 2, column "kind": "x" is not a class'],
    ['a,b\n', {}, 'holds no records'],
    ['', { header: false }, 'holds no records'],
    ['a\n"1', {}, 'line 2: a quoted cell does not end'],
    ['a\n"1"2\n', {}, 'line 2: a quoted cell is followed by "2"'],
    [Uint8Array.of(0xff, 0xfe, 0x31, 0), {}, 'is not text in UTF-8'],
  ])('refuses %j with %j', async (text, options, message) => {
    const path = written(text);
    const error = await loadCsv(path, options).catch((caught: Error) => caught);
    expect(error).toBeInstanceOf(FileError);
    expect((error as Error).message).toBe(`${path}: ${message}`);
  });

  it('refuses a label with a target, and classes without labels', async () => {
    const path = written('a,b\n1,2\n');
    await expect(loadCsv(path, { label: 'a', target: 'b' })).rejects.toThrow(
      '[loadCsv] expected label or target, got both',
    );
    await expect(loadCsv(path, { classes: ['x'] })).rejects.toThrow(
      '[loadCsv] expected a label for its classes, got none',
    );
  });
});
