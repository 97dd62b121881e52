// The fused optimiser pass and the global norm of the gradient; nn/adam.ts gives them their schedules.
import { cudaModule, kernelModule } from '../device/module.ts';
import { empty } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { oneWarp, perElement, perWarp, runFlag, runsOf } from './geometry.ts';

const ADAM = 'ptr ptr ptr ptr ptr ptr i32 f32 f32 f32 f32 f32 f32 f32 f32 f32 i32';

export const optimizerKernels = kernelModule(import.meta.url, './optimizer.c', {
  optimizer_norm_scratch: 'i32 -> f64',
  optimizer_norm: 'ptr ptr ptr i32',
  optimizer_adam: ADAM,
});

const cudaKernels = cudaModule(
  import.meta.url,
  './optimizer.cu',
  { optimizer_norm_runs: 'ptr ptr i32 i32', optimizer_norm: 'ptr ptr i32', optimizer_adam: ADAM },
  { flags: [runFlag] },
);

/** The Euclidean norm of all elements, a tensor of one element. */
export function globalNorm(x: Tensor): Tensor {
  const { device, size } = x;
  const norm = empty([], { device });
  if (device.kind === 'cuda') {
    const kernels = device.load(cudaKernels);
    const runs = runsOf(size);
    // Doubles.
    using partial = empty([2 * runs], { device });
    kernels.optimizer_norm_runs(perWarp(runs), x.address, partial.address, size, runs);
    kernels.optimizer_norm(oneWarp, partial.address, norm.address, runs);
  } else {
    const kernels = device.load(optimizerKernels);
    using partial = empty([kernels.optimizer_norm_scratch(size) / 4], { device });
    kernels.optimizer_norm(x.address, norm.address, partial.address, size);
  }
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
  const { device, size } = parameters;
  const operands = [
    parameters.address,
    gradients.address,
    firstMoment.address,
    secondMoment.address,
    ema?.address ?? 0,
    norm.address,
    size,
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
  ];
  if (device.kind === 'cuda') device.load(cudaKernels).optimizer_adam(perElement(size), ...operands);
  else device.load(optimizerKernels).optimizer_adam(...operands);
}
