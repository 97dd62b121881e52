// Stochastic gradient descent with momentum, dampening, Nesterov's momentum and an L2 penalty, as torch.optim.SGD:
//   g += weightDecay p; m = momentum m + (1 - dampening) g, in the first update m = g
//   p -= lr m, or with Nesterov's momentum p -= lr (g + momentum m)
import { kinds, type OptionKinds } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { sgdScheduleOf, sgdStep } from '../kernels/inner/optimizer.ts';
import type { Module } from './module.ts';
import {
  Optimizer,
  type OptimizerDefinition,
  type OptimizerOptions,
  optimizerDefaults,
  optimizerKinds,
  share,
  type UpdateRule,
} from './optimizer.ts';
import type { ParameterGroup } from './parameter_groups.ts';

export interface SGDOptions extends OptimizerOptions {
  /** Share of the moment that an update keeps; 0 for plain gradient descent, which keeps no moments. */
  momentum: number;
  /** 1 - the share of the gradient in the moment. */
  dampening: number;
  /** Whether to step by gradient and moment together. It needs momentum > 0 and dampening 0. */
  nesterov: boolean;
  /** L2 penalty added to the gradient. */
  weightDecay: number;
}

const sgdKinds: OptionKinds<SGDOptions> = {
  ...optimizerKinds,
  momentum: share,
  dampening: share,
  nesterov: kinds.boolean,
  weightDecay: kinds.notNegative,
};

const withMoments: UpdateRule<SGDOptions> = {
  moments: ['momentum_buffer'],
  rate: ({ learningRate }) => learningRate,
  schedule: (step, rate, { dampening }) => sgdScheduleOf(step, { ...rate, dampening }),
  update({ moments: [moment = null], zeroGradients, ...tensors }, { momentum, weightDecay, nesterov }) {
    sgdStep({ ...tensors, moment }, { momentum, weightDecay, nesterov, zeroGradients });
  },
};

const definition: OptimizerDefinition<SGDOptions> = {
  name: 'SGD',
  defaults: {
    ...optimizerDefaults,
    learningRate: 1e-3,
    momentum: 0,
    dampening: 0,
    nesterov: false,
    weightDecay: 0,
  },
  kinds: sgdKinds,
  rules: [withMoments, { ...withMoments, moments: [] }],
  ruleOf: (_, { momentum }) => (momentum > 0 ? 0 : 1),
  check({ nesterov, momentum, dampening }) {
    if (nesterov && !(momentum > 0 && dampening === 0))
      throw new ValueError(
        `[SGD] expected momentum > 0 and dampening 0 with nesterov, got momentum ${momentum} and dampening ${dampening}`,
      );
  },
};

/**
 * SGD for a module's parameters, which it moves into an arena of its own; `dispose` frees the arena.
 * It has the options of torch.optim.SGD: momentum, dampening, Nesterov's momentum, L2 penalty.
 * @example
 * const network = new MLP([1, 16, 1]);
 * const optimizer = new SGD(network, { learningRate: 0.1, momentum: 0.9 });
 * const x = tensor([[-1], [0], [1]]);
 * for (let step = 0; step < 100; step++) optimizer.minimize(() => mse(network.forward(x), square(x)));
 * mse(network.forward(x), square(x)).item() < 0.01; // true
 * optimizer.dispose();
 */
export class SGD extends Optimizer<SGDOptions> {
  /** Moves the module's parameters into an arena. @throws ValueError naming the option that is out of range */
  constructor(module: Module, options: Partial<SGDOptions> & { groups?: readonly ParameterGroup<SGDOptions>[] } = {}) {
    super(definition, module, options);
  }
}
