// Sums, means, maxima and minima over axes, and argmax.
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { ArgumentError, formatShape, ShapeError } from '../errors.ts';
import { scope } from '../tensor/scope.ts';
import { type AxisOptions, axesKind, axisOf, axisOptions, normalizeAxes, type Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { div, equal, mul, neg, where } from './elementwise.ts';
import { argmaxAxis, maxAxes, reduceCuda, reduceKernels, sumAxes } from './inner/reduction.ts';
import { broadcastTo, reshape } from './movement.ts';
import { apply, checkActivations, checkOperands, defineOp, notDifferentiable } from './op.ts';

export interface ReduceOptions {
  /** Axes to reduce; default: all. Negative ones count from the end. */
  axes?: number | readonly number[];
  /** Another name for `axes`. */
  axis?: number | readonly number[];
  /** Keep the reduced axes with extent 1. */
  keepDims?: boolean;
}

const reduceOptions: OptionKinds<ReduceOptions> = { axes: axesKind, axis: axesKind, keepDims: kinds.boolean };

/** The checked axes of a reduction. */
function reduction(op: string, x: Tensor, options: ReduceOptions): { axes: number[]; keepDims: boolean | undefined } {
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
function keptShape(shape: Shape, axes: readonly number[]): number[] {
  return shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
}

function finish(y: Tensor, x: Tensor, axes: readonly number[], keepDims: boolean | undefined): Tensor {
  if (!keepDims) return y;
  const kept = view(y, keptShape(x.shape, axes));
  y.dispose();
  return kept;
}

function sumLike(name: string, reduced: (x: Tensor, options: ReduceOptions) => Tensor) {
  return defineOp<ReduceAttributes>({
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

/** Sum over axes; 0 where there are no elements. */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkActivations('sum', [x]);
  const { axes, keepDims } = reduction('sum', x, options);
  const y = finish(sumAxes(x, axes), x, axes, keepDims);
  return apply(sumOp, y, { parents: [x], attributes: { shape: x.shape, axes, scale: 1 } });
}

/** Mean over axes; NaN where there are no elements. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkActivations('mean', [x]);
  const { axes, keepDims } = reduction('mean', x, options);
  const scale = 1 / axes.reduce((product, axis) => product * x.shape[axis], 1);
  const y = finish(sumAxes(x, axes, scale), x, axes, keepDims);
  return apply(meanOp, y, { parents: [x], attributes: { shape: x.shape, axes, scale } });
}

export const maxOp = defineOp<ReduceAttributes>({
  name: 'max',
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

/**
 * Largest value over axes; ties share the gradient. If one element is NaN, so are the result and the gradients of all
 * elements reduced with it, as in `torch.amax`.
 * @throws ShapeError if a reduced axis has no elements
 */
export function max(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkOperands('max', [x]);
  const { axes, keepDims } = reduction('max', x, options);
  checkNotEmpty('max', x, axes);
  const y = finish(maxAxes(x, axes), x, axes, keepDims);
  return apply(maxOp, y, { parents: [x], saved: [x, y], attributes: { shape: x.shape, axes, scale: 1 } });
}

/**
 * Smallest value over axes, with the rules of `max` for ties and NaN.
 * @throws ShapeError if a reduced axis has no elements
 */
export function min(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkOperands('min', [x]);
  const { axes, keepDims } = reduction('min', x, options);
  checkNotEmpty('min', x, axes);
  return scope(() => neg(max(neg(x), { axes, keepDims })));
}

export const argmaxOp = defineOp({
  name: 'argmax',
  cpu: reduceKernels,
  cuda: reduceCuda,
  ...notDifferentiable('argmax is piecewise constant'),
});

export interface ArgmaxOptions extends AxisOptions {
  /** Keep the reduced axis with extent 1. */
  keepDims?: boolean;
}

/** The index (i32) of the first largest value along one axis, which must be given. */
export function argmax(x: Tensor, options: ArgmaxOptions): Tensor {
  checkOperands('argmax', [x]);
  const { keepDims, ...rest } = checkOptions<ArgmaxOptions>('argmax', options, {
    ...axisOptions,
    keepDims: kinds.boolean,
  });
  const axis = axisOf('argmax', x.shape, rest);
  checkNotEmpty('argmax', x, [axis]);
  return apply(argmaxOp, finish(argmaxAxis(x, axis), x, [axis], keepDims), { parents: [x] });
}

function checkNotEmpty(op: string, x: Tensor, axes: readonly number[]): void {
  if (axes.some((axis) => x.shape[axis] === 0))
    throw new ShapeError(op, 'at least one element along the reduced axes', formatShape(x.shape));
}
