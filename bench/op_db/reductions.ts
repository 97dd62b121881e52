// The rows of op_db/mapping.ts for reductions, scans and sorting. PyTorch lets a tensor without axes have the axis 0; ours has none, so
// such samples are run on the tensor in the shape [1].

import type { Tensor } from '../../src/index.ts';
import * as ops from '../../src/index.ts';
import { argument, type Run, type Sample, Semantics } from './sample.ts';

/** Axes of a reduction, at a position among the arguments; none or an empty list is all. */
function reduced(sample: Sample, position = 0): { axes?: number[]; keepDims: boolean } {
  const dim = argument<number | number[] | undefined>(sample, position, 'dim', undefined);
  const keepDims = argument(sample, position + 1, 'keepdim', false);
  const axes = dim === undefined ? [] : [dim].flat();
  return axes.length === 0 || (sample.input as Tensor).rank === 0 ? { keepDims } : { axes, keepDims };
}

type Reduced = ReturnType<typeof reduced>;

const reduction =
  (f: (x: Tensor, options: Reduced) => Tensor): Run =>
  (sample) =>
    f(sample.input as Tensor, reduced(sample));

/** The input of an op along an axis, the axis, and what gives the results their shape back. */
function along(sample: Sample, position: number): { x: Tensor; axis: number | undefined; back: (t: Tensor) => Tensor } {
  const x = sample.input as Tensor;
  const axis = argument<number | undefined>(sample, position, 'dim', undefined);
  return x.rank > 0
    ? { x, axis, back: (t) => t }
    : { x: ops.reshape(x, [1]), axis: 0, back: (t) => ops.reshape(t, []) };
}

const scan =
  (f: (x: Tensor, options: { axis: number }) => Tensor): Run =>
  (sample) => {
    const { x, axis, back } = along(sample, 0);
    return back(f(x, { axis: axis as number }));
  };

/** The index of an extreme, of one axis or of all elements in order. */
const indexOf =
  (f: (x: Tensor, options: { axis: number; keepDims?: boolean }) => Tensor): Run =>
  (sample) => {
    const x = sample.input as Tensor;
    const { axes, keepDims } = reduced(sample);
    if (axes) return f(x, { axis: axes[0], keepDims });
    const index = f(ops.reshape(x, [x.size]), { axis: 0 });
    return keepDims
      ? ops.reshape(
          index,
          x.shape.map(() => 1),
        )
      : index;
  };

const spread =
  (f: (x: Tensor, options: Reduced & { correction: number }) => Tensor): Run =>
  (sample) => {
    const [first] = sample.args;
    const options = typeof first === 'boolean' ? { keepDims: false } : reduced(sample);
    const unbiased = typeof first === 'boolean' ? first : argument(sample, 1, 'unbiased', true);
    const correction = argument(sample, 9, 'correction', unbiased ? 1 : 0);
    return f(sample.input as Tensor, { ...options, keepDims: argument(sample, 2, 'keepdim', false), correction });
  };

const withMean =
  (f: typeof ops.variance): Run =>
  (sample) => {
    const options = typeof sample.args[0] === 'boolean' ? {} : reduced(sample);
    const keepDims = argument(sample, 2, 'keepdim', false);
    return [spread(f)(sample) as Tensor, ops.mean(sample.input as Tensor, { ...options, keepDims })];
  };

const norm =
  (usual: number): Run =>
  (sample) => {
    const given = argument<number | string>(sample, 0, typeof sample.kwargs.p === 'undefined' ? 'ord' : 'p', usual);
    const ord = given === 'fro' ? 2 : (given as number);
    if (ord === 0) throw new Semantics('norms of order 0 are refused');
    if ((sample.input as Tensor).size === 0 && ord !== 1 && ord !== 2)
      throw new Semantics('norms of no elements are those of order 1 and 2');
    return ops.norm(sample.input as Tensor, { ...reduced(sample, 1), ord });
  };

/** Norms of vectors; an order and two axes, or a matrix, make it the norm of a matrix. */
const vectorNorm: Run = (sample) => {
  const ord = argument<number | string | undefined>(sample, 0, 'ord', undefined);
  const { axes } = reduced(sample, 1);
  const count = axes ? axes.length : (sample.input as Tensor).rank;
  if (ord !== undefined && count !== 1) throw new Semantics('norms are those of vectors');
  return norm(2)(sample);
};

const sorted = (sample: Sample) => {
  const { x, axis, back } = along(sample, 0);
  const { values, indices } = ops.sort(x, { axis, descending: argument(sample, 1, 'descending', false) });
  return { values: back(values), indices: back(indices) };
};

