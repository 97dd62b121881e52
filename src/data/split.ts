// A training and a held-out part for sets that come in one piece. Held out: the twentieth part with the smallest SHA-256
// of their keys, at least one; the rest trains. What a key belongs to depends on the set of keys alone, not on their order.
import { hash } from 'node:crypto';
import { FileError } from '../errors.ts';

const HELD_OUT = 20;

/**
 * The indices of one part, rising.
 * @param path of the set, for the error
 * @throws FileError for a set that is too small to have that part
 */
export function splitByKey(
  path: string,
  count: number,
  keyOf: (index: number) => string | Uint8Array,
  part: 'train' | 'heldOut',
): Uint32Array {
  // The first 48 bits rank as the whole hash does.
  const ranks = Float64Array.from({ length: count }, (_, i) => hash('sha256', keyOf(i), 'buffer').readUIntBE(0, 6));
  const held = count < 2 ? 0 : Math.ceil(count / HELD_OUT);
  const bound = held === 0 ? -1 : ranks.toSorted()[held - 1];
  const indices = Uint32Array.from(ranks.keys()).filter((i) => ranks[i] <= bound === (part === 'heldOut'));
  if (indices.length === 0)
    throw new FileError(path, `holds ${count} image, too few for a training and a held-out part`);
  return indices;
}
