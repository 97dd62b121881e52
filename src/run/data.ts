// From a configuration to images: the data set it names, its training batches, and pixels of what was sampled.
import {
  digitsDataset,
  type ImageDataset,
  loadCifar10,
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
  batch(step: number): Float32Array;
}

type Notice = (text: string) => void;
type Loader = (root: string, part: 'train' | 'heldOut', notice: Notice) => Promise<ImageDataset>;

const loaders: Record<Config['data']['dataset'], Loader> = {
  DIGITS: (_, part) => digitsDataset(part),
  CIFAR10: async (root, part, notice) => {
    if (root === '')
      throw new ConfigError(
        'data.root_path is empty; set it to the folder of the CIFAR-10 binary files (data_batch_1.bin ...)',
      );
    const { dataset, missing } = await loadCifar10(root, part);
    if (missing.length > 0) notice(`${root} lacks ${missing.join(', ')}; training on ${dataset.count} images`);
    return dataset;
  },
};

/** @throws FileError, or ConfigError when its images are not of the size that the configuration states */
export async function loadDataset(
  config: Config,
  part: 'train' | 'heldOut',
  notice: Notice = () => {},
): Promise<ImageDataset> {
  const { dataset: name, root_path, image_size: size, num_channels: channels } = config.data;
  const dataset = await loaders[name](root_path, part, notice);
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
    batch: (step) => trainingBatch(dataset, step, config.training.batch_size, options).images,
  };
}

/** All images of a part in network range, f32 [N, H, W, C]. */
export async function allImages(config: Config, part: 'train' | 'heldOut'): Promise<Float32Array> {
  const dataset = await loadDataset(config, part);
  return sequentialBatch(dataset, 0, dataset.count, config.data).images;
}

/** Network range to pixels: rounded down as the official sample files, or to the nearest as its picture grids. */
export function pixels(values: Float32Array, config: Config, rounding: 'floor' | 'nearest'): Uint8Array {
  return toPixels(values, { centered: config.data.centered, rounding });
}
