// The fused optimiser step and the global norm of the gradient. nn/adam.ts provides the schedules.
import { cudaModule, kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { oneWarp, perElement, perWarp, runFlag, runsOf } from '../launch/grid.ts';

const RATES = 'i32 f32 f32 f32 f32 f32 f32 f32 f32 i32';

const optimizerKernels = kernelModule('kernels/inner/optimizer.c', {
  optimizer_norm_scratch: 'i32 -> count',
  optimizer_norm: 'ptr ptr ptr i32 f64',
  optimizer_adam: `ptr ptr ptr ptr ptr ptr ptr ${RATES}`,
});

const cudaKernels = cudaModule(
  'kernels/inner/optimizer.cu',
  {
    optimizer_norm_runs: 'ptr ptr i32 i32',
    optimizer_norm: 'ptr ptr i32 f64',
    optimizer_adam: `ptr ptr ptr ptr ptr ptr ptr ptr ${RATES}`,
  },
  { flags: [runFlag] },
);

/**
 * f32 [2]: the Euclidean norm of all elements, and the factor that clips it to `maxNorm`, as in
 * `torch.nn.utils.clip_grad_norm_`. If `maxNorm` is negative, nothing is clipped and the factor is 1.
 */
export function globalNorm(x: Tensor, maxNorm: number): Tensor {
  const { device, size } = x;
  const norm = allocate([2], { device });
  if (device.kind === 'cuda') {
    const kernels = device.load(cudaKernels);
    const runs = runsOf(size);
    // Two 32-bit elements hold one double.
    using partial = allocate([2 * runs], { device });
    kernels.optimizer_norm_runs(perWarp(runs), x.address, partial.address, size, runs);
    kernels.optimizer_norm(oneWarp, partial.address, norm.address, runs, maxNorm);
  } else {
    const kernels = device.load(optimizerKernels);
    using partial = allocate([kernels.optimizer_norm_scratch(size) / 4], { device });
    kernels.optimizer_norm(x.address, norm.address, partial.address, size, maxNorm);
  }
  return norm;
}

/**
 * Flat tensors of one size, all f32 except `copy`. `norm` is the result of `globalNorm` for the gradients, `schedule`
 * that of `scheduleOf`.
 */
export interface AdamTensors {
  parameters: Tensor;
  gradients: Tensor;
  firstMoment: Tensor;
  secondMoment: Tensor;
  ema: Tensor | null;
  /** On CUDA: receives the updated parameters as bf16. */
  copy?: Tensor | null;
  norm: Tensor;
  schedule: Tensor;
}

export interface AdamUpdate {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** L2 penalty: weightDecay * parameter is added to the gradient. */
  weightDecay: number;
  zeroGradients: boolean;
}

/**
 * The values that change from update to update, f32 [3], computed in double: the rate divided by the bias correction of
 * the first moment, the inverse square root of the second's, and the weight of the parameters in the moving average, 1
 * - decay. Kernels read them from memory, so that one recorded graph serves every update.
 * @param step number of the update, from 1
 */
export function scheduleOf(
  step: number,
  values: { learningRate: number; beta1: number; beta2: number; emaDecay: number },
): Float32Array {
  const { learningRate, beta1, beta2, emaDecay } = values;
  return Float32Array.of(learningRate / (1 - beta1 ** step), 1 / Math.sqrt(1 - beta2 ** step), 1 - emaDecay);
}

/** beta as the sum of two floats, and 1 - beta: the factors of the old moment and of the new value. */
function momentOf(beta: number): [kept: number, rest: number, share: number] {
  const kept = Math.fround(beta);
  return [kept, beta - kept, 1 - beta];
}

/**
 * One update in place: clipping, weight decay, Adam (Kingma, Ba 2015, with bias correction), moving average, zeroed
 * gradients. If the norm is not finite, nothing is updated, but the gradients are still zeroed.
 */
export function adamStep(state: AdamTensors, update: AdamUpdate): void {
  const { parameters, gradients, firstMoment, secondMoment, ema, copy, norm, schedule } = state;
  const { beta1, beta2, epsilon, weightDecay } = update;
  const { device, size } = parameters;
  const flat = [parameters, gradients, firstMoment, secondMoment].map(({ address }) => address);
  const average = ema?.address ?? 0;
  const rest = [
    norm.address,
    schedule.address,
    size,
    ...momentOf(beta1),
    ...momentOf(beta2),
    epsilon,
    weightDecay,
    update.zeroGradients ? 1 : 0,
  ];
  if (device.kind === 'cuda')
    device.load(cudaKernels).optimizer_adam(perElement(size), ...flat, average, copy?.address ?? 0, ...rest);
  else device.load(optimizerKernels).optimizer_adam(...flat, average, ...rest);
}
