// CIFAR-10 and MNIST files built byte by byte from their definitions, and damaged ones.
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { loadCifar10, loadMnist } from '../../src/data/index.ts';

function folderOf(files: Record<string, Uint8Array>): string {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-files-'));
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  return folder;
}

describe('CIFAR-10', () => {
  const record = 3073;
  const batch = (first: number) => {
    const bytes = new Uint8Array(10_000 * record);
    for (let i = 0; i < 10_000; i++) {
      bytes[i * record] = (i + first) % 10;
      // Red is the index of the image, green the row, blue the column.
      for (let p = 0; p < 1024; p++) {
        bytes[i * record + 1 + p] = i % 256;
        bytes[i * record + 1025 + p] = p >> 5;
        bytes[i * record + 2049 + p] = p & 31;
      }
    }
    return bytes;
  };

  it('reads planes as channels, reads labels, and lists missing batches', async () => {
    const { dataset, missing } = await loadCifar10(
      folderOf({ 'data_batch_2.bin': batch(0), 'data_batch_4.bin': batch(3) }),
      'train',
    );
    expect(missing).toEqual(['data_batch_1.bin', 'data_batch_3.bin', 'data_batch_5.bin']);
    expect(dataset).toMatchObject({ count: 20_000, height: 32, width: 32, channels: 3 });
    const image = await dataset.load(Int32Array.of(10_007));
    expect([...image.subarray((5 * 32 + 9) * 3, (5 * 32 + 9) * 3 + 3)]).toEqual([7, 5, 9]);
    expect(dataset.labels?.[10_007]).toBe(0);
  });

  it.each([
    [
      'that is truncated',
      batch(0).subarray(0, 1000),
      /test_batch\.bin: has 1000 bytes instead of 30730000; it is truncated/,
    ],
    ['with a wrong label', batch(0).fill(99, 2 * record, 2 * record + 1), /record 2 has label 99, expected 0\.\.9/],
  ])('refuses a batch %s', async (_, bytes, message) => {
    await expect(loadCifar10(folderOf({ 'test_batch.bin': bytes }), 'heldOut')).rejects.toThrow(message);
  });

  it('refuses a folder without batches', async () => {
    await expect(loadCifar10(folderOf({}), 'train')).rejects.toThrow(/holds none of data_batch_1\.bin/);
  });
});

describe('MNIST', () => {
  const idx = (shape: number[], data: number[]) => {
    const bytes = Buffer.alloc(4 + 4 * shape.length + data.length);
    bytes[2] = 8;
    bytes[3] = shape.length;
    shape.forEach((dim, i) => bytes.writeUInt32BE(dim, 4 + 4 * i));
    bytes.set(data, 4 + 4 * shape.length);
    return bytes;
  };
  const images = idx([2, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  const labels = idx([2], [7, 2]);

  it.each([
    ['plain', { 'train-images-idx3-ubyte': images, 'train-labels-idx1-ubyte': labels }],
    ['gzipped', { 'train-images-idx3-ubyte.gz': gzipSync(images), 'train-labels.idx1-ubyte.gz': gzipSync(labels) }],
  ])('reads %s files', async (_, files) => {
    const set = await loadMnist(folderOf(files as Record<string, Uint8Array>), 'train');
    expect(set).toMatchObject({ count: 2, height: 2, width: 3, channels: 1, labels: Int32Array.of(7, 2) });
    expect([...(await set.load(Int32Array.of(1, 0)))]).toEqual([7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6]);
  });

  it.each<[string, Uint8Array, Uint8Array, RegExp]>([
    ['that is truncated', images.subarray(0, 20), labels, /declares \[2, 2, 3\] but has 4 elements/],
    ['of a huge size', idx([2 ** 31, 2 ** 31, 3], [1]), labels, /but has 1 elements/],
    ['empty', new Uint8Array(0), labels, /is not an IDX file/],
    ['of labels', labels, labels, /is not an IDX file of unsigned bytes with 3 dimensions/],
    ['with fewer labels', images, idx([1], [7]), /has 1 labels for the 2 images/],
  ])('refuses one %s', async (_, first, second, message) => {
    const folder = folderOf({ 't10k-images-idx3-ubyte': first, 't10k-labels-idx1-ubyte': second });
    await expect(loadMnist(folder, 'heldOut')).rejects.toThrow(message);
  });

  it('refuses a file that is not gzip, and a missing file', async () => {
    const folder = folderOf({ 'train-images-idx3-ubyte.gz': images });
    await expect(loadMnist(folder, 'train')).rejects.toThrow(/cannot be decompressed/);
    await expect(loadMnist(folder, 'heldOut')).rejects.toThrow(/holds none of t10k-images-idx3-ubyte/);
  });
});
