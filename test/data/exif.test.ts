// EXIF orientation: every place that decodes files shows images upright, as viewers do, or as stored if the option says
// so. Stored pixels are made from upright ones by the table of the standard (CIPA DC-008, 4.6.4).
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { type ImageDataset, openImageFolder, openLsun } from '../../src/data/index.ts';
import { describeInertKeys } from '../../src/run/config/inert.ts';
import { statisticsPath } from '../../src/run/eval/reference_statistics.ts';
import { loadDataset } from '../../src/run/index.ts';
import { configWith } from '../support/config.ts';
import { lmdbOf } from '../support/lmdb.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-exif-'));
afterAll(() => rmSync(folder, { recursive: true }));

const orientations = [1, 2, 3, 4, 5, 6, 7, 8];

type Pixels = { width: number; height: number; data: Uint8Array };
type Place = (row: number, column: number) => readonly [row: number, column: number];

/** An image without symmetry. */
function picture(width: number, height: number): Pixels {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i * 7 + 13 * i) % 251);
  return { width, height, data };
}

/** The stored position of the upright pixel (row, column) by the standard's table: "0th row left side" and so on. */
function storedPlace(orientation: number, { width, height }: Pixels): Place {
  const places: Record<number, Place> = {
    1: (row, column) => [row, column],
    2: (row, column) => [row, width - 1 - column],
    3: (row, column) => [height - 1 - row, width - 1 - column],
    4: (row, column) => [height - 1 - row, column],
    5: (row, column) => [column, row],
    6: (row, column) => [width - 1 - column, row],
    7: (row, column) => [width - 1 - column, height - 1 - row],
    8: (row, column) => [column, height - 1 - row],
  };
  return places[orientation];
}

function stored(seen: Pixels, orientation: number): Pixels {
  const sideways = orientation >= 5;
  const [width, height] = sideways ? [seen.height, seen.width] : [seen.width, seen.height];
  const data = new Uint8Array(seen.data.length);
  const place = storedPlace(orientation, seen);
  for (let row = 0; row < seen.height; row++)
    for (let column = 0; column < seen.width; column++) {
      const [r, c] = place(row, column);
      const from = (row * seen.width + column) * 3;
      data.set(seen.data.subarray(from, from + 3), (r * width + c) * 3);
    }
  return { width, height, data };
}

function encoded(image: Pixels, orientation: number | undefined, format: 'png' | 'webp' | 'jpeg'): Promise<Buffer> {
  const raw = { width: image.width, height: image.height, channels: 3 } as const;
  const made = sharp(image.data, { raw });
  const marked = orientation === undefined ? made : made.withMetadata({ orientation });
  return marked.toFormat(format, format === 'webp' ? { lossless: true } : { quality: 100 }).toBuffer();
}

/** The centre square. */
function centre({ width, height, data }: Pixels): number[] {
  const side = Math.min(width, height);
  const [left, top] = [Math.floor((width - side) / 2), Math.floor((height - side) / 2)];
  const rows = Array.from({ length: side }, (_, row) => {
    const at = ((top + row) * width + left) * 3;
    return [...data.subarray(at, at + 3 * side)];
  });
  return rows.flat();
}

let folders = 0;
/** Writes the images to a folder as 0.<format> and so on, with one more, so that there is a held-out part. */
function folderOf(images: readonly Buffer[], format: string): string {
  const path = join(folder, String(folders++));
  mkdirSync(path);
  for (const [i, bytes] of images.entries()) writeFileSync(join(path, `${i}.${format}`), bytes);
  return path;
}

/** All images of both parts. */
async function allOf(open: (part: 'train' | 'heldOut') => Promise<ImageDataset>): Promise<number[][]> {
  const images: number[][] = [];
  for (const part of ['train', 'heldOut'] as const) {
    const set = await open(part);
    for (let i = 0; i < set.count; i++) images.push([...(await set.load(Int32Array.of(i)))]);
    set[Symbol.dispose]?.();
  }
  return images;
}

describe.each([
  [7, 4],
  [4, 7],
  [6, 6],
])('upright images of %d x %d', (width, height) => {
  const seen = picture(width, height);
  const size = Math.min(width, height);

  it.each(['png', 'webp'] as const)(
    '.%s: decodes all eight orientations to the same image, bit for bit',
    async (format) => {
      const files = await Promise.all(orientations.map((o) => encoded(stored(seen, o), o, format)));
      const path = folderOf(files, format);
      const images = await allOf((part) => openImageFolder(path, { size, channels: 3, part }));
      expect(images).toHaveLength(8);
      for (const image of images) expect(image).toEqual(centre(seen));
    },
  );

  it('decodes JPEG to the same image within its precision', async () => {
    const files = await Promise.all(orientations.map((o) => encoded(stored(seen, o), o, 'jpeg')));
    const path = folderOf(files, 'jpg');
    const upright = await allOf((part) =>
      openImageFolder(folderOf([files[0], files[0]], 'jpg'), { size: 2, channels: 3, part }),
    );
    for (const image of await allOf((part) => openImageFolder(path, { size: 2, channels: 3, part })))
      for (const [i, value] of image.entries()) expect(Math.abs(value - upright[0][i])).toBeLessThan(40);
  });

  it('reads images as stored with exifOrientation: false', async () => {
    for (const orientation of orientations) {
      const image = stored(seen, orientation);
      const file = await encoded(image, orientation, 'png');
      const path = folderOf([file, file], 'png');
      const images = await allOf((part) => openImageFolder(path, { size, channels: 3, part, exifOrientation: false }));
      expect(images).toEqual([centre(image), centre(image)]);
    }
  });
});

