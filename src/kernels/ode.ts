// What a Runge-Kutta solver does to its state, on the device and without gradients.
import { cudaModule, kernelModule } from '../device/module.ts';
import { empty } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { oneWarp, perElement, perWarp, runFlag, runsOf } from './geometry.ts';

const COMBINE = 'ptr ptr i32 ptr ptr ptr ptr ptr ptr ptr f32 f32 f32 f32 f32 f32 f32';

export const odeKernels = kernelModule(import.meta.url, './ode.c', {
  ode_combine: COMBINE,
  ode_error_scratch: 'i32 -> count',
  ode_error_norm: 'ptr ptr ptr ptr i32 f32 f32 -> f64',
});

const cudaKernels = cudaModule(
  import.meta.url,
  './ode.cu',
  {
    ode_combine: COMBINE,
    ode_error_runs: 'ptr ptr ptr ptr i32 i32 f32 f32',
    ode_error_norm: 'ptr ptr i32 i32',
  },
  { flags: [runFlag] },
);

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
  const { device, size } = y;
  const operands = [y.address, x?.address ?? 0, size, ...indices.map(at), ...indices.map(factor)];
  if (size > 0 && device.kind === 'cuda') device.load(cudaKernels).ode_combine(perElement(size), ...operands);
  else if (size > 0) device.load(odeKernels).ode_combine(...operands);
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
  const { absolute, relative } = tolerance;
  const operands = [error.address, before.address, after.address];
  if (device.kind !== 'cuda') {
    const kernels = device.load(odeKernels);
    using partial = empty([kernels.ode_error_scratch(size) / 4], { device });
    return kernels.ode_error_norm(...operands, partial.address, size, absolute, relative);
  }
  const kernels = device.load(cudaKernels);
  const runs = runsOf(size);
  // Doubles, the last of them the result.
  using partial = empty([2 * (runs + 1)], { device });
  const norm = partial.address + 8 * runs;
  kernels.ode_error_runs(perWarp(runs), ...operands, partial.address, size, runs, absolute, relative);
  kernels.ode_error_norm(oneWarp, partial.address, norm, size, runs);
  const result = new Float64Array(1);
  device.download(norm, result);
  return result[0];
}
