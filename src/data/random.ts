// Counter-based random numbers on the host (Philox4x32), for data.
//
// counter = (block, item low, item high, stream), key = seed; a value depends on nothing else, so there is no state
import { philox4x32 } from '../tensor/philox.ts';

/** Four random u32 of one block of one item. `item` and `seed` are integers from 0 to 2^53. */
export function randomBlock(block: number, item: number, stream: number, seed: number): readonly number[] {
  return philox4x32(
    [block >>> 0, item >>> 0, Math.floor(item / 2 ** 32) >>> 0, stream],
    [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0],
  );
}
