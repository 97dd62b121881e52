// `pairs`: checks a store of pairs, optionally against the configuration that it was made for.
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { checkPairs, type PairCheckOptions, type PairFinding, sequentialBatch } from '../../data/index.ts';
import { ChannelStatistics } from '../../data/pairs/pair_statistics.ts';
import { runOptions } from '../arguments.ts';
import { requireConfig } from '../config/require.ts';
import { pairShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { loadDataset } from '../data.ts';
import { openPairSource } from './pair_source.ts';

/** Number of images of the data set that z1 is compared with. */
const COMPARED = 10_000;

export interface ExaminePairsOptions extends Pick<PairCheckOptions, 'limit' | 'signal' | 'onProgress'> {
  /** Gives the shape, number and noise scale of the pairs. */
  config?: Config;
  /** Whether to compare z1 with the configuration's data set; default false. */
  data?: boolean;
  /** Reports missing parts of the data set. */
  onNotice?: (text: string) => void;
}

const optionKinds: OptionKinds<ExaminePairsOptions> = {
  limit: kinds.count,
  signal: runOptions.signal,
  onProgress: runOptions.onProgress,
  config: kinds.object,
  data: kinds.boolean,
  onNotice: runOptions.onNotice,
};

/**
 * Checks the pairs below `root`.
 * @returns one finding per check
 * @throws FileError if the root or the data set cannot be read
 * @example
 * const findings = await examinePairs('pairs');
 * findings.filter(({ state }) => state === 'broken'); // []
 */
export async function examinePairs(root: string, options: ExaminePairsOptions = {}): Promise<PairFinding[]> {
  checkArgument('examinePairs', 'root', root, kinds.path);
  const { config, data, onNotice, ...rest } = checkOptions('examinePairs', options, optionKinds);
  if (config) requireConfig('examinePairs', config);
  if (!config) return checkPairs(root, rest);
  using source = await openPairSource(config, onNotice);
  // Awaited here, so that the source stays open.
  return await checkPairs(root, {
    ...rest,
    source: source && { dataset: source.dataset, centered: source.centered, sha256: source.sha256 },
    shape: pairShape(config),
    planned: config.reflow.total_number_of_samples,
    noiseScale: config.sampling.init_noise_scale,
    data: data ? await channelsOf(config, onNotice) : undefined,
  });
}

async function channelsOf(config: Config, onNotice?: (text: string) => void): Promise<PairCheckOptions['data']> {
  using dataset = await loadDataset(config, 'train', onNotice);
  const statistics = new ChannelStatistics(dataset.channels);
  const count = Math.min(dataset.count, COMPARED);
  const { centered } = config.data;
  for (let first = 0; first < count; first += config.training.batch_size) {
    const n = Math.min(config.training.batch_size, count - first);
    statistics.add((await sequentialBatch(dataset, first, n, { centered })).images);
  }
  return statistics.facts();
}
