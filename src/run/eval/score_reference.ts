// The reference that samples are scored against: a feature network and the data set's statistics in its features.
import type { Device } from '../../device/device.ts';
import { ConfigError, FileError } from '../../errors.ts';
import { frechetDistance, gaussianOf } from '../../eval/index.ts';
import { userPath } from '../config/index.ts';
import type { Config } from '../config/types.ts';
import { classifierFile, type FeatureCollector, type FeatureNetwork, openFeatures } from './feature_network.ts';
import { dataStatistics, type FoundStatistics } from './reference_statistics.ts';

export interface ScoreReference {
  network: FeatureNetwork;
  statistics: FoundStatistics;
}

/** The Frechet distance between collected features and the data set. */
export function distanceOf(collected: FeatureCollector, { statistics }: Pick<ScoreReference, 'statistics'>): number {
  return frechetDistance(statistics.gaussian, gaussianOf(collected.all().features));
}

interface OpenOptions {
  device: Device;
  signal?: AbortSignal;
  /** Reports what is missing if samples cannot be scored. */
  onNotice?: (text: string) => void;
  /** Called with the number of data set images processed and their total. */
  onStatistics?: (done: number, total: number) => void;
}

/**
 * Opens network and statistics; undefined, with a notice, if weights or data are not available. Samples are then not
 * scored.
 */
export async function openScoreReference(config: Config, options: OpenOptions): Promise<ScoreReference | undefined> {
  const { device, signal, onNotice = () => {}, onStatistics: onProgress } = options;
  let network: FeatureNetwork | undefined;
  try {
    network = await openFeatures(config, { device, onNotice });
    const statistics = await dataStatistics(config, network, { device, signal, onNotice, onProgress });
    return { network, statistics };
  } catch (error) {
    network?.[Symbol.dispose]();
    // A file that the configuration names must exist and be valid.
    const named = userPath(config.eval.inception) ?? userPath(config.eval.statistics) ?? classifierFile(config);
    if (named !== undefined || !(error instanceof FileError || error instanceof ConfigError)) throw error;
    onNotice(`samples are written but not scored: ${error.message}`);
    return undefined;
  }
}
