// Changed and selected images: definitions by hand, numpy's numbers, and refusals.
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import {
  changedDataset,
  digitsDataset,
  labelledSubset,
  memoryDataset,
  openAfhq,
  openCelebA,
  openMetFaces,
} from '../../src/data/index.ts';
import { writePng } from '../../src/io/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-changes-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ramp = memoryDataset('ramp', Uint8Array.of(1, 2, 3, 9, 5, 6, 7, 8, 4), [1, 3, 3, 1]);
const only = Int32Array.of(0);

it('bold is the brightest of four neighbours, rotated is numpy.rot90', async () => {
  expect([...(await changedDataset(ramp, 'bold').load(only))]).toEqual([1, 2, 3, 9, 9, 6, 9, 9, 8]);
  expect([...(await changedDataset(ramp, 'rotated').load(only))]).toEqual([3, 6, 4, 2, 5, 8, 1, 9, 7]);
  expect([...(await changedDataset(ramp, 'inverted').load(only))]).toEqual([
    254, 253, 252, 246, 250, 249, 248, 247, 251,
  ]);
  // The images of the set itself stay as they are.
  expect([...(await ramp.load(only))]).toEqual([1, 2, 3, 9, 5, 6, 7, 8, 4]);
});

it('channels are changed alike, each on its own', async () => {
  const colour = memoryDataset('colour', Uint8Array.of(1, 200, 2, 100, 3, 50, 4, 25), [1, 2, 2, 2]);
  expect([...(await changedDataset(colour, 'bold').load(only))]).toEqual([1, 200, 2, 200, 3, 200, 4, 200]);
});

it('halves of the digits share no digit, and each has its held-out part', async () => {
  const count = async (part: 'train' | 'heldOut', half: 'whole' | 'first' | 'second') =>
    (await digitsDataset(part, half)).count;
  expect(await count('train', 'first')).toBe(700);
  expect(await count('heldOut', 'first')).toBe(198);
  expect((await count('train', 'second')) + (await count('heldOut', 'second'))).toBe(899);
  const [whole, first] = [await digitsDataset('heldOut'), await digitsDataset('heldOut', 'first')];
  const all = Int32Array.from({ length: first.count }, (_, i) => i);
  expect(await first.load(all)).toEqual(await whole.load(all));
});

it('selects labels in their order', async () => {
  const set = memoryDataset('four', Uint8Array.of(10, 20, 30, 40), [4, 1, 1, 1], Int32Array.of(3, 5, 3, 1));
  const chosen = labelledSubset(set, [5, 3]);
  expect(chosen.labels).toEqual(Int32Array.of(3, 5, 3));
  expect([...(await chosen.load(Int32Array.of(2, 0)))]).toEqual([30, 10]);
  expect(() => chosen.load(Int32Array.of(3))).toThrow(/has 3 items/);
  expect(() => labelledSubset(set, [7])).toThrow(/has none/);
  expect(() => labelledSubset(ramp, [1])).toThrow(/data set with labels/);
});

it('reads AFHQ, MetFaces and CelebA as they are published', async () => {
  const image = (value: number) => ({ width: 4, height: 4, channels: 3, data: new Uint8Array(48).fill(value) });
  for (const [path, value] of [
    ['afhq/train/cat/flickr_cat_000002.png', 10],
    ['afhq/val/cat/flickr_cat_000008.png', 20],
    ['afhq/train/wild/pixabay_wild_000001.png', 30],
    ['metfaces/images/10-00.png', 40],
    ['metfaces/images/11-00.png', 41],
    ['celeba/img_align_celeba/000001.jpg', 50],
    ['celeba/img_align_celeba/000002.jpg', 51],
  ] as const) {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writePng(join(folder, path), image(value));
  }
  const options = { size: 4, channels: 3 } as const;
  for (const [opened, value] of [
    [openAfhq(join(folder, 'afhq'), 'cat', { ...options, part: 'train' }), 10],
    [openAfhq(folder, 'cat', { ...options, part: 'heldOut' }), 20],
    [openAfhq(folder, 'wild', { ...options, part: 'train' }), 30],
  ] as const) {
    const set = await opened;
    expect(set.count).toBe(1);
    expect((await set.load(only))[0]).toBe(value);
  }
  expect((await openMetFaces(folder, { ...options, part: 'train' })).count).toBe(1);
  expect((await openCelebA(join(folder, 'celeba'), { ...options, part: 'heldOut' })).count).toBe(1);
  await expect(openAfhq(folder, 'wild', { ...options, part: 'heldOut' })).rejects.toThrow(/val\/wild, test\/wild/);
  await expect(openMetFaces(join(folder, 'none'), { ...options, part: 'train' })).rejects.toThrow(/no such folder/);
});
