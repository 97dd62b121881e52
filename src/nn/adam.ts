// Adam with warm-up, weight decay and clipping of the global norm, and the exponential moving average of the weights,
// in one pass over the parameter arena. Kingma, Ba 2015; order and schedules of the official code (losses.py, ema.py):
//   lr_s = lr min(s / warmup, 1), s from 0; clip; Adam; then the average, see optimizer.ts
import { kinds, type OptionKinds } from '../arguments.ts';
import { adamStep, scheduleOf } from '../kernels/inner/optimizer.ts';
import type { Module } from './module.ts';
import {
  Optimizer,
  type OptimizerDefinition,
  type OptimizerOptions,
  optimizerDefaults,
  optimizerKinds,
  share,
} from './optimizer.ts';
import type { ParameterGroup } from './parameter_groups.ts';

export interface AdamOptions extends OptimizerOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** L2 penalty added to the gradient, as torch.optim.Adam has it. */
  weightDecay: number;
}

export const adamDefaults: AdamOptions = {
  ...optimizerDefaults,
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
};

export const adamKinds: OptionKinds<AdamOptions> = {
  ...optimizerKinds,
  beta1: share,
  beta2: share,
  epsilon: kinds.notNegative,
  weightDecay: kinds.notNegative,
};

const definition: OptimizerDefinition<AdamOptions> = {
  name: 'Adam',
  defaults: adamDefaults,
  kinds: adamKinds,
  rules: [
    {
      moments: ['exp_avg', 'exp_avg_sq'],
      rate: ({ learningRate }) => learningRate,
      schedule: (step, rate, { beta1, beta2 }) => scheduleOf(step, { ...rate, beta1, beta2 }),
      update({ moments: [firstMoment, secondMoment], zeroGradients, ...tensors }, options) {
        const { beta1, beta2, epsilon, weightDecay } = options;
        const constants = { beta1, beta2, epsilon, weightDecay, zeroGradients };
        adamStep({ ...tensors, firstMoment, secondMoment }, constants);
      },
    },
  ],
};

/**
 * Adam for a module's parameters, which it moves into an arena of its own; `dispose` frees the arena.
 * Source: Kingma, Ba, Adam (2015), with the options of torch.optim.Adam.
 * @example
 * const network = new MLP([1, 16, 1]);
 * const optimizer = new Adam(network, { learningRate: 0.02, gradientClip: 1 });
 * const x = tensor([[-1], [0], [1]]);
 * for (let step = 0; step < 100; step++) optimizer.minimize(() => mse(network.forward(x), square(x)));
 * mse(network.forward(x), square(x)).item() < 0.01; // true
 * optimizer.dispose();
 */
export class Adam extends Optimizer<AdamOptions> {
  /** Moves the module's parameters into an arena. @throws ValueError naming the option that is out of range */
  constructor(
    module: Module,
    options: Partial<AdamOptions> & { groups?: readonly ParameterGroup<AdamOptions>[] } = {},
  ) {
    super(definition, module, options);
  }
}
