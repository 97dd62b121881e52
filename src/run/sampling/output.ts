// Files of samples and latents. The format of samples depends on the extension:
//   .png  a grid of all images, pixels rounded to nearest
//   .npz  "samples", u8 [N, H, W, C], floor(255 x), as the official evaluation writes them
//   .np   the same array in .npy format, as the official training writes it
//   .npy  f32 [N, C, H, W] in data range, not clipped
import { extname } from 'node:path';
import { checkArgument, checkArguments, kinds, wholeNumbers } from '../../arguments.ts';
import { channelsFirst, channelsLast, type ImagesShape } from '../../data/index.ts';
import { FileError, formatShape, ShapeError, UsageError } from '../../errors.ts';
import { isFloatingArray } from '../../io/array.ts';
import { imageGrid, readNpy, toFloat32, writeNpy, writeNpz, writePng } from '../../io/index.ts';
import { requireConfig } from '../config/require.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { pixels } from '../data.ts';

type Writer = (path: string, images: Float32Array, shape: ImagesShape, config: Config) => Promise<void>;

const writers: Record<string, Writer> = {
  '.png': (path, images, shape, config) => writePng(path, imageGrid(pixels(images, config, 'nearest'), shape)),
  '.npz': (path, images, shape, config) =>
    writeNpz(path, new Map([['samples', { shape: [...shape], dtype: 'u8', data: pixels(images, config, 'floor') }]])),
  '.np': (path, images, shape, config) =>
    writeNpy(path, { shape: [...shape], dtype: 'u8', data: pixels(images, config, 'floor') }),
  '.npy': (path, images, shape, { data: { centered } }) => {
    const [n, h, w, c] = shape;
    const scaled = centered ? images.map((value) => (value + 1) / 2) : images;
    return writeNpy(path, { shape: [n, c, h, w], dtype: 'f32', data: channelsFirst(scaled, shape) });
  },
};

/**
 * The writer for a path. Call it before sampling, so that a wrong name fails early.
 * @throws UsageError for other extensions
 */
export function sampleWriter(path: string): Writer {
  checkArgument('sampleWriter', 'path', path, kinds.path);
  const writer = writers[extname(path).toLowerCase()];
  if (!writer) throw new UsageError(`expected a file name ending in ${Object.keys(writers).join(', ')}, got "${path}"`);
  return async (target, images, shape, config) => {
    checkArguments('sampleWriter', { path: [target, kinds.path], images: [images, kinds.float32] });
    const dims = wholeNumbers('sampleWriter', 'shape', shape);
    if (dims.length !== 4 || dims.reduce((a, b) => a * b) !== images.length)
      throw new ShapeError('sampleWriter', `[N, H, W, C] of ${images.length} values`, formatShape(dims));
    requireConfig('sampleWriter', config);
    await writer(target, images, shape, config);
  };
}

/**
 * Reads start points from a floating-point .npy file [N, C, H, W].
 * @returns f32 [N, H, W, C]
 * @throws FileError for integers, another shape, or values that are not finite in f32
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
