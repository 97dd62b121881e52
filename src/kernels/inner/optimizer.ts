// The fused updates of the optimisers and the global norm of the gradient. nn/optimizer.ts calls them.
import { cudaModule, kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { oneBlock, perElement, perWarp, runFlag, runsOf } from '../launch/grid.ts';

const BETAS = 'f32 f32 f32 f32 f32 f32';
const SCHEDULE = 'ptr ptr i32';

/** The kernels of the updates; on CUDA they also take the copy of the parameters in bf16, after the average. */
const updates = {
  optimizer_adam: ['ptr ptr ptr ptr ptr', `${SCHEDULE} ${BETAS} f32 f32 i32`],
  optimizer_adamw: ['ptr ptr ptr ptr ptr', `${SCHEDULE} ${BETAS} f32 i32`],
  optimizer_sgd: ['ptr ptr ptr ptr', `${SCHEDULE} f32 f32 f32 i32 i32`],
  optimizer_lion: ['ptr ptr ptr ptr', `${SCHEDULE} ${BETAS} i32`],
  optimizer_muon: ['ptr ptr ptr ptr ptr', `${SCHEDULE} f32 f32 f32 i32`],
} as const;
type UpdateKernel = keyof typeof updates;

function signatures(between: string): Record<UpdateKernel, string> {
  const entries = Object.entries(updates).map(([name, [first, last]]) => [name, `${first}${between} ${last}`]);
  return Object.fromEntries(entries);
}

const DIRECTION = 'ptr ptr ptr ptr i32 f32 f32 f32 i32';

const optimizerKernels = kernelModule('kernels/inner/optimizer.c', {
  optimizer_norm_scratch: 'i32 -> count',
  optimizer_norm: 'ptr ptr ptr i32 f64',
  optimizer_muon_direction: DIRECTION,
  ...signatures(''),
});

const cudaKernels = cudaModule(
  'kernels/inner/optimizer.cu',
  {
    optimizer_norm_runs: 'ptr ptr i32 i32',
    optimizer_norm: 'ptr ptr i32 f64 ptr i32',
    optimizer_muon_direction: DIRECTION,
    ...signatures(' ptr'),
  },
  { flags: [runFlag] },
);

/**
 * f32 [2]: the Euclidean norm of all elements, and the factor that clips it to `maxNorm`, as in
 * `torch.nn.utils.clip_grad_norm_`. If `maxNorm` is negative, nothing is clipped and the factor is 1.
 * @param guard f32, on CUDA: if one of its elements is not finite, the norm is NaN
 */
export function globalNorm(x: Tensor, maxNorm: number, guard?: Tensor): Tensor {
  const { device, size } = x;
  const norm = allocate([2], { device });
  if (device.kind === 'cuda') {
    const kernels = device.load(cudaKernels);
    const runs = runsOf(size);
    // Two 32-bit elements hold one double.
    using partial = allocate([2 * runs], { device });
    kernels.optimizer_norm_runs(perWarp(runs), x.address, partial.address, size, runs);
    const guards = [guard?.address ?? 0, guard?.size ?? 0];
    kernels.optimizer_norm(oneBlock, partial.address, norm.address, runs, maxNorm, ...guards);
  } else {
    const kernels = device.load(optimizerKernels);
    using partial = allocate([kernels.optimizer_norm_scratch(size) / 4], { device });
    kernels.optimizer_norm(x.address, norm.address, partial.address, size, maxNorm);
  }
  return norm;
}

/**
 * What every update reads and writes: flat tensors of one size, all f32 except `copy`. `norm` is the result of
 * `globalNorm` for the gradients, `schedule` that of the function of the rule, such as `scheduleOf` for Adam.
 */
export interface UpdateTensors {
  parameters: Tensor;
  gradients: Tensor;
  ema: Tensor | null;
  /** On CUDA: receives the updated parameters as bf16. */
  copy?: Tensor | null;
  norm: Tensor;
  schedule: Tensor;
}

/**
 * One update in place: clipping, weight decay, the rule, moving average, zeroed gradients. If the norm is not finite,
 * nothing is updated, but the gradients are still zeroed.
 */
function update(
  kernel: UpdateKernel,
  { parameters, gradients, ema, copy, norm, schedule }: UpdateTensors,
  states: readonly (Tensor | null)[],
  constants: readonly number[],
): void {
  const { device, size } = parameters;
  const flat = [parameters, gradients, ...states, ema].map((t) => t?.address ?? 0);
  const rest = [norm.address, schedule.address, size, ...constants];
  if (device.kind === 'cuda') device.load(cudaKernels)[kernel](perElement(size), ...flat, copy?.address ?? 0, ...rest);
  else device.load(optimizerKernels)[kernel](...flat, ...rest);
}

/** beta as the sum of two floats, and 1 - beta: the factors of the old moment and of the new value. */
function momentOf(beta: number): [kept: number, rest: number, share: number] {
  const kept = Math.fround(beta);
  return [kept, beta - kept, 1 - beta];
}

/** Length of every schedule. */
export const SCHEDULED = 4;

/** The rate of an update, and the decay of the moving average in it. */
export interface UpdateRate {
  learningRate: number;
  emaDecay: number;
}

/**
 * The values that change from update to update, f32 [4], computed in double: the rate, a number that the rule needs,
 * the weight of the parameters in the moving average, 1 - decay, and the rate times the decoupled weight decay. Kernels
 * read them from memory, so that one recorded graph serves every update.
 */
function scheduled(rate: number, ruleNumber: number, emaDecay: number, decay: number): Float32Array {
  return Float32Array.of(rate, ruleNumber, 1 - emaDecay, decay);
}

/**
 * The schedule of Adam and AdamW: the rate divided by the bias correction of the first moment, and the inverse square
 * root of the second's.
 * @param step number of the update, from 1
 */
export function scheduleOf(
  step: number,
  values: UpdateRate & { beta1: number; beta2: number; weightDecay?: number },
): Float32Array {
  const { learningRate, beta1, beta2, emaDecay, weightDecay = 0 } = values;
  const rate = learningRate / (1 - beta1 ** step);
  return scheduled(rate, 1 / Math.sqrt(1 - beta2 ** step), emaDecay, learningRate * weightDecay);
}

/** The schedule of SGD: the share of the gradient in the moment is 1 in the first update, then 1 - dampening. */
export function sgdScheduleOf(step: number, values: UpdateRate & { dampening: number }): Float32Array {
  const { learningRate, emaDecay, dampening } = values;
  return scheduled(learningRate, step === 1 ? 1 : 1 - dampening, emaDecay, 0);
}

/** The schedule of Lion and of Muon. */
export function decayScheduleOf({
  learningRate,
  emaDecay,
  weightDecay,
}: UpdateRate & { weightDecay: number }): Float32Array {
  return scheduled(learningRate, 0, emaDecay, learningRate * weightDecay);
}

export interface AdamTensors extends UpdateTensors {
  firstMoment: Tensor;
  secondMoment: Tensor;
}

export interface AdamWUpdate {
  beta1: number;
  beta2: number;
  epsilon: number;
  zeroGradients: boolean;
}

export interface AdamUpdate extends AdamWUpdate {
  /** L2 penalty: weightDecay * parameter is added to the gradient. */
  weightDecay: number;
}

/** Adam (Kingma, Ba 2015, with bias correction). */
export function adamStep(state: AdamTensors, values: AdamUpdate): void {
  const { beta1, beta2, epsilon, weightDecay, zeroGradients } = values;
  const constants = [...momentOf(beta1), ...momentOf(beta2), epsilon, weightDecay, zeroGradients ? 1 : 0];
  update('optimizer_adam', state, [state.firstMoment, state.secondMoment], constants);
}

/** Adam with decoupled weight decay (Loshchilov, Hutter 2019), which the schedule holds. */
export function adamwStep(state: AdamTensors, values: AdamWUpdate): void {
  const { beta1, beta2, epsilon, zeroGradients } = values;
  const constants = [...momentOf(beta1), ...momentOf(beta2), epsilon, zeroGradients ? 1 : 0];
  update('optimizer_adamw', state, [state.firstMoment, state.secondMoment], constants);
}

export interface SgdUpdate {
  momentum: number;
  /** L2 penalty: weightDecay * parameter is added to the gradient. */
  weightDecay: number;
  nesterov: boolean;
  zeroGradients: boolean;
}

/** Stochastic gradient descent; without a moment, plain. */
export function sgdStep(state: UpdateTensors & { moment: Tensor | null }, values: SgdUpdate): void {
  const { momentum, weightDecay, nesterov, zeroGradients } = values;
  const [kept, rest] = momentOf(momentum);
  const constants = [kept, rest, weightDecay, nesterov ? 1 : 0, zeroGradients ? 1 : 0];
  update('optimizer_sgd', state, [state.moment], constants);
}

/** Lion (Chen et al. 2023); the schedule holds its weight decay. */
export function lionStep(
  state: UpdateTensors & { moment: Tensor },
  { beta1, beta2, zeroGradients }: Pick<AdamWUpdate, 'beta1' | 'beta2' | 'zeroGradients'>,
): void {
  const constants = [...momentOf(beta1), ...momentOf(beta2), zeroGradients ? 1 : 0];
  update('optimizer_lion', state, [state.moment], constants);
}

/**
 * Writes the direction that Muon makes orthogonal: the next moment, or with Nesterov's momentum its mean with the
 * gradient. It changes neither moment nor gradient. It is 0 if the norm is not finite.
 */
export function muonDirection(
  tensors: Pick<UpdateTensors, 'gradients' | 'norm'> & { moment: Tensor; direction: Tensor },
  { momentum, nesterov }: { momentum: number; nesterov: boolean },
): void {
  const { gradients, moment, direction, norm } = tensors;
  const { device, size } = gradients;
  const operands = [gradients, moment, direction, norm].map(({ address }) => address);
  const constants = [size, ...momentOf(momentum), nesterov ? 1 : 0];
  if (device.kind === 'cuda')
    device.load(cudaKernels).optimizer_muon_direction(perElement(size), ...operands, ...constants);
  else device.load(optimizerKernels).optimizer_muon_direction(...operands, ...constants);
}

/** Muon's update of matrices by their directions; the schedule holds its weight decay. */
export function muonStep(
  state: UpdateTensors & { moment: Tensor; direction: Tensor },
  { momentum, zeroGradients }: { momentum: number; zeroGradients: boolean },
): void {
  const constants = [...momentOf(momentum), zeroGradients ? 1 : 0];
  update('optimizer_muon', state, [state.moment, state.direction], constants);
}
