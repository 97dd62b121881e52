// Functions that change the axes of a tensor: views where the order of the elements stays the same, otherwise one copy.
import {
  checkArgument,
  checkOptions,
  describeValue,
  kinds,
  type OptionKinds,
  oneOf,
  refuseExtra,
  wholeNumbers,
} from '../../arguments.ts';
import { ArgumentError, formatShape, ShapeError } from '../../errors.ts';
import {
  type AxisOptions,
  axesKind,
  axisOf,
  axisOptions,
  checkShape,
  normalizeAxes,
  normalizeAxis,
  type Shape,
  sameShape,
  sizeOf,
} from '../../tensor/shape.ts';
import { describeOperand, type Tensor } from '../../tensor/tensor.ts';
import { broadcastTo, concat, permute, reshape, sliceAt, split } from '../movement.ts';
import { checkSameDtype } from '../op.ts';

export interface AxesOptions {
  /** Negative axes count from the end. A scalar has no axes (in PyTorch it may be given axis 0). */
  axes?: number | readonly number[];
  /** Another name for `axes`. */
  axis?: number | readonly number[];
}

const axesOptions: OptionKinds<AxesOptions> = { axes: axesKind, axis: axesKind };

/** The axes that checked options name, as `axes` or `axis`, in their order; undefined if they name none. */
export function axesOf(op: string, shape: Shape, options: AxesOptions): number[] | undefined {
  const { axes, axis } = checkOptions(op, options, axesOptions);
  if (axes !== undefined && axis !== undefined) throw new ArgumentError(op, 'axes or axis', 'both');
  const given = axes ?? axis;
  return given === undefined ? undefined : inOrder(op, given, shape);
}

/** Distinct axes as numbers >= 0, in the order given. */
function inOrder(op: string, axes: number | readonly number[], shape: Shape): number[] {
  if (typeof axes === 'number') return [normalizeAxis(op, axes, shape)];
  const list = wholeNumbers(op, 'axes', axes);
  normalizeAxes(op, list, shape);
  return list.map((axis) => (axis < 0 ? axis + shape.length : axis));
}

/** The operands of a function that takes a list of tensors of one dtype and one device. */
export function listOfTensors(op: string, tensors: unknown): readonly Tensor[] {
  if (!Array.isArray(tensors)) throw new ArgumentError(op, 'a list of tensors', describeOperand(tensors));
  const list: readonly Tensor[] = [...tensors];
  if (list.length === 0) throw new ArgumentError(op, 'a list of at least one tensor', 'an empty list');
  checkSameDtype(op, list);
  return list;
}

// ---------------------------------------------------------------- axes of extent 1

/**
 * Joins tensors of one shape along a new axis.
 * @param axis the place of the new axis in the result; negative ones count from its end
 * @returns for n tensors [A, B]: [n, A, B] with axis 0, [A, B, n] with axis -1
 * @example stack([tensor([1, 2]), tensor([3, 4])]); // [[1, 2], [3, 4]]
 */
export function stack(tensors: readonly Tensor[], axis?: number): Tensor;
export function stack(tensors: readonly Tensor[], axis = 0, ...extra: unknown[]): Tensor {
  refuseExtra('stack', extra);
  const list = listOfTensors('stack', tensors);
  const [{ shape }] = list;
  if (!list.every((t) => sameShape(t.shape, shape)))
    throw new ShapeError('stack', 'tensors of one shape', list.map((t) => formatShape(t.shape)).join(' and '));
  const along = normalizeAxis('stack', axis, [...shape, list.length]);
  const wider = [...shape.slice(0, along), 1, ...shape.slice(along)];
  const parts = list.map((t) => reshape(t, wider));
  const y = concat(parts, along);
  for (const part of parts) part.dispose();
  return y;
}

