// Ops that move elements without computing. They return a view if the memory layout allows it, otherwise a strided
// copy.
import {
  checkArgument,
  checkOptions,
  copyOfList,
  describeValue,
  isWhole,
  kinds,
  listOf,
  type OptionKinds,
  refuseExtra,
  wholeNumbers,
} from '../arguments.ts';
import { ScaledGradient } from '../autograd/gradient_parts.ts';
import { ArgumentError, formatShape, ShapeError, ValueError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { zeros } from '../tensor/create.ts';
import { dtypes } from '../tensor/dtype.ts';
import {
  broadcastShapes,
  checkShape,
  normalizeAxes,
  normalizeAxis,
  type Shape,
  sameShape,
  sizeOf,
  stridesOf,
} from '../tensor/shape.ts';
import { describeOperand, type Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { firstOutside, indexError } from './inner/indices.ts';
import { INDICES_CHECKED, readBack } from './inner/read_back.ts';
import { sumTo } from './inner/reduction.ts';
import { type Bounds, cutOf, equalParts } from './inner/slice_bounds.ts';
import { copyStrided, movementCuda, movementKernels, placeIn, UNIT, wholeUnits, windowOf } from './inner/strided.ts';
import { perElement } from './launch/grid.ts';
import { apply, checkOperands, checkSameDevice, checkSameDtype, declareOp, notDifferentiable } from './op.ts';

export type { Bounds } from './inner/slice_bounds.ts';

// ---------------------------------------------------------------- reshape

export const reshapeOp = declareOp<Shape>({
  name: 'reshape',
  cpu: 'none',
  cuda: 'none',
  backward: ({ grad, attributes }) => [view(grad, attributes)],
  tangent: ({ tangents: [t], output }) => reshape(t as Tensor, output.shape),
});

/**
 * The same elements in another shape, without a copy; one dimension may be -1.
 * @example reshape(tensor([1, 2, 3, 4]), [2, -1]); // [[1, 2], [3, 4]]
 */
export function reshape(x: Tensor, shape: Shape): Tensor;
export function reshape(x: Tensor, shape: Shape, ...extra: unknown[]): Tensor {
  refuseExtra('reshape', extra);
  checkSameDtype('reshape', [x]);
  const dims = wholeNumbers('reshape', 'a shape', shape);
  const known = dims.filter((dim) => dim !== -1);
  const unknown = dims.length - known.length;
  const rest = sizeOf(known);
  const target = dims.map((dim) => (dim === -1 ? (rest === 0 ? 0 : x.size / rest) : dim));
  const valid = unknown <= 1 && target.every((dim) => isWhole(dim)) && sizeOf(target) === x.size;
  if (!valid)
    throw new ShapeError('reshape', `a shape of ${x.size} elements for ${formatShape(x.shape)}`, formatShape(dims));
  return apply(reshapeOp, view(x, checkShape('reshape', target)), { parents: [x], attributes: x.shape });
}

// ---------------------------------------------------------------- permute

function copyPermuted(x: Tensor, axes: readonly number[]): Tensor {
  const dims = axes.map((axis) => x.shape[axis]);
  const from = stridesOf(x.shape);
  const y = allocate(dims, { device: x.device, dtype: x.dtype });
  const source = { tensor: x, offset: 0, strides: axes.map((axis) => from[axis]) };
  copyStrided(dims, source, { tensor: y, offset: 0, strides: stridesOf(dims) });
  return y;
}

export const permuteOp = declareOp<readonly number[]>({
  name: 'permute',
  cpu: movementKernels,
  cuda: movementCuda,
  backward: ({ grad, attributes: axes }) => [
    copyPermuted(
      grad,
      axes.map((_, i) => axes.indexOf(i)),
    ),
  ],
  tangent: ({ tangents: [t], attributes: axes }) => permute(t as Tensor, axes),
});

/**
 * Axis i of the result is axis axes[i] of x.
 * @example permute(ones([2, 3, 4]), [2, 0, 1]).shape; // [4, 2, 3]
 */
export function permute(x: Tensor, axes: readonly number[]): Tensor;
export function permute(x: Tensor, axes: readonly number[], ...extra: unknown[]): Tensor {
  refuseExtra('permute', extra);
  checkSameDtype('permute', [x]);
  const normal = wholeNumbers('permute', 'axes', axes).map((axis) => (axis < 0 ? axis + x.rank : axis));
  normalizeAxes('permute', normal, x.shape);
  if (normal.length !== x.rank)
    throw new ShapeError('permute', `${x.rank} axes for ${formatShape(x.shape)}`, formatShape(normal));
  return apply(permuteOp, copyPermuted(x, normal), { parents: [x], attributes: normal });
}

/**
 * Swaps the last two axes; permute() reorders any axes.
 * @example transpose(tensor([[1, 2, 3], [4, 5, 6]])); // [[1, 4], [2, 5], [3, 6]]
 */
export const transpose: (x: Tensor) => Tensor = (x, ...extra: unknown[]) => {
  refuseExtra('transpose', extra);
  checkSameDtype('transpose', [x]);
  if (x.rank < 2) throw new ShapeError('transpose', 'at least two axes', formatShape(x.shape));
  const axes = [...x.shape.keys()];
  return permute(x, [...axes.slice(0, -2), x.rank - 1, x.rank - 2]);
};

// ---------------------------------------------------------------- pad and slice

export const padOp = declareOp<{ starts: readonly number[]; shape: Shape }>({
  name: 'pad',
  cpu: movementKernels,
  cuda: movementCuda,
  backward: ({ grad, attributes: { starts, shape } }) => [windowOf(grad, starts, shape)],
  tangent: ({ tangents: [t], output, attributes: { starts, shape } }) =>
    pad(
      t as Tensor,
      starts.map((start, axis) => [start, output.shape[axis] - start - shape[axis]]),
    ),
});

const widthsKind = listOf(kinds.whole, 'whole numbers', 2);

/**
 * Adds [before, after] elements of `value` to each axis. Widths are not negative, as they may be in PyTorch: use slice().
 * @example pad(tensor([1, 2]), [[1, 2]]); // [0, 1, 2, 0, 0]
 */
export function pad(x: Tensor, widths: readonly (readonly [number, number])[], value?: number): Tensor;
export function pad(x: Tensor, widths: readonly (readonly [number, number])[], value = 0, ...extra: unknown[]): Tensor {
  refuseExtra('pad', extra);
  // Values other than 0 are written as f32.
  if (value === 0) checkSameDtype('pad', [x]);
  else checkOperands('pad', [x]);
  checkArgument('pad', 'value', value, kinds.number);
  const list = copyOfList(widths);
  if (list?.length !== x.rank || !list.every((pair) => widthsKind.accepts(pair)))
    throw new ShapeError(
      'pad',
      `[before, after] >= 0 for each axis of ${formatShape(x.shape)}`,
      list ? `[${list.map(describeValue).join(', ')}]` : describeValue(widths),
    );
  const pairs = list.map((pair) => wholeNumbers('pad', 'widths', pair));
  const starts = pairs.map(([before]) => before);
  const shape = checkShape(
    'pad',
    x.shape.map((dim, axis) => dim + pairs[axis][0] + pairs[axis][1]),
  );
  return apply(padOp, placeIn(x, starts, shape, { value }), { parents: [x], attributes: { starts, shape: x.shape } });
}

export interface Cut {
  starts: readonly number[];
  /** Left out where every step is 1. */
  steps: readonly number[] | undefined;
  shape: Shape;
}

export const sliceOp = declareOp<Cut>({
  name: 'slice',
  cpu: movementKernels,
  cuda: movementCuda,
  backward: ({ grad, attributes: { starts, steps, shape } }) => [placeIn(grad, starts, shape, { steps })],
  tangent: ({ tangents: [t], output, attributes: { starts, steps } }) =>
    sliceAt(t as Tensor, starts, output.shape, steps),
});

/** Elements starts[i] + k steps[i] of each axis i, k < shape[i], which must lie within x. */
export function sliceAt(x: Tensor, starts: readonly number[], shape: Shape, steps?: readonly number[]): Tensor {
  const attributes = { starts, steps, shape: x.shape };
  return apply(sliceOp, windowOf(x, starts, shape, steps), { parents: [x], attributes });
}

export interface SliceOptions {
  /** The distance between elements taken, one number for each axis; default 1. A negative step reverses the axis. */
  steps?: readonly number[];
}

const sliceOptions: OptionKinds<SliceOptions> = { steps: listOf(kinds.integer, 'whole numbers') };

/**
 * Elements [starts[i], ends[i]) of each axis i; a view when only the first axis is cut.
 * A negative start or end counts from the end of its axis. null and undefined stand for the whole axis: its first and
 * its last element, or with a negative step its last and its first. NumPy and PyTorch shorten bounds outside the
 * tensor; here they are an error, and so is a start beyond its end.
 * @param starts one for each axis
 * @param ends one for each axis
 * @throws ShapeError for bounds outside x, ValueError for a step of 0
 * @example
 * slice(tensor([10, 20, 30, 40]), [1], [-1]); // [20, 30]
 * slice(tensor([[1, 2, 3], [4, 5, 6]]), [0, -2], [null, null]); // [[2, 3], [5, 6]]
 * slice(tensor([1, 2, 3]), [null], [null], { steps: [-1] }); // [3, 2, 1]
 */
export function slice(x: Tensor, starts: Bounds, ends: Bounds, options?: SliceOptions): Tensor;
export function slice(
  x: Tensor,
  starts: Bounds,
  ends: Bounds,
  options: SliceOptions = {},
  ...extra: unknown[]
): Tensor {
  refuseExtra('slice', extra);
  checkSameDtype('slice', [x]);
  const { steps } = checkOptions('slice', options, sliceOptions);
  const cut = cutOf('slice', x.shape, starts, ends, steps);
  return sliceAt(x, cut.starts, cut.shape, cut.steps);
}

// ---------------------------------------------------------------- concat and split

export const concatOp = declareOp<{ axis: number; shapes: readonly Shape[] }>({
  name: 'concat',
  cpu: movementKernels,
  cuda: movementCuda,
  backward({ grad, attributes: { axis, shapes }, needs }) {
    let at = 0;
    return shapes.map((shape, i) => {
      // The gradient may be read in place, as some columns of dy.
      const columns = { offset: at, count: shape[axis] };
      if (needs[i] && axis === grad.rank - 1 && grad.device.kind === 'cuda') {
        at += shape[axis];
        return new ScaledGradient(grad, { columns });
      }
      const starts = shape.map((_, a) => (a === axis ? at : 0));
      at += shape[axis];
      return needs[i] ? windowOf(grad, starts, shape) : null;
    });
  },
  tangent: ({ tangents, output: { device, dtype }, attributes: { axis, shapes } }) =>
    concat(
      tangents.map((t, i) => t ?? zeros(shapes[i], { device, dtype })),
      axis,
    ),
});

/**
 * Joins tensors that differ in one axis only, in order.
 * @example concat([tensor([[1], [2]]), tensor([[3], [4]])], 1); // [[1, 3], [2, 4]]
 */
export function concat(tensors: readonly Tensor[], axis: number): Tensor;
export function concat(tensors: readonly Tensor[], axis: number, ...extra: unknown[]): Tensor {
  refuseExtra('concat', extra);
  if (!Array.isArray(tensors)) throw new ArgumentError('concat', 'a list of tensors', describeOperand(tensors));
  const xs: readonly Tensor[] = [...tensors];
  if (xs.length === 0) throw new ShapeError('concat', 'at least one tensor', 'none');
  checkSameDtype('concat', xs);
  const [first] = xs;
  const along = normalizeAxis('concat', axis, first.shape);
  for (const x of xs)
    if (x.rank !== first.rank || x.shape.some((dim, a) => a !== along && dim !== first.shape[a]))
      throw new ShapeError(
        'concat',
        `shapes that differ only in axis ${along}`,
        xs.map((t) => formatShape(t.shape)).join(' and '),
      );
  const total = xs.reduce((sum, x) => sum + x.shape[along], 0);
  const shape = checkShape(
    'concat',
    first.shape.map((dim, a) => (a === along ? total : dim)),
  );
  const y = allocate(shape, { device: first.device, dtype: first.dtype });
  if (y.size > 0) {
    if (y.device.kind === 'cuda' && xs.length === 2) joinInOneLaunch(xs[0], xs[1], y, along);
    else putInOrder(xs, y, along);
  }
  return apply(concatOp, y, { parents: xs, attributes: { axis: along, shapes: xs.map((x) => x.shape) } });
}

function putInOrder(xs: readonly Tensor[], y: Tensor, axis: number): void {
  const strides = stridesOf(y.shape);
  let offset = 0;
  for (const x of xs) {
    copyStrided(x.shape, { tensor: x, offset: 0, strides: stridesOf(x.shape) }, { tensor: y, offset, strides });
    offset += x.shape[axis] * strides[axis];
  }
}

/** Joins two tensors in one CUDA launch. */
function joinInOneLaunch(a: Tensor, b: Tensor, y: Tensor, axis: number): void {
  const { device, dtype, size } = y;
  const { bytes } = dtypes[dtype];
  const rows = [a, b].map(({ shape }) => sizeOf(shape.slice(axis)));
  const addresses = [a, b, y].map(({ address }) => address);
  const each = wholeUnits([...addresses, ...rows.map((row) => row * bytes)]) ? UNIT : bytes;
  const [count, left, right] = [size, ...rows].map((elements) => (elements * bytes) / each);
  device.load(movementCuda).movement_beside(perElement(count), ...addresses, count, left, right, each);
}

/**
 * Cuts an axis into a number of equal parts, or into one part for each size.
 * @example split(tensor([1, 2, 3, 4]), [1, 3], 0); // [[1], [2, 3, 4]]
 */
export function split(x: Tensor, sizes: number | readonly number[], axis: number): Tensor[];
export function split(x: Tensor, sizes: number | readonly number[], axis: number, ...extra: unknown[]): Tensor[] {
  refuseExtra('split', extra);
  checkSameDtype('split', [x]);
  const along = normalizeAxis('split', axis, x.shape);
  const extent = x.shape[along];
  const pieces = typeof sizes === 'number' ? equalParts(extent, sizes) : wholeNumbers('split', 'sizes', sizes);
  if (!pieces || pieces.some((size) => size < 0) || pieces.reduce((a, b) => a + b, 0) !== extent)
    throw new ShapeError(
      'split',
      `sizes that add up to ${extent} for axis ${along} of ${formatShape(x.shape)}`,
      typeof sizes === 'number' ? `${sizes} parts` : describeValue(sizes),
    );
  let at = 0;
  return pieces.map((size) => {
    const starts = x.shape.map((_, a) => (a === along ? at : 0));
    const shape = x.shape.map((dim, a) => (a === along ? size : dim));
    at += size;
    return sliceAt(x, starts, shape);
  });
}

// ---------------------------------------------------------------- broadcast

export const broadcastToOp = declareOp<Shape>({
  name: 'broadcastTo',
  cpu: movementKernels,
  cuda: movementCuda,
  backward: ({ grad, attributes: shape }) => [sumTo(grad, shape)],
  tangent: ({ tangents: [t], output }) => broadcastTo(t as Tensor, output.shape),
});

/**
 * Repeats axes of extent 1 (and missing leading ones) up to `shape`.
 * @example broadcastTo(tensor([1, 2]), [2, 2]); // [[1, 2], [1, 2]]
 */
export function broadcastTo(x: Tensor, shape: Shape): Tensor;
export function broadcastTo(x: Tensor, shape: Shape, ...extra: unknown[]): Tensor {
  refuseExtra('broadcastTo', extra);
  checkSameDtype('broadcastTo', [x]);
  const dims = checkShape('broadcastTo', shape);
  if (!sameShape(broadcastShapes('broadcastTo', x.shape, dims), dims))
    throw new ShapeError('broadcastTo', `a shape that broadcasts to ${formatShape(dims)}`, formatShape(x.shape));
  const own = stridesOf(x.shape);
  const lead = dims.length - x.rank;
  const strides = dims.map((_, axis) => (axis < lead || x.shape[axis - lead] === 1 ? 0 : own[axis - lead]));
  const y = allocate(dims, { device: x.device, dtype: x.dtype });
  copyStrided(dims, { tensor: x, offset: 0, strides }, { tensor: y, offset: 0, strides: stridesOf(dims) });
  return apply(broadcastToOp, y, { parents: [x], attributes: x.shape });
}

// ---------------------------------------------------------------- rows by index

export const gatherOp = declareOp<{ rows: number }>({
  name: 'gather',
  cpu: movementKernels,
  cuda: movementCuda,
  backward({ grad, saved: [index], attributes: { rows } }) {
    const rest = grad.shape.slice(1);
    const { device } = grad;
    const dx = zeros([rows, ...rest], { device });
    if (grad.size === 0) return [dx];
    const width = sizeOf(rest);
    const operands = [grad.address, index.address, dx.address, index.size, width];
    if (device.kind === 'cuda') device.load(movementCuda).movement_scatter_add(perElement(width), ...operands);
    else device.load(movementKernels).movement_scatter_add(...operands);
    return [dx];
  },
  tangent: ({ tangents: [t], saved: [index] }) => gather(t as Tensor, index),
});

/**
 * Row index[k] of x at row k. x [R, ...] f32, index [K] i32. @throws ValueError for an index outside [0, R)
 * @example gather(tensor([[1, 2], [3, 4]]), tensor([1, 0, 1], { dtype: 'i32' })); // [[3, 4], [1, 2], [3, 4]]
 */
export function gather(x: Tensor, index: Tensor): Tensor;
export function gather(x: Tensor, index: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('gather', extra);
  const device = checkOperands('gather', [x]);
  checkOperands('gather', [index], 'i32');
  checkSameDevice('gather', x, index);
  if (x.rank < 1 || index.rank !== 1)
    throw new ShapeError(
      'gather',
      'x [R, ...] and index [K]',
      `${formatShape(x.shape)} and ${formatShape(index.shape)}`,
    );
  const [rows, ...rest] = x.shape;
  const y = allocate([index.size, ...rest], { device });
  const bad = readBack('gather', INDICES_CHECKED, () => gatherRows(x, index, y));
  if (bad >= 0) throw indexError('gather', index, bad, rows);
  return apply(gatherOp, y, { parents: [x], saved: [index], attributes: { rows } });
}

/** y[k] = x[index[k]]. Returns the first position of an index outside x, or -1. */
function gatherRows(x: Tensor, index: Tensor, y: Tensor): number {
  const { device } = x;
  const [rows, ...rest] = x.shape;
  const width = sizeOf(rest);
  const operands = [x.address, index.address, y.address];
  if (device.kind !== 'cuda') return device.load(movementKernels).movement_gather(...operands, index.size, rows, width);
  const bad = firstOutside(index, rows);
  if (bad < 0 && y.size > 0) device.load(movementCuda).movement_gather(perElement(y.size), ...operands, y.size, width);
  return bad;
}

export const oneHotOp = declareOp({
  name: 'oneHot',
  cpu: movementKernels,
  cuda: movementCuda,
  ...notDifferentiable('its operand is whole numbers'),
});

/**
 * f32 [..., depth] with 1 at the index. index i32. `depth` must be given, where PyTorch may take it from the index.
 * @example oneHot(tensor([2, 0], { dtype: 'i32' }), 3); // [[0, 0, 1], [1, 0, 0]]
 */
export function oneHot(index: Tensor, depth: number): Tensor;
export function oneHot(index: Tensor, depth: number, ...extra: unknown[]): Tensor {
  refuseExtra('oneHot', extra);
  const device = checkOperands('oneHot', [index], 'i32');
  if (!isWhole(depth, 1)) throw new ValueError(`[oneHot] expected a depth >= 1, got ${describeValue(depth)}`);
  const y = allocate([...index.shape, depth], { device });
  const bad = oneHotRows('oneHot', index, y, depth);
  if (bad >= 0) throw indexError('oneHot', index, bad, depth);
  return apply(oneHotOp, y, { parents: [index] });
}

/** Fills y f32 [..., depth]. Returns the first position of an index outside [0, depth), or -1. */
export function oneHotRows(op: string, index: Tensor, y: Tensor, depth: number): number {
  const { device } = index;
  const operands = [index.address, y.address];
  return readBack(op, INDICES_CHECKED, () => {
    if (device.kind !== 'cuda') return device.load(movementKernels).movement_one_hot(...operands, index.size, depth);
    const bad = firstOutside(index, depth);
    if (bad < 0 && y.size > 0)
      device.load(movementCuda).movement_one_hot(perElement(y.size), ...operands, y.size, depth);
    return bad;
  });
}
