// The operations of a Runge-Kutta solver on its state: linear combinations, which have gradients, and the norm of an
// error estimate, which is returned as a number on the host.
import { cudaModule, kernelModule } from '../device/module.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { oneWarp, perElement, perWarp, runFlag, runsOf } from './launch/grid.ts';
import { apply, checkOperands, declareOp } from './op.ts';

const COMBINE = 'ptr ptr i32 ptr ptr ptr ptr ptr ptr ptr f32 f32 f32 f32 f32 f32 f32';

const odeKernels = kernelModule('kernels/ode.c', {
  ode_combine: COMBINE,
  ode_error_scratch: 'i32 -> count',
  ode_error_norm: 'ptr ptr ptr ptr i32 f32 f32 -> f64',
});

const cudaKernels = cudaModule(
  'kernels/ode.cu',
  {
    ode_combine: COMBINE,
    ode_error_runs: 'ptr ptr ptr ptr i32 i32 f32 f32',
    ode_error_norm: 'ptr ptr i32 i32',
  },
  { flags: [runFlag] },
);

const STAGES = 7;

/** Parents: x, and each stage that has a coefficient other than 0. */
export const linearCombinationOp = declareOp<{ factors: readonly number[] }>({
  name: 'linearCombination',
  cpu: odeKernels,
  cuda: cudaKernels,
  backward: ({ grad, needs, attributes: { factors } }) =>
    [1, ...factors].map((factor, i) => {
      if (!needs[i]) return null;
      return factor === 1 ? grad : combine(grad, undefined, [{ stage: grad, factor }]);
    }),
  tangent({ tangents: [start, ...stages], attributes: { factors } }) {
    const terms = stages.map((stage, i) => ({ stage, factor: factors[i] })).filter(({ stage }) => stage !== null);
    return linearCombination(
      start,
      terms.map(({ stage }) => stage as Tensor),
      terms.map(({ factor }) => factor),
    );
  },
});

/**
 * x + sum coefficients[j] stages[j], with at most 7 stages whose coefficient is not 0. A null `x` counts as 0.
 * @param stages f32, each of the shape of x
 */
export function linearCombination(
  x: Tensor | null,
  stages: readonly Tensor[],
  coefficients: readonly number[],
): Tensor {
  const operands = x ? [x, ...stages] : stages;
  checkOperands('linearCombination', operands);
  const odd = operands.find(({ shape }) => !sameShape(shape, operands[0].shape));
  if (odd)
    throw new ShapeError(
      'linearCombination',
      `tensors of the same shape ${formatShape(operands[0].shape)}`,
      formatShape(odd.shape),
    );
  const terms = stages.map((stage, i) => ({ stage, factor: coefficients[i] })).filter(({ factor }) => factor !== 0);
  if (terms.length > STAGES)
    throw new ValueError(`[linearCombination] expected at most ${STAGES} stages, got ${terms.length}`);
  return apply(linearCombinationOp, combine(operands[0], x ?? undefined, terms), {
    parents: [x ?? undefined, ...terms.map(({ stage }) => stage)],
    attributes: { factors: terms.map(({ factor }) => factor) },
  });
}

function combine(like: Tensor, x: Tensor | undefined, terms: readonly { stage: Tensor; factor: number }[]): Tensor {
  const y = allocate(like.shape, { device: like.device });
  const indices = Array.from({ length: STAGES }, (_, i) => i);
  const stages = indices.map((i) => terms[i]?.stage.address ?? 0);
  const factors = indices.map((i) => terms[i]?.factor ?? 0);
  const { device, size } = y;
  const operands = [y.address, x?.address ?? 0, size, ...stages, ...factors];
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
    using partial = allocate([kernels.ode_error_scratch(size) / 4], { device });
    return kernels.ode_error_norm(...operands, partial.address, size, absolute, relative);
  }
  const kernels = device.load(cudaKernels);
  const runs = runsOf(size);
  // Doubles of two 32-bit elements each; the last one is the result.
  using partial = allocate([2 * (runs + 1)], { device });
  const norm = partial.address + 8 * runs;
  kernels.ode_error_runs(perWarp(runs), ...operands, partial.address, size, runs, absolute, relative);
  kernels.ode_error_norm(oneWarp, partial.address, norm, size, runs);
  const result = new Float64Array(1);
  device.download(norm, result);
  return result[0];
}