/**
 * Removes axes of extent 1: those given, or all. A view. As in NumPy, an axis of another extent is an error, where
 * PyTorch keeps it.
 * @throws ShapeError for an axis whose extent is not 1
 * @example
 * squeeze(zeros([1, 3, 1])).shape; // [3]
 * squeeze(zeros([1, 3, 1]), { axes: -1 }).shape; // [1, 3]
 */
export function squeeze(x: Tensor, options?: AxesOptions): Tensor;
export function squeeze(x: Tensor, options: AxesOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('squeeze', extra);
  checkSameDtype('squeeze', [x]);
  const given = axesOf('squeeze', x.shape, options);
  const axes = given ?? [...x.shape.keys()].filter((axis) => x.shape[axis] === 1);
  if (axes.some((axis) => x.shape[axis] !== 1))
    throw new ShapeError('squeeze', `axes of extent 1 in ${formatShape(x.shape)}`, `axes ${formatShape(axes)}`);
  return reshape(
    x,
    x.shape.filter((_, axis) => !axes.includes(axis)),
  );
}

/**
 * Adds axes of extent 1. A view; also known as expandDims.
 * @param axes their places in the result; negative ones count from its end
 * @example
 * unsqueeze(zeros([3, 4]), 0).shape; // [1, 3, 4]
 * unsqueeze(zeros([3, 4]), [0, -1]).shape; // [1, 3, 4, 1]
 */
export function unsqueeze(x: Tensor, axes: number | readonly number[]): Tensor;
export function unsqueeze(x: Tensor, axes: number | readonly number[], ...extra: unknown[]): Tensor {
  refuseExtra('unsqueeze', extra);
  checkSameDtype('unsqueeze', [x]);
  const list = typeof axes === 'number' ? [axes] : wholeNumbers('unsqueeze', 'axes', axes);
  const rank = x.rank + list.length;
  const places = normalizeAxes('unsqueeze', list, checkShape('unsqueeze', Array<number>(rank).fill(1)));
  const rest = [...x.shape];
  return reshape(
    x,
    Array.from({ length: rank }, (_, axis) => (places.includes(axis) ? 1 : (rest.shift() as number))),
  );
}

// ---------------------------------------------------------------- joined and split axes

export interface FlattenOptions {
  /** The first axis to join; default 0. */
  start?: number;
  /** The last axis to join, inclusive; default -1, the last one. */
  end?: number;
}

const flattenOptions: OptionKinds<FlattenOptions> = { start: kinds.integer, end: kinds.integer };

/**
 * Joins neighbouring axes to one. A view. A tensor [] becomes [1].
 * @example
 * flatten(zeros([2, 3, 4])).shape; // [24]
 * flatten(zeros([2, 3, 4]), { start: 1 }).shape; // [2, 12]
 */
export function flatten(x: Tensor, options?: FlattenOptions): Tensor;
export function flatten(x: Tensor, options: FlattenOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('flatten', extra);
  checkSameDtype('flatten', [x]);
  const shape = x.rank === 0 ? [1] : x.shape;
  const { start = 0, end = -1 } = checkOptions('flatten', options, flattenOptions);
  const [first, last] = [start, end].map((axis) => normalizeAxis('flatten', axis, shape));
  if (first > last)
    throw new ShapeError('flatten', `start <= end in ${formatShape(shape)}`, `axis ${first} to axis ${last}`);
  return reshape(x, [...shape.slice(0, first), sizeOf(shape.slice(first, last + 1)), ...shape.slice(last + 1)]);
}

/**
 * Splits one axis into several, in row-major order. A view; the reverse of `flatten`.
 * @param sizes the extents of the new axes, whose product is that of the axis; one may be -1
 * @example unflatten(ones([6, 2]), 0, [2, 3]).shape; // [2, 3, 2]
 */
