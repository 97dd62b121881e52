// The random numbers of kernels/random.c in double precision, from Philox's words alone: references for tests.
import { philox4x32 } from '../../src/tensor/philox.ts';
import { type Array64, array64, count } from './reference/index.ts';

export interface HostDraw {
  seed: number;
  first?: number;
  stream?: number;
}

/** Element e of each sample from its word: word e mod 4 of block e / 4. The first axis counts samples. */
function drawn(
  shape: readonly number[],
  { seed, first = 0, stream = 0 }: HostDraw,
  value: (word: number) => number,
): Array64 {
  const size = count(shape);
  const width = size / (shape[0] ?? 1);
  const numbers = Array.from({ length: size }, (_, i) => {
    const [sample, element] = [first + Math.floor(i / width), i % width];
    const counter = [element >> 2, sample >>> 0, Math.floor(sample / 2 ** 32), stream] as const;
    return value(philox4x32(counter, [seed >>> 0, Math.floor(seed / 2 ** 32)])[element & 3]);
  });
  return array64(shape, numbers);
}

export const drawnUniform = (shape: readonly number[], draw: HostDraw): Array64 =>
  drawn(shape, draw, (word) => (word >>> 8) / 2 ** 24);

/** -log of odd multiples of 2^-24. */
export const drawnExponential = (shape: readonly number[], draw: HostDraw): Array64 =>
  drawn(shape, draw, (word) => -Math.log(((word >>> 9) * 2 + 1) / 2 ** 24));
