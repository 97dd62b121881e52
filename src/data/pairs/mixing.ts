// Which pairs of a batch are of real images, where reflow mixes them in.
import { streams } from '../../tensor/streams.ts';
import { randomBlock } from '../random.ts';

/** Whether sample `item` of a run is one, with probability `ratio`: a function of (seed, item). */
export function isReal(seed: number, item: number, ratio: number): boolean {
  return randomBlock(0, item, streams.realPairs, seed)[0] < ratio * 2 ** 32;
}
