// Channels of images become pixels, and the reverse: one strided copy.
import { checkArgument, kinds, refuseExtra } from '../../arguments.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { checkShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { permute, reshape } from '../movement.ts';
import { checkSameDtype } from '../op.ts';

/**
 * Moves channels to pixels: [N, H, W, C f^2] to [N, H f, W f, C]. Channel c f^2 + i f + j of a pixel becomes channel c
 * of the pixel (i, j) of its block. This is PyTorch's order of channels, so the weights of a layer before it keep their
 * order; TensorFlow's `depth_to_space` has c last instead.
 * @param factor f, a whole number >= 1
 * @throws ShapeError unless the channels can be divided by f^2
 * @example pixelShuffle(reshape(arange(0, 4), [1, 1, 1, 4]), 2); // [[[[0], [1]], [[2], [3]]]]
 */
export function pixelShuffle(x: Tensor, factor: number): Tensor;
export function pixelShuffle(x: Tensor, factor: number, ...extra: unknown[]): Tensor {
  refuseExtra('pixelShuffle', extra);
  checkImages('pixelShuffle', x, factor);
  const [n, height, width, channels] = x.shape;
  const rest = channels / factor ** 2;
  if (!Number.isInteger(rest))
    throw new ShapeError('pixelShuffle', `channels that ${factor ** 2} divides`, formatShape(x.shape));
  const result = checkShape('pixelShuffle', [n, height * factor, width * factor, rest]);
  using parts = reshape(x, [n, height, width, rest, factor, factor]);
  using moved = permute(parts, [0, 1, 4, 2, 5, 3]);
  return reshape(moved, result);
}

/**
 * The reverse of `pixelShuffle`: [N, H f, W f, C] to [N, H, W, C f^2], in the same order of channels.
 * @param factor f, a whole number >= 1
 * @throws ShapeError unless height and width can be divided by f
 * @example pixelUnshuffle(reshape(arange(0, 4), [1, 2, 2, 1]), 2); // [[[[0, 1, 2, 3]]]]
 */
export function pixelUnshuffle(x: Tensor, factor: number): Tensor;
export function pixelUnshuffle(x: Tensor, factor: number, ...extra: unknown[]): Tensor {
  refuseExtra('pixelUnshuffle', extra);
  checkImages('pixelUnshuffle', x, factor);
  const [n, height, width, channels] = x.shape;
  const [rows, columns] = [height / factor, width / factor];
  if (!Number.isInteger(rows) || !Number.isInteger(columns))
    throw new ShapeError('pixelUnshuffle', `a height and width that ${factor} divides`, formatShape(x.shape));
  const result = checkShape('pixelUnshuffle', [n, rows, columns, channels * factor ** 2]);
  using parts = reshape(x, [n, rows, factor, columns, factor, channels]);
  using moved = permute(parts, [0, 1, 3, 5, 2, 4]);
  return reshape(moved, result);
}

function checkImages(op: string, x: Tensor, factor: number): void {
  checkSameDtype(op, [x]);
  checkArgument(op, 'factor', factor, kinds.int32Count);
  if (x.rank !== 4) throw new ShapeError(op, 'images [N, H, W, C]', formatShape(x.shape));
}
