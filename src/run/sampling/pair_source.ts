// The source of pairs that start from images: the training images of source.*, which image each pair starts from, and the starts of
// consecutive pairs.
import { type PairSource, type PairStarts, sourceColumn, sourceHash } from '../../data/index.ts';
import { columnHash, type SourceLaw } from '../../data/pairs/manifest.ts';
import { sourceStart } from '../../data/pairs/source.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { streams } from '../../tensor/streams.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { isTransfer, loadSource, sourceConfig } from '../source.ts';

/**
 * Opens the source that pairs of a configuration start from; undefined if they start from noise. The caller closes its data set.
 * @throws FileError for images that cannot be read
 */
export async function openPairSource(
  config: Config,
  notice?: (text: string) => void,
): Promise<(PairSource & Disposable) | undefined> {
  if (!isTransfer(config)) return undefined;
  const dataset = await loadSource(config, 'train', notice);
  try {
    const sha256 = await sourceHash(dataset);
    return { dataset, centered: config.data.centered, sha256, [Symbol.dispose]: () => dataset[Symbol.dispose]() };
  } catch (error) {
    dataset[Symbol.dispose]();
    throw error;
  }
}

/** The starts of the pairs of a configuration, and the law that the manifest states. */
export function pairStarts(config: Config, source: PairSource): { starts: PairStarts; law: SourceLaw } {
  const { seed, reflow, sampling } = config;
  const own = sourceConfig(config);
  const flip = own.data.random_flip;
  const column = sourceColumn(reflow.total_number_of_samples, source.dataset.count, { seed: own.seed, flip });
  const law = { law: 'images', seed, stream: streams.samples, scale: sampling.smooth_source } as const;
  return {
    starts: { source: { dataset: source.dataset, centered: source.centered, sha256: source.sha256 }, column },
    law: { ...law, source: source.sha256, sha256: columnHash(column) },
  };
}

/** z0 of pairs first to first + num - 1, f32 [num, H, W, C]. */
export async function startsOfPairs(
  { source, column }: PairStarts,
  law: SourceLaw,
  config: Config,
  { first, num }: { first: number; num: number },
): Promise<Float32Array> {
  const size = sizeOf(imageShape(config));
  const starts = new Float32Array(num * size);
  for (let i = 0; i < num; i++) starts.set(await sourceStart(source, column[first + i], first + i, law), i * size);
  return starts;
}
