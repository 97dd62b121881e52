// AdamW: Adam with decoupled weight decay (Loshchilov, Hutter 2019), as torch.optim.AdamW:
//   p -= lr weightDecay p; p -= lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
import { adamwStep, scheduleOf } from '../kernels/inner/optimizer.ts';
import { type AdamOptions, adamDefaults, adamKinds } from './adam.ts';
import type { Module } from './module.ts';
import { Optimizer, type OptimizerDefinition, type UpdateRule } from './optimizer.ts';
import type { ParameterGroup } from './parameter_groups.ts';

export interface AdamWOptions extends Omit<AdamOptions, 'weightDecay'> {
  /** Share of a parameter, times the rate, that each update subtracts. */
  weightDecay: number;
}

type Numbers = Pick<AdamWOptions, 'learningRate' | 'beta1' | 'beta2' | 'epsilon' | 'weightDecay'>;

/** The rule of AdamW, with the options that `numbersOf` gives. */
export function adamwRule<Options>(numbersOf: (options: Options) => Numbers): UpdateRule<Options> {
  return {
    moments: ['exp_avg', 'exp_avg_sq'],
    rate: (options) => numbersOf(options).learningRate,
    schedule(step, rate, options) {
      const { beta1, beta2, weightDecay } = numbersOf(options);
      return scheduleOf(step, { ...rate, beta1, beta2, weightDecay });
    },
    update({ moments: [firstMoment, secondMoment], zeroGradients, ...tensors }, options) {
      const { beta1, beta2, epsilon } = numbersOf(options);
      adamwStep({ ...tensors, firstMoment, secondMoment }, { beta1, beta2, epsilon, zeroGradients });
    },
  };
}

const definition: OptimizerDefinition<AdamWOptions> = {
  name: 'AdamW',
  defaults: { ...adamDefaults, weightDecay: 0.01 },
  kinds: adamKinds,
  rules: [adamwRule((options) => options)],
};

/**
 * AdamW for a module's parameters, which it moves into an arena of its own; `dispose` frees the arena.
 * Source: Loshchilov, Hutter, Decoupled Weight Decay Regularization (2019), with the options of torch.optim.AdamW.
 * @example
 * const network = new MLP([1, 16, 1]);
 * const groups = [{ parameters: (name) => name.endsWith('bias'), weightDecay: 0 }];
 * const optimizer = new AdamW(network, { learningRate: 0.02, weightDecay: 0.01, groups });
 * const x = tensor([[-1], [0], [1]]);
 * for (let step = 0; step < 100; step++) optimizer.minimize(() => mse(network.forward(x), square(x)));
 * mse(network.forward(x), square(x)).item() < 0.01; // true
 * optimizer.dispose();
 */
export class AdamW extends Optimizer<AdamWOptions> {
  /** Moves the module's parameters into an arena. @throws ValueError naming the option that is out of range */
  constructor(
    module: Module,
    options: Partial<AdamWOptions> & { groups?: readonly ParameterGroup<AdamWOptions>[] } = {},
  ) {
    super(definition, module, options);
  }
}
