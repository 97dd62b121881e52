// LSUN databases: pixels compared with Pillow (fixtures/lsun/make_lsun.py), categories and parts, values that are not
// images.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { openLmdb, openLsun } from '../../src/data/index.ts';
import { readNpz } from '../../src/io/index.ts';

const fixtures = fileURLToPath(new URL('../fixtures/lsun/', import.meta.url));
const trainDatabase = join(fixtures, 'church_outdoor_train_lmdb');
const options = { size: 32, channels: 3 } as const;
const church = { ...options, category: 'church_outdoor' } as const;
const parts = ['train', 'heldOut'] as const;

const all = (count: number) => Int32Array.from({ length: count }, (_, i) => i);
const temporary = () => mkdtempSync(join(tmpdir(), 'rectiflow-lsun-'));

/** A copy of the training database in which the first `count` values are not images. */
async function withBrokenValues(count: number): Promise<string> {
  const bytes = readFileSync(join(trainDatabase, 'data.mdb'));
  using database = await openLmdb(trainDatabase);
  for (let i = 0; i < count; i++) {
    const begin = database.value(i).subarray(0, 256);
    // Stale pages may hold the value too.
    for (let at = bytes.indexOf(begin); at >= 0; at = bytes.indexOf(begin)) bytes.fill(0, at, at + 256);
  }
  const folder = temporary();
  writeFileSync(join(folder, 'data.mdb'), bytes);
  return folder;
}

it.each(parts)('%s: resizes like Pillow, within one level on average', async (part) => {
  const pillow = await readNpz(join(fixtures, 'pillow.npz'));
  const want = pillow.get(part === 'train' ? 'train' : 'val')?.data as Uint8Array;
  using set = await openLsun(fixtures, { ...church, part });
  expect([set.count, set.height, set.width, set.channels]).toEqual([part === 'train' ? 6 : 2, 32, 32, 3]);
  const got = await set.load(all(set.count));
  expect(got.length).toBe(want.length);
  for (let i = 0; i < set.count; i++) {
    const image = got.subarray(i * 3072, (i + 1) * 3072);
    const distance = image.reduce((sum, value, j) => sum + Math.abs(value - want[i * 3072 + j]), 0) / 3072;
    expect(distance).toBeLessThan(1);
  }
});

it('splits a single database by its keys, whether it is given by its folder, its file or its category', async () => {
  const root = temporary();
  cpSync(trainDatabase, join(root, 'church_outdoor_val_lmdb'), { recursive: true });
  const images = [];
  for (const [path, category] of [
    [trainDatabase, ''],
    [join(trainDatabase, 'data.mdb'), 'ignored'],
    [root, 'church_outdoor'],
  ])
    for (const part of parts) {
      using set = await openLsun(path, { ...options, category, part });
      images.push(await set.load(all(set.count)));
    }
  expect(images.map(({ length }) => length / 3072)).toEqual([5, 1, 5, 1, 5, 1]);
  expect(images[2]).toEqual(images[0]);
  expect(images[5]).toEqual(images[1]);
  using whole = await openLsun(fixtures, { ...church, part: 'train' });
  const both = await whole.load(all(6));
  const sum = (pixels: Uint8Array) => pixels.reduce((total, value) => total + value, 0);
  expect(sum(images[0]) + sum(images[1])).toBe(sum(both));
});

it('lists the available categories', async () => {
  const open = (root: string, category: string) => openLsun(root, { ...options, category, part: 'train' });
  await expect(open(fixtures, '')).rejects.toThrow(
    'no category (data.category) is given; it has the categories church_outdoor',
  );
  await expect(open(fixtures, 'bedroom')).rejects.toThrow(
    'has neither bedroom_train_lmdb nor bedroom_val_lmdb; it has the categories church_outdoor',
  );
  await expect(open(temporary(), 'bedroom')).rejects.toThrow('it has no category');
  await expect(open('/no/such', 'bedroom')).rejects.toThrow('/no/such: no such folder: /no does not exist');
  const root = temporary();
  mkdirSync(join(root, 'tower_val_lmdb'));
  await expect(open(root, 'tower')).rejects.toThrow('tower_val_lmdb/data.mdb: no such file or folder');
});

it('names values that are not images, replaces them by others, and fails above the limit', async () => {
  const root = await withBrokenValues(3);
  const notices: string[] = [];
  const open = (tolerated: number) =>
    openLsun(root, { ...options, part: 'train', tolerated, notice: (text) => notices.push(text) });
  using set = await open(10);
  await set.load(all(set.count));
  await set.load(all(set.count));
  expect(notices.length).toBeGreaterThan(1);
  expect(new Set(notices).size).toBe(notices.length);
  for (const text of notices) expect(text).toMatch(/data\.mdb, key [0-9a-f]{40}, cannot be read and is skipped: /);
  using strict = await open(1);
  await expect(strict.load(all(strict.count))).rejects.toThrow('has more than 1 unreadable images; the last: ');
});

it('reports a database without images in one error', async () => {
  using set = await openLsun(await withBrokenValues(6), { ...options, part: 'train' });
  await expect(set.load(Int32Array.of(0))).rejects.toThrow('has no readable image');
});