const searchSorted: Run = ({ input, args: [values], kwargs: { right, side, sorter } }) => {
  if (sorter) throw new Semantics('searchSorted takes no order of the elements');
  const scalar = typeof values === 'number';
  const wanted = scalar ? ops.tensor(values, { device: (input as Tensor).device }) : (values as Tensor);
  const options = right === true || side === 'right' ? ({ side: 'right' } as const) : {};
  return ops.searchSorted(input as Tensor, wanted, options);
};

const unique: Run = ({ input, kwargs }) => {
  if (typeof kwargs.dim === 'number') throw new Semantics('unique compares elements, not slices');
  const { values, inverse, counts } = ops.unique(input as Tensor);
  return [values, kwargs.return_inverse ? inverse : undefined, kwargs.return_counts ? counts : undefined];
};

/** An extreme and its index along one axis, or the extreme alone of all elements. */
const extreme =
  (
    f: (x: Tensor, options: Reduced) => Tensor,
    g: (x: Tensor, options: { axis: number; keepDims?: boolean }) => Tensor,
  ): Run =>
  (sample) =>
    sample.args.length === 0
      ? f(sample.input as Tensor, { keepDims: false })
      : [f(sample.input as Tensor, reduced(sample)), indexOf(g)(sample) as Tensor];

export const reductionRows: Record<string, Run> = {
  all: reduction(ops.all),
  aminmax: (sample) => {
    const options = { axes: sample.kwargs.dim as number | undefined, keepDims: argument(sample, 9, 'keepdim', false) };
    const { input } = sample as { input: Tensor };
    return [ops.min, ops.max].map((f) => f(input, input.rank === 0 ? { keepDims: options.keepDims } : options));
  },
  amax: reduction(ops.max),
  amin: reduction(ops.min),
  any: reduction(ops.any),
  argmax: indexOf(ops.argmax),
  argmin: indexOf(ops.argmin),
  argsort: (sample) => sorted(sample).indices,
  count_nonzero: reduction(ops.countNonzero),
  bincount: ({ input, kwargs: { weights, minlength } }) => {
    if (weights) throw new Semantics('binCount has no weights');
    const counts = ops.binCount(input as Tensor);
    const missing = Math.max(0, ((minlength as number | undefined) ?? 0) - counts.size);
    return missing === 0 ? counts : ops.binCount(input as Tensor, { length: counts.size + missing });
  },
  bucketize: ({ input, args: [bounds], kwargs: { right } }) =>
    ops.searchSorted(bounds as Tensor, input as Tensor, right ? { side: 'right' } : {}),
  cumprod: scan(ops.cumprod),
  cumsum: scan(ops.cumsum),
  'linalg.norm': vectorNorm,
  'linalg.norm:subgradients_at_zero': vectorNorm,
  'linalg.vector_norm': norm(2),
  logsumexp: reduction(ops.logSumExp),
  'max:reduction_no_dim': extreme(ops.max, ops.argmax),
  'max:reduction_with_dim': extreme(ops.max, ops.argmax),
  mean: reduction(ops.mean),
  median: (sample) => {
    const { axes, keepDims } = reduced(sample);
    return ops.median(sample.input as Tensor, { axis: axes?.[0], keepDims });
  },
  'min:reduction_no_dim': extreme(ops.min, ops.argmin),
  'min:reduction_with_dim': extreme(ops.min, ops.argmin),
  msort: ({ input }) => ops.sort(input as Tensor, { axis: 0 }).values,
  norm: norm(2),
  'norm:fro': norm(2),
  'norm:inf': norm(2),
  prod: reduction(ops.prod),
  searchsorted: searchSorted,
  sort: (sample) => {
    const { values, indices } = sorted(sample);
    return [values, indices];
  },
  std: spread(ops.std),
  'std:unbiased': spread(ops.std),
  std_mean: withMean(ops.std),
  'std_mean:unbiased': withMean(ops.std),
  sum: reduction(ops.sum),
  topk: (sample) => {
    const { x, axis, back } = along(sample, 1);
    const k = argument(sample, 0, 'k', 1);
    const { values, indices } = ops.topK(x, k, { axis, largest: argument(sample, 2, 'largest', true) });
    return x === sample.input ? [values, indices] : [back(values), back(indices)];
  },
  unique,
  var: spread(ops.variance),
  'var:unbiased': spread(ops.variance),
  var_mean: withMean(ops.variance),
  'var_mean:unbiased': withMean(ops.variance),
};