export function unflatten(x: Tensor, axis: number, sizes: Shape): Tensor;
export function unflatten(x: Tensor, axis: number, sizes: Shape, ...extra: unknown[]): Tensor {
  refuseExtra('unflatten', extra);
  checkSameDtype('unflatten', [x]);
  const along = normalizeAxis('unflatten', axis, x.shape);
  const list = wholeNumbers('unflatten', 'sizes', sizes);
  const known = sizeOf(list.filter((size) => size !== -1));
  const extent = x.shape[along];
  const whole = list.map((size) => (size === -1 ? (known === 0 ? 0 : extent / known) : size));
  const fits =
    list.filter((size) => size === -1).length <= 1 && whole.every((size) => Number.isInteger(size) && size >= 0);
  if (!fits || sizeOf(whole) !== extent)
    throw new ShapeError(
      'unflatten',
      `sizes whose product is ${extent} for axis ${along} of ${formatShape(x.shape)}`,
      formatShape(list),
    );
  return reshape(x, [...x.shape.slice(0, along), ...whole, ...x.shape.slice(along + 1)]);
}

// ---------------------------------------------------------------- order of axes and elements

/** permute(), as a view where the axes that are not 1 keep their order. */
function inAxisOrder(x: Tensor, axes: readonly number[]): Tensor {
  const moving = axes.filter((axis) => x.shape[axis] !== 1);
  const sorted = moving.every((axis, i) => i === 0 || moving[i - 1] < axis);
  return sorted
    ? reshape(
        x,
        axes.map((axis) => x.shape[axis]),
      )
    : permute(x, axes);
}

/**
 * Moves axes to other places; the others keep their order.
 * @param source one axis, or several
 * @param destination their places in the result, as many as `source`
 * @example moveAxis(ones([2, 3, 4]), 0, 2).shape; // [3, 4, 2]
 */
export function moveAxis(
  x: Tensor,
  source: number | readonly number[],
  destination: number | readonly number[],
): Tensor;
export function moveAxis(
  x: Tensor,
  source: number | readonly number[],
  destination: number | readonly number[],
  ...extra: unknown[]
): Tensor {
  refuseExtra('moveAxis', extra);
  checkSameDtype('moveAxis', [x]);
  const [from, to] = [source, destination].map((axes) => inOrder('moveAxis', axes, x.shape));
  if (from.length !== to.length)
    throw new ArgumentError('moveAxis', 'as many destinations as sources', `${to.length} for ${from.length}`);
  const rest = [...x.shape.keys()].filter((axis) => !from.includes(axis));
  const order = x.shape.map((_, axis) => {
    const at = to.indexOf(axis);
    return at < 0 ? (rest.shift() as number) : from[at];
  });
  return inAxisOrder(x, order);
}

/**
 * Exchanges two axes. A scalar has none (in PyTorch it may be given axis 0).
 * @example swapAxes(ones([2, 3, 4]), 0, 2).shape; // [4, 3, 2]
 */
export function swapAxes(x: Tensor, first: number, second: number): Tensor;
export function swapAxes(x: Tensor, first: number, second: number, ...extra: unknown[]): Tensor {
  refuseExtra('swapAxes', extra);
  checkSameDtype('swapAxes', [x]);
  const [a, b] = [first, second].map((axis) => normalizeAxis('swapAxes', axis, x.shape));
  const order = [...x.shape.keys()];
  [order[a], order[b]] = [b, a];
  return inAxisOrder(x, order);
}

/**
 * Reverses the order of the elements along axes: those given, or all.
 * @example
 * flip(tensor([1, 2, 3])); // [3, 2, 1]
 * flip(tensor([[1, 2], [3, 4]]), { axes: 1 }); // [[2, 1], [4, 3]]
 */
export function flip(x: Tensor, options?: AxesOptions): Tensor;
export function flip(x: Tensor, options: AxesOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('flip', extra);
  checkSameDtype('flip', [x]);
  const given = axesOf('flip', x.shape, options) ?? [...x.shape.keys()];
  const axes = given.filter((axis) => x.shape[axis] > 1);
  if (axes.length === 0) return reshape(x, x.shape);
  const starts = x.shape.map((dim, axis) => (axes.includes(axis) ? dim - 1 : 0));
  const steps = x.shape.map((_, axis) => (axes.includes(axis) ? -1 : 1));
  return sliceAt(x, starts, x.shape, steps);
}

