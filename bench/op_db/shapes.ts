// The rows of op_db/mapping.ts for shapes, joining and cutting, diagonals and conversions. PyTorch lets a tensor without
// axes have the axis 0; ours has none.
import type { Tensor } from '../../src/index.ts';
import * as ops from '../../src/index.ts';
import { argument, inputOf, type Run, type Sample, Semantics } from './sample.ts';

const SCALAR = 'a scalar has no axes';

/** A list of whole numbers that PyTorch takes as one argument or as several. */
function numbersOf({ args }: Sample): number[] {
  return args.flat() as number[];
}

function axisOf(sample: Sample, position: number, usual = 0): number {
  if (inputOf(sample).rank === 0) throw new Semantics(SCALAR);
  return argument(sample, position, 'dim', usual);
}

const sameShape =
  (f: (x: Tensor, shape: number[]) => Tensor): Run =>
  (sample) =>
    f(inputOf(sample), numbersOf(sample));

const likeOther =
  (f: (x: Tensor, shape: readonly number[]) => Tensor): Run =>
  ({ input, args: [other] }) =>
    f(input as Tensor, (other as Tensor).shape);

/** -1 keeps an axis of x. */
function expanded(x: Tensor, shape: number[]): Tensor {
  const added = shape.length - x.rank;
  return ops.broadcastTo(
    x,
    shape.map((dim, axis) => (dim === -1 ? x.shape[axis - added] : dim)),
  );
}

const swapped: Run = (sample) => {
  const x = inputOf(sample);
  if (x.rank === 0) throw new Semantics(SCALAR);
  const [first, second] = ['dim0', 'dim1'].map((name, i) => argument(sample, i, name, 0));
  return ops.swapAxes(x, first, second);
};

/** All axes in reverse. */
const reversed: Run = ({ input }) => ops.permute(input as Tensor, [...(input as Tensor).shape.keys()].reverse());

const squeezed: Run = (sample) => {
  const x = inputOf(sample);
  const dim = argument<number | number[] | undefined>(sample, 0, 'dim', undefined);
  if (dim === undefined) return ops.squeeze(x);
  const axes = [dim].flat();
  if (x.rank === 0) throw new Semantics(SCALAR);
  if (axes.some((axis) => x.shape.at(axis) !== 1)) throw new Semantics('only axes of extent 1 are squeezed');
  return ops.squeeze(x, { axes });
};

const unsqueezed: Run = (sample) => ops.unsqueeze(inputOf(sample), argument(sample, 0, 'dim', 0));

/** The extents of `extent` cut at positions. */
const between = (cuts: readonly number[], extent: number): number[] => {
  const bounds = [0, ...cuts.map((cut) => Math.min(cut < 0 ? cut + extent : cut, extent)), extent];
  return bounds.slice(1).map((end, i) => Math.max(0, end - bounds[i]));
};

/** Parts of a size, or of given sizes. */
const split: Run = (sample) => {
  const axis = axisOf(sample, 1);
  const [size] = sample.args as [number | number[]];
  const extent = inputOf(sample).shape.at(axis) as number;
  const sizes = Array.isArray(size)
    ? size
    : Array.from({ length: Math.ceil(extent / size) }, (_, i) => Math.min(size, extent - i * size));
  return ops.split(inputOf(sample), sizes, axis);
};

/** A number of parts, of which the first ones may be larger, or cuts at positions. */
function tensorSplit(x: Tensor, given: number | number[] | Tensor, axis: number): Tensor[] {
  const extent = x.shape.at(axis) as number;
  const parts = typeof given === 'object' && !Array.isArray(given) ? [...given.dataSync()] : given;
  const wanted =
    !Array.isArray(parts) || (!Array.isArray(given) && (given as Tensor).rank === 0) ? [parts].flat()[0] : 0;
  if (wanted === 0) return ops.split(x, between(parts as number[], extent), axis);
  const sizes = Array.from({ length: wanted }, (_, i) => Math.floor(extent / wanted) + (i < extent % wanted ? 1 : 0));
  return ops.split(x, sizes, axis);
}

const splitAlong =
  (axisFor: (rank: number) => number): Run =>
  (sample) =>
    tensorSplit(inputOf(sample), sample.args[0] as number | number[], axisFor(inputOf(sample).rank));

const unbound: Run = (sample) => {
  const axis = axisOf(sample, 0);
  const x = inputOf(sample);
  return Array.from({ length: x.shape.at(axis) as number }, (_, i) => ops.select(x, i, { axis }));
};

/** The elements from `start` on, `length` of them. */
const narrowed: Run = (sample) => {
  const axis = axisOf(sample, 0);
  const [, first, length] = sample.args as [number, number | Tensor, number];
  const x = inputOf(sample);
  const start = typeof first === 'number' ? first : first.item();
  return sliced(x, axis, start < 0 ? start + (x.shape.at(axis) as number) : start, length);
};

