// What samples are scored against: a feature network and the data set's statistics in its features.
import type { Device } from '../../device/device.ts';
import { ConfigError, FileError } from '../../errors.ts';
import { frechetDistance, gaussianOf } from '../../eval/index.ts';
import { given } from '../config/index.ts';
import type { Config } from '../config/schema.ts';
import { classifierFile, type FeatureCollector, type FeatureNetwork, openFeatures } from './features.ts';
import { dataStatistics, type FoundStatistics } from './reference_statistics.ts';

export interface Judge {
  network: FeatureNetwork;
  statistics: FoundStatistics;
}

/** The Frechet distance of what was collected, in the judge's features. */
export function distanceOf(collected: FeatureCollector, { statistics }: Pick<Judge, 'statistics'>): number {
  return frechetDistance(statistics.gaussian, gaussianOf(collected.all().features));
}

interface JudgeOptions {
  device: Device;
  signal?: AbortSignal;
  /** Told what is missing, where there is no judge. */
  onNotice?: (text: string) => void;
  /** Images of the data set taken through the network, and in all. */
  onStatistics?: (done: number, total: number) => void;
}

/** undefined, with a notice, where weights or data cannot be had: then samples are made and not scored. */
export async function openJudge(config: Config, options: JudgeOptions): Promise<Judge | undefined> {
  const { device, signal, onNotice = () => {}, onStatistics: onProgress } = options;
  let network: FeatureNetwork | undefined;
  try {
    network = await openFeatures(config, { device, onNotice });
    const statistics = await dataStatistics(config, network, { device, signal, onNotice, onProgress });
    return { network, statistics };
  } catch (error) {
    network?.[Symbol.dispose]();
    // A file that was named must be there and in order.
    const named = given(config.eval.inception) ?? given(config.eval.statistics) ?? classifierFile(config);
    if (named !== undefined || !(error instanceof FileError || error instanceof ConfigError)) throw error;
    onNotice(`samples are written, not scored: ${error.message}`);
    return undefined;
  }
}
