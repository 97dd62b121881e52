// Sums, means, maxima and minima over axes, argmax and argmin.
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import { type AxisOptions, axesKind, axisOf, axisOptions, normalizeAxes, type Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { div, equal, mul, where } from './elementwise.ts';
import { type ExtremeKernel, extremeAxes, reduceCuda, reduceKernels, sumAxes } from './inner/reduction.ts';
import { broadcastTo, reshape } from './movement.ts';
import { apply, checkActivations, checkOperands, declareOp, notDifferentiable, type Op } from './op.ts';

export interface ReduceOptions {
  /** Axes to reduce; default: all. Negative ones count from the end. */
  axes?: number | readonly number[];
  /** Another name for `axes`. */
  axis?: number | readonly number[];
  /** Keep the reduced axes with extent 1. */
  keepDims?: boolean;
}

export const reduceOptions: OptionKinds<ReduceOptions> = { axes: axesKind, axis: axesKind, keepDims: kinds.boolean };

/** The checked axes of a reduction. */
export function reduction(
  op: string,
  x: Tensor,
  options: ReduceOptions,
): { axes: number[]; keepDims: boolean | undefined } {
  const { axes, axis, keepDims } = checkOptions(op, options, reduceOptions);
  if (axes !== undefined && axis !== undefined) throw new ArgumentError(op, 'axes or axis', 'both');
  return { axes: normalizeAxes(op, axes ?? axis, x.shape), keepDims };
}

export interface ReduceAttributes {
  shape: Shape;
  axes: readonly number[];
  scale: number;
}

/** x's shape with extent 1 at `axes`. */
export function keptShape(shape: Shape, axes: readonly number[]): number[] {
  return shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
}

/** x's shape without `axes`, or with extent 1 there. */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims = false): number[] {
  return keepDims ? keptShape(shape, axes) : shape.filter((_, axis) => !axes.includes(axis));
}

function finish(y: Tensor, x: Tensor, axes: readonly number[], keepDims: boolean | undefined): Tensor {
  if (!keepDims) return y;
  const kept = view(y, keptShape(x.shape, axes));
  y.dispose();
  return kept;
}

function sumLike(name: string, reduced: (x: Tensor, options: ReduceOptions) => Tensor) {
  return declareOp<ReduceAttributes>({
    name,
    cpu: reduceKernels,
    cuda: reduceCuda,
    backward({ grad, attributes: { shape, axes, scale } }) {
      const spread = broadcastTo(view(grad, keptShape(shape, axes)), shape);
      return [scale === 1 ? spread : mul(spread, scale)];
    },
    tangent: ({ tangents: [t], output, attributes: { axes } }) => reshape(reduced(t as Tensor, { axes }), output.shape),
  });
}

export const sumOp = sumLike('sum', sum);
export const meanOp = sumLike('mean', mean);

/**
 * Sum over axes; 0 where there are no elements.
 * @example sum(tensor([[1, 2], [3, 4]]), { axes: 0 }); // [4, 6]
 */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkActivations('sum', [x]);
  const { axes, keepDims } = reduction('sum', x, options);
  const y = finish(sumAxes(x, axes), x, axes, keepDims);
  return apply(sumOp, y, { parents: [x], attributes: { shape: x.shape, axes, scale: 1 } });
}

/**
 * Mean over axes; NaN where there are no elements.
 * @example mean(tensor([[1, 2], [3, 4]]), { axes: 0 }); // [2, 3]
 */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkActivations('mean', [x]);
  const { axes, keepDims } = reduction('mean', x, options);
  const scale = 1 / axes.reduce((product, axis) => product * x.shape[axis], 1);
  const y = finish(sumAxes(x, axes, scale), x, axes, keepDims);
  return apply(meanOp, y, { parents: [x], attributes: { shape: x.shape, axes, scale } });
}

