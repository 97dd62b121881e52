// Sorting along an axis, the largest elements, binary search in sorted rows, and counts of whole numbers.
import { checkArgument, checkOptions, kinds, type OptionKinds, oneOf } from '../arguments.ts';
import { cudaModule, kernelModule } from '../device/module.ts';
import { DtypeError, formatShape, ShapeError, ValueError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { zeros } from '../tensor/create.ts';
import { type AxisOptions, axisOf, axisOptions, checkShape, type Shape, sameShape } from '../tensor/shape.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { around } from './inner/axes.ts';
import { readBack } from './inner/read_back.ts';
import { perElement } from './launch/grid.ts';
import { apply, checkOperands, declareOp, notDifferentiable, type Op } from './op.ts';

export const sortKernels = kernelModule('kernels/sort.c', {
  sort_scratch: 'i32 i32 i32 -> count',
  sort_rows: 'ptr ptr ptr ptr i32 i32 i32 i32 i32 i32',
  sort_gather: 'ptr ptr ptr i32 i32 i32 i32',
  sort_scatter: 'ptr ptr ptr i32 i32 i32 i32',
  sort_search: 'ptr ptr ptr i32 i32 i32 i32 i32 i32',
  sort_count: 'ptr ptr i32 i32',
});

export const sortCuda = cudaModule('kernels/sort.cu', {
  sort_keys: 'ptr ptr i32 i32 i32 i32 i32',
  sort_tiles: 'ptr i32 i32 i32 i32',
  sort_step: 'ptr i32 i32 i32 i32',
  sort_unpack: 'ptr ptr ptr ptr i32 i32 i32 i32 i32',
  sort_gather: 'ptr ptr ptr i32 i32 i32 i32',
  sort_scatter: 'ptr ptr ptr i32 i32 i32 i32',
  sort_search: 'ptr ptr ptr i32 i32 i32 i32 i32 i32',
  sort_count: 'ptr ptr i32 i32',
});

/** Flags of the kernels. */
const DESCENDING = 1;
const WHOLE = 2;

/** Elements that a block of sort_tiles sorts, with half as many threads: TILE in sort.cu. */
const TILE = 1024;

/** Elements of a tensor, and their indices (i32) along the axis from which they come. */
export interface ValuesAndIndices {
  values: Tensor;
  indices: Tensor;
}

/** Which elements along an axis are wanted: the first `keep` in order. */
interface Selection {
  axis: number;
  keep: number;
  descending: boolean;
}

/** Checks an operand that is sorted: f32 or i32. */
export function checkSortable(op: string, x: Tensor): void {
  requireTensor(op, x);
  if (x.dtype !== 'f32' && x.dtype !== 'i32') {
    x.assertAlive(`[${op}]`);
    throw new DtypeError(op, 'f32 or i32 operands', x.describe());
  }
  checkOperands(op, [x], x.dtype);
}

function flagsOf({ dtype }: Tensor, descending: boolean): number {
  return (dtype === 'i32' ? WHOLE : 0) + (descending ? DESCENDING : 0);
}

/** The indices (i32) of the first `keep` elements along the axis in order; writes the elements to `values`, if any. */
function sortRows(x: Tensor, values: Tensor | undefined, { axis, keep, descending }: Selection): Tensor {
  const { device } = x;
  const indices = allocate(
    x.shape.map((dim, a) => (a === axis ? keep : dim)),
    { device, dtype: 'i32' },
  );
  const { size } = indices;
  if (size === 0) return indices;
  const { outer, length, inner } = around(x.shape, axis);
  const flags = flagsOf(x, descending);
  const results = [values?.address ?? 0, indices.address];
  if (device.kind === 'cuda') {
    const padded = 2 ** Math.ceil(Math.log2(length));
    using keys = sortedKeys(x, { rows: outer * inner, length, inner, padded, flags });
    const operands = [x.address, keys.address, ...results, size, length, inner, keep, padded];
    device.load(sortCuda).sort_unpack(perElement(size), ...operands);
  } else {
    const kernels = device.load(sortKernels);
    const { workers } = device;
    using scratch = allocate([2 * kernels.sort_scratch(outer * inner, length, workers)], { device });
    kernels.sort_rows(x.address, ...results, scratch.address, outer, length, inner, keep, flags, workers);
  }
  return indices;
}

/** On CUDA: one number of 64 bits for each element, in order in each row of `padded` numbers. */
function sortedKeys(
  x: Tensor,
  { rows, length, inner, padded, flags }: Record<'rows' | 'length' | 'inner' | 'padded' | 'flags', number>,
): Tensor {
  const { device } = x;
  const count = rows * padded;
  const keys = allocate([2 * count], { device });
  const kernels = device.load(sortCuda);
  const tiles = { grid: [Math.ceil(count / TILE)], block: [TILE / 2] } as const;
  kernels.sort_keys(perElement(count), x.address, keys.address, count, length, inner, padded, flags);
  kernels.sort_tiles(tiles, keys.address, count, padded, 2, Math.min(padded, TILE));
  for (let size = 2 * TILE; size <= padded; size *= 2) {
    for (let apart = size / 2; apart >= TILE; apart /= 2)
      kernels.sort_step(perElement(count / 2), keys.address, count / 2, padded, size, apart);
    kernels.sort_tiles(tiles, keys.address, count, padded, size, size);
  }
  return keys;
}

export interface Chosen {
  axis: number;
  /** The shape of the operand. */
  shape: Shape;
}

/** Elements of x chosen by index along an axis, where the indices of a column are distinct. */
const chooseOp = declareOp<Chosen>({
  name: 'sort',
  cpu: sortKernels,
  cuda: sortCuda,
  backward: ({ grad, saved: [indices], attributes: { axis, shape } }) => [scatter(grad, indices, axis, shape)],
  tangent: ({ tangents: [t], saved: [indices], attributes: { axis } }) => choose(t as Tensor, indices, axis),
});

function choose(x: Tensor, indices: Tensor, axis: number): Tensor {
  const y = allocate(indices.shape, { device: x.device });
  moveByIndex('sort_gather', x, indices, y, axis, x.shape);
  return apply(chooseOp, y, { parents: [x], saved: [indices], attributes: { axis, shape: x.shape } });
}

function scatter(grad: Tensor, indices: Tensor, axis: number, shape: Shape): Tensor {
  const dx = zeros(shape, { device: grad.device });
  moveByIndex('sort_scatter', grad, indices, dx, axis, shape);
  return dx;
}

/** @param shape the shape of the tensor into which the indices point */
function moveByIndex(
  kernel: 'sort_gather' | 'sort_scatter',
  from: Tensor,
  indices: Tensor,
  to: Tensor,
  axis: number,
  shape: Shape,
): void {
  const { device, size } = indices;
  if (size === 0) return;
  const { outer, length, inner } = around(shape, axis);
  const addresses = [from.address, indices.address, to.address];
  const keep = indices.shape[axis];
  if (device.kind === 'cuda') device.load(sortCuda)[kernel](perElement(size), ...addresses, size, length, inner, keep);
  else device.load(sortKernels)[kernel](...addresses, outer, length, inner, keep);
}

function selectionOp(name: string): Op<Chosen> {
  return declareOp({ ...chooseOp, name });
}

function select(op: Op<Chosen>, x: Tensor, selection: Selection): ValuesAndIndices {
  const { axis, keep } = selection;
  const { device, dtype } = x;
  const values = allocate(
    x.shape.map((dim, a) => (a === axis ? keep : dim)),
    { device, dtype },
  );
  const indices = sortRows(x, values, selection);
  apply(op, [values, indices], { parents: [x], saved: [indices], attributes: { axis, shape: x.shape } });
  return { values, indices };
}

// ---------------------------------------------------------------- sort

export interface SortOptions extends AxisOptions {
  /** From the largest to the smallest; default false. */
  descending?: boolean;
}

const sortOptions: OptionKinds<SortOptions> = { ...axisOptions, descending: kinds.boolean };

function wholeAxis(op: string, x: Tensor, options: SortOptions): Selection {
  const { descending = false, ...rest } = checkOptions(op, options, sortOptions);
  if (x.rank === 0) throw new ShapeError(op, 'at least one axis', formatShape(x.shape));
  const axis = axisOf(op, x.shape, rest, -1);
  return { axis, keep: x.shape[axis], descending };
}

export const sortOp = selectionOp('sort');

/**
 * The elements in order along an axis, by default the last, and the index of each in x. Equal elements keep their
 * order. NaN counts as greater than all numbers, as in PyTorch: it comes last, or with `descending` first. The gradient
 * of a value goes to the element from which it comes.
 * @param x f32 or i32
 * @returns `values` in the shape and dtype of x, and `indices` (i32) in its shape
 * @throws ShapeError for a tensor without axes, or an axis that does not exist; DtypeError for another dtype
 * @example sort(tensor([3, 1, 2])); // { values: [1, 2, 3], indices: [1, 2, 0] }
 */
export function sort(x: Tensor, options: SortOptions = {}): ValuesAndIndices {
  checkSortable('sort', x);
  return select(sortOp, x, wholeAxis('sort', x, options));
}

export const argsortOp = declareOp({
  name: 'argsort',
  cpu: sortKernels,
  cuda: sortCuda,
  ...notDifferentiable('its result is indices'),
});

/**
 * The indices (i32) that sort x along an axis, by default the last: `indices` of `sort`.
 * @param x f32 or i32
 * @throws ShapeError for a tensor without axes, or an axis that does not exist; DtypeError for another dtype
 * @example argsort(tensor([3, 1, 2])); // [1, 2, 0]
 */
export function argsort(x: Tensor, options: SortOptions = {}): Tensor {
  checkSortable('argsort', x);
  return apply(argsortOp, sortRows(x, undefined, wholeAxis('argsort', x, options)), { parents: [x] });
}

// ---------------------------------------------------------------- topK

export interface TopKOptions extends AxisOptions {
  /** False for the smallest elements; default true. */
  largest?: boolean;
}

export const topKOp = selectionOp('topK');

/**
 * The k largest elements along an axis, by default the last, from the largest on, and the index of each in x. Equal
 * elements keep their order. NaN counts as greater than all numbers. With `largest: false` the result is the smallest
 * elements, from the smallest on. It is always sorted, unlike that of PyTorch.
 * @param x f32 or i32
 * @param k a whole number from 0 to the extent of the axis
 * @returns `values` in the dtype of x and `indices` (i32), in the shape of x with extent k at the axis
 * @throws ShapeError for a tensor without axes, an axis that does not exist, or a larger k; DtypeError for another dtype
 * @example topK(tensor([3, 1, 4, 2]), 2); // { values: [4, 3], indices: [2, 0] }
 */
export function topK(x: Tensor, k: number, options: TopKOptions = {}): ValuesAndIndices {
  checkSortable('topK', x);
  checkArgument('topK', 'k', k, kinds.whole);
  const { largest = true, ...rest } = checkOptions<TopKOptions>('topK', options, {
    ...axisOptions,
    largest: kinds.boolean,
  });
  if (x.rank === 0) throw new ShapeError('topK', 'at least one axis', formatShape(x.shape));
  const axis = axisOf('topK', x.shape, rest, -1);
  if (k > x.shape[axis])
    throw new ShapeError('topK', `at least ${k} elements along axis ${axis}`, formatShape(x.shape));
  return select(topKOp, x, { axis, keep: k, descending: largest });
}

// ---------------------------------------------------------------- search and counts

export interface SearchSortedOptions {
  /** Whether a value that equals elements is placed before them or after them; default 'left'. */
  side?: 'left' | 'right';
}

export const searchSortedOp = declareOp({
  name: 'searchSorted',
  cpu: sortKernels,
  cuda: sortCuda,
  ...notDifferentiable('its result is indices'),
});

/**
 * Where each value belongs in sorted elements: the number of elements less than it, or with `side: 'right'` not greater
 * than it. NaN counts as greater than all numbers. Elements that are not in order give an arbitrary result; PyTorch's
 * `sorter` is not supported.
 * @param sorted [n], or [..., n] with the leading axes of `values`; f32 or i32
 * @param values any shape if `sorted` has one axis, else [..., m]; the dtype of `sorted`
 * @returns i32 in the shape of `values`
 * @throws ShapeError, DtypeError for operands that do not fit
 * @example searchSorted(tensor([1, 3, 5]), tensor([0, 3, 6])); // [0, 1, 3]
 */
export function searchSorted(sorted: Tensor, values: Tensor, options: SearchSortedOptions = {}): Tensor {
  checkSortable('searchSorted', sorted);
  checkOperands('searchSorted', [sorted, values], sorted.dtype);
  const { side = 'left' } = checkOptions('searchSorted', options, { side: oneOf(['left', 'right']) });
  const shared = sorted.rank === 1;
  if (!shared && (sorted.rank === 0 || !sameShape(sorted.shape.slice(0, -1), values.shape.slice(0, -1))))
    throw new ShapeError(
      'searchSorted',
      'sorted [n], or [..., n] with values [..., m]',
      `${formatShape(sorted.shape)} and ${formatShape(values.shape)}`,
    );
  const { device } = sorted;
  const indices = allocate(values.shape, { device, dtype: 'i32' });
  const { size } = indices;
  if (size > 0) {
    const n = sorted.shape[sorted.rank - 1];
    const count = shared ? size : values.shape[values.rank - 1];
    const addresses = [sorted.address, values.address, indices.address];
    const last = [n, count, Number(shared), Number(side === 'right'), flagsOf(sorted, false)];
    if (device.kind === 'cuda') device.load(sortCuda).sort_search(perElement(size), ...addresses, size, ...last);
    else device.load(sortKernels).sort_search(...addresses, size / count, ...last);
  }
  return apply(searchSortedOp, indices, { parents: [sorted, values] });
}

export interface BinCountOptions {
  /** The number of counts; default: the largest element plus 1. */
  length?: number;
}

export const binCountOp = declareOp({
  name: 'binCount',
  cpu: sortKernels,
  cuda: sortCuda,
  ...notDifferentiable('its operand is whole numbers'),
});

/**
 * How often each whole number occurs: element k of the result is the number of elements of x that equal k. With
 * `length` the shape does not depend on the elements, and those outside [0, length) are not counted, as in
 * `jax.numpy.bincount`. Without it the call reads the elements back and cannot be recorded.
 * NumPy's `weights` are not supported.
 * @param x i32 of any shape
 * @returns i32 [length]
 * @throws DtypeError for another dtype; ValueError for an element below 0, and RecordingError while work is recorded,
 * both only without `length`
 * @example binCount(tensor([0, 2, 2, 3], { dtype: 'i32' })); // [1, 0, 2, 1]
 */
export function binCount(x: Tensor, options: BinCountOptions = {}): Tensor {
  checkOperands('binCount', [x], 'i32');
  const { length = lengthFor(x) } = checkOptions('binCount', options, { length: kinds.whole });
  const { device, size } = x;
  const counts = zeros(checkShape('binCount', [length]), { device, dtype: 'i32' });
  if (size > 0 && length > 0) {
    const operands = [x.address, counts.address, size, length];
    if (device.kind === 'cuda') device.load(sortCuda).sort_count(perElement(size), ...operands);
    else device.load(sortKernels).sort_count(...operands);
  }
  return apply(binCountOp, counts, { parents: [x] });
}

/** One more than the largest element. */
function lengthFor(x: Tensor): number {
  let largest = -1;
  const elements = readBack('binCount', 'the shape of its result depends on the values', () => x.dataSync());
  elements.forEach((value, i) => {
    if (value < 0) throw new ValueError(`[binCount] expected elements >= 0, got ${value} at position ${i}`);
    largest = Math.max(largest, value);
  });
  return largest + 1;
}
