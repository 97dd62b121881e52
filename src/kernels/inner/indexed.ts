// Launches of the kernels that read and write elements by index along one axis, without gradients and without a check
// of the indices.
import { kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { zeros } from '../../tensor/create.ts';
import { dtypes } from '../../tensor/dtype.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';
import { kernelsFor, storageModules } from '../launch/storage.ts';
import { convertDtype } from './conversion.ts';

export const indexingKernels = kernelModule('kernels/indexing.c', {
  indexing_take: 'ptr ptr ptr i32 i32 i32 i32 i32 i32',
  indexing_take_owned: 'ptr ptr ptr ptr i32 i32 i32 i32',
  indexing_add: 'ptr ptr ptr i32 i32 i32 i32 i32',
  indexing_owners: 'ptr ptr i32 i32 i32 i32',
  indexing_put: 'ptr ptr ptr ptr i32 i32 i32 i32 i32',
  indexing_keep: 'ptr ptr ptr i32 i32 i32',
});

export const indexingCuda = storageModules('kernels/indexing.cu', {
  indexing_take: 'ptr ptr ptr i32 i32 i32 i32 i32 i32',
  indexing_take_owned: 'ptr ptr ptr ptr i32 i32 i32 i32',
  indexing_add: 'ptr ptr ptr i32 i32 i32 i32 i32',
  indexing_no_owners: 'ptr i32',
  indexing_owners: 'ptr ptr i32 i32 i32 i32',
  indexing_put: 'ptr ptr ptr ptr i32 i32 i32 i32 i32',
  indexing_keep: 'ptr ptr ptr i32',
});

/** Elements of a tensor that an i32 tensor chooses along one axis. */
export interface Choice {
  /** The shape of the tensor from which they are chosen. */
  shape: Shape;
  axis: number;
  index: Tensor;
  /** Whether each chosen element has its own index; otherwise one list of indices serves the whole axis. */
  each: boolean;
}

interface Sizes {
  outer: number;
  rows: number;
  inner: number;
  /** How many elements are chosen along the axis. */
  count: number;
}

function sizesOf({ shape, axis, index, each }: Choice): Sizes {
  const [outer, inner] = [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis + 1))];
  return { outer, rows: shape[axis], inner, count: each ? index.shape[axis] : index.size };
}

/** The chosen elements of x, in a shape of as many elements; any dtype. */
export function takeElements(x: Tensor, choice: Choice, shape: Shape): Tensor {
  const { device, dtype } = x;
  const y = allocate(shape, { device, dtype });
  if (y.size === 0) return y;
  const { outer, rows, inner, count } = sizesOf(choice);
  const operands = [x.address, choice.index.address, y.address];
  const rest = [rows, inner, count, choice.each ? 1 : 0, dtypes[dtype].bytes];
  if (device.kind === 'cuda')
    device.load(indexingCuda.f32).indexing_take(perElement(y.size), ...operands, y.size, ...rest);
  else device.load(indexingKernels).indexing_take(...operands, outer, ...rest);
  return y;
}

/** x, or zeros, plus `values` at the chosen places, summed in f32 in the order of the index; f32, or on CUDA bf16. */
export function addElements(x: Tensor | undefined, values: Tensor, choice: Choice): Tensor {
  const { device, dtype } = values;
  const sum = x ? copyOf(x) : zeros(choice.shape, { device });
  if (values.size > 0) {
    const { outer, rows, inner, count } = sizesOf(choice);
    const operands = [values.address, choice.index.address, sum.address];
    const rest = [rows, inner, count, choice.each ? 1 : 0];
    const columns = outer * inner;
    if (device.kind === 'cuda')
      kernelsFor(indexingCuda, device, dtype).indexing_add(perElement(columns), ...operands, columns, ...rest);
    else device.load(indexingKernels).indexing_add(...operands, outer, ...rest);
  }
  if (dtype === 'f32') return sum;
  const y = convertDtype(sum, dtype);
  sum.dispose();
  return y;
}

/** A copy of x in f32. */
function copyOf(x: Tensor): Tensor {
  if (x.dtype !== 'f32') return convertDtype(x, 'f32');
  const y = allocate(x.shape, { device: x.device });
  x.device.copy(y.address, x.address, x.size * dtypes.f32.bytes);
  return y;
}

/** For each place of `shape` the number along the axis of the last element that chooses it, or -1; i32. */
export function ownersOf(choice: Choice): Tensor {
  const { shape, index } = choice;
  const { device } = index;
  const owners = allocate(shape, { device, dtype: 'i32' });
  if (owners.size === 0) return owners;
  const { outer, rows, inner, count } = sizesOf(choice);
  const operands = [index.address, owners.address];
  if (device.kind !== 'cuda') {
    device.load(indexingKernels).indexing_owners(...operands, outer, rows, inner, count);
    return owners;
  }
  const kernels = device.load(indexingCuda.f32);
  kernels.indexing_no_owners(perElement(owners.size), owners.address, owners.size);
  if (index.size > 0) kernels.indexing_owners(perElement(index.size), ...operands, index.size, rows, inner, count);
  return owners;
}

/** The value of its owner at each place that has one, else x; any dtype. */
export function putElements(x: Tensor, values: Tensor, owners: Tensor, choice: Choice): Tensor {
  const { device, dtype, size } = x;
  const y = allocate(x.shape, { device, dtype });
  if (size === 0) return y;
  const { outer, rows, inner, count } = sizesOf(choice);
  const operands = [x.address, values.address, owners.address, y.address];
  const rest = [rows, inner, count, dtypes[dtype].bytes];
  if (device.kind === 'cuda') device.load(indexingCuda.f32).indexing_put(perElement(size), ...operands, size, ...rest);
  else device.load(indexingKernels).indexing_put(...operands, outer, ...rest);
  return y;
}

/** The element of x that each element of the choice owns, 0 for those that own none; f32, or on CUDA bf16. */
export function takeOwned(x: Tensor, owners: Tensor, choice: Choice): Tensor {
  const { device, dtype } = x;
  const y = allocate(choice.index.shape, { device, dtype });
  if (y.size === 0) return y;
  const { outer, rows, inner, count } = sizesOf(choice);
  const operands = [x.address, choice.index.address, owners.address, y.address];
  if (device.kind === 'cuda') {
    const kernels = kernelsFor(indexingCuda, device, dtype);
    kernels.indexing_take_owned(perElement(y.size), ...operands, y.size, rows, inner, count);
  } else {
    device.load(indexingKernels).indexing_take_owned(...operands, outer, rows, inner, count);
  }
  return y;
}

/** x at the places without an owner, else 0; f32, or on CUDA bf16. */
export function keepUnowned(x: Tensor, owners: Tensor, choice: Choice): Tensor {
  const { device, dtype, size } = x;
  const y = allocate(x.shape, { device, dtype });
  if (size === 0) return y;
  const { outer, rows, inner } = sizesOf(choice);
  const operands = [x.address, owners.address, y.address];
  if (device.kind === 'cuda')
    kernelsFor(indexingCuda, device, dtype).indexing_keep(perElement(size), ...operands, size);
  else device.load(indexingKernels).indexing_keep(...operands, outer, rows, inner);
  return y;
}
