// Points that functions of the host take: plain lists or typed arrays of numbers, one point after the other.
import { checkArgument, kind } from '../arguments.ts';
import { ValueError } from '../errors.ts';

/** A list of numbers, or a typed array of any length; its values are checked where they are copied. */
const pointsKind = kind(
  'points, a list or a Float32Array or Float64Array of numbers',
  (value) => Array.isArray(value) || value instanceof Float32Array || value instanceof Float64Array,
);

/**
 * A copy of points in float64.
 * @param dim how many numbers a point has
 * @throws ArgumentError for anything but a list of numbers; ValueError for a length that is not a multiple of `dim`, for no points,
 * and for a number that is not finite, with its place
 */
export function hostPoints(op: string, name: string, value: ArrayLike<number>, dim: number): Float64Array {
  checkArgument(op, name, value, pointsKind);
  if (value.length === 0 || value.length % dim !== 0)
    throw new ValueError(`[${op}] expected ${name} to hold points of ${dim} numbers, got ${value.length} numbers`);
  const copy = new Float64Array(value.length);
  for (let i = 0; i < copy.length; i++) {
    const one: unknown = value[i];
    if (typeof one !== 'number' || !Number.isFinite(one))
      throw new ValueError(`[${op}] expected finite numbers in ${name}, got ${String(one)} at ${i}`);
    copy[i] = one;
  }
  return copy;
}

/** Two clouds with equally many points. @throws as `hostPoints`; ValueError for different lengths */
export function hostPairs(
  op: string,
  x0: ArrayLike<number>,
  x1: ArrayLike<number>,
  dim: number,
): [x0: Float64Array, x1: Float64Array] {
  const [a, b] = [hostPoints(op, 'x0', x0, dim), hostPoints(op, 'x1', x1, dim)];
  if (a.length !== b.length)
    throw new ValueError(`[${op}] expected as many points in x1 as in x0, got ${b.length / dim} and ${a.length / dim}`);
  return [a, b];
}
