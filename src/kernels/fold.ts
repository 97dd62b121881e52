// Reductions beyond sums and extremes: norms, log sum exp, and counts of true elements.
import { checkOptions, kind } from '../arguments.ts';
import { cudaModule, kernelModule } from '../device/module.ts';
import { allocate } from '../tensor/allocate.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { abs, div, equal, exp, less, mul, pow, sub, where } from './elementwise.ts';
import { type Around, around, neighbours } from './inner/axes.ts';
import { convertDtype } from './inner/conversion.ts';
import { perElement, perResult, runFlag, runsOf } from './launch/grid.ts';
import { reshape } from './movement.ts';
import { apply, checkOperands, checkSameDtype, declareOp, notDifferentiable, type Op } from './op.ts';
import {
  checkNotEmpty,
  keptShape,
  max,
  min,
  type ReduceOptions,
  reducedShape,
  reduceOptions,
  reduction,
  sum,
} from './reduce.ts';

export const foldKernels = kernelModule('kernels/fold.c', {
  fold_norm_scratch: 'i32 i32 i32 -> count',
  fold_norm: 'ptr ptr ptr i32 i32 i32',
  fold_log_sum_exp: 'ptr ptr i32 i32 i32',
  fold_log_sum_exp_backward: 'ptr ptr ptr ptr i32 i32 i32',
  fold_count: 'ptr ptr i32 i32 i32 i32',
});

export const foldCuda = cudaModule(
  'kernels/fold.cu',
  {
    fold_squares: 'ptr ptr i32 i32 i32 i32 i32',
    fold_root: 'ptr ptr i32 i32 i32',
    fold_log_sum_exp: 'ptr ptr i32 i32 i32 i32',
    fold_log_sum_exp_backward: 'ptr ptr ptr ptr i32 i32 i32',
    fold_count: 'ptr ptr i32 i32 i32 i32 i32',
  },
  { flags: [runFlag] },
);

/** A reduction of neighbouring axes of x. */
interface Fold {
  x: Tensor;
  axes: readonly number[];
  /** The shape of the result. */
  shape: number[];
}

function foldOf(op: string, given: Tensor, options: ReduceOptions): Fold {
  const { axes, keepDims } = reduction(op, given, options);
  return { ...neighbours(given, axes), shape: reducedShape(given.shape, axes, keepDims) };
}

export interface FoldAttributes {
  /** The reduced axes of the operand. */
  axes: readonly number[];
}

/** y in the shape that broadcasts to x. */
function kept(y: Tensor, x: Tensor, axes: readonly number[]): Tensor {
  return reshape(y, keptShape(x.shape, axes));
}

// ---------------------------------------------------------------- norms

export const normOp = declareOp<FoldAttributes>({
  name: 'norm',
  cpu: foldKernels,
  cuda: foldCuda,
  backward: ({ grad, saved: [x, y], attributes: { axes } }) => [
    mul(view(grad, keptShape(x.shape, axes)), directionOf(x, y, axes)),
  ],
  tangent({ tangents: [t], parents: [x], output: y, attributes: { axes } }) {
    const along = mul(t as Tensor, directionOf(x as Tensor, y, axes));
    return reshape(sum(along, { axes }), y.shape);
  },
});

/** x / |x|, which is the gradient of the norm; 0 where the norm is 0. */
function directionOf(x: Tensor, y: Tensor, axes: readonly number[]): Tensor {
  return div(x, kept(where(equal(y, 0), 1, y), x, axes));
}

export interface NormOptions extends ReduceOptions {
  /** Any number but 0, also Infinity and -Infinity; default 2. */
  ord?: number;
}

const ordKind = kind('a number other than 0', (v) => typeof v === 'number' && v !== 0 && !Number.isNaN(v));

/**
 * The vector norm of the elements along axes: (sum |x|^ord)^(1 / ord), or the largest |x| for `ord` Infinity and the
 * smallest for -Infinity. The Euclidean norm, `ord` 2, adds squares in double precision, so it overflows and underflows
 * only where its result does. The gradient where the norm is 0 is 0, as in PyTorch. `ord` 0 is refused: use
 * `countNonzero`.
 * @returns 0 where there are no elements, for `ord` 1 and 2; another `ord` needs at least one
 * @throws ArgumentError for another `ord`; ShapeError for axes that do not exist or have no elements
 * @example
 * norm(tensor([3, 4])); // 5
 * norm(tensor([[3, 4], [0, -2]]), { axes: 1, ord: 1 }); // [7, 2]
 */