it('resizes to the same pixels as turning first', async () => {
  const seen = picture(60, 41);
  for (const orientation of orientations) {
    const file = await encoded(stored(seen, orientation), orientation, 'png');
    const upright = await encoded(seen, undefined, 'png');
    const options = { size: 16, channels: 3, part: 'train' } as const;
    const [turned, plain] = await Promise.all(
      [file, upright].map(async (bytes) =>
        (await openImageFolder(folderOf([bytes, bytes], 'png'), options)).load(Int32Array.of(0)),
      ),
    );
    // The decoder rounds between the pass over rows and the pass over columns, whose order differs.
    for (const [i, value] of turned.entries()) expect(Math.abs(value - plain[i])).toBeLessThanOrEqual(1);
  }
});

it('turns grey images', async () => {
  const seen = picture(5, 5);
  const files = await Promise.all([1, 6, 8, 3].map((o) => encoded(stored(seen, o), o, 'png')));
  const path = folderOf(files, 'png');
  const images = await allOf((part) => openImageFolder(path, { size: 5, channels: 1, part }));
  for (const image of images) expect(image).toEqual(images[0]);
});

it('ignores an undefined orientation', async () => {
  const seen = picture(5, 3);
  const plain = await encoded(seen, undefined, 'jpeg');
  // An APP1 segment with one entry, the tag Orientation (0x0112) with the value 9.
  const exif = Buffer.from(
    'ffe10022457869660000' + '49492a0008000000' + '0100' + '1201' + '0300' + '01000000' + '09000000' + '00000000',
    'hex',
  );
  const marked = Buffer.concat([plain.subarray(0, 2), exif, plain.subarray(2)]);
  const path = folderOf([plain, marked, plain], 'jpg');
  const images = await allOf((part) => openImageFolder(path, { size: 3, channels: 3, part }));
  expect(images[1]).toEqual(images[0]);
  expect(images[2]).toEqual(images[0]);
});

it('turns the values of an LSUN database, unless exifOrientation is false', async () => {
  const seen = picture(5, 3);
  const path = join(folder, 'database.mdb');
  const values = await Promise.all(
    orientations.map(async (o) => [`key${o}`, await encoded(stored(seen, o), o, 'png')] as const),
  );
  writeFileSync(path, lmdbOf(values));
  const open = (exifOrientation?: boolean) =>
    allOf((part) => openLsun(path, { size: 3, channels: 3, part, exifOrientation }));
  for (const image of await open()) expect(image).toEqual(centre(seen));
  const asStored = orientations.map((o) => centre(stored(seen, o)).join());
  expect((await open(false)).map((image) => image.join()).sort()).toEqual(asStored.sort());
});

describe('data.exif_orientation', () => {
  it('is true by default, and determines the images that a configuration trains on', async () => {
    const seen = picture(5, 3);
    const file = await encoded(stored(seen, 6), 6, 'png');
    const root = folderOf([file, file, file], 'png');
    const keys = { 'data.dataset': 'FOLDER', 'data.root_path': root, 'data.image_size': 3 };
    const load = async (values: object) => {
      const config = await configWith('base', { ...keys, ...values });
      return [...(await (await loadDataset(config, 'train')).load(Int32Array.of(0)))];
    };
    expect(await load({})).toEqual(centre(seen));
    expect(await load({ 'data.exif_orientation': false })).toEqual(centre(stored(seen, 6)));
  });

  it('is part of the name of cached statistics if it has an effect', async () => {
    const network = { key: 'pixels' };
    const nameOf = async (dataset: string, value: boolean) =>
      statisticsPath(await configWith('base', { 'data.dataset': dataset, 'data.exif_orientation': value }), network);
    for (const dataset of ['FOLDER', 'LSUN', 'CelebA-HQ-Pytorch', 'AFHQ-CAT-Pytorch'])
      expect(await nameOf(dataset, true)).not.toBe(await nameOf(dataset, false));
    expect(await nameOf('CIFAR10', true)).toBe(await nameOf('CIFAR10', false));
  });

  it('is reported to have no effect on data sets without image files', async () => {
    const inert = async (dataset: string) =>
      describeInertKeys(await configWith('base', { 'data.dataset': dataset }), ['data.exif_orientation']);
    expect(await inert('CIFAR10')).toEqual(['data.exif_orientation has no effect with data.dataset CIFAR10']);
    expect(await inert('FOLDER')).toEqual([]);
  });
});
