// Files of samples and latents. The format of samples depends on the extension:
//   .png  a grid of all images, pixels rounded to nearest
//   DIR/  an image in each file, 00000.png and so on, pixels rounded to nearest, as programs that compute FID read them
//   .npz  "samples", u8 [N, H, W, C], floor(255 x), as the official evaluation writes them
//   .np   the same array in .npy format, as the official training writes it
//   .npy  f32 [N, C, H, W] in data range, not clipped
import { readdirSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { checkArgument, checkArguments, kinds, wholeNumbers } from '../../arguments.ts';
import { channelsFirst, channelsLast, type ImagesShape } from '../../data/index.ts';
import { FileError, formatShape, ShapeError, UsageError } from '../../errors.ts';
import { isFloatingArray } from '../../io/array.ts';
import { requireWritable } from '../../io/atomic.ts';
import { asFileError, isFolder, makeFolder } from '../../io/file.ts';
import {
  encodePng,
  type GridOptions,
  imageGrid,
  readNpy,
  toFloat32,
  writeNpy,
  writeNpz,
  writePng,
} from '../../io/index.ts';
import { requireConfig } from '../config/require.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { pixels } from '../data.ts';

type Writer = (path: string, images: Float32Array, shape: ImagesShape, config: Config) => Promise<void>;

type WriterOf = (grid: GridOptions) => Writer;

const writers: Record<string, WriterOf> = {
  '.png': (grid) => (path, images, shape, config) =>
    writePng(path, imageGrid(pixels(images, config, 'nearest'), shape, grid)),
  '.npz': () => (path, images, shape, config) =>
    writeNpz(path, new Map([['samples', { shape: [...shape], dtype: 'u8', data: pixels(images, config, 'floor') }]])),
  '.np': () => (path, images, shape, config) =>
    writeNpy(path, { shape: [...shape], dtype: 'u8', data: pixels(images, config, 'floor') }),
  '.npy':
    () =>
    (path, images, shape, { data: { centered } }) => {
      const [n, h, w, c] = shape;
      const scaled = centered ? images.map((value) => (value + 1) / 2) : images;
      return writeNpy(path, { shape: [n, c, h, w], dtype: 'f32', data: channelsFirst(scaled, shape) });
    },
};

/** Whether a path names a folder of images: it ends in a slash, or a folder is there. */
export function isImageFolder(path: string): boolean {
  return /[\\/]$/.test(path) || isFolder(path);
}

const writeFolder: Writer = async (folder, images, shape, config) => {
  const [count, height, width, channels] = shape;
  const size = height * width * channels;
  const bytes = pixels(images, config, 'nearest');
  requireNoImages(makeFolder(folder));
  for (let i = 0; i < count; i++) {
    const path = join(folder, `${String(i).padStart(5, '0')}.png`);
    const png = await encodePng({ width, height, channels, data: bytes.slice(i * size, (i + 1) * size) });
    await writeFile(path, png).catch(async (error) => {
      // A part of an image would pass for a sample.
      await rm(path, { force: true }).catch(() => {});
      throw asFileError(path, error);
    });
  }
};

/** @throws FileError for a folder with images, which a program that reads it would count as samples */
function requireNoImages(folder: string): void {
  const other = readdirSync(folder).find((name) => /\.(png|jpe?g|webp|bmp|npy)$/i.test(name));
  if (other !== undefined) throw new FileError(folder, `holds images already, such as ${other}; give another folder`);
}

/**
 * The writer for a path. Call it before sampling, so that a wrong name fails early.
 * @param grid layout of a .png; other files have none
 * @throws UsageError for other extensions, and for a layout of a file that has none
 * @example
 * const config = await loadConfig('digits');
 * const write = sampleWriter('samples.png', { columns: 4 });
 * await write('samples.png', new Float32Array(8 * 64), [8, 8, 8, 1], config);
 * (await readPng('samples.png')).width; // 42
 */
export function sampleWriter(path: string, grid: GridOptions = {}): Writer {
  checkArgument('sampleWriter', 'path', path, kinds.path);
  checkArgument('sampleWriter', 'grid', grid, kinds.object);
  const folder = isImageFolder(path);
  const ending = extname(path).toLowerCase();
  const writer = folder ? writeFolder : writers[ending]?.(grid);
  if (!writer)
    throw new UsageError(
      `expected a file name ending in ${Object.keys(writers).join(', ')}, or a folder ending in /, got "${path}"`,
    );
  const [layout] = Object.keys(grid).filter((key) => grid[key as keyof GridOptions] !== undefined);
  if (layout !== undefined && (folder || ending !== '.png'))
    throw new UsageError(`${layout} has an effect only on a grid, a .png; got "${path}"`);
  return async (target, images, shape, config) => {
    checkArguments('sampleWriter', { path: [target, kinds.path], images: [images, kinds.float32] });
    const dims = wholeNumbers('sampleWriter', 'shape', shape);
    if (dims.length !== 4 || dims.reduce((a, b) => a * b) !== images.length)
      throw new ShapeError('sampleWriter', `[N, H, W, C] of ${images.length} values`, formatShape(dims));
    requireConfig('sampleWriter', config);
    await writer(target, images, shape, config);
  };
}

/** Checks, before sampling, that samples can be written to a path. @throws FileError as the writer would */
export async function requireSamplesWritable(path: string): Promise<void> {
  if (!isImageFolder(path)) return requireWritable(path);
  requireNoImages(makeFolder(path));
  await requireWritable(join(path, '00000.png'));
}

/**
 * Reads start points from a floating-point .npy file [N, C, H, W].
 * @returns f32 [N, H, W, C]
 * @throws FileError for integers, another shape, or values that are not finite in f32
 * @example
 * const config = await loadConfig('digits');
 * await writeNpy('latents.npy', { shape: [2, 1, 8, 8], dtype: 'f32', data: new Float32Array(128) });
 * const { count, data } = await readLatents('latents.npy', config);
 * count; // 2
 * data.length; // 128
 */
export async function readLatents(path: string, config: Config): Promise<{ count: number; data: Float32Array }> {
  checkArgument('readLatents', 'path', path, kinds.path);
  requireConfig('readLatents', config);
  const array = await readNpy(path);
  const { shape, dtype } = array;
  const { image_size: size, num_channels: channels } = config.data;
  const [count] = shape;
  const fits = shape.length === 4 && count > 0 && formatShape(shape) === formatShape([count, channels, size, size]);
  if (!fits || !isFloatingArray(dtype))
    throw new FileError(
      path,
      `expected latents f16, f32 or f64 [N, ${channels}, ${size}, ${size}], got ${dtype} ${formatShape(shape)}`,
    );
  const values = toFloat32(array);
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0)
    throw new FileError(path, `latent ${Math.floor((at * count) / values.length)} holds ${values[at]} as f32`);
  return { count, data: channelsLast(values, [count, ...imageShape(config)]) };
}
