// Checks indices on devices whose kernels return nothing. The check waits for the device.
import { cudaModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';

const kernels = cudaModule('kernels/inner/indices.cu', { indices_first_outside: 'ptr ptr i32 i32' });

/** The first position of the i32 tensor whose value is outside [0, limit), or -1. */
export function firstOutside(index: Tensor, limit: number): number {
  if (index.size === 0) return -1;
  const { device } = index;
  using first = allocate([1], { device, dtype: 'i32' });
  device.upload(first.address, Int32Array.of(index.size));
  device.load(kernels).indices_first_outside(perElement(index.size), index.address, first.address, index.size, limit);
  const at = first.item();
  return at < index.size ? at : -1;
}
