// Random numbers of this room: Philox4x32 with a stream number for each use, so that no two uses share numbers.
//
// counter = (block, item low, item high, stream), key = seed; a value depends on nothing else, so no state is kept
import { ValueError } from '../errors.ts';
import { philox4x32 } from '../tensor/philox.ts';

/** The fourth counter word of each use: "da" (data) and a number. */
export const dataStreams = {
  shuffle: 0x64610001,
  flip: 0x64610002,
  dequantize: 0x64610003,
  points: 0x64610004,
} as const;

/** Four random u32 of one block of one item. `item` and `seed` are whole numbers from 0 to 2^53. */
export function randomBlock(block: number, item: number, stream: number, seed: number): readonly number[] {
  return philox4x32(
    [block >>> 0, item >>> 0, Math.floor(item / 2 ** 32) >>> 0, stream],
    [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0],
  );
}

/** @throws ValueError unless `value` is a whole number >= `least` that a double holds exactly */
export function checkWhole(name: string, value: number, least = 0): number {
  if (!Number.isSafeInteger(value) || value < least)
    throw new ValueError(`${name} must be a whole number >= ${least}, got ${value}`);
  return value;
}
