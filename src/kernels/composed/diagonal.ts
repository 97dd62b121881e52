// Diagonals of matrices, as vectors and back: strided copies.
import { refuseExtra } from '../../arguments.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import { zeros } from '../../tensor/create.ts';
import { checkShape, type Shape, stridesOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type DiagonalOptions, offsetOf } from '../inner/diagonal_options.ts';
import { copyStrided, movementCuda, movementKernels } from '../inner/strided.ts';
import { apply, checkActivations, checkSameDtype, declareOp } from '../op.ts';
import { sum } from '../reduce.ts';

export type { DiagonalOptions } from '../inner/diagonal_options.ts';

/** The number of elements on a diagonal. */
function lengthOf(rows: number, columns: number, offset: number): number {
  return Math.max(0, Math.min(rows + Math.min(offset, 0), columns - Math.max(offset, 0)));
}

/** A diagonal of matrices [..., R, C] as a window of their memory. */
function diagonalIn(tensor: Tensor, offset: number) {
  const columns = tensor.shape[tensor.rank - 1];
  const strides = [...stridesOf(tensor.shape).slice(0, -2), columns + 1];
  return { tensor, offset: offset >= 0 ? offset : -offset * columns, strides };
}

function taken(x: Tensor, offset: number): Tensor {
  const [rows, columns] = x.shape.slice(-2);
  const shape = [...x.shape.slice(0, -2), lengthOf(rows, columns, offset)];
  const y = allocate(shape, { device: x.device, dtype: x.dtype });
  copyStrided(shape, diagonalIn(x, offset), { tensor: y, offset: 0, strides: stridesOf(shape) });
  return y;
}

/** Zeros, with x on a diagonal. */
function placed(x: Tensor, shape: Shape, offset: number): Tensor {
  const y = zeros(shape, { device: x.device, dtype: x.dtype });
  copyStrided(x.shape, { tensor: x, offset: 0, strides: stridesOf(x.shape) }, diagonalIn(y, offset));
  return y;
}

export const diagonalOp = declareOp<{ offset: number; shape: Shape }>({
  name: 'diagonal',
  cpu: movementKernels,
  cuda: movementCuda,
  backward: ({ grad, attributes: { offset, shape } }) => [placed(grad, shape, offset)],
  tangent: ({ tangents: [t], attributes: { offset } }) => diagonal(t as Tensor, { offset }),
});

/**
 * A diagonal of each matrix.
 * @param x [..., R, C]
 * @returns [..., length of the diagonal]; no elements for an offset beyond the matrix
 * @example diagonal(tensor([[1, 2], [3, 4]])); // [1, 4]
 */
export function diagonal(x: Tensor, options?: DiagonalOptions): Tensor;
export function diagonal(x: Tensor, options: DiagonalOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('diagonal', extra);
  checkMatrices('diagonal', x);
  const offset = offsetOf('diagonal', options);
  return apply(diagonalOp, taken(x, offset), { parents: [x], attributes: { offset, shape: x.shape } });
}

export const diagEmbedOp = declareOp<number>({
  name: 'diagEmbed',
  cpu: movementKernels,
  cuda: movementCuda,
  backward: ({ grad, attributes: offset }) => [taken(grad, offset)],
  tangent: ({ tangents: [t], attributes: offset }) => diagEmbed(t as Tensor, { offset }),
});

/**
 * Square matrices with the elements of x on a diagonal, and 0 elsewhere.
 * @param x [..., n]
 * @returns [..., n + |offset|, n + |offset|]
 * @example diagEmbed(tensor([[1, 2], [3, 4]])); // [[[1, 0], [0, 2]], [[3, 0], [0, 4]]]
 */
export function diagEmbed(x: Tensor, options?: DiagonalOptions): Tensor;
export function diagEmbed(x: Tensor, options: DiagonalOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('diagEmbed', extra);
  checkSameDtype('diagEmbed', [x]);
  if (x.rank === 0) throw new ShapeError('diagEmbed', 'vectors [..., n]', formatShape(x.shape));
  const offset = offsetOf('diagEmbed', options);
  const side = x.shape[x.rank - 1] + Math.abs(offset);
  const shape = checkShape('diagEmbed', [...x.shape.slice(0, -1), side, side]);
  return apply(diagEmbedOp, placed(x, shape, offset), { parents: [x], attributes: offset });
}

/**
 * The matrix with a vector on its diagonal, or the diagonal of a matrix, as in NumPy. `diagEmbed` and `diagonal` do the
 * same for batches.
 * @param x [n] or [R, C]
 * @example
 * diag(tensor([1, 2])); // [[1, 0], [0, 2]]
 * diag(diag(tensor([1, 2]))); // [1, 2]
 */
export function diag(x: Tensor, options?: DiagonalOptions): Tensor;
export function diag(x: Tensor, options: DiagonalOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('diag', extra);
  checkSameDtype('diag', [x]);
  const offset = offsetOf('diag', options);
  if (x.rank !== 1 && x.rank !== 2)
    throw new ShapeError('diag', 'a vector [n] or a matrix [R, C]', formatShape(x.shape));
  return x.rank === 1 ? diagEmbed(x, { offset }) : diagonal(x, { offset });
}

/**
 * The sum of a diagonal of each matrix. x is f32, or on CUDA bf16.
 * @param x [..., R, C]
 * @returns [...]
 * @example trace(tensor([[1, 2], [3, 4]])); // 5
 */
export function trace(x: Tensor, options?: DiagonalOptions): Tensor;
export function trace(x: Tensor, options: DiagonalOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('trace', extra);
  checkActivations('trace', [x]);
  checkMatrices('trace', x);
  using line = diagonal(x, { offset: offsetOf('trace', options) });
  return sum(line, { axes: -1 });
}

function checkMatrices(op: string, x: Tensor): void {
  checkSameDtype(op, [x]);
  if (x.rank < 2) throw new ShapeError(op, 'matrices [..., R, C]', formatShape(x.shape));
}
