// The least memory that a network takes, known from its shapes before any is taken: a configuration out of a file may name a
// network larger than any machine.
import type { UNet } from '../../nn/unet.ts';

/** Copies of the weights: themselves; in training also gradients, two moments and the average. */
const copies = { sampling: 1, training: 5 };
export type Use = keyof typeof copies;

/** Feature maps of the first level that a block needs at once. */
const MAPS = 3;

/** Numbers of the largest map of attention for one image: a pair of pixels each; the lowest level always has one. */
export function attentionMap({ imageSize, channelMultipliers, attentionResolutions }: UNet['options']): number {
  const sizes = channelMultipliers.map((_, level) => imageSize >> level);
  const largest = Math.max(
    ...sizes.filter((size, level) => level === sizes.length - 1 || attentionResolutions.includes(size)),
  );
  return largest ** 4;
}

/** Bytes of the weights, and of features and attention of one image. @param network may be an outline */
export function leastMemory(network: UNet, use: Use): number {
  const { imageSize, channels, baseChannels } = network.options;
  let numbers = 0;
  for (const [, { size }] of network.namedTensors()) numbers += size;
  const features = imageSize ** 2 * (channels + MAPS * baseChannels);
  return 4 * (copies[use] * numbers + features + attentionMap(network.options));
}