function sliced(x: Tensor, axis: number, start: number, length: number): Tensor {
  const at = axis < 0 ? axis + x.rank : axis;
  return ops.slice(
    x,
    x.shape.map((_, a) => (a === at ? start : 0)),
    x.shape.map((dim, a) => (a === at ? start + length : dim)),
  );
}

const slice: Run = (sample) => {
  const axis = axisOf(sample, 0);
  const x = inputOf(sample);
  const [start, end] = ['start', 'end'].map((name, i) => argument<number | null>(sample, i + 1, name, null));
  const at = axis < 0 ? axis + x.rank : axis;
  const one = <T>(value: T, others: T) => x.shape.map((_, a) => (a === at ? value : others));
  return ops.slice(x, one(start, null), one(end, null), { steps: one(argument(sample, 3, 'step', 1), 1) });
};

/** x with two axes moved to the end. */
function matricesLast(sample: Sample): Tensor {
  const x = inputOf(sample);
  const [first, second] = [
    argument(sample, 1, 'dim1', x.rank === 2 ? 0 : (sample.kwargs.dim1 ?? 0)),
    argument(sample, 2, 'dim2', 1),
  ] as number[];
  return ops.moveAxis(x, [first, second], [-2, -1]);
}

const diagonal: Run = (sample) => ops.diagonal(matricesLast(sample), { offset: argument(sample, 0, 'offset', 0) });

const diagEmbed: Run = (sample) => {
  const [first, second] = [argument(sample, 1, 'dim1', -2), argument(sample, 2, 'dim2', -1)];
  const offset = argument(sample, 0, 'offset', 0);
  return ops.moveAxis(ops.diagEmbed(inputOf(sample), { offset }), [-2, -1], [first, second]);
};

const triangle =
  (f: (x: Tensor, options: { offset: number }) => Tensor): Run =>
  (sample) =>
    f(inputOf(sample), { offset: argument(sample, 0, 'diagonal', 0) });

/** Widths of PyTorch: [before, after] of the last axis, then of the one before it. */
const padded =
  (valueAt: number): Run =>
  (sample) => {
    const x = inputOf(sample);
    const [given] = sample.args as [number[]];
    if (given.some((width) => width < 0)) throw new Semantics('widths of padding are not negative');
    const widths = x.shape.map((_, axis) => {
      const at = 2 * (x.rank - 1 - axis);
      return [given[at] ?? 0, given[at + 1] ?? 0] as const;
    });
    return ops.pad(x, widths, argument(sample, valueAt, 'value', 0));
  };

const tile: Run = (sample) => {
  const repeats = numbersOf(sample);
  const x = inputOf(sample);
  if (repeats.length === 0 && x.rank === 0) return ops.tile(x, []);
  return ops.tile(x, repeats);
};

const repeatInterleave: Run = (sample) => {
  const repeats = argument<number | Tensor>(sample, 0, 'repeats', 1);
  if (typeof repeats !== 'number') throw new Semantics('repeats is one number for all elements');
  return ops.repeatInterleave(inputOf(sample), repeats, { axis: sample.kwargs.dim as number | undefined });
};

const roll: Run = (sample) => {
  const dims = argument<number | number[] | undefined>(sample, 1, 'dims', undefined);
  const shifts = argument<number | number[]>(sample, 0, 'shifts', 0);
  const whole = dims === undefined || (Array.isArray(dims) && dims.length === 0);
  return ops.roll(inputOf(sample), whole ? [shifts].flat()[0] : shifts, whole ? {} : { axes: dims });
};

const flip =
  (dims?: number[]): Run =>
  (sample) => {
    const axes = dims ?? numbersOf(sample).concat((sample.kwargs.dims as number[] | undefined) ?? []);
    return ops.flip(inputOf(sample), { axes });
  };

const meshgrid: Run = ({ input, args, kwargs }) => {
  const vectors = [input, ...args].flat() as Tensor[];
  if (vectors.some(({ rank }) => rank === 0)) throw new Semantics('the coordinates of a grid are vectors');
  return ops.meshgrid(vectors, { indexing: kwargs.indexing as 'ij' | 'xy' });
};

const conversion =
  (dtype: ops.Dtype): Run =>
  ({ input }) =>
    ops.cast(input as Tensor, dtype);

const joined: Run = ({ input, args, kwargs }) => {
  const tensors = (input as Tensor[]).filter(({ rank, size }, i, all) => {
    if (rank === 1 && size === 0 && all.some((t) => t.rank !== 1))
      throw new Semantics('all tensors have the same axes');
    return i >= 0;
  });
  const axis = (args[0] ?? kwargs.dim ?? 0) as number;
  return ops.concat(tensors, axis);
};

