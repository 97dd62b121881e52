// A new order of the training set for each epoch without storing it: a keyed permutation of 0..count-1, computed per
// index.
//
// x = (left, right) bits of the position; 8 times: left ^= F(right), right ^= F(left); repeat while x >= count
//
// A Feistel network is a bijection of 0..2^b-1 for any F. Repeating it until the value is below count ("cycle walking")
// makes it a bijection of 0..count-1, in under 2 passes on average. F is Philox keyed by seed and epoch. Nothing needs
// to be saved to resume.
// Source: Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002.
import { checkArgument, kinds } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { streams } from '../tensor/streams.ts';
import { randomBlock } from './random.ts';

const ROUNDS = 8;

/**
 * The index at `position` in the order of epoch `epoch`. Over positions 0..count-1 each index occurs once.
 * @param count 1 to 2^31
 * @throws ValueError for a position outside 0..count-1
 * @example
 * const order = Array.from({ length: 5 }, (_, position) => shuffledIndex(position, 5, 0, 1));
 * order.sort(); // [0, 1, 2, 3, 4]
 */
export function shuffledIndex(position: number, count: number, epoch: number, seed: number): number {
  checkArgument('shuffledIndex', 'position', position, kinds.whole);
  checkArgument('shuffledIndex', 'count', count, kinds.count);
  checkArgument('shuffledIndex', 'epoch', epoch, kinds.whole);
  checkArgument('shuffledIndex', 'seed', seed, kinds.whole);
  if (count > 2 ** 31) throw new ValueError(`[shuffledIndex] expected a count of at most 2^31, got ${count}`);
  if (position >= count) throw new ValueError(`[shuffledIndex] expected a position below ${count}, got ${position}`);
  if (epoch >= 2 ** 32) throw new ValueError(`[shuffledIndex] expected an epoch below 2^32, got ${epoch}`);
  const bits = Math.max(2, Math.ceil(Math.log2(count)));
  const lowBits = bits >> 1;
  const lowMask = 2 ** lowBits - 1;
  const highMask = 2 ** (bits - lowBits) - 1;
  let high = Math.floor(position / 2 ** lowBits);
  let low = position & lowMask;
  for (;;) {
    for (let round = 0; round < ROUNDS; round++) {
      high ^= roundValue(low, 2 * round, epoch, seed) & highMask;
      low ^= roundValue(high, 2 * round + 1, epoch, seed) & lowMask;
    }
    const index = high * 2 ** lowBits + low;
    if (index < count) return index;
  }
}

function roundValue(half: number, round: number, epoch: number, seed: number): number {
  return randomBlock(half * 2 * ROUNDS + round, epoch, streams.shuffle, seed)[0];
}
