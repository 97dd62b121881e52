// A lower bound of the memory that a network needs, computed from its shapes before anything is allocated: the
// configuration in a file may describe a network larger than any machine.
import type { FlowNetwork } from '../arguments.ts';

/** Copies of the weights in memory. Training also has gradients, the average, and the moments of its optimiser. */
const copies = { sampling: 1, training: 3 };
export type Use = keyof typeof copies;

/** Feature maps of the first level that a block holds at once. */
const MAPS = 3;

/**
 * Size of the largest attention map of one image: one number per pair of pixels. The lowest level always has attention.
 */
export function attentionMap({ imageSize, channelMultipliers, attentionResolutions }: FlowNetwork['options']): number {
  const sizes = channelMultipliers.map((_, level) => imageSize >> level);
  const largest = Math.max(
    ...sizes.filter((size, level) => level === sizes.length - 1 || attentionResolutions.includes(size)),
  );
  return largest ** 4;
}

/**
 * Bytes of the weights and of one image's features and attention map.
 * @param network a network or its outline
 * @param moments numbers that the optimiser keeps for each parameter
 */
export function leastMemory(network: FlowNetwork, use: Use, moments: number): number {
  const { imageSize, channels, baseChannels } = network.options;
  let numbers = 0;
  for (const [, { size }] of network.namedTensors()) numbers += size;
  const features = imageSize ** 2 * (channels + MAPS * baseChannels);
  const perParameter = copies[use] + (use === 'training' ? moments : 0);
  return 4 * (perParameter * numbers + features + attentionMap(network.options));
}
