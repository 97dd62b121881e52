// Pairs in official files: written in parts, read by row, and several folders as one set.
import { appendFileSync, mkdirSync, mkdtempSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PairSet, type PairShape, writePairFile } from '../../src/data/index.ts';
import { readNpy, writeNpy } from '../../src/io/index.ts';

const shape: PairShape = [3, 2, 4];
const size = 24;

/** Image i has the values i + 0, i + 0.01, ... in [H, W, C] order. */
const image = (i: number) => Float32Array.from({ length: size }, (_, at) => i + at / 100);

function* batches(first: number, count: number, batch: number) {
  for (let from = first; from < first + count; from += batch) {
    const n = Math.min(batch, first + count - from);
    const values = new Float32Array(n * size);
    for (let i = 0; i < n; i++) values.set(image(from + i), i * size);
    yield values;
  }
}

async function root(parts: Record<string, [first: number, count: number]>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-pairs-'));
  for (const [name, [first, count]] of Object.entries(parts)) {
    mkdirSync(join(folder, name));
    await writePairFile(join(folder, name, 'z0.npy'), count, shape, batches(first, count, 4));
    await writePairFile(join(folder, name, 'z1.npy'), count, shape, batches(first + 1000, count, 3));
  }
  return folder;
}

describe('pairs', () => {
  it('are stored as [M, C, H, W]', async () => {
    const folder = await root({ 0: [0, 10] });
    const { shape: stored, data } = await readNpy(join(folder, '0/z0.npy'));
    expect(stored).toEqual([10, 3, 2, 4]);
    // Channel 1, row 1, column 2 of image 7 is element (1 * 4 + 2) * 3 + 1 with channels last.
    expect(data[7 * size + 1 * 8 + 1 * 4 + 2]).toBe(image(7)[(1 * 4 + 2) * 3 + 1]);
  });

  it('of several folders form one set, in the order of their names', async () => {
    const folder = await root({ 0: [0, 10], 7: [10, 3] });
    mkdirSync(join(folder, 'notes'));
    const notices: string[] = [];
    const pairs = await PairSet.open(folder, shape, (text) => notices.push(text));
    expect(notices).toEqual([`${join(folder, 'notes')} has no z0.npy and z1.npy and is skipped`]);
    expect(pairs.count).toBe(13);
    const { z0, z1 } = await pairs.load(Int32Array.of(12, 0, 9, 10));
    expect(Array.from(z0)).toEqual([12, 0, 9, 10].flatMap((i) => Array.from(image(i))));
    expect(Array.from(z1)).toEqual([1012, 1000, 1009, 1010].flatMap((i) => Array.from(image(i))));
    await expect(pairs.load(Int32Array.of(13))).rejects.toThrow(/index 13 is out of range/);
    await pairs.close();
  });

  it('that do not match are refused with the name of the file', async () => {
    const open = (folder: string) => PairSet.open(folder, shape);
    await expect(open(join(tmpdir(), 'nowhere-at-all'))).rejects.toThrow(/nowhere-at-all: no such folder/);
    await expect(open(mkdtempSync(join(tmpdir(), 'rectiflow-pairs-')))).rejects.toThrow(/holds no pairs/);
    const short = await root({ 0: [0, 5] });
    truncateSync(join(short, '0/z1.npy'), 300);
    await expect(open(short)).rejects.toThrow(/z1\.npy: holds \d+ bytes of elements, .* it is truncated/);
    const longer = await root({ 0: [0, 5] });
    appendFileSync(join(longer, '0/z1.npy'), 'x');
    await expect(open(longer)).rejects.toThrow(/z1\.npy: holds/);
    const uneven = await root({ 0: [0, 5] });
    await writePairFile(join(uneven, '0/z1.npy'), 4, shape, batches(0, 4, 4));
    await expect(open(uneven)).rejects.toThrow(/z1\.npy: has 4 rows, but .* has 5/);
    const other = await root({ 0: [0, 5] });
    await writeNpy(join(other, '0/z0.npy'), { shape: [5, 24], dtype: 'f32', data: new Float32Array(120) });
    await expect(open(other)).rejects.toThrow(/z0\.npy: holds \[5, 24\], expected \[pairs, channels, height, width\]/);
    await writeNpy(join(other, '0/z0.npy'), { shape: [5, 3, 2, 4], dtype: 'i32', data: new Int32Array(120) });
    await expect(open(other)).rejects.toThrow(/must hold rows of floating-point numbers, got i32 \[5, 3, 2, 4\]/);
  });

  it('are not written if their number differs from the declared one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rectiflow-pairs-'));
    await expect(writePairFile(join(folder, 'z0.npy'), 6, shape, batches(0, 5, 2))).rejects.toThrow(
      /120 numbers for f32/,
    );
    await expect(readNpy(join(folder, 'z0.npy'))).rejects.toThrow(/no such file/);
  });
});