// ---------------------------------------------------------------- parts

/**
 * The elements at one position of an axis, without that axis; a view where the axis is the first.
 * @param index a negative one counts from the end
 * @param options.axis default 0
 * @throws ShapeError for an index outside the axis
 * @example
 * const x = tensor([[1, 2], [3, 4]]);
 * select(x, -1); // [3, 4]
 * select(x, 0, { axis: 1 }); // [1, 3]
 */
export function select(x: Tensor, index: number, options?: AxisOptions): Tensor;
export function select(x: Tensor, index: number, options: AxisOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('select', extra);
  checkSameDtype('select', [x]);
  checkArgument('select', 'index', index, kinds.integer);
  const axis = axisOf('select', x.shape, checkOptions('select', options, axisOptions), 0);
  const extent = x.shape[axis];
  if (index < -extent || index >= extent)
    throw new ShapeError('select', `an index within axis ${axis} of ${formatShape(x.shape)}`, describeValue(index));
  const starts = x.shape.map((_, a) => (a === axis ? (index < 0 ? index + extent : index) : 0));
  using part = sliceAt(
    x,
    starts,
    x.shape.map((dim, a) => (a === axis ? 1 : dim)),
  );
  return reshape(
    part,
    x.shape.filter((_, a) => a !== axis),
  );
}

/**
 * Cuts an axis into at most `count` parts of equal extent, the last of which may be smaller, as in PyTorch. `split`
 * takes the extents themselves.
 * @example chunk(tensor([1, 2, 3, 4, 5]), 2, 0); // [[1, 2, 3], [4, 5]]
 */
export function chunk(x: Tensor, count: number, axis: number): Tensor[];
export function chunk(x: Tensor, count: number, axis: number, ...extra: unknown[]): Tensor[] {
  refuseExtra('chunk', extra);
  checkSameDtype('chunk', [x]);
  checkArgument('chunk', 'count', count, kinds.count);
  const along = normalizeAxis('chunk', axis, x.shape);
  const extent = x.shape[along];
  const size = Math.ceil(extent / count);
  if (size === 0) return split(x, count, along);
  const whole = Array<number>(Math.floor(extent / size)).fill(size);
  return split(x, extent % size === 0 ? whole : [...whole, extent % size], along);
}

// ---------------------------------------------------------------- repetition

/**
 * Repeats each axis of x, with all its elements in order. PyTorch calls this `repeat`.
 * @param repeats one whole number >= 0 for each axis; a longer list adds axes at the front, a shorter one, or a single
 * number, belongs to the last axes
 * @example
 * tile(tensor([1, 2]), 2); // [1, 2, 1, 2]
 * tile(tensor([1, 2]), [2, 2]); // [[1, 2, 1, 2], [1, 2, 1, 2]]
 */
export function tile(x: Tensor, repeats: number | readonly number[]): Tensor;
export function tile(x: Tensor, repeats: number | readonly number[], ...extra: unknown[]): Tensor {
  refuseExtra('tile', extra);
  checkSameDtype('tile', [x]);
  const list = typeof repeats === 'number' ? [repeats] : wholeNumbers('tile', 'repeats', repeats);
  for (const times of list) checkArgument('tile', 'repeats', times, kinds.whole);
  const rank = Math.max(x.rank, list.length);
  const shape = [...Array<number>(rank - x.rank).fill(1), ...x.shape];
  const times = [...Array<number>(rank - list.length).fill(1), ...list];
  const result = checkShape(
    'tile',
    shape.map((dim, axis) => dim * times[axis]),
  );
  // An axis becomes [times, extent], unless one of the two is enough.
  const plain = (axis: number) => times[axis] === 1 || shape[axis] <= 1;
  const source = shape.flatMap((dim, axis) => (plain(axis) ? [dim] : [1, dim]));
  const spread = shape.flatMap((dim, axis) => (plain(axis) ? [dim * times[axis]] : [times[axis], dim]));
  using parts = reshape(x, source);
  using repeated = broadcastTo(parts, spread);
  return reshape(repeated, result);
}

