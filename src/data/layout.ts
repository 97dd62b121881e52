// Conversion between channels last, which this package computes with, and channels first, which PyTorch files use.

import { checkArgument, kinds, wholeNumbers } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';

export type ImagesShape = readonly [n: number, h: number, w: number, c: number];

/**
 * Converts [N, H, W, C] to [N, C, H, W].
 * @param shape [N, H, W, C], the shape of the values
 * @throws ShapeError for a shape of another number of values
 * @example
 * // Two pixels of three channels.
 * const pixels = Float32Array.of(1, 2, 3, 4, 5, 6);
 * channelsFirst(pixels, [1, 1, 2, 3]); // [1, 4, 2, 5, 3, 6]
 */
export function channelsFirst(values: Float32Array, shape: ImagesShape): Float32Array {
  const [n, h, w, c] = checkImages('channelsFirst', values, shape);
  return transpose(values, n, h * w, c);
}

/**
 * Converts [N, C, H, W] to [N, H, W, C].
 * @param shape [N, H, W, C], the shape of the result
 * @throws ShapeError for a shape of another number of values
 * @example
 * const planes = Float32Array.of(1, 4, 2, 5, 3, 6);
 * channelsLast(planes, [1, 1, 2, 3]); // [1, 2, 3, 4, 5, 6]
 */
export function channelsLast(values: Float32Array, shape: ImagesShape): Float32Array {
  const [n, h, w, c] = checkImages('channelsLast', values, shape);
  return transpose(values, n, c, h * w);
}

/** @throws ArgumentError, ShapeError unless the shape has four dimensions and matches the number of values */
function checkImages(op: string, values: Float32Array, shape: ImagesShape): readonly number[] {
  checkArgument(op, 'values', values, kinds.float32);
  const dims = wholeNumbers(op, 'shape', shape);
  if (dims.length !== 4 || !dims.every((dim) => dim >= 0) || dims.reduce((a, b) => a * b) !== values.length)
    throw new ShapeError(op, `[N, H, W, C] of ${values.length} values`, formatShape(dims));
  return dims;
}

/** Converts [n, rows, columns] to [n, columns, rows]. */
function transpose(values: Float32Array, n: number, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < n; i++)
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) out[(i * columns + c) * rows + r] = values[(i * rows + r) * columns + c];
  return out;
}