export function norm(x: Tensor, options: NormOptions = {}): Tensor {
  checkOperands('norm', [x]);
  const { ord = 2, ...rest } = checkOptions<NormOptions>('norm', options, { ...reduceOptions, ord: ordKind });
  const { axes, keepDims } = reduction('norm', x, rest);
  if (ord !== 1 && ord !== 2) checkNotEmpty('norm', x, axes);
  return scope(() => (ord === 2 ? euclideanNorm(x, { axes, keepDims }) : otherNorm(x, ord, axes, keepDims)));
}

function euclideanNorm(x: Tensor, options: ReduceOptions): Tensor {
  const { x: from, axes, shape } = foldOf('norm', x, options);
  const y = allocate(shape, { device: x.device });
  if (y.size > 0) euclidean(from, y, around(from.shape, ...axes));
  return apply(normOp, y, { parents: [from], saved: [from, y], attributes: { axes } });
}

function euclidean(x: Tensor, y: Tensor, { outer, length, inner }: Around): void {
  const { device } = x;
  if (device.kind !== 'cuda') {
    const kernels = device.load(foldKernels);
    using scratch = allocate([2 * kernels.fold_norm_scratch(outer, length, inner)], { device });
    kernels.fold_norm(x.address, y.address, scratch.address, outer, length, inner);
    return;
  }
  const kernels = device.load(foldCuda);
  const runs = runsOf(length);
  const count = y.size * runs;
  using partial = allocate([2 * count], { device });
  const { grid, lanes } = perResult(count, inner);
  kernels.fold_squares(grid, x.address, partial.address, count, length, inner, runs, lanes);
  kernels.fold_root(perElement(y.size), partial.address, y.address, y.size, inner, runs);
}

/** Any norm but the Euclidean one, written in ops. */
function otherNorm(x: Tensor, ord: number, axes: readonly number[], keepDims: boolean | undefined): Tensor {
  const sizes = abs(x);
  if (ord === 1) return sum(sizes, { axes, keepDims });
  const extreme = (ord > 0 ? max : min)(sizes, { axes, keepDims: true });
  const shape = reducedShape(x.shape, axes, keepDims);
  if (!Number.isFinite(ord)) return reshape(extreme, shape);
  // Powers of |x| / unit are at most 1, so their sum does not overflow. The norm is homogeneous: the unit may be constant.
  const none = equal(extreme, 0);
  const unit = where(less(extreme, Number.POSITIVE_INFINITY), where(none, 1, extreme), 1);
  const constant = view(unit, unit.shape);
  // The slope of |x|^ord at 0 is infinite for an ord below 1, and counts as 0.
  const isZero = equal(x, 0);
  const powers = pow(where(isZero, 1, div(sizes, constant)), ord);
  const total = sum(where(isZero, ord > 0 ? 0 : Number.POSITIVE_INFINITY, powers), { axes, keepDims: true });
  const root = mul(constant, pow(where(none, 1, total), 1 / ord));
  return reshape(where(none, 0, root), shape);
}

// ---------------------------------------------------------------- log sum exp

export const logSumExpOp = declareOp<FoldAttributes>({
  name: 'logSumExp',
  cpu: foldKernels,
  cuda: foldCuda,
  backward({ grad, saved: [x, y], attributes: { axes } }) {
    const { device } = x;
    const dx = allocate(x.shape, { device });
    if (dx.size === 0) return [dx];
    const { outer, length, inner } = around(x.shape, ...axes);
    const operands = [x.address, y.address, grad.address, dx.address];
    if (device.kind === 'cuda')
      device.load(foldCuda).fold_log_sum_exp_backward(perElement(dx.size), ...operands, dx.size, length, inner);
    else device.load(foldKernels).fold_log_sum_exp_backward(...operands, outer, length, inner);
    return [dx];
  },
  tangent({ tangents: [t], parents: [x], output: y, attributes: { axes } }) {
    const weights = exp(sub(x as Tensor, kept(y, x as Tensor, axes)));
    return reshape(sum(mul(t as Tensor, weights), { axes }), y.shape);
  },
});

