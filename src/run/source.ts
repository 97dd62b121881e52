// The source of a domain transfer: the images that paths start from, in place of noise. Its keys source.* become a
// configuration of their own, so that everything that takes a configuration's data also takes its source.
import { checkArguments, kinds, oneOf } from '../arguments.ts';
import { type ImageDataset, sequentialBatch } from '../data/index.ts';
import { randomBlock } from '../data/random.ts';
import { fillNormals } from '../tensor/philox.ts';
import { sizeOf } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import { requireConfig } from './config/require.ts';
import { imageShape } from './config/schema.ts';
import type { Config } from './config/types.ts';
import { loadDataset } from './data.ts';

/**
 * Whether the flow of a configuration starts from images instead of noise.
 * @example
 * isTransfer(await loadConfig('digits')); // false
 * isTransfer(await loadConfig('digits_bold')); // true
 */
export function isTransfer(config: Config): boolean {
  requireConfig('isTransfer', config);
  return config.sampling.init_type === 'data';
}

/**
 * The configuration whose data are the source of another one. Its seed is derived from that one's, so that the order, the
 * flips and the dequantisation of its images are independent of those of the target.
 * @example
 * const config = await loadConfig('digits_bold');
 * const { data } = sourceConfig(config);
 * [config.data.change, data.change]; // ['bold', 'none']
 */
export function sourceConfig(config: Config): Config {
  requireConfig('sourceConfig', config);
  const { data, source, training } = config;
  const [high, low] = randomBlock(0, 0, streams.source, config.seed);
  return {
    ...config,
    seed: (high >>> 11) * 2 ** 32 + low,
    data: { ...data, ...source },
    // The official key for data.root_path of some sets, which is that of the target.
    training: { ...training, data_dir: '' },
  };
}

/**
 * Opens the images that paths start from.
 * @throws as loadDataset
 * @example
 * const digits = await loadSource(await loadConfig('digits_bold'), 'heldOut');
 * digits.count; // 198
 */
export async function loadSource(
  config: Config,
  part: 'train' | 'heldOut',
  notice: (text: string) => void = () => {},
): Promise<ImageDataset> {
  return loadDataset(sourceConfig(config), part, notice);
}

/**
 * Adds the noise of sampling.smooth_source to images, in place: that of image i is a function of (seed, stream, first + i).
 * @param images f32 [N, H, W, C]
 */
export function smooth(
  images: Float32Array,
  config: Config,
  { seed, first, stream = streams.samples }: { seed: number; first: number; stream?: number },
): void {
  const { smooth_source: deviation } = config.sampling;
  if (deviation === 0) return;
  const scale = Math.fround(deviation);
  const noise = new Float32Array(sizeOf(imageShape(config)));
  for (let at = 0; at < images.length; at += noise.length) {
    fillNormals(noise, seed, first + at / noise.length, stream);
    for (let i = 0; i < noise.length; i++) images[at + i] += Math.fround(scale * noise[i]);
  }
}

interface StartRequest {
  /** Number of the first sample. */
  first?: number;
  num: number;
  /** Seed of the noise of sampling.smooth_source; default: that of the configuration. */
  seed?: number;
  stream?: number;
}

/**
 * The starts of numbered samples, f32 [num, H, W, C] in network range: images of a source in its order, which is repeated if
 * there are fewer, with the noise of sampling.smooth_source.
 */
export async function startsFrom(
  source: ImageDataset,
  config: Config,
  { first = 0, num, seed = config.seed, stream }: StartRequest,
): Promise<Float32Array> {
  const size = sizeOf(imageShape(config));
  const images = new Float32Array(num * size);
  for (let done = 0; done < num; ) {
    const from = (first + done) % source.count;
    const n = Math.min(num - done, source.count - from);
    const batch = await sequentialBatch(source, from, n, { centered: config.data.centered });
    images.set(batch.images, done * size);
    done += n;
  }
  smooth(images, config, { seed, first, stream });
  return images;
}

const partKind = oneOf(['train', 'heldOut']);

/**
 * The starts of numbered samples of a transfer: see startsFrom. By default they are held-out images, which no flow was
 * trained on.
 * @throws as loadSource
 * @example
 * const starts = await startImages(await loadConfig('digits_bold'), { num: 4 });
 * starts.length; // 256
 */
export async function startImages(
  config: Config,
  request: StartRequest,
  part: 'train' | 'heldOut' = 'heldOut',
  notice?: (text: string) => void,
): Promise<Float32Array> {
  checkArguments('startImages', { request: [request, kinds.object], part: [part, partKind] });
  using source = await loadSource(config, part, notice);
  return await startsFrom(source, config, request);
}
