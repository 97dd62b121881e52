// From the operators of PyTorch's database to our functions, by the database's names (operator:variant). A mapping throws
// Semantics for a sample that we refuse or define otherwise; the docstring of our function says so.
import * as ops from '../../src/index.ts';
import { Tensor } from '../../src/index.ts';
import { indexing } from './indexing.ts';
import { reductionRows } from './reductions.ts';
import { argument, type Run, type Sample } from './sample.ts';

const unary =
  (f: (x: Tensor) => Tensor): Run =>
  ({ input }) =>
    f(input as Tensor);

/** x (op) alpha y; PyTorch's numbers may stand on either side. */
const binary =
  (f: (a: Tensor, b: Tensor | number) => Tensor): Run =>
  (sample) => {
    const other = sample.args[0] as Tensor | number;
    const alpha = argument(sample, 1, 'alpha', 1);
    return f(sample.input as Tensor, alpha === 1 ? other : Tensor.is(other) ? ops.mul(other, alpha) : other * alpha);
  };

const comparison = (f: (a: Tensor, b: Tensor | number) => Tensor): Run => binary(f);

/** Axes of a reduction: none or an empty list is all. */
function axesOf(sample: Sample): { axes?: number[]; keepDims: boolean } {
  const dim = argument<number | number[] | undefined>(sample, 0, 'dim', undefined);
  const keepDims = argument(sample, 1, 'keepdim', false);
  const axes = dim === undefined ? [] : [dim].flat();
  if ((sample.input as Tensor).rank === 0) return { keepDims };
  return axes.length === 0 ? { keepDims } : { axes, keepDims };
}

const reduction =
  (f: (x: Tensor, options: { axes?: number[]; keepDims?: boolean }) => Tensor): Run =>
  (sample) =>
    f(sample.input as Tensor, axesOf(sample));

export const mapping: Record<string, Run> = {
  ...reductionRows,
  abs: unary(ops.abs),
  add: binary(ops.add),
  amax: reduction(ops.max),
  cos: unary(ops.cos),
  eq: comparison(ops.equal),
  exp: unary(ops.exp),
  ge: comparison(ops.greaterEqual),
  gt: comparison(ops.greater),
  le: comparison(ops.lessEqual),
  log: unary(ops.log),
  lt: comparison(ops.less),
  maximum: binary(ops.maximum),
  mean: reduction(ops.mean),
  minimum: binary(ops.minimum),
  mul: binary(ops.mul),
  ne: comparison(ops.notEqual),
  neg: unary(ops.neg),
  'nn.functional.relu': unary(ops.relu),
  'nn.functional.silu': unary(ops.silu),
  pow: binary(ops.pow),
  sigmoid: unary(ops.sigmoid),
  sin: unary(ops.sin),
  sqrt: unary(ops.sqrt),
  square: unary(ops.square),
  sub: binary(ops.sub),
  sum: reduction(ops.sum),
  tanh: unary(ops.tanh),
  ...indexing,
};
