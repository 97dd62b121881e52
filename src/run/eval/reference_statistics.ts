// The data set's features that scores compare with. They are read from the first of these files that exists, or
// computed once and stored in the last:
//   eval.statistics             the file that this key names
//   assets/stats/<name>.npz     the path of the official code (Inception features only)
//   <data folder>/statistics/   written by `stats` and by the first evaluation: the feature vectors in the official
//                               layout (pool_3), and in `features` the key of their network

import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { checkArgument, checkArguments, checkOptions, kind, kinds, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { ConfigError } from '../../errors.ts';
import { type DataStatistics, readStatistics, writeActivations } from '../../eval/index.ts';
import { requireWritable } from '../../io/atomic.ts';
import { makeFolder } from '../../io/file.ts';
import { turn } from '../../turn.ts';
import { runOptions } from '../arguments.ts';
import { userPath } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import { hasEncodedImages } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { loadDataset } from '../data.ts';
import { userDataFolder } from '../machine/user_files.ts';
import { FeatureCollector, type FeatureNetwork, networkKind } from './feature_network.ts';

/** Images decoded and evaluated at once. */
const BATCH = 256;

export interface StatisticsOptions {
  device: Device;
  signal?: AbortSignal;
  /** Reports images that cannot be read. */
  onNotice?: (text: string) => void;
  /** Called with the number of images processed and their total. */
  onProgress?: (done: number, total: number) => void;
}

export interface FoundStatistics extends DataStatistics {
  /** The file that they were read from. */
  path: string;
}

const optionKinds: OptionKinds<StatisticsOptions> = runOptions;

/**
 * Statistics of the training part of the configuration's data set.
 * @throws FileError for a damaged file or missing data, ConfigError for statistics of other features
 * @example
 * const device = await openDevice('cpu');
 * const config = await loadConfig('digits', { eval: { features: 'pixels' } });
 * const network = await openFeatures(config, { device });
 * const { gaussian } = await dataStatistics(config, network, { device });
 * gaussian.count; // 1400
 * gaussian.mean.length; // 64
 */
export async function dataStatistics(
  config: Config,
  network: FeatureNetwork,
  options: StatisticsOptions,
): Promise<FoundStatistics> {
  requireConfig('dataStatistics', config);
  checkArgument('dataStatistics', 'network', network, networkKind);
  const checked = checkOptions('dataStatistics', options, optionKinds, ['device']);
  const named = userPath(config.eval.statistics);
  const { dataset, category, half, change } = config.data;
  const whole = half === 'whole' && change === 'none' && (category === '' || dataset === 'LSUN');
  const official =
    network.key === 'inception' && whole ? join('assets/stats', `${officialName(config)}.npz`) : undefined;
  const own = statisticsPath(config, network);
  const path = named ?? [official, own].find((candidate) => candidate !== undefined && existsSync(candidate));
  if (path === undefined) await buildStatistics(config, network, own, checked);
  const statistics = await readStatistics(path ?? own);
  const { features = network.key } = statistics;
  if (features !== network.key)
    throw new ConfigError(`${path} holds statistics of ${features}, but eval.features is ${network.key}`);
  return { path: path ?? own, ...statistics };
}

/**
 * Writes the feature vectors of the first eval.max_images training images (0: all) in the official layout.
 * @returns their number
 */
export async function buildStatistics(
  config: Config,
  network: FeatureNetwork,
  path: string,
  options: StatisticsOptions,
): Promise<number> {
  requireConfig('buildStatistics', config);
  checkArguments('buildStatistics', { network: [network, networkKind], path: [path, kinds.path] });
  const checked = checkOptions('buildStatistics', options, optionKinds, ['device']);
  const { signal, onNotice = () => {}, onProgress } = checked;
  using dataset = await loadDataset(config, 'train', onNotice);
  const total = Math.min(dataset.count, config.eval.max_images || dataset.count);
  makeFolder(dirname(path));
  await requireWritable(path);
  const collected = new FeatureCollector();
  for (let first = 0; first < total; first += BATCH) {
    await turn(signal);
    const n = Math.min(BATCH, total - first);
    const images = await dataset.load(Int32Array.from({ length: n }, (_, i) => first + i));
    const shape = [n, dataset.height, dataset.width, dataset.channels];
    collected.add(await network.extract(images, shape, signal));
    onProgress?.(first + n, total);
  }
  const { features } = collected.all();
  await writeActivations(path, features, { features: network.key });
  return features.rows;
}

/** The file name in the official evaluation.load_dataset_stats. */
function officialName({ data: { dataset, category, image_size } }: Config): string {
  if (dataset === 'LSUN') return `lsun_${category}_${image_size}_stats`;
  return `${dataset.toLowerCase().replace(/-pytorch$/, '')}_stats`;
}

/** Data sets with fixed contents. For the others, the folder is part of the file name. */
const known: readonly Config['data']['dataset'][] = [
  'DIGITS',
  'CIFAR10',
  'LSUN',
  'CelebA-HQ-Pytorch',
  'AFHQ-CAT-Pytorch',
];

const keyedKind = kind(
  'a feature network',
  (v) => kinds.object.accepts(v) && kinds.text.accepts((v as FeatureNetwork).key),
);

/** The file that `stats` writes. Its name contains data set, size, EXIF rotation, part and features. */
export function statisticsPath(config: Config, network: Pick<FeatureNetwork, 'key'>): string {
  requireConfig('statisticsPath', config);
  checkArgument('statisticsPath', 'network', network, keyedKind);
  const {
    dataset,
    category,
    image_size: size,
    num_channels: channels,
    root_path: root,
    exif_orientation,
    half,
    change,
  } = config.data;
  const images = config.eval.max_images ? `-${config.eval.max_images}` : '';
  const folder = known.includes(dataset) ? '' : `${hash('sha256', resolve(root)).slice(0, 12)}-${channels}`;
  const upright = exif_orientation && hasEncodedImages(config.data) ? 'upright' : '';
  const parts = [
    dataset,
    category.replaceAll(/[^\w]+/g, '_'),
    half === 'whole' ? '' : half,
    change === 'none' ? '' : change,
    ...[folder, size, upright, 'train', network.key],
  ].filter((part) => part !== '');
  return join(userDataFolder(), 'statistics', `${parts.join('-').toLowerCase()}${images}.npz`);
}
