// Images of a configuration: the data set it names, its training batches, and conversion of samples to pixels.

import { join } from 'node:path';
import { checkArguments, kinds, oneOf } from '../arguments.ts';
import {
  changedDataset,
  digitsDataset,
  downloadCifar10,
  type ImageDataset,
  labelledSubset,
  loadCifar10,
  loadMnist,
  openAfhq,
  openCelebA,
  openImageFolder,
  openLsun,
  openMetFaces,
  toPixels,
  trainingBatch,
} from '../data/index.ts';
import { afhqCategories } from '../data/published.ts';
import { ConfigError } from '../errors.ts';
import { missingKeys, userPath } from './config/index.ts';
import { requireConfig } from './config/require.ts';
import { classNames } from './config/tables/data.ts';
import type { Config } from './config/types.ts';
import { ensureDownloaded, userDataFolder } from './machine/user_files.ts';

const partKind = oneOf(['train', 'heldOut']);
const roundings = oneOf(['floor', 'nearest']);

export interface ImageBatches extends Disposable {
  /** Number of training images. */
  count: number;
  /** [H, W, C] */
  imageShape: [number, number, number];
  /** The class of each training image, if they have classes. */
  labels?: Int32Array;
  /** The batch of a step, f32 [batch_size, H, W, C]; it depends on nothing but the step. */
  batch(step: number): Promise<Float32Array>;
  /** Closes its data set. */
  [Symbol.dispose](): void;
}

type Notice = (text: string) => void;
type Loader = (config: Config, part: 'train' | 'heldOut', notice: Notice) => Promise<ImageDataset>;

const loaders: Record<Config['data']['dataset'], Loader> = {
  DIGITS: ({ data }, part) => digitsDataset(part, data.half),
  CIFAR10: async (config, part, notice) => {
    const root = userPath(config.data.root_path) ?? (await downloadedCifar10(notice));
    const { dataset, missing } = await loadCifar10(root, part);
    if (missing.length > 0) notice(`${root} lacks ${missing.join(', ')}; training on ${dataset.count} images`);
    return dataset;
  },
  MNIST: (config, part) => loadMnist(rootOf(config), part),
  'CelebA-HQ-Pytorch': (config, part, notice) => imageFolder(rootOf(config), config, part, notice, /^\d+\.jpg$/),
  'AFHQ-CAT-Pytorch': (config, part, notice) => imageFolder(join(rootOf(config), 'cat'), config, part, notice),
  AFHQ: (config, part, notice) => {
    const category = afhqCategories.find((name) => name === config.data.category);
    if (category) return openAfhq(rootOf(config), category, decodingOf(config, part, notice));
    throw new ConfigError(
      `data.category or source.category: expected one of ${afhqCategories.join(', ')} with the data set AFHQ, got ${JSON.stringify(config.data.category)}`,
    );
  },
  METFACES: (config, part, notice) => openMetFaces(rootOf(config), decodingOf(config, part, notice)),
  CELEBA: (config, part, notice) => openCelebA(rootOf(config), decodingOf(config, part, notice)),
  LSUN: (config, part, notice) => {
    const { image_size: size, num_channels: channels, exif_orientation: exifOrientation, category } = config.data;
    return openLsun(rootOf(config), { size, channels, exifOrientation, category, part, notice });
  },
  PROMPTS: async () => {
    throw new ConfigError(
      'data.dataset PROMPTS holds texts, not images; a flow of latents is trained by reflow, on pairs of its teacher',
    );
  },
  FOLDER: (config, part, notice) => imageFolder(rootOf(config), config, part, notice),
};

/** The CIFAR-10 archive in the user's data folder, downloaded if it is missing. */
function downloadedCifar10(notice: Notice): Promise<string> {
  const folder = join(userDataFolder(), 'cifar-10');
  const path = join(folder, 'cifar-10-binary.tar.gz');
  return ensureDownloaded(path, 'data.root_path DIR', notice, () => downloadCifar10(folder));
}

/** The folder of the data set's files. The official *-Pytorch sets have a separate key for it. */
function rootOf(config: Config): string {
  const { data, training } = config;
  const root = (/pytorch/i.test(data.dataset) && userPath(training.data_dir)) || userPath(data.root_path);
  if (!root) throw new ConfigError(missingKeys(config, 'train'));
  return root;
}

