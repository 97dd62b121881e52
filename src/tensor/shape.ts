// Shape rules: pure functions of lists of dimensions.
import { formatShape, ShapeError } from '../errors.ts';

export type Shape = readonly number[];

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const dim of shape) size *= dim;
  return size;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** @throws ShapeError unless every dimension is a whole number >= 0 and the size fits an int32 */
export function checkShape(op: string, shape: Shape): void {
  if (!shape.every((dim) => Number.isInteger(dim) && dim >= 0))
    throw new ShapeError(op, 'dimensions that are whole numbers >= 0', formatShape(shape));
  if (sizeOf(shape) > 2 ** 31 - 1) throw new ShapeError(op, 'at most 2^31 - 1 elements', formatShape(shape));
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

/** Axes as sorted, distinct, non-negative numbers; every axis when undefined. @throws ShapeError */
export function normalizeAxes(op: string, axes: number | readonly number[] | undefined, shape: Shape): number[] {
  const rank = shape.length;
  if (axes === undefined) return shape.map((_, i) => i);
  const list = typeof axes === 'number' ? [axes] : axes;
  const normal = list.map((axis) => (axis < 0 ? axis + rank : axis));
  if (
    !normal.every((axis) => Number.isInteger(axis) && axis >= 0 && axis < rank) ||
    new Set(normal).size < normal.length
  )
    throw new ShapeError(op, `distinct axes of a tensor ${formatShape(shape)}`, `axes ${formatShape(list)}`);
  return normal.sort((a, b) => a - b);
}