/**
 * log sum exp(x) over axes, without overflow for large x; -Infinity where there are no elements. The gradient is the
 * softmax of x.
 * @throws ShapeError for axes that do not exist
 * @example logSumExp(tensor([1000, 1000])); // 1000.693
 */
export function logSumExp(x: Tensor, options: ReduceOptions = {}): Tensor {
  checkOperands('logSumExp', [x]);
  return scope(() => {
    const { x: from, axes, shape } = foldOf('logSumExp', x, options);
    const y = allocate(shape, { device: x.device });
    if (y.size > 0) launchLogSumExp(from, y, around(from.shape, ...axes));
    return apply(logSumExpOp, y, { parents: [from], saved: [from, y], attributes: { axes } });
  });
}

function launchLogSumExp(x: Tensor, y: Tensor, { outer, length, inner }: Around): void {
  const { device } = x;
  if (device.kind === 'cuda') {
    const { grid, lanes } = perResult(y.size, inner);
    device.load(foldCuda).fold_log_sum_exp(grid, x.address, y.address, y.size, length, inner, lanes);
  } else device.load(foldKernels).fold_log_sum_exp(x.address, y.address, outer, length, inner);
}

// ---------------------------------------------------------------- true elements

/* @__NO_SIDE_EFFECTS__ */
function countOp(name: string): Op {
  return declareOp({
    name,
    cpu: foldKernels,
    cuda: foldCuda,
    ...notDifferentiable('it counts elements that are not 0'),
  });
}

/** The `kind` of fold_count. */
const COUNT = 0;
const ANY = 1;
const ALL = 2;

function countTrue(op: Op, counted: number, x: Tensor, options: ReduceOptions): Tensor {
  checkSameDtype(op.name, [x]);
  const { axes, keepDims } = reduction(op.name, x, options);
  const { device } = x;
  const y = allocate(reducedShape(x.shape, axes, keepDims), { device, dtype: counted === COUNT ? 'i32' : 'bool' });
  if (y.size > 0)
    scope(() => {
      const from = neighbours(convertDtype(x, 'bool'), axes);
      const { outer, length, inner } = around(from.x.shape, ...from.axes);
      const operands = [from.x.address, y.address];
      if (device.kind === 'cuda') {
        const { grid, lanes } = perResult(y.size, inner);
        device.load(foldCuda).fold_count(grid, ...operands, y.size, length, inner, counted, lanes);
      } else device.load(foldKernels).fold_count(...operands, outer, length, inner, counted);
    });
  return apply(op, y, { parents: [x] });
}

export const anyOp = countOp('any');

/**
 * Whether any element along axes is true, as bool; false where there are no elements. x is bool or of another dtype,
 * where any value but 0 counts as true, also NaN.
 * @throws ShapeError for axes that do not exist
 * @example any(tensor([[true, false], [false, false]], { dtype: 'bool' }), { axes: 1 }); // [true, false]
 */
export function any(x: Tensor, options: ReduceOptions = {}): Tensor {
  return countTrue(anyOp, ANY, x, options);
}

export const allOp = countOp('all');

/**
 * Whether all elements along axes are true, as bool; true where there are no elements. x is bool or of another dtype,
 * where any value but 0 counts as true, also NaN.
 * @throws ShapeError for axes that do not exist
 * @example all(tensor([[true, true], [true, false]], { dtype: 'bool' }), { axes: 1 }); // [true, false]
 */
export function all(x: Tensor, options: ReduceOptions = {}): Tensor {
  return countTrue(allOp, ALL, x, options);
}

export const countNonzeroOp = countOp('countNonzero');

/**
 * The number of elements along axes that are not 0, as i32. x is of any dtype; NaN counts.
 * @throws ShapeError for axes that do not exist
 * @example countNonzero(tensor([[0, 1], [2, 3]]), { axes: 1 }); // [1, 2]
 */
export function countNonzero(x: Tensor, options: ReduceOptions = {}): Tensor {
  return countTrue(countNonzeroOp, COUNT, x, options);
}