/**
 * Repeats each element `repeats` times in place: NumPy's `repeat` with one number, PyTorch's `repeat_interleave`.
 * @param repeats a whole number >= 0
 * @param options.axis the axis along which to repeat; without it x is flattened first
 * @example
 * repeatInterleave(tensor([1, 2]), 2); // [1, 1, 2, 2]
 * repeatInterleave(tensor([[1, 2]]), 2, { axis: 0 }); // [[1, 2], [1, 2]]
 */
export function repeatInterleave(x: Tensor, repeats: number, options?: AxisOptions): Tensor;
export function repeatInterleave(x: Tensor, repeats: number, options: AxisOptions = {}, ...extra: unknown[]): Tensor {
  refuseExtra('repeatInterleave', extra);
  checkSameDtype('repeatInterleave', [x]);
  checkArgument('repeatInterleave', 'repeats', repeats, kinds.whole);
  const checked = checkOptions('repeatInterleave', options, axisOptions);
  const flat = checked.axis === undefined && checked.axes === undefined;
  const shape = flat ? [x.size] : x.shape;
  const axis = flat ? 0 : axisOf('repeatInterleave', shape, checked);
  const result = checkShape(
    'repeatInterleave',
    shape.map((dim, a) => (a === axis ? dim * repeats : dim)),
  );
  const beside = (times: number) => [...shape.slice(0, axis + 1), times, ...shape.slice(axis + 1)];
  using single = reshape(x, beside(1));
  using repeated = broadcastTo(single, beside(repeats));
  return reshape(repeated, result);
}

export interface MeshgridOptions {
  /**
   * Whether the first vector runs along the second axis ('xy', the default, as in NumPy) or along the first ('ij', the
   * default of PyTorch). The other axes follow the order of the vectors either way.
   */
  indexing?: 'xy' | 'ij';
}

/**
 * The coordinates of a grid, from the vectors of the coordinates along each axis.
 * @param vectors [A], [B], [C], ... of one dtype
 * @returns one tensor for each vector, [B, A, C, ...], or [A, B, C, ...] with indexing 'ij'
 * @example
 * const [x, y] = meshgrid([arange(0, 3), arange(0, 2)]);
 * x; // [[0, 1, 2], [0, 1, 2]]
 * y; // [[0, 0, 0], [1, 1, 1]]
 */
export function meshgrid(vectors: readonly Tensor[], options?: MeshgridOptions): Tensor[];
export function meshgrid(vectors: readonly Tensor[], options: MeshgridOptions = {}, ...extra: unknown[]): Tensor[] {
  refuseExtra('meshgrid', extra);
  const list = listOfTensors('meshgrid', vectors);
  const { indexing = 'xy' } = checkOptions('meshgrid', options, { indexing: oneOf(['xy', 'ij']) });
  if (list.some((t) => t.rank !== 1))
    throw new ShapeError('meshgrid', 'vectors [A], [B], ...', list.map((t) => formatShape(t.shape)).join(' and '));
  const places = [...list.keys()];
  if (indexing === 'xy' && places.length > 1) [places[0], places[1]] = [1, 0];
  const shape = checkShape(
    'meshgrid',
    places.map((which) => list[which].size),
  );
  return list.map((t, which) => {
    const own = shape.map((dim, axis) => (places[axis] === which ? dim : 1));
    using line = reshape(t, own);
    return broadcastTo(line, shape);
  });
}
