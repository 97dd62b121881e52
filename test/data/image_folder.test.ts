// Folders of images: pixels compared with Pillow (fixtures/images/make_images.py), the split, and unreadable files.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { openImageFolder } from '../../src/data/index.ts';
import { readNpz } from '../../src/io/index.ts';

const fixtures = fileURLToPath(new URL('../fixtures/images/', import.meta.url));

function folderOf(names: Record<string, string | Uint8Array>): string {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-folder-'));
  for (const [name, content] of Object.entries(names)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    if (typeof content === 'string') copyFileSync(join(fixtures, content), join(folder, name));
    else writeFileSync(join(folder, name), content);
  }
  return folder;
}

const all = (count: number) => Int32Array.from({ length: count }, (_, i) => i);

it.each([
  ['0.jpg', 0],
  ['1.png', 1],
  ['2.webp', 2],
  ['3.jpg', 3],
])('resizes %s like Pillow, within one level on average', async (name, index) => {
  const folder = folderOf({ 'a.jpg': '0.jpg', [`pictures/${name}`]: name });
  const [pillow] = (await readNpz(join(fixtures, 'pillow.npz'))).values();
  const want = (pillow.data as Uint8Array).subarray(index * 3072, (index + 1) * 3072);
  const parts = await Promise.all(
    (['train', 'heldOut'] as const).map((part) => openImageFolder(folder, { size: 32, channels: 3, part })),
  );
  const images = await Promise.all(parts.map((set) => set.load(Int32Array.of(0))));
  const distance = (got: Uint8Array) => got.reduce((sum, value, i) => sum + Math.abs(value - want[i]), 0) / want.length;
  expect(Math.min(...images.map(distance))).toBeLessThan(1);
});

it('splits the files into training and held-out images, the same each time', async () => {
  const names = Object.fromEntries(Array.from({ length: 41 }, (_, i) => [`${i}.jpg`, '0.jpg']));
  const folder = folderOf({ ...names, 'notes.txt': new Uint8Array(3) });
  const counts = [];
  for (const part of ['train', 'heldOut', 'train'] as const)
    counts.push((await openImageFolder(folder, { size: 8, channels: 3, part })).count);
  expect(counts).toEqual([38, 3, 38]);
});

it('reads grey images as one channel on request', async () => {
  const folder = folderOf({ '0.jpg': '0.jpg', '1.jpg': '3.jpg' });
  const set = await openImageFolder(folder, { size: 16, channels: 1, part: 'train' });
  expect((await set.load(Int32Array.of(0))).length).toBe(256);
});

it('names unreadable files once, replaces them by others, and fails above the limit', async () => {
  const whole = readFileSync(join(fixtures, '0.jpg'));
  const broken = Object.fromEntries(
    Array.from({ length: 4 }, (_, i) => [`bad${i}.jpg`, i === 0 ? new Uint8Array(0) : whole.subarray(0, 200 * i)]),
  );
  const good = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`good${i}.jpg`, '0.jpg']));
  const folder = folderOf({ ...broken, ...good });
  const notices: string[] = [];
  const options = { size: 8, channels: 3, part: 'train', notice: (text: string) => notices.push(text) } as const;
  const set = await openImageFolder(folder, options);
  const images = await set.load(all(set.count));
  await set.load(all(set.count));
  expect(new Set(notices.map((text) => /bad\d\.jpg cannot be read and is skipped/.exec(text)?.[0])).size).toBe(
    notices.length,
  );
  expect(notices.length).toBeGreaterThan(1);
  expect(images.subarray(0, 192)).toEqual(images.subarray(192, 384));
  const strict = await openImageFolder(folder, { ...options, tolerated: 1 });
  await expect(strict.load(all(strict.count))).rejects.toThrow(/has more than 1 unreadable images; the last: .*bad\d/);
});

it('refuses a folder that is missing or has no image', async () => {
  const options = { size: 8, channels: 3, part: 'train' } as const;
  await expect(openImageFolder('/no/such', options)).rejects.toThrow('/no/such: no such folder: /no does not exist');
  await expect(openImageFolder(folderOf({}), options)).rejects.toThrow('has no file that matches');
  await expect(openImageFolder(folderOf({ '0.jpg': '0.jpg' }), { ...options, part: 'heldOut' })).rejects.toThrow(
    'too few',
  );
});
