// Accumulation of gradients in place, and the check for NaN and infinity.
import { kernelModule } from '../../device/module.ts';
import { DtypeError, formatShape, NonFiniteError, ShapeError } from '../../errors.ts';
import { zeros } from '../../tensor/create.ts';
import { sameShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement } from '../launch/grid.ts';
import { kernelsFor, storageModules } from '../launch/storage.ts';

const kernels = kernelModule('kernels/inner/accumulate.c', {
  accumulate_add: 'ptr ptr i32',
  accumulate_count_nonfinite: 'ptr i32 -> f64',
});

const cudaKernels = storageModules('kernels/inner/accumulate.cu', {
  accumulate_add: 'ptr ptr i32',
  accumulate_scaled: 'ptr ptr ptr f32 i32',
  accumulate_count_nonfinite: 'ptr ptr i32',
});

/** target += value, in place; both have the same shape and dtype, f32 or on CUDA bf16. */
export function accumulate(target: Tensor, value: Tensor): void {
  if (!sameShape(target.shape, value.shape))
    throw new ShapeError('accumulate', formatShape(target.shape), formatShape(value.shape));
  if (target.dtype !== value.dtype) throw new DtypeError('accumulate', target.dtype, value.dtype);
  const { device, dtype, size } = target;
  if (size === 0) return;
  if (device.kind === 'cuda')
    kernelsFor(cudaKernels, device, dtype).accumulate_add(perElement(size, 8), target.address, value.address, size);
  else device.load(kernels).accumulate_add(target.address, value.address, size);
}

/**
 * target = value + factor * other, on CUDA; all have the same shape and dtype. value may be absent, or target itself.
 */
export function accumulateScaled(target: Tensor, value: Tensor | undefined, other: Tensor, factor: number): void {
  const { device, dtype, size } = target;
  if (size === 0) return;
  const operands = [target.address, value?.address ?? 0, other.address, factor, size];
  kernelsFor(cudaKernels, device, dtype).accumulate_scaled(perElement(size), ...operands);
}

/** @throws NonFiniteError naming `op` when the tensor `t`, f32 or on CUDA bf16, holds a NaN or an infinity */
export function assertFinite(op: string, t: Tensor, what: string): void {
  if (t.size === 0 || !(t.dtype === 'f32' || (t.dtype === 'bf16' && t.device.computesBf16))) return;
  const count = countNonfinite(t);
  if (count > 0)
    throw new NonFiniteError(
      `[${op}] produced ${count} non-finite of ${t.size} values in its ${what} ${formatShape(t.shape)}`,
    );
}

function countNonfinite(t: Tensor): number {
  const { device, dtype, size } = t;
  if (device.kind !== 'cuda') return device.load(kernels).accumulate_count_nonfinite(t.address, size);
  using count = zeros([1], { device, dtype: 'i32' });
  kernelsFor(cudaKernels, device, dtype).accumulate_count_nonfinite(perElement(size), t.address, count.address, size);
  return count.item();
}
