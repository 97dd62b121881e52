// The operators of PyTorch's database for reading and writing by index, sums of products and normalisation.
import * as ops from '../../src/index.ts';
import { Tensor } from '../../src/index.ts';
import { argument, type Run, type Sample, Semantics } from './sample.ts';

const NEGATIVE = 'negative indices are refused';
const PART = 'other axes broadcast, where PyTorch reads or writes a part of x';
const SCALAR = 'an axis of a scalar is refused';

/** Checks x and an index against what we define otherwise. @returns the axis */
function along(x: Tensor, index: Tensor, axis: number): number {
  if (x.rank === 0) throw new Semantics(SCALAR);
  if (index.dtype !== 'i32') throw new Semantics('an index is i32');
  if (index.dataSync().some((value) => value < 0)) throw new Semantics(NEGATIVE);
  return axis;
}

/** Like `along`, for an index of x's rank that must cover its other axes. */
function covering(x: Tensor, index: Tensor, axis: number): number {
  along(x, index, axis);
  const normal = axis < 0 ? axis + x.rank : axis;
  if (index.rank !== x.rank || index.shape.some((dim, a) => a !== normal && dim !== x.shape[a]))
    throw new Semantics(PART);
  return axis;
}

const inputOf = ({ input }: Sample) => input as Tensor;

/** dim, index and source of a scatter. */
function scattered(sample: Sample): { axis: number; index: Tensor; values: Tensor } {
  const [dim, index, source] = sample.args as [number, Tensor, Tensor | number];
  if (sample.kwargs.reduce !== undefined) throw new Semantics('scatterAlongAxis has no reduce');
  const axis = covering(inputOf(sample), index, dim);
  if (typeof source === 'number') return { axis, index, values: ops.full(index.shape, source) };
  const ends = index.shape;
  if (source.shape.some((dim, a) => dim !== ends[a])) throw new Semantics(PART);
  return { axis, index, values: source };
}

/** Channels last, and back. */
const last = (x: Tensor) => ops.permute(x, [0, ...[...x.shape.keys()].slice(2), 1]);
const second = (x: Tensor) => ops.permute(x, [0, x.rank - 1, ...[...x.shape.keys()].slice(1, -1)]);

function epsOf(sample: Sample, position: number, usual: number): number {
  const eps = argument(sample, position, 'eps', usual);
  if (eps < 0) throw new Semantics('a negative eps is refused');
  return eps;
}

const optional = (value: unknown) => (Tensor.is(value) ? value : undefined);

export const indexing: Record<string, Run> = {
  argwhere: (sample) => ops.nonzero(inputOf(sample)),
  dot: ({ input, args }) => ops.dot(input as Tensor, args[0] as Tensor),
  einsum: ({ input, args }) => ops.einsum(args[0] as string, ...(input as Tensor[])),
  gather: (sample) => {
    const [dim, index] = sample.args as [number, Tensor];
    const x = inputOf(sample);
    return ops.takeAlongAxis(x, index, { axis: covering(x, index, dim) });
  },
  index_add: (sample) => {
    const [dim, index, source] = sample.args as [number, Tensor, Tensor];
    const x = inputOf(sample);
    const alpha = argument(sample, 3, 'alpha', 1);
    return ops.indexAdd(x, index, ops.mul(source, alpha), { axis: along(x, index, dim) });
  },
  index_select: (sample) => {
    const [dim, index] = sample.args as [number, Tensor];
    return ops.take(inputOf(sample), index, { axis: along(inputOf(sample), index, dim) });
  },
  'linalg.vecdot': (sample) =>
    ops.vecdot(inputOf(sample), sample.args[0] as Tensor, { axis: argument(sample, 1, 'dim', -1) }),
  masked_fill: (sample) => {
    const [mask, value] = sample.args as [Tensor, Tensor | number];
    if (mask.rank > inputOf(sample).rank) throw new Semantics('the mask never stretches x');
    return ops.maskedFill(inputOf(sample), mask, value);
  },
  'nn.functional.batch_norm': (sample) => {
    const [mean, variance, weight, bias] = sample.args.map(optional);
    const { training = false, momentum = 0.1 } = sample.kwargs as { training?: boolean; momentum?: number };
    if (inputOf(sample).rank < 2) throw new Semantics('x has at least two axes');
    if (momentum < 0) throw new Semantics('the momentum is from 0 to 1');
    const options = { mean, variance, weight, bias, training, momentum, eps: epsOf(sample, 6, 1e-5) };
    return second(ops.batchNorm(last(inputOf(sample)), options));
  },
  'nn.functional.instance_norm': (sample) => {
    const { weight, bias } = sample.kwargs;
    const options = { weight: optional(weight), bias: optional(bias), eps: epsOf(sample, 7, 1e-5) };
    return second(ops.instanceNorm(last(inputOf(sample)), options));
  },
  'nn.functional.layer_norm': (sample) => {
    const [shape, weight, bias] = sample.args as [number[], Tensor | undefined, Tensor | undefined];
    const axes = shape.map((_, axis) => axis - shape.length);
    const eps = epsOf(sample, 3, 1e-5);
    return ops.layerNorm(inputOf(sample), { axes, weight: optional(weight), bias: optional(bias), eps });
  },
  'nn.functional.rms_norm': (sample) => {
    const [shape, weight] = sample.args as [number[], Tensor | undefined];
    const axes = shape.map((_, axis) => axis - shape.length);
    const eps = epsOf(sample, 2, 2 ** -23);
    return ops.rmsNorm(inputOf(sample), optional(weight) ?? ops.ones(shape), { axes, eps });
  },
  nonzero: (sample) => {
    if (!argument(sample, 0, 'as_tuple', false)) return ops.nonzero(inputOf(sample));
    if (inputOf(sample).rank === 0) throw new Semantics('where() gives no list for a scalar');
    return ops.where(ops.notEqual(inputOf(sample), 0));
  },
  outer: ({ input, args }) => ops.outer(input as Tensor, args[0] as Tensor),
  scatter: (sample) => {
    const { axis, index, values } = scattered(sample);
    return ops.scatterAlongAxis(inputOf(sample), index, values, { axis });
  },
  scatter_add: (sample) => {
    const { axis, index, values } = scattered(sample);
    return ops.scatterAdd(inputOf(sample), index, values, { axis });
  },
  take: (sample) => {
    const index = sample.args[0] as Tensor;
    if (index.dataSync().some((value) => value < 0)) throw new Semantics(NEGATIVE);
    return ops.take(inputOf(sample), index);
  },
  take_along_dim: (sample) => {
    const [index] = sample.args as [Tensor];
    const dim = argument<number | undefined>(sample, 1, 'dim', undefined);
    if (dim !== undefined)
      return ops.takeAlongAxis(inputOf(sample), index, { axis: along(inputOf(sample), index, dim) });
    return ops.take(inputOf(sample), ops.reshape(index, [-1]));
  },
  tensordot: (sample) =>
    ops.tensordot(
      inputOf(sample),
      sample.args[0] as Tensor,
      argument<number | [number[], number[]]>(sample, 1, 'dims', 2),
    ),
};