/* @__NO_SIDE_EFFECTS__ */
function extremeOp(name: string) {
  return declareOp<ReduceAttributes>({
    name,
    cpu: reduceKernels,
    cuda: reduceCuda,
    backward({ grad, saved: [x, y], attributes: { axes } }) {
      const kept = keptShape(x.shape, axes);
      const winners = where(equal(x, view(y, kept)), 1, 0);
      const share = div(view(grad, kept), view(sumAxes(winners, axes), kept));
      return [mul(winners, share)];
    },
    tangent({ tangents: [t], parents: [x], output, attributes: { axes } }) {
      const winners = where(equal(x as Tensor, reshape(output, keptShape((x as Tensor).shape, axes))), 1, 0);
      const share = div(sum(mul(t as Tensor, winners), { axes }), sum(winners, { axes }));
      return reshape(share, output.shape);
    },
  });
}

function extreme(op: Op<ReduceAttributes>, kernel: ExtremeKernel, x: Tensor, options: ReduceOptions): Tensor {
  checkOperands(op.name, [x]);
  const { axes, keepDims } = reduction(op.name, x, options);
  checkNotEmpty(op.name, x, axes);
  const y = finish(extremeAxes(kernel, x, axes), x, axes, keepDims);
  return apply(op, y, { parents: [x], saved: [x, y], attributes: { shape: x.shape, axes, scale: 1 } });
}

export const maxOp = extremeOp('max');

/**
 * Largest value over axes; ties share the gradient. If one element is NaN, so are the result and the gradients of all
 * elements reduced with it, as in `torch.amax`.
 * @throws ShapeError if a reduced axis has no elements
 * @example max(tensor([[1, 5], [7, 3]]), { axes: 1 }); // [5, 7]
 */
export function max(x: Tensor, options: ReduceOptions = {}): Tensor {
  return extreme(maxOp, 'reduce_maximum', x, options);
}

export const minOp = extremeOp('min');

/**
 * Smallest value over axes; ties share the gradient. If one element is NaN, so are the result and the gradients of all
 * elements reduced with it, as in `torch.amin`.
 * @throws ShapeError if a reduced axis has no elements
 * @example min(tensor([[1, 5], [7, 3]]), { axes: 1 }); // [1, 3]
 */
export function min(x: Tensor, options: ReduceOptions = {}): Tensor {
  return extreme(minOp, 'reduce_minimum', x, options);
}

export interface ArgmaxOptions extends AxisOptions {
  /** Keep the reduced axis with extent 1. */
  keepDims?: boolean;
}

function indexOp(name: string): Op {
  return declareOp({
    name,
    cpu: reduceKernels,
    cuda: reduceCuda,
    ...notDifferentiable(`${name} is piecewise constant`),
  });
}

function indexOf(op: Op, kernel: ExtremeKernel, x: Tensor, options: ArgmaxOptions): Tensor {
  checkOperands(op.name, [x]);
  const { keepDims, ...rest } = checkOptions<ArgmaxOptions>(op.name, options, {
    ...axisOptions,
    keepDims: kinds.boolean,
  });
  const axis = axisOf(op.name, x.shape, rest);
  checkNotEmpty(op.name, x, [axis]);
  return apply(op, finish(extremeAxes(kernel, x, [axis]), x, [axis], keepDims), { parents: [x] });
}

export const argmaxOp = indexOp('argmax');

/**
 * The index (i32) of the first largest value along one axis, which must be given. The first NaN counts as the largest.
 * @example argmax(tensor([[1, 5, 2], [7, 0, 3]]), { axis: 1 }); // [1, 0]
 */
export function argmax(x: Tensor, options: ArgmaxOptions): Tensor {
  return indexOf(argmaxOp, 'reduce_argmax', x, options);
}

export const argminOp = indexOp('argmin');

/**
 * The index (i32) of the first smallest value along one axis, which must be given. The first NaN counts as the smallest.
 * @example argmin(tensor([[1, 5, 2], [7, 0, 3]]), { axis: 1 }); // [0, 1]
 */
export function argmin(x: Tensor, options: ArgmaxOptions): Tensor {
  return indexOf(argminOp, 'reduce_argmin', x, options);
}

/** @throws ShapeError if one of the axes has no elements */
export function checkNotEmpty(op: string, x: Tensor, axes: readonly number[]): void {
  if (axes.some((axis) => x.shape[axis] === 0))
    throw new ShapeError(op, 'at least one element along the reduced axes', formatShape(x.shape));
}