function imageFolder(
  folder: string,
  config: Config,
  part: 'train' | 'heldOut',
  notice: Notice,
  pattern?: RegExp,
): Promise<ImageDataset> {
  return openImageFolder(folder, { ...decodingOf(config, part, notice), pattern });
}

function decodingOf(
  { data: { image_size: size, num_channels: channels, exif_orientation: exifOrientation } }: Config,
  part: 'train' | 'heldOut',
  notice: Notice,
) {
  return { size, channels, exifOrientation, part, notice };
}

/** The numbers of the classes that data.category selects. @throws ConfigError for a name that is not one of them */
function chosenClasses({ data: { dataset, category } }: Config): number[] {
  const names = classNames[dataset] ?? [];
  return category.split(',').map((text) => {
    const name = text.trim();
    const number = /^\d+$/.test(name) ? Number(name) : names.indexOf(name.toLowerCase());
    if (number >= 0 && number < names.length) return number;
    throw new ConfigError(
      `data.category or source.category: expected classes of ${dataset}, of ${names.join(', ')} or their numbers; got ${JSON.stringify(name)}`,
    );
  });
}

/**
 * Opens the data set that a configuration names, its training or its held-out part.
 * @throws FileError for data that cannot be read, ConfigError if its images do not have the configured size
 * @example
 * const digits = await loadDataset(await loadConfig('digits'), 'heldOut');
 * digits.count; // 397
 */
export async function loadDataset(
  config: Config,
  part: 'train' | 'heldOut',
  notice: Notice = () => {},
): Promise<ImageDataset> {
  requireConfig('loadDataset', config);
  checkArguments('loadDataset', { part: [part, partKind], notice: [notice, kinds.callback] });
  const { dataset: name, image_size: size, num_channels: channels } = config.data;
  const { category, change } = config.data;
  // A name that is not a class is refused before files are read.
  const classes = classNames[name] && category !== '' ? chosenClasses(config) : undefined;
  const whole = await loaders[name](config, part, notice);
  const chosen = classes ? labelledSubset(whole, classes) : whole;
  const dataset = change === 'none' ? chosen : changedDataset(chosen, change);
  if (dataset.height !== size || dataset.width !== size || dataset.channels !== channels)
    throw new ConfigError(
      `data.image_size ${size} and data.num_channels ${channels} do not fit ${name}: ` +
        `its images are ${dataset.height} x ${dataset.width} of ${dataset.channels} channels`,
    );
  return dataset;
}

export async function trainingBatches(config: Config, notice?: Notice): Promise<ImageBatches> {
  return trainingBatchesOf(await loadDataset(config, 'train', notice), config);
}

/** The training batches of a data set that is open. */
export function trainingBatchesOf(dataset: ImageDataset, config: Config): ImageBatches {
  const options = { seed: config.seed, ...batchOptions(config) };
  return batchesOf(
    dataset,
    async (step) => (await trainingBatch(dataset, step, config.training.batch_size, options)).images,
  );
}

/** How a configuration prepares training images. */
export function batchOptions({ data }: Config): { centered: boolean; dequantize: boolean; flip: boolean } {
  const { centered, uniform_dequantization: dequantize, random_flip: flip } = data;
  return { centered, dequantize, flip };
}

/** The batches of a data set, which closes with them. */
export function batchesOf(dataset: ImageDataset, batch: (step: number) => Promise<Float32Array>): ImageBatches {
  return {
    count: dataset.count,
    labels: dataset.labels,
    imageShape: [dataset.height, dataset.width, dataset.channels],
    [Symbol.dispose]: () => dataset[Symbol.dispose](),
    batch: prefetch(batch),
  };
}

/** Starts on the next batch whenever one is requested, so that it decodes while the step computes. */
export function prefetch<Batch>(make: (step: number) => Promise<Batch>): (step: number) => Promise<Batch> {
  let next: { step: number; batch: Promise<Batch> } | undefined;
  return (step) => {
    const batch = next?.step === step ? next.batch : make(step);
    next = { step: step + 1, batch: make(step + 1) };
    // The error is reported when that step is requested.
    next.batch.catch(() => {});
    return batch;
  };
}

/**
 * Converts network range to u8 pixels, rounding down as in official sample files or to nearest as in official image
 * grids.
 */
export function pixels(values: Float32Array, config: Config, rounding: 'floor' | 'nearest'): Uint8Array {
  requireConfig('pixels', config);
  checkArguments('pixels', { values: [values, kinds.float32], rounding: [rounding, roundings] });
  return toPixels(values, { centered: config.data.centered, rounding });
}
