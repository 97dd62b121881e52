// The fused optimiser pass and the global norm of the gradient; nn/adam.ts gives them their schedules.
import { kernelModule } from '../device/module.ts';
import { empty } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';

export const optimizerKernels = kernelModule(import.meta.url, './optimizer.c', {
  optimizer_norm_scratch: 'i32 -> f64',
  optimizer_norm: 'ptr ptr ptr i32',
  optimizer_adam: 'ptr ptr ptr ptr ptr ptr i32 f32 f32 f32 f32 f32 f32 f32 f32 f32 i32',
});

/** The Euclidean norm of all elements, a tensor of one element. */
export function globalNorm(x: Tensor): Tensor {
  const kernels = x.device.load(optimizerKernels);
  const norm = empty([], { device: x.device });
  using partial = empty([kernels.optimizer_norm_scratch(x.size) / 4], { device: x.device });
  kernels.optimizer_norm(x.address, norm.address, partial.address, x.size);
  return norm;
}

/** Flat tensors of one size; `norm` is the gradients' global norm. */
export interface AdamState {
  parameters: Tensor;
  gradients: Tensor;
  firstMoment: Tensor;
  secondMoment: Tensor;
  ema: Tensor | null;
  norm: Tensor;
}

export interface AdamUpdate {
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Added to the gradient, times the parameter. */
  weightDecay: number;
  /** Number of this update, from 1. */
  step: number;
  emaDecay: number;
  /** Negative: no clipping. */
  maxNorm: number;
  zeroGradients: boolean;
}

/** One update in place: clip, decay, Adam (Kingma, Ba 2015, with bias correction), moving average, zeroed gradients. */
export function adamStep(state: AdamState, update: AdamUpdate): void {
  const { parameters, gradients, firstMoment, secondMoment, ema, norm } = state;
  const { learningRate, beta1, beta2, epsilon, weightDecay, step, emaDecay, maxNorm } = update;
  parameters.device
    .load(optimizerKernels)
    .optimizer_adam(
      parameters.address,
      gradients.address,
      firstMoment.address,
      secondMoment.address,
      ema?.address ?? 0,
      norm.address,
      parameters.size,
      learningRate,
      beta1,
      beta2,
      epsilon,
      weightDecay,
      1 - beta1 ** step,
      1 - beta2 ** step,
      emaDecay,
      maxNorm,
      update.zeroGradients ? 1 : 0,
    );
}
