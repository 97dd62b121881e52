// What a Runge-Kutta solver does to its state, on the device and without gradients.
import { kernelModule } from '../device/module.ts';
import { empty } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';

export const odeKernels = kernelModule(import.meta.url, './ode.c', {
  ode_combine: 'ptr ptr i32 ptr ptr ptr ptr ptr ptr ptr f32 f32 f32 f32 f32 f32 f32',
  ode_error_scratch: 'i32 -> f64',
  ode_error_norm: 'ptr ptr ptr ptr i32 f32 f32 -> f64',
});

const STAGES = 7;

/** x + sum coefficients[j] stages[j], at most 7; stages with coefficient 0 are left out. `x` null: 0. */
export function linearCombination(
  x: Tensor | null,
  stages: readonly Tensor[],
  coefficients: readonly number[],
): Tensor {
  const used = stages.flatMap((stage, i) => (coefficients[i] ? [{ stage, factor: coefficients[i] }] : []));
  const like = x ?? stages[0];
  const y = empty(like.shape, { device: like.device });
  const at = (i: number) => used[i]?.stage.address ?? 0;
  const factor = (i: number) => used[i]?.factor ?? 0;
  const indices = Array.from({ length: STAGES }, (_, i) => i);
  if (y.size > 0)
    y.device
      .load(odeKernels)
      .ode_combine(y.address, x?.address ?? 0, y.size, ...indices.map(at), ...indices.map(factor));
  return y;
}

/** Root mean square of error / (absolute + relative max(|before|, |after|)) over all elements (scipy's RK45 norm). */
export function scaledErrorNorm(
  error: Tensor,
  before: Tensor,
  after: Tensor,
  tolerance: { absolute: number; relative: number },
): number {
  const { device, size } = error;
  const kernels = device.load(odeKernels);
  using partial = empty([kernels.ode_error_scratch(size) / 4], { device });
  const { absolute, relative } = tolerance;
  return kernels.ode_error_norm(
    error.address,
    before.address,
    after.address,
    partial.address,
    size,
    absolute,
    relative,
  );
}
