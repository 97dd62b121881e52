// From a configuration to images: the data set it names, its training batches, and pixels of what was sampled.

import { join } from 'node:path';
import {
  digitsDataset,
  type ImageDataset,
  loadCifar10,
  loadMnist,
  openImageFolder,
  sequentialBatch,
  toPixels,
  trainingBatch,
} from '../data/index.ts';
import { ConfigError } from '../errors.ts';
import type { Config } from './config/schema.ts';

export interface ImageBatches {
  /** [H, W, C] */
  imageShape: [number, number, number];
  /** f32 [batch_size, H, W, C], a function of the step alone. */
  batch(step: number): Promise<Float32Array>;
}

type Notice = (text: string) => void;
type Loader = (data: Config['data'], part: 'train' | 'heldOut', notice: Notice) => Promise<ImageDataset>;

const loaders: Record<Config['data']['dataset'], Loader> = {
  DIGITS: (_, part) => digitsDataset(part),
  CIFAR10: async (data, part, notice) => {
    const root = rootOf(
      data,
      'the folder of the CIFAR-10 files (data_batch_1.bin ..) or of their archive (cifar-10-binary.tar.gz)',
    );
    const { dataset, missing } = await loadCifar10(root, part);
    if (missing.length > 0) notice(`${root} lacks ${missing.join(', ')}; training on ${dataset.count} images`);
    return dataset;
  },
  MNIST: (data, part) => loadMnist(rootOf(data, 'the folder of the IDX files (train-images-idx3-ubyte ...)'), part),
  'CelebA-HQ-Pytorch': (data, part, notice) =>
    imageFolder(rootOf(data, 'the folder of 0.jpg, 1.jpg, ...'), data, part, notice, /^\d+\.jpg$/),
  'AFHQ-CAT-Pytorch': (data, part, notice) =>
    imageFolder(join(rootOf(data, 'the folder in which cat/ lies'), 'cat'), data, part, notice),
  FOLDER: (data, part, notice) => imageFolder(rootOf(data, 'a folder of images'), data, part, notice),
};

function rootOf({ root_path }: Config['data'], what: string): string {
  if (root_path === '') throw new ConfigError(`data.root_path is empty; set it to ${what}`);
  return root_path;
}

function imageFolder(
  folder: string,
  { image_size: size, num_channels: channels }: Config['data'],
  part: 'train' | 'heldOut',
  notice: Notice,
  pattern?: RegExp,
): Promise<ImageDataset> {
  return openImageFolder(folder, { size, channels, part, notice, pattern });
}

/** @throws FileError, or ConfigError when its images are not of the size that the configuration states */
export async function loadDataset(
  config: Config,
  part: 'train' | 'heldOut',
  notice: Notice = () => {},
): Promise<ImageDataset> {
  const { dataset: name, image_size: size, num_channels: channels } = config.data;
  const dataset = await loaders[name](config.data, part, notice);
  if (dataset.height !== size || dataset.width !== size || dataset.channels !== channels)
    throw new ConfigError(
      `data.image_size ${size} and data.num_channels ${channels} do not fit ${name}: ` +
        `its images are ${dataset.height} x ${dataset.width} of ${dataset.channels} channels`,
    );
  return dataset;
}

export async function trainingBatches(config: Config, notice?: Notice): Promise<ImageBatches> {
  const dataset = await loadDataset(config, 'train', notice);
  const { centered, uniform_dequantization: dequantize, random_flip: flip } = config.data;
  const options = { seed: config.seed, centered, dequantize, flip };
  return {
    imageShape: [dataset.height, dataset.width, dataset.channels],
    batch: prefetched(async (step) => (await trainingBatch(dataset, step, config.training.batch_size, options)).images),
  };
}

/** Begins the next batch when one is asked for: what decodes it works on while a step computes. */
function prefetched(make: (step: number) => Promise<Float32Array>): (step: number) => Promise<Float32Array> {
  let next: { step: number; images: Promise<Float32Array> } | undefined;
  return (step) => {
    const images = next?.step === step ? next.images : make(step);
    next = { step: step + 1, images: make(step + 1) };
    // Reported to whoever asks for that step.
    next.images.catch(() => {});
    return images;
  };
}

/** All images of a part in network range, f32 [N, H, W, C]. */
export async function allImages(config: Config, part: 'train' | 'heldOut'): Promise<Float32Array> {
  const dataset = await loadDataset(config, part);
  return (await sequentialBatch(dataset, 0, dataset.count, config.data)).images;
}

/** Network range to pixels: rounded down as the official sample files, or to the nearest as its picture grids. */
export function pixels(values: Float32Array, config: Config, rounding: 'floor' | 'nearest'): Uint8Array {
  return toPixels(values, { centered: config.data.centered, rounding });
}
