// Accumulation of gradients in place, and the check for NaN and infinity.
import { kernelModule } from '../device/module.ts';
import { formatShape, NonFiniteError, ShapeError } from '../errors.ts';
import { sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

const kernels = kernelModule(import.meta.url, './accumulate.c', {
  accumulate_add: 'ptr ptr i32',
  accumulate_count_nonfinite: 'ptr i32 -> f64',
});

/** target += value, in place; both f32 of one shape. */
export function accumulate(target: Tensor, value: Tensor): void {
  if (!sameShape(target.shape, value.shape))
    throw new ShapeError('accumulate', formatShape(target.shape), formatShape(value.shape));
  if (target.size > 0) target.device.load(kernels).accumulate_add(target.address, value.address, target.size);
}

/** @throws NonFiniteError naming `op` when the f32 tensor `t` holds a NaN or an infinity */
export function assertFinite(op: string, t: Tensor, what: string): void {
  if (t.dtype !== 'f32' || t.size === 0) return;
  const count = t.device.load(kernels).accumulate_count_nonfinite(t.address, t.size);
  if (count > 0)
    throw new NonFiniteError(
      `[${op}] made ${count} non-finite of ${t.size} values in its ${what} ${formatShape(t.shape)}`,
    );
}
