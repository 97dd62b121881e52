// Reading and writing elements by index along one axis. Negative indices are refused, as by gather().

import { checkOptions } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { zeros } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { type AxisOptions, axisOf, axisOptions, broadcastShapes, type Shape, sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import {
  addElements,
  type Choice,
  indexingCuda,
  indexingKernels,
  keepUnowned,
  ownersOf,
  putElements,
  takeElements,
  takeOwned,
} from './inner/indexed.ts';
import { checkIndices } from './inner/indices.ts';
import { broadcastTo, reshape } from './movement.ts';
import { apply, checkActivations, checkOperands, checkSameDevice, checkSameDtype, declareOp } from './op.ts';

/** A choice without its index, which is saved. */
export interface ChoiceAttributes {
  shape: Shape;
  axis: number;
}

// ---------------------------------------------------------------- reading

function takeOpOf(name: string, each: boolean, take: (x: Tensor, index: Tensor, axis: number) => Tensor) {
  return declareOp<ChoiceAttributes>({
    name,
    cpu: indexingKernels,
    cuda: indexingCuda,
    backward: ({ grad, saved: [index], attributes }) => [addElements(undefined, grad, { ...attributes, index, each })],
    tangent: ({ tangents: [t], saved: [index], attributes: { axis } }) => take(t as Tensor, index, axis),
  });
}

export const takeOp = takeOpOf('take', false, takeChecked);
export const takeAlongAxisOp = takeOpOf('takeAlongAxis', true, takeAlongChecked);

/** take() for indices that are known to be in range; recording allows it. */
export function takeChecked(x: Tensor, index: Tensor, axis: number): Tensor {
  const choice: Choice = { shape: x.shape, axis, index, each: false };
  const y = takeElements(x, choice, [...x.shape.slice(0, axis), ...index.shape, ...x.shape.slice(axis + 1)]);
  return apply(takeOp, y, { parents: [x], saved: [index], attributes: { shape: x.shape, axis } });
}

/** takeAlongAxis() for an index of x's shape but for `axis`, whose values are in range; recording allows it. */
export function takeAlongChecked(x: Tensor, index: Tensor, axis: number): Tensor {
  const y = takeElements(x, { shape: x.shape, axis, index, each: true }, index.shape);
  return apply(takeAlongAxisOp, y, { parents: [x], saved: [index], attributes: { shape: x.shape, axis } });
}

/** @throws DtypeError, DeviceError, UseAfterFreeError unless the index is i32 and on x's device */
function checkIndexed(op: string, x: Tensor, index: Tensor): void {
  checkSameDtype(op, [x]);
  checkOperands(op, [index], 'i32');
  checkSameDevice(op, x, index);
}

/**
 * The elements of x at `index` along an axis, or of all of x in row-major order if there is no axis: `x[:, index]` of
 * NumPy for axis 1. An index may occur several times; the gradient of its element is the sum, in the order of the index.
 * @param x any dtype
 * @param index i32, of any shape
 * @returns x's shape with the axis replaced by the shape of `index`
 * @throws ValueError for an index outside [0, extent of the axis), also for a negative one; RecordingError while work is
 * recorded, because the indices are checked
 * @example take(tensor([[1, 2], [3, 4]]), tensor([1, 1, 0], { dtype: 'i32' }), { axis: 1 }); // [[2, 2, 1], [4, 4, 3]]
 */
export function take(x: Tensor, index: Tensor, options: AxisOptions = {}): Tensor {
  checkIndexed('take', x, index);
  const given = checkOptions('take', options, axisOptions);
  const flat = given.axis === undefined && given.axes === undefined;
  const axis = flat ? 0 : axisOf('take', x.shape, given);
  checkIndices('take', index, flat ? x.size : x.shape[axis]);
  if (!flat) return takeChecked(x, index, axis);
  using line = reshape(x, [x.size]);
  return takeChecked(line, index, axis);
}

/**
 * The element of x at each index along an axis: y[i][j] = x[i][index[i][j]] for axis 1 of a matrix. It undoes argsort
 * and topk, and picks the score of each label. The gradient of an element chosen several times is the sum, in the order
 * of the index.
 *
 * It is `numpy.take_along_axis`. `torch.gather` differs where the other axes of x and of the index have different
 * extents: it reads a part of x, which slice() does here; and it takes scalars.
 * @param x any dtype
 * @param index i32, of x's rank; the axes but the one named broadcast with those of x
 * @throws ValueError for an index outside [0, extent of the axis), also for a negative one; RecordingError while work is
 * recorded, because the indices are checked
 * @example
 * const index = tensor([[1, 2, 0]], { dtype: 'i32' });
 * takeAlongAxis(tensor([[3, 1, 2]]), index, { axis: 1 }); // [[1, 2, 3]]
 */
export function takeAlongAxis(x: Tensor, index: Tensor, options: AxisOptions): Tensor {
  checkIndexed('takeAlongAxis', x, index);
  const axis = axisOf('takeAlongAxis', x.shape, checkOptions('takeAlongAxis', options, axisOptions));
  if (index.rank !== x.rank)
    throw new ShapeError(
      'takeAlongAxis',
      'an index of the rank of x',
      `${formatShape(index.shape)} for ${formatShape(x.shape)}`,
    );
  const without = (shape: Shape) => shape.map((dim, a) => (a === axis ? 1 : dim));
  const others = broadcastShapes('takeAlongAxis', without(x.shape), without(index.shape));
  const stretched = (t: Tensor) =>
    stretch(
      t,
      others.map((dim, a) => (a === axis ? t.shape[a] : dim)),
    );
  checkIndices('takeAlongAxis', index, x.shape[axis]);
  return scope(() => takeAlongChecked(stretched(x), stretched(index), axis));
}

function stretch(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : broadcastTo(x, shape);
}

// ---------------------------------------------------------------- sums at indices

function addOpOf(name: string, each: boolean, add: (x: Tensor, index: Tensor, values: Tensor, axis: number) => Tensor) {
  return declareOp<ChoiceAttributes & { added: Shape }>({
    name,
    cpu: indexingKernels,
    cuda: indexingCuda,
    backward({ grad, saved: [index], attributes: { shape, axis, added }, needs }) {
      return [needs[0] ? grad : null, needs[1] ? takeElements(grad, { shape, axis, index, each }, added) : null];
    },
    tangent({ tangents: [t, tValues], saved: [index], output, attributes: { shape, axis, added } }) {
      const none = (dims: Shape) => zeros(dims, { device: output.device, dtype: (t ?? tValues)?.dtype });
      return add(t ?? none(shape), index, tValues ?? none(added), axis);
    },
  });
}

export const scatterAddOp = addOpOf('scatterAdd', true, scatterAddChecked);
export const indexAddOp = addOpOf('indexAdd', false, indexAddChecked);

/** scatterAdd() for values of the shape of `index`, whose values are in range; recording allows it. */
export function scatterAddChecked(x: Tensor, index: Tensor, values: Tensor, axis: number): Tensor {
  const y = addElements(x, values, { shape: x.shape, axis, index, each: true });
  const attributes = { shape: x.shape, axis, added: values.shape };
  return apply(scatterAddOp, y, { parents: [x, values], saved: [index], attributes });
}

function indexAddChecked(x: Tensor, index: Tensor, values: Tensor, axis: number): Tensor {
  const y = addElements(x, values, { shape: x.shape, axis, index, each: false });
  const attributes = { shape: x.shape, axis, added: values.shape };
  return apply(indexAddOp, y, { parents: [x, values], saved: [index], attributes });
}

/** Checks x, index and values of a scatter, and stretches index and values to one shape: x's, but for the axis. */
function scattered(
  op: string,
  [x, index, values]: readonly [Tensor, Tensor, Tensor],
  options: AxisOptions,
): { index: Tensor; values: Tensor; axis: number } {
  checkOperands(op, [index], 'i32');
  checkSameDevice(op, x, index);
  const axis = axisOf(op, x.shape, checkOptions(op, options, axisOptions));
  const all = [x, index, values].map(({ shape }) => formatShape(shape)).join(', ');
  if (index.rank !== x.rank || values.rank !== x.rank) throw new ShapeError(op, 'x, index and values of one rank', all);
  const common = broadcastShapes(op, index.shape, values.shape);
  const shape = x.shape.map((dim, a) => (a === axis ? common[a] : dim));
  if (!sameShape(broadcastShapes(op, common, shape), shape))
    throw new ShapeError(op, `index and values that broadcast to x in all axes but ${axis}`, all);
  checkIndices(op, index, x.shape[axis]);
  return { index: stretch(index, shape), values: stretch(values, shape), axis };
}

/**
 * x plus `values` at each index along an axis: y[i][index[i][j]] += values[i][j] for axis 1 of a matrix. Values at the
 * same place are summed in the order of the index, so that the bits are the same on every run.
 *
 * It is `torch.scatter_add` with an index that covers the other axes of x, to which index and values broadcast.
 * @param x f32, or on CUDA bf16 (summed in f32)
 * @param index i32, of x's rank
 * @param values of x's rank and dtype
 * @throws ValueError for an index outside [0, extent of the axis), also for a negative one; RecordingError while work is
 * recorded, because the indices are checked
 * @example
 * const index = tensor([[0, 2, 0]], { dtype: 'i32' });
 * scatterAdd(zeros([1, 3]), index, tensor([[1, 2, 3]]), { axis: 1 }); // [[4, 0, 2]]
 */
export function scatterAdd(x: Tensor, index: Tensor, values: Tensor, options: AxisOptions): Tensor {
  checkActivations('scatterAdd', [x, values]);
  return scope(() => {
    const given = scattered('scatterAdd', [x, index, values], options);
    return scatterAddChecked(x, given.index, given.values, given.axis);
  });
}

/**
 * x plus slices of `values` at `index` along an axis: y[index[k]] += values[k] for axis 0. Slices at the same place are
 * summed in the order of the index, so that the bits are the same on every run.
 * @param x f32, or on CUDA bf16 (summed in f32)
 * @param index i32 [K]
 * @param values of x's dtype and shape, but with K along the axis
 * @throws ValueError for an index outside [0, extent of the axis), also for a negative one; RecordingError while work is
 * recorded, because the indices are checked
 * @example
 * const index = tensor([0, 2, 0], { dtype: 'i32' });
 * indexAdd(zeros([3]), index, tensor([1, 2, 3]), { axis: 0 }); // [4, 0, 2]
 */
export function indexAdd(x: Tensor, index: Tensor, values: Tensor, options: AxisOptions): Tensor {
  checkActivations('indexAdd', [x, values]);
  checkOperands('indexAdd', [index], 'i32');
  checkSameDevice('indexAdd', x, index);
  const axis = axisOf('indexAdd', x.shape, checkOptions('indexAdd', options, axisOptions));
  const fits =
    index.rank === 1 &&
    sameShape(
      values.shape,
      x.shape.map((dim, a) => (a === axis ? index.size : dim)),
    );
  if (!fits)
    throw new ShapeError(
      'indexAdd',
      `an index [K] and values of x's shape with K along axis ${axis}`,
      [x, index, values].map(({ shape }) => formatShape(shape)).join(', '),
    );
  checkIndices('indexAdd', index, x.shape[axis]);
  return indexAddChecked(x, index, values, axis);
}

// ---------------------------------------------------------------- writes at indices

export const scatterAlongAxisOp = declareOp<ChoiceAttributes>({
  name: 'scatterAlongAxis',
  cpu: indexingKernels,
  cuda: indexingCuda,
  backward({ grad, saved: [index, owners], attributes, needs }) {
    const choice = { ...attributes, index, each: true };
    return [needs[0] ? keepUnowned(grad, owners, choice) : null, needs[1] ? takeOwned(grad, owners, choice) : null];
  },
  tangent({ tangents: [t, tValues], saved: [index, owners], output, attributes }) {
    const none = (dims: Shape) => zeros(dims, { device: output.device, dtype: (t ?? tValues)?.dtype });
    return putChecked(t ?? none(output.shape), index, tValues ?? none(index.shape), owners, attributes.axis);
  },
});

function putChecked(x: Tensor, index: Tensor, values: Tensor, owners: Tensor, axis: number): Tensor {
  const y = putElements(x, values, owners, { shape: x.shape, axis, index, each: true });
  return apply(scatterAlongAxisOp, y, {
    parents: [x, values],
    saved: [index, owners],
    attributes: { shape: x.shape, axis },
  });
}

/**
 * x with `values` at each index along an axis: y[i][index[i][j]] = values[i][j] for axis 1 of a matrix. The last of
 * several values at one place is written; it alone gets the gradient (PyTorch: one of them is written, all get it).
 *
 * It is `numpy.put_along_axis` on a copy, and `torch.scatter` with an index that covers the other axes of x, to which
 * index and values broadcast.
 * @param x any dtype
 * @param index i32, of x's rank
 * @param values of x's rank and dtype
 * @throws ValueError for an index outside [0, extent of the axis), also for a negative one; RecordingError while work is
 * recorded, because the indices are checked
 * @example
 * const index = tensor([[2, 0]], { dtype: 'i32' });
 * scatterAlongAxis(zeros([1, 3]), index, tensor([[5, 6]]), { axis: 1 }); // [[6, 0, 5]]
 */
export function scatterAlongAxis(x: Tensor, index: Tensor, values: Tensor, options: AxisOptions): Tensor {
  checkSameDtype('scatterAlongAxis', [x, values]);
  return scope(() => {
    const given = scattered('scatterAlongAxis', [x, index, values], options);
    using owners = ownersOf({ shape: x.shape, axis: given.axis, index: given.index, each: true });
    return putChecked(x, given.index, given.values, owners, given.axis);
  });
}
