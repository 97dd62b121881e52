// Products of vectors, and sums of products over chosen axes.
import { checkOptions, copyOfList, describeValue, refuseExtra, wholeNumbers } from '../../arguments.ts';
import { ArgumentError, formatShape, ShapeError } from '../../errors.ts';
import { scope } from '../../tensor/scope.ts';
import { type AxisOptions, axisOf, axisOptions, broadcastShapes, normalizeAxes } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { mul } from '../elementwise.ts';
import { matmul } from '../matmul.ts';
import { reshape } from '../movement.ts';
import { checkActivations } from '../op.ts';
import { sum } from '../reduce.ts';
import { contract } from './contraction.ts';

function both(a: Tensor, b: Tensor): string {
  return `${formatShape(a.shape)} and ${formatShape(b.shape)}`;
}

/**
 * Every product of an element of a and one of b.
 * @param a [M]; f32, or on CUDA bf16
 * @param b [N]
 * @returns [M, N]
 * @example outer(tensor([1, 2]), tensor([3, 4])); // [[3, 4], [6, 8]]
 */
export function outer(a: Tensor, b: Tensor): Tensor;
export function outer(a: Tensor, b: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('outer', extra);
  checkActivations('outer', [a, b]);
  if (a.rank !== 1 || b.rank !== 1) throw new ShapeError('outer', 'vectors [M] and [N]', both(a, b));
  return scope(() => mul(reshape(a, [a.size, 1]), reshape(b, [1, b.size])));
}

/**
 * The sum of the products of two vectors.
 * @param a [K]; f32, or on CUDA bf16
 * @param b [K]
 * @returns a scalar
 * @example dot(tensor([1, 2, 3]), tensor([4, 5, 6])); // 32
 */
export function dot(a: Tensor, b: Tensor): Tensor;
export function dot(a: Tensor, b: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('dot', extra);
  checkActivations('dot', [a, b]);
  if (a.rank !== 1 || b.rank !== 1 || a.size !== b.size) throw new ShapeError('dot', 'two vectors [K]', both(a, b));
  return scope(() => reshape(matmul(reshape(a, [1, a.size]), reshape(b, [b.size, 1])), []));
}

/**
 * The sum of the products along one axis, by default the last; the other axes broadcast.
 * @param a f32, or on CUDA bf16
 * @param options.axis an axis of the broadcast shape, in which it has one extent or 1
 * @example vecdot(tensor([[1, 2], [3, 4]]), tensor([1, 1])); // [3, 7]
 */
export function vecdot(a: Tensor, b: Tensor, options: AxisOptions = {}): Tensor {
  checkActivations('vecdot', [a, b]);
  const shape = broadcastShapes('vecdot', a.shape, b.shape);
  const axis = axisOf('vecdot', shape, checkOptions('vecdot', options, axisOptions), -1);
  return scope(() => sum(mul(a, b), { axes: axis }));
}

const agree = (m: number, n: number) => m === n || m === 1 || n === 1;

/** The axes of a and of b that are summed. @throws ArgumentError, ShapeError */
function axesOf(a: Tensor, b: Tensor, axes: unknown): [number[], number[]] {
  if (typeof axes === 'number') {
    if (!Number.isSafeInteger(axes) || axes < 0 || axes > Math.min(a.rank, b.rank))
      throw new ShapeError('tensordot', `a number of axes of both ${both(a, b)}`, describeValue(axes));
    return [Array.from({ length: axes }, (_, i) => a.rank - axes + i), Array.from({ length: axes }, (_, i) => i)];
  }
  const lists = copyOfList(axes);
  if (lists?.length !== 2)
    throw new ArgumentError('tensordot', 'axes to be a number or [axes of a, axes of b]', describeValue(axes));
  const [first, second] = lists.map((list, i) => {
    const shape = [a, b][i].shape;
    const numbers = wholeNumbers('tensordot', 'axes', typeof list === 'number' ? [list] : list);
    normalizeAxes('tensordot', numbers, shape);
    return numbers.map((axis) => (axis < 0 ? axis + shape.length : axis));
  });
  return [first, second];
}

/**
 * The sum of the products over some axes of a and as many of b.
 * @param a f32, or on CUDA bf16
 * @param axes a number n: the last n axes of a and the first n of b (default 2); or the axes of a and those of b, in pairs
 * @returns the other axes of a, then those of b
 * @throws ShapeError for pairs of different extents, unless one is 1, which is repeated
 * @example
 * tensordot(tensor([[1, 2], [3, 4]]), tensor([[1, 0], [0, 1]])); // 5
 * tensordot(ones([8, 2, 2, 3]), ones([2, 2, 5]), [[1, 2], [0, 1]]).shape; // [8, 3, 5]
 */
export function tensordot(
  a: Tensor,
  b: Tensor,
  axes?: number | readonly [a: number | readonly number[], b: number | readonly number[]],
): Tensor;
export function tensordot(a: Tensor, b: Tensor, axes: unknown = 2, ...extra: unknown[]): Tensor {
  refuseExtra('tensordot', extra);
  checkActivations('tensordot', [a, b]);
  const [first, second] = axesOf(a, b, axes);
  if (first.length !== second.length || first.some((axis, i) => !agree(a.shape[axis], b.shape[second[i]])))
    throw new ShapeError(
      'tensordot',
      'as many axes of each tensor, of equal extents or 1',
      `axes ${formatShape(first)} and ${formatShape(second)} of ${both(a, b)}`,
    );
  const labels = [a, b].map(({ shape }, which) => shape.map((_, axis) => `${'ab'[which]}${axis}`));
  second.forEach((axis, i) => {
    labels[1][axis] = labels[0][first[i]];
  });
  const output = [
    ...labels[0].filter((_, axis) => !first.includes(axis)),
    ...labels[1].filter((_, axis) => !second.includes(axis)),
  ];
  const operands = [a, b].map((tensor, i) => ({ tensor, labels: labels[i] }));
  return scope(() => contract('tensordot', operands, output));
}
