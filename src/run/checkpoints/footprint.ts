// A lower bound of the memory that a network needs, computed from its shapes before anything is allocated: the
// configuration in a file may describe a network larger than any machine.
import { LatentUNet } from '../../nn/latent_unet.ts';
import type { FlowNetwork } from '../arguments.ts';

/** Copies of the weights in memory. Training also has gradients, the average, and the moments of its optimiser. */
const copies = { sampling: 1, training: 3 };
export type Use = keyof typeof copies;

/** Feature maps of the first level that a block holds at once. */
const MAPS = 3;

/**
 * Size of the largest attention map of one image: one number per pair of pixels. The lowest level always has attention.
 */
export function attentionMap(network: FlowNetwork): number {
  // Its attention stores no map.
  if (network instanceof LatentUNet) return 0;
  const { imageSize, channelMultipliers, attentionResolutions } = network.options;
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
  let numbers = 0;
  let frozen = 0;
  let features: number;
  if (network instanceof LatentUNet) {
    const { imageSize, network: inner } = network.options;
    features = imageSize ** 2 * MAPS * inner.channels[0];
    if (network.lora) for (const [, { size }] of network.network.namedTensors()) frozen += size;
  } else {
    const { imageSize, channels, baseChannels } = network.options;
    features = imageSize ** 2 * (channels + MAPS * baseChannels);
  }
  for (const [, { size }] of network.namedTensors()) numbers += size;
  const perParameter = copies[use] + (use === 'training' ? moments : 0);
  return 4 * (perParameter * numbers + frozen + features + attentionMap(network));
}
