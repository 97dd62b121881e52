// Splits a data set without an official split into a training and a held-out part. The held-out part is the twentieth
// of the items whose keys have the smallest SHA-256, at least one item; the rest is for training. The split depends
// only on the set of keys, not on their order.
import { hash } from 'node:crypto';
import { FileError } from '../errors.ts';

const HELD_OUT = 20;

/**
 * The indices of one part, in ascending order.
 * @param path path of the data set, for errors
 * @throws FileError if the data set is too small to have that part
 */
export function splitByKey(
  path: string,
  count: number,
  keyOf: (index: number) => string | Uint8Array,
  part: 'train' | 'heldOut',
): Uint32Array {
  // The first 48 bits order the items as the whole hash does.
  const ranks = Float64Array.from({ length: count }, (_, i) => hash('sha256', keyOf(i), 'buffer').readUIntBE(0, 6));
  const held = count < 2 ? 0 : Math.ceil(count / HELD_OUT);
  const bound = held === 0 ? -1 : ranks.toSorted()[held - 1];
  const indices = Uint32Array.from(ranks.keys()).filter((i) => ranks[i] <= bound === (part === 'heldOut'));
  if (indices.length === 0) throw new FileError(path, `has ${count} image, too few for a training and a held-out part`);
  return indices;
}
