// `transfer`: carries images to the other domain of a flow, and back. One ODE gives both directions: forwards from the source to the
// target, backwards from the target to the source.
import { checkArgument, checkArguments, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { decodedDataset } from '../../data/decode.ts';
import { type ImageDataset, openImageFolder, sequentialBatch } from '../../data/index.ts';
import type { Device } from '../../device/device.ts';
import { ConfigError, FileError, ShapeError } from '../../errors.ts';
import type { SampleOptions } from '../../flow/index.ts';
import { isFolder, readWhole } from '../../io/file.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { type FlowNetwork, runOptions, unetKind } from '../arguments.ts';
import { requireConfig } from '../config/require.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { loadDataset } from '../data.ts';
import { isTransfer, loadSource, smooth } from '../source.ts';
import { encodeModel, sampleModel } from './sample.ts';

export interface TransferOptions {
  /** f32 [N, H, W, C] in network range: of the source, or of the target with `reverse`. */
  images: Float32Array;
  device: Device;
  /** From the target to the source. */
  reverse?: boolean;
  /** Default: that of the configuration, as for steps and tolerance. */
  solver?: SampleOptions['solver'];
  steps?: number;
  tolerance?: number;
  /** Seed of the noise of sampling.smooth_source that forward starts get; default: that of the configuration. */
  seed?: number;
  signal?: AbortSignal;
}

export interface TransferredImages {
  /** f32 [N, H, W, C] in network range, not clipped. */
  images: Float32Array;
  shape: [number, number, number, number];
  /** Network evaluations per image. */
  nfe: number;
}

const transferKinds: OptionKinds<TransferOptions> = {
  images: kinds.float32,
  device: runOptions.device,
  reverse: kinds.boolean,
  solver: kinds.text,
  steps: kinds.count,
  tolerance: kinds.positive,
  seed: kinds.whole,
  signal: runOptions.signal,
};

/** @throws ConfigError for a flow from noise */
export function requireTransfer(config: Config): void {
  if (isTransfer(config)) return;
  throw new ConfigError(
    `transfer needs a flow between two sets of images, but sampling.init_type is ${config.sampling.init_type}: this flow starts from noise`,
  );
}

/**
 * Carries images from the source of a flow to its target, or back, with the weights that `model` holds.
 * @throws ConfigError for a flow from noise; ShapeError for images of another size; the signal's reason when aborted
 * @example
 * const config = await loadConfig('digits_bold', { model: { nf: 8 } });
 * const device = await openDevice('cpu');
 * const model = buildModel(config, device);
 * const images = await startImages(config, { num: 4 });
 * const { shape, nfe } = await transferImages(model, config, { images, device, solver: 'euler', steps: 2 });
 * shape; // [4, 8, 8, 1]
 * nfe; // 2
 */
export async function transferImages(
  model: FlowNetwork,
  config: Config,
  options: TransferOptions,
): Promise<TransferredImages> {
  checkArgument('transferImages', 'model', model, unetKind);
  requireConfig('transferImages', config);
  const checked = checkOptions('transferImages', options, transferKinds, ['images', 'device']);
  requireTransfer(config);
  const { images, device, reverse, signal, seed = config.seed } = checked;
  const image = imageShape(config);
  const num = images.length / sizeOf(image);
  if (!Number.isInteger(num) || num === 0)
    throw new ShapeError('transferImages', `images [N, ${image.join(', ')}]`, `${images.length} numbers`);
  const shape: TransferredImages['shape'] = [num, ...image];
  const solver = checked.solver ?? config.sampling.use_ode_sampler;
  const { steps, tolerance } = checked;
  if (reverse) {
    const sampling = {
      ...config.sampling,
      use_ode_sampler: solver,
      sample_N: steps ?? config.sampling.sample_N,
      ode_tol: tolerance ?? config.sampling.ode_tol,
    };
    const { latents, nfe } = await encodeModel(model, { ...config, sampling }, images, { num, device, signal });
    return { images: latents, shape, nfe };
  }
  const latents = images.slice();
  smooth(latents, config, { seed, first: 0 });
  const how = { num, device, signal, latents, solver, steps, tolerance, notFinite: 'refuse' as const };
  const { images: ends, nfe } = await sampleModel(model, config, how);
  return { images: ends, shape, nfe };
}

/**
 * Images to transfer: the first held-out images of the domain that they come from, or files of any size, which are cropped to a square
 * and scaled.
 * @param input a number of held-out images, or paths of image files and folders
 * @returns f32 [N, H, W, C] in network range, with a name for each
 * @throws FileError for a file that is not an image, or a folder without images
 * @example
 * const config = await loadConfig('digits_bold');
 * const { images, names } = await transferInput(config, 3);
 * images.length; // 192
 * names; // ['0', '1', '2']
 */
export async function transferInput(
  config: Config,
  input: number | readonly string[],
  options: { reverse?: boolean; onNotice?: (text: string) => void } = {},
): Promise<{ images: Float32Array; names: string[] }> {
  requireConfig('transferInput', config);
  const { reverse, onNotice } = checkOptions('transferInput', options, {
    reverse: kinds.boolean,
    onNotice: runOptions.onNotice,
  });
  requireTransfer(config);
  const { centered } = config.data;
  if (typeof input === 'number') {
    checkArguments('transferInput', { input: [input, kinds.int32Count] });
    using dataset = await (reverse ? loadDataset : loadSource)(config, 'heldOut', onNotice);
    const num = Math.min(input, dataset.count);
    if (num < input) onNotice?.(`there are only ${num} held-out images`);
    const { images } = await sequentialBatch(dataset, 0, num, { centered });
    return { images, names: Array.from({ length: num }, (_, i) => String(i)) };
  }
  const parts: Float32Array[] = [];
  const names: string[] = [];
  for (const path of input) {
    using opened = await openFiles(path, config, onNotice);
    parts.push((await sequentialBatch(opened, 0, opened.count, { centered })).images);
    names.push(...Array.from({ length: opened.count }, (_, i) => (opened.count === 1 ? path : `${path} ${i}`)));
  }
  const images = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    images.set(part, at);
    at += part.length;
  }
  return { images, names };
}

async function openFiles(
  path: string,
  { data }: Config,
  notice: ((text: string) => void) | undefined,
): Promise<ImageDataset> {
  checkArgument('transferInput', 'input', path, kinds.path);
  const { image_size: size, num_channels: channels, exif_orientation: exifOrientation } = data;
  const decoding = { size, channels, exifOrientation, notice, tolerated: 0 };
  if (isFolder(path)) return openImageFolder(path, { ...decoding, part: 'all' });
  // Read here, so that a path that is not an image is named in the error.
  const bytes = await readWhole(path);
  const one = { path, count: 1, nameOf: () => path, source: () => bytes };
  const opened = await decodedDataset(one, decoding);
  try {
    await opened.load(Int32Array.of(0));
    return opened;
  } catch (error) {
    throw new FileError(path, `is not an image that can be read: ${(error as Error).message}`, { cause: error });
  }
}