const rows: Record<string, Run> = {
  H: reversed,
  T: reversed,
  bool: conversion('bool'),
  broadcast_tensors: ({ input, args }) => {
    const all = [input, ...args] as Tensor[];
    const shape = all.map((x) => ops.zerosLike(x)).reduce((a, b) => ops.add(a, b)).shape;
    return all.map((t) => ops.broadcastTo(t, shape));
  },
  broadcast_to: sameShape(ops.broadcastTo),
  cat: joined,
  chunk: (sample) => ops.chunk(inputOf(sample), argument(sample, 0, 'chunks', 1), axisOf(sample, 1)),
  clone: ({ input }) => ops.clone(input as Tensor),
  constant_pad_nd: padded(1),
  contiguous: ({ input }) => ops.clone(input as Tensor),
  diag: triangle(ops.diag),
  diag_embed: diagEmbed,
  diagflat: (sample) => ops.diag(ops.flatten(inputOf(sample)), { offset: argument(sample, 0, 'offset', 0) }),
  diagonal,
  dsplit: splitAlong(() => 2),
  expand: sameShape(expanded),
  expand_as: likeOther(ops.broadcastTo),
  flatten: (sample) =>
    ops.flatten(inputOf(sample), {
      start: argument(sample, 0, 'start_dim', 0),
      end: argument(sample, 1, 'end_dim', -1),
    }),
  flip: flip(),
  fliplr: flip([1]),
  flipud: flip([0]),
  float: conversion('f32'),
  hsplit: splitAlong((rank) => (rank === 1 ? 0 : 1)),
  int: conversion('i32'),
  'linalg.diagonal': (sample) => {
    const [first, second] = [argument(sample, 1, 'dim1', -2), argument(sample, 2, 'dim2', -1)];
    const offset = argument(sample, 0, 'offset', 0);
    return ops.diagonal(ops.moveAxis(inputOf(sample), [first, second], [-2, -1]), { offset });
  },
  long: conversion('i32'),
  mH: ({ input }) => ops.transpose(input as Tensor),
  mT: ({ input }) => ops.transpose(input as Tensor),
  masked_select: ({ input, args }) => {
    const [x, mask] = [input as Tensor, args[0] as Tensor];
    if (x.rank === 0 && mask.rank === 0) throw new Semantics('a mask has at least one axis');
    const { shape } = ops.add(ops.zerosLike(x), ops.zeros(mask.shape));
    return ops.booleanMask(ops.broadcastTo(x, shape), ops.cast(ops.broadcastTo(ops.cast(mask, 'f32'), shape), 'bool'));
  },
  'meshgrid:list_of_tensors': meshgrid,
  'meshgrid:variadic_tensors': meshgrid,
  movedim: ({ input, args }) => ops.moveAxis(input as Tensor, args[0] as number[], args[1] as number[]),
  narrow: narrowed,
  'nn.functional.pad:constant': padded(2),
  permute: sameShape(ops.permute),
  ravel: ({ input }) => ops.flatten(input as Tensor),
  repeat: tile,
  repeat_interleave: repeatInterleave,
  reshape: sameShape(ops.reshape),
  reshape_as: likeOther(ops.reshape),
  roll,
  select: (sample) => {
    const [axis, index] = sample.args as [number, number];
    return ops.select(inputOf(sample), index, { axis });
  },
  slice,
  split,
  'split:list_args': split,
  split_with_sizes: split,
  squeeze: squeezed,
  'squeeze:multiple': squeezed,
  stack: ({ input, args }) => ops.stack(input as Tensor[], (args[0] as number | undefined) ?? 0),
  t: reversed,
  tensor_split: (sample) =>
    tensorSplit(inputOf(sample), sample.args[0] as number | number[] | Tensor, axisOf(sample, 1)),
  tile,
  trace: ({ input }) => ops.trace(input as Tensor),
  transpose: swapped,
  tril: triangle(ops.tril),
  triu: triangle(ops.triu),
  unbind: unbound,
  unflatten: ({ input, args }) => ops.unflatten(input as Tensor, args[0] as number, args[1] as number[]),
  unsqueeze: unsqueezed,
  vsplit: splitAlong(() => 0),
};

/** Operators of which the database has further names with the same samples. */
const copies = {
  diagonal_copy: 'diagonal',
  expand_copy: 'expand',
  narrow_copy: 'narrow',
  permute_copy: 'permute',
  split_with_sizes_copy: 'split',
  squeeze_copy: 'squeeze',
  t_copy: 't',
  transpose_copy: 'transpose',
  unbind_copy: 'unbind',
  unsafe_chunk: 'chunk',
  unsafe_split: 'split',
  unsqueeze_copy: 'unsqueeze',
  view: 'reshape',
  view_as: 'reshape_as',
  view_copy: 'reshape',
};

export const shapeRows: Record<string, Run> = {
  ...rows,
  ...Object.fromEntries(Object.entries(copies).map(([copy, name]) => [copy, rows[name]])),
};
