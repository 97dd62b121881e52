// Shape rules, as pure functions of lists of dimensions.
import { describeValue, either, isWhole, kinds, listOf, type OptionKinds, wholeNumbers } from '../arguments.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';

export type Shape = readonly number[];

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const dim of shape) size *= dim;
  return size;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** The most elements of a tensor and the largest dimension: kernels count in int32. */
const LARGEST = 2 ** 31 - 1;

/** The most axes of a tensor, as in NumPy. */
const MOST_AXES = 64;

/** @throws ShapeError for a result of more elements than kernels can count */
export function checkSize(shape: Shape): number {
  const size = sizeOf(shape);
  if (!(size <= LARGEST)) throw new ShapeError('result', 'at most 2^31 - 1 elements', formatShape(shape));
  return size;
}

/**
 * @returns a frozen copy
 * @throws ArgumentError for anything but a list of whole numbers; ShapeError unless every dimension is >= 0 and the
 * size fits an int32
 */
export function checkShape(op: string, shape: Shape): Shape {
  const dims = Object.freeze(wholeNumbers(op, 'a shape', shape));
  if (!dims.every((dim) => dim >= 0 && dim <= LARGEST))
    throw new ShapeError(op, 'dimensions that are whole numbers >= 0 and below 2^31', formatShape(dims));
  if (dims.length > MOST_AXES) throw new ShapeError(op, `at most ${MOST_AXES} axes`, `${dims.length} axes`);
  if (sizeOf(dims) > LARGEST) throw new ShapeError(op, 'at most 2^31 - 1 elements', formatShape(dims));
  return dims;
}

/** NumPy's broadcasting: aligned at the last axis, equal or 1. @throws ShapeError with both shapes */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(op, 'shapes that broadcast together', `${formatShape(a)} and ${formatShape(b)}`);
    return x === 1 ? y : x;
  });
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

/** Axes as sorted, distinct, non-negative numbers; every axis when undefined. @throws ShapeError, ArgumentError */
export function normalizeAxes(op: string, axes: number | readonly number[] | undefined, shape: Shape): number[] {
  const rank = shape.length;
  if (axes === undefined) return shape.map((_, i) => i);
  const list = typeof axes === 'number' ? [axes] : wholeNumbers(op, 'axes', axes);
  const normal = list.map((axis) => (axis < 0 ? axis + rank : axis));
  if (!normal.every((axis) => isWhole(axis, 0, rank - 1)) || new Set(normal).size < normal.length)
    throw new ShapeError(op, `distinct axes of a tensor ${formatShape(shape)}`, `axes ${formatShape(list)}`);
  return normal.sort((a, b) => a - b);
}

/** One axis as a number >= 0. @throws ArgumentError for anything but a number, ShapeError for one beyond the shape */
export function normalizeAxis(op: string, axis: number, shape: Shape): number {
  if (typeof axis !== 'number') throw new ArgumentError(op, 'axis to be a whole number', describeValue(axis));
  return normalizeAxes(op, axis, shape)[0];
}

/** The kind of an option that holds a shape. */
export const shapeKind = listOf(kinds.whole, 'whole numbers >= 0');

/** The kind of an option `axes`. */
export const axesKind = either(kinds.integer, listOf(kinds.integer, 'whole numbers'));

/** Options of an op along one axis. */
export interface AxisOptions {
  /** A negative axis counts from the end. A scalar has no axes (in PyTorch it may be given axis 0). */
  axis?: number;
  /** Another name for `axis`; a list must contain exactly one. */
  axes?: number | readonly number[];
}

export const axisOptions: OptionKinds<AxisOptions> = { axis: kinds.integer, axes: axesKind };

/**
 * The one axis that checked options name, as `axis` or `axes`.
 * @throws ArgumentError if there is neither axis nor default
 */
export function axisOf(op: string, shape: Shape, { axis, axes }: AxisOptions, standard?: number): number {
  if (axis !== undefined && axes !== undefined) throw new ArgumentError(op, 'axis or axes', 'both');
  const given = axis ?? axes ?? standard;
  const list = given === undefined || typeof given === 'number' ? given : wholeNumbers(op, 'axes', given);
  const one = Array.isArray(list) && list.length === 1 ? list[0] : list;
  if (typeof one !== 'number') throw new ArgumentError(op, 'axis to be a whole number', describeValue(list));
  return normalizeAxis(op, one, shape);
}
