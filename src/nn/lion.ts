// Lion (Chen et al. 2023, Symbolic Discovery of Optimization Algorithms), with decoupled weight decay:
//   p -= lr (sign(beta1 m + (1 - beta1) g) + weightDecay p); m = beta2 m + (1 - beta2) g
// The paper recommends a rate 3 to 10 times smaller than AdamW's, and a weight decay larger by the same factor.
import { kinds, type OptionKinds } from '../arguments.ts';
import { decayScheduleOf, lionStep } from '../kernels/inner/optimizer.ts';
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

export interface LionOptions extends OptimizerOptions {
  /** Share of the moment in the direction of a step. */
  beta1: number;
  /** Share of the moment that an update keeps. */
  beta2: number;
  /** Share of a parameter, times the rate, that each update subtracts. */
  weightDecay: number;
}

const lionKinds: OptionKinds<LionOptions> = {
  ...optimizerKinds,
  beta1: share,
  beta2: share,
  weightDecay: kinds.notNegative,
};

const definition: OptimizerDefinition<LionOptions> = {
  name: 'Lion',
  defaults: { ...optimizerDefaults, learningRate: 1e-4, beta1: 0.9, beta2: 0.99, weightDecay: 0 },
  kinds: lionKinds,
  rules: [
    {
      moments: ['exp_avg'],
      rate: ({ learningRate }) => learningRate,
      schedule: (_, rate, { weightDecay }) => decayScheduleOf({ ...rate, weightDecay }),
      update({ moments: [moment], zeroGradients, ...tensors }, { beta1, beta2 }) {
        lionStep({ ...tensors, moment }, { beta1, beta2, zeroGradients });
      },
    },
  ],
};

/**
 * Lion for a module's parameters, which it moves into an arena of its own; `dispose` frees the arena.
 * Source: Chen et al., Symbolic Discovery of Optimization Algorithms (2023).
 * @example
 * const network = new MLP([1, 16, 1]);
 * const optimizer = new Lion(network, { learningRate: cosineSchedule(0.05, { steps: 100 }) });
 * const x = tensor([[-1], [0], [1]]);
 * for (let step = 0; step < 100; step++) optimizer.minimize(() => mse(network.forward(x), square(x)));
 * mse(network.forward(x), square(x)).item() < 0.01; // true
 * optimizer.dispose();
 */
export class Lion extends Optimizer<LionOptions> {
  /** Moves the module's parameters into an arena. @throws ValueError naming the option that is out of range */
  constructor(
    module: Module,
    options: Partial<LionOptions> & { groups?: readonly ParameterGroup<LionOptions>[] } = {},
  ) {
    super(definition, module, options);
  }
}
