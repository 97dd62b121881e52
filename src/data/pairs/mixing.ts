// Chooses the samples that are pairs of real images, if reflow mixes them in.
import { checkArgument, kind, kinds } from '../../arguments.ts';
import { streams } from '../../tensor/streams.ts';
import { randomBlock } from '../random.ts';

const share = kind('a number from 0 to 1', (v) => typeof v === 'number' && v >= 0 && v <= 1);

/** Returns whether sample `item` of a run is a pair of real images: true with probability `ratio`, by (seed, item). */
export function isReal(seed: number, item: number, ratio: number): boolean {
  checkArgument('isReal', 'seed', seed, kinds.whole);
  checkArgument('isReal', 'item', item, kinds.whole);
  checkArgument('isReal', 'ratio', ratio, share);
  return randomBlock(0, item, streams.realPairs, seed)[0] < ratio * 2 ** 32;
}
