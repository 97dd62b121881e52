// Images with channels last, as this package computes, and with channels first, as PyTorch's files have them.

import { checkArgument, kinds, wholeNumbers } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';

export type ImagesShape = readonly [n: number, h: number, w: number, c: number];

/** [N, H, W, C] to [N, C, H, W]. */
export function channelsFirst(values: Float32Array, shape: ImagesShape): Float32Array {
  const [n, h, w, c] = checkImages('channelsFirst', values, shape);
  return transposed(values, n, h * w, c);
}

/** [N, C, H, W] to [N, H, W, C]; the shape is that of the result. */
export function channelsLast(values: Float32Array, shape: ImagesShape): Float32Array {
  const [n, h, w, c] = checkImages('channelsLast', values, shape);
  return transposed(values, n, c, h * w);
}

/** @throws ArgumentError, ShapeError unless the shape is of four dimensions and of so many values */
function checkImages(op: string, values: Float32Array, shape: ImagesShape): readonly number[] {
  checkArgument(op, 'values', values, kinds.float32);
  const dims = wholeNumbers(op, 'shape', shape);
  if (dims.length !== 4 || !dims.every((dim) => dim >= 0) || dims.reduce((a, b) => a * b) !== values.length)
    throw new ShapeError(op, `[N, H, W, C] of ${values.length} values`, formatShape(dims));
  return dims;
}

/** [n, rows, columns] to [n, columns, rows]. */
function transposed(values: Float32Array, n: number, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < n; i++)
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) out[(i * columns + c) * rows + r] = values[(i * rows + r) * columns + c];
  return out;
}
