// From a configuration to images: the data set it names, its training batches, and pixels of what was sampled.

import { join } from 'node:path';
import { checkArguments, kinds, oneOf } from '../arguments.ts';
import {
  digitsDataset,
  downloadCifar10,
  type ImageDataset,
  loadCifar10,
  loadMnist,
  openImageFolder,
  openLsun,
  sequentialBatch,
  toPixels,
  trainingBatch,
} from '../data/index.ts';
import { ConfigError } from '../errors.ts';
import { given, missingKeys } from './config/index.ts';
import { requireConfig } from './config/require.ts';
import type { Config } from './config/schema.ts';
import { downloaded, userDataFolder } from './machine/user_files.ts';

const partKind = oneOf(['train', 'heldOut']);
const roundings = oneOf(['floor', 'nearest']);

export interface ImageBatches {
  /** Images of the part that is trained on. */
  count: number;
  /** [H, W, C] */
  imageShape: [number, number, number];
  /** f32 [batch_size, H, W, C], a function of the step alone. */
  batch(step: number): Promise<Float32Array>;
  /** Closes its data set. */
  [Symbol.dispose]?(): void;
}

type Notice = (text: string) => void;
type Loader = (config: Config, part: 'train' | 'heldOut', notice: Notice) => Promise<ImageDataset>;

const loaders: Record<Config['data']['dataset'], Loader> = {
  DIGITS: (_, part) => digitsDataset(part),
  CIFAR10: async (config, part, notice) => {
    const root = given(config.data.root_path) ?? (await downloadedCifar10(notice));
    const { dataset, missing } = await loadCifar10(root, part);
    if (missing.length > 0) notice(`${root} lacks ${missing.join(', ')}; training on ${dataset.count} images`);
    return dataset;
  },
  MNIST: (config, part) => loadMnist(rootOf(config), part),
  'CelebA-HQ-Pytorch': (config, part, notice) => imageFolder(rootOf(config), config, part, notice, /^\d+\.jpg$/),
  'AFHQ-CAT-Pytorch': (config, part, notice) => imageFolder(join(rootOf(config), 'cat'), config, part, notice),
  LSUN: (config, part, notice) => {
    const { image_size: size, num_channels: channels, exif_orientation: exifOrientation, category } = config.data;
    return openLsun(rootOf(config), { size, channels, exifOrientation, category, part, notice });
  },
  FOLDER: (config, part, notice) => imageFolder(rootOf(config), config, part, notice),
};

/** The archive in the user's data folder. */
function downloadedCifar10(notice: Notice): Promise<string> {
  const folder = join(userDataFolder(), 'cifar-10');
  const path = join(folder, 'cifar-10-binary.tar.gz');
  return downloaded(path, 'data.root_path DIR', notice, () => downloadCifar10(folder));
}

/** The folder of the files; the official *-Pytorch sets have a key of their own for it. */
function rootOf(config: Config): string {
  const { data, training } = config;
  const root = (/pytorch/i.test(data.dataset) && given(training.data_dir)) || given(data.root_path);
  if (!root) throw new ConfigError(missingKeys(config, 'train'));
  return root;
}

function imageFolder(
  folder: string,
  { data: { image_size: size, num_channels: channels, exif_orientation: exifOrientation } }: Config,
  part: 'train' | 'heldOut',
  notice: Notice,
  pattern?: RegExp,
): Promise<ImageDataset> {
  return openImageFolder(folder, { size, channels, exifOrientation, part, notice, pattern });
}

/** @throws FileError, or ConfigError when its images are not of the size that the configuration states */
export async function loadDataset(
  config: Config,
  part: 'train' | 'heldOut',
  notice: Notice = () => {},
): Promise<ImageDataset> {
  requireConfig('loadDataset', config);
  checkArguments('loadDataset', { part: [part, partKind], notice: [notice, kinds.callback] });
  const { dataset: name, image_size: size, num_channels: channels } = config.data;
  const dataset = await loaders[name](config, part, notice);
  if (dataset.height !== size || dataset.width !== size || dataset.channels !== channels)
    throw new ConfigError(
      `data.image_size ${size} and data.num_channels ${channels} do not fit ${name}: ` +
        `its images are ${dataset.height} x ${dataset.width} of ${dataset.channels} channels`,
    );
  return dataset;
}

/** For `using`: closes a data set, where it holds a file open, at the end of the block. */
export function closing(source: Pick<ImageDataset, typeof Symbol.dispose>): Disposable {
  return { [Symbol.dispose]: () => source[Symbol.dispose]?.() };
}

export async function trainingBatches(config: Config, notice?: Notice): Promise<ImageBatches> {
  const dataset = await loadDataset(config, 'train', notice);
  const { centered, uniform_dequantization: dequantize, random_flip: flip } = config.data;
  const options = { seed: config.seed, centered, dequantize, flip };
  return {
    count: dataset.count,
    imageShape: [dataset.height, dataset.width, dataset.channels],
    [Symbol.dispose]: () => dataset[Symbol.dispose]?.(),
    batch: prefetch(async (step) => (await trainingBatch(dataset, step, config.training.batch_size, options)).images),
  };
}

/** Begins the next batch when one is asked for: what decodes it works on while a step computes. */
export function prefetch<Batch>(make: (step: number) => Promise<Batch>): (step: number) => Promise<Batch> {
  let next: { step: number; batch: Promise<Batch> } | undefined;
  return (step) => {
    const batch = next?.step === step ? next.batch : make(step);
    next = { step: step + 1, batch: make(step + 1) };
    // Reported to whoever asks for that step.
    next.batch.catch(() => {});
    return batch;
  };
}

/** All images of a part in network range, f32 [N, H, W, C]. */
export async function allImages(config: Config, part: 'train' | 'heldOut'): Promise<Float32Array> {
  const dataset = await loadDataset(config, part);
  using _closed = closing(dataset);
  return (await sequentialBatch(dataset, 0, dataset.count, { centered: config.data.centered })).images;
}

/** Network range to pixels: rounded down as the official sample files, or to the nearest as its picture grids. */
export function pixels(values: Float32Array, config: Config, rounding: 'floor' | 'nearest'): Uint8Array {
  requireConfig('pixels', config);
  checkArguments('pixels', { values: [values, kinds.float32], rounding: [rounding, roundings] });
  return toPixels(values, { centered: config.data.centered, rounding });
}
