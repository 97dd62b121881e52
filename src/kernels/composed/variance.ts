// Variance and standard deviation over axes, written in ops: the mean first, then the squared differences from it.
import { checkOptions, kinds } from '../../arguments.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { greater, mul, sqrt, square, sub, where } from '../elementwise.ts';
import { checkOperands } from '../op.ts';
import { mean, type ReduceOptions, reduceOptions, reduction, sum } from '../reduce.ts';

export interface VarianceOptions extends ReduceOptions {
  /** What is subtracted from the number of elements in the divisor; default 1, as in PyTorch. */
  correction?: number;
}

function varianceOf(op: string, x: Tensor, options: VarianceOptions): Tensor {
  checkOperands(op, [x]);
  const { correction = 1, ...rest } = checkOptions<VarianceOptions>(op, options, {
    ...reduceOptions,
    correction: kinds.finite,
  });
  const { axes, keepDims } = reduction(op, x, rest);
  const count = axes.reduce((product, axis) => product * x.shape[axis], 1);
  const differences = sub(x, mean(x, { axes, keepDims: true }));
  return mul(sum(square(differences), { axes, keepDims }), 1 / Math.max(0, count - correction));
}

/**
 * The variance over axes: the sum of the squared differences from the mean, divided by the number of elements minus
 * `correction` (1 by default, as in PyTorch; NumPy's default is 0). Where that divisor is 0 or negative the result is
 * NaN, or Infinity if the elements differ. (`var` is a word of JavaScript.)
 * @param x f32
 * @throws ShapeError for axes that do not exist; ArgumentError for a correction that is not a finite number
 * @example
 * variance(tensor([1, 2, 3, 4])); // 1.667
 * variance(tensor([1, 2, 3, 4]), { correction: 0 }); // 1.25
 */
export function variance(x: Tensor, options: VarianceOptions = {}): Tensor {
  return scope(() => varianceOf('variance', x, options));
}

/**
 * The standard deviation over axes, the root of `variance` with the same options. Its gradient where it is 0 is 0, as in
 * PyTorch.
 * @param x f32
 * @throws ShapeError for axes that do not exist; ArgumentError for a correction that is not a finite number
 * @example std(tensor([1, 2, 3, 4])); // 1.291
 */
export function std(x: Tensor, options: VarianceOptions = {}): Tensor {
  return scope(() => {
    const spread = varianceOf('std', x, options);
    // Where the variance is 0 or NaN, it is the result; the root of 1 there keeps an infinite slope out of the gradient.
    const positive = greater(spread, 0);
    return where(positive, sqrt(where(positive, spread, 1)), spread);
  });
}
