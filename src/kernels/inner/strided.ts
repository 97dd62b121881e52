// The strided copy that permute, slice, pad, concat and broadcast use. It has no gradient of its own.
import { cudaModule, kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { zeros } from '../../tensor/create.ts';
import { dtypes } from '../../tensor/dtype.ts';
import { type Shape, sizeOf, stridesOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { perElement } from '../launch/grid.ts';

export const movementKernels = kernelModule('kernels/movement.c', {
  movement_copy: 'ptr ptr ptr i32',
  movement_fill: 'ptr f32 i32',
  movement_gather: 'ptr ptr ptr i32 i32 i32 -> f64',
  movement_scatter_add: 'ptr ptr ptr i32 i32',
  movement_one_hot: 'ptr ptr i32 i32 -> f64',
});

export const movementCuda = cudaModule('kernels/movement.cu', {
  movement_copy: 'ptr ptr ptr i32 i32',
  movement_beside: 'ptr ptr ptr i32 i32 i32 i32',
  movement_fill: 'ptr f32 i32',
  movement_gather: 'ptr ptr ptr i32 i32',
  movement_scatter_add: 'ptr ptr ptr i32 i32',
  movement_one_hot: 'ptr ptr i32 i32',
});

/** One side of a copy: a tensor, the element it starts at, and a stride per axis, which may be negative. */
export interface Window {
  tensor: Tensor;
  offset: number;
  strides: readonly number[];
}

/** Bytes that a thread of a CUDA kernel moves at once, where addresses and rows allow it. */
export const UNIT = 16;

/** Whether those addresses and numbers of bytes are multiples of UNIT. */
export function wholeUnits(numbers: readonly number[]): boolean {
  return numbers.every((number) => number % UNIT === 0);
}

/** target[i] = source[i] for every index of `dims`. */
export function copyStrided(dims: readonly number[], source: Window, target: Window): void {
  if (dims.includes(0)) return;
  const merged = mergeAxes(dims, [source.strides, target.strides]);
  const { device, dtype } = target.tensor;
  const { bytes } = dtypes[dtype];
  const addresses = [source, target].map(({ tensor, offset }) => tensor.address + offset * bytes);
  const copy = ({ dims: sizes, strides }: typeof merged, each: number) => {
    const operands = [...addresses, device.table([sizes.length, ...sizes, ...strides.flat()])];
    const count = sizeOf(sizes);
    if (device.kind === 'cuda') device.load(movementCuda).movement_copy(perElement(count), ...operands, count, each);
    else device.load(movementKernels).movement_copy(...operands, each);
  };
  const wide = device.kind === 'cuda' && wholeUnits(addresses) ? inUnits(merged, bytes) : undefined;
  if (wide) copy(wide, UNIT);
  else copy(merged, bytes);
}

/** A copy of elements as one of units; undefined if the elements of a unit are not neighbours on both sides. */
function inUnits(
  { dims, strides }: { dims: readonly number[]; strides: readonly (readonly number[])[] },
  bytes: number,
): { dims: number[]; strides: number[][] } | undefined {
  const last = dims.length - 1;
  const whole = [dims[last], ...strides.flatMap((list) => list.slice(0, -1))].map((elements) => elements * bytes);
  if (strides.some((list) => list[last] !== 1) || !wholeUnits(whole)) return undefined;
  const units = (list: readonly number[]) =>
    list.map((elements, axis) => (axis < last ? (elements * bytes) / UNIT : 1));
  return { dims: [...dims.slice(0, -1), (dims[last] * bytes) / UNIT], strides: strides.map(units) };
}

/**
 * Elements starts[i] + k steps[i] of each axis i, k < shape[i]: a view if they are contiguous, otherwise a copy.
 * @param steps default: 1 for each axis
 */
export function windowOf(x: Tensor, starts: readonly number[], shape: Shape, steps?: readonly number[]): Tensor {
  const { offset, strides } = placesOf(x.shape, starts, steps);
  // A window cut along the first axis alone is contiguous.
  if (!steps && shape.every((dim, axis) => axis === 0 || dim === x.shape[axis])) return view(x, shape, offset);
  const y = allocate(shape, { device: x.device, dtype: x.dtype });
  copyStrided(shape, { tensor: x, offset, strides }, { tensor: y, offset: 0, strides: stridesOf(shape) });
  return y;
}

/** A tensor of that shape with x at starts[i] + k steps[i] of each axis i, and `value` elsewhere. */
export function placeIn(
  x: Tensor,
  starts: readonly number[],
  shape: Shape,
  { value = 0, steps }: { value?: number; steps?: readonly number[] | undefined } = {},
): Tensor {
  const whole = x.size === sizeOf(shape);
  const y = whole ? allocate(shape, { device: x.device, dtype: x.dtype }) : filledLike(x, shape, value);
  const target = { tensor: y, ...placesOf(shape, starts, steps) };
  copyStrided(x.shape, { tensor: x, offset: 0, strides: stridesOf(x.shape) }, target);
  return y;
}

/** The first element of a window in a tensor of that shape, and the distance between its elements along each axis. */
function placesOf(shape: Shape, starts: readonly number[], steps?: readonly number[]): Omit<Window, 'tensor'> {
  const strides = stridesOf(shape);
  const offset = starts.reduce((sum, start, axis) => sum + start * strides[axis], 0);
  return { offset, strides: steps ? strides.map((stride, axis) => stride * steps[axis]) : strides };
}

function filledLike(like: Tensor, shape: Shape, value: number): Tensor {
  if (value === 0) return zeros(shape, { device: like.device, dtype: like.dtype });
  const y = allocate(shape, { device: like.device, dtype: like.dtype });
  const { device, size } = y;
  if (size === 0) return y;
  if (device.kind === 'cuda') device.load(movementCuda).movement_fill(perElement(size), y.address, value, size);
  else device.load(movementKernels).movement_fill(y.address, value, size);
  return y;
}

/** A copy of some elements of the last axis. */
export function columnsOf(x: Tensor, { offset, count }: { offset: number; count: number }): Tensor {
  const shape = [...x.shape.slice(0, -1), count];
  const y = allocate(shape, { device: x.device, dtype: x.dtype });
  const source = { tensor: x, offset, strides: stridesOf(x.shape) };
  copyStrided(shape, source, { tensor: y, offset: 0, strides: stridesOf(shape) });
  return y;
}

/** Drops axes of extent 1 and merges neighbouring axes that are contiguous in every operand; the rank is at least 1. */
export function mergeAxes(
  dims: readonly number[],
  strides: readonly (readonly number[])[],
): { dims: number[]; strides: number[][] } {
  const merged = { dims: [] as number[], strides: strides.map(() => [] as number[]) };
  dims.forEach((dim, axis) => {
    if (dim === 1) return;
    const last = merged.dims.length - 1;
    const joins = last >= 0 && strides.every((s, i) => merged.strides[i][last] === s[axis] * dim);
    if (joins) {
      merged.dims[last] *= dim;
      merged.strides.forEach((list, i) => {
        list[last] = strides[i][axis];
      });
    } else {
      merged.dims.push(dim);
      merged.strides.forEach((list, i) => {
        list.push(strides[i][axis]);
      });
    }
  });
  if (merged.dims.length === 0) {
    merged.dims.push(1);
    for (const list of merged.strides) list.push(1);
  }
  return merged;
}
