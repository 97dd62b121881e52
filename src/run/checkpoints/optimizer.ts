// The optimiser that a configuration describes, and the moments that it keeps of each parameter.
import { Adam } from '../../nn/adam.ts';
import { AdamW } from '../../nn/adamw.ts';
import { Lion } from '../../nn/lion.ts';
import type { Module } from '../../nn/module.ts';
import { Muon } from '../../nn/muon.ts';
import type { MomentName, Optimizer, OptimizerOptions } from '../../nn/optimizer.ts';
import { cosineSchedule, linearSchedule, type Schedule, stepSchedule } from '../../nn/schedules.ts';
import { SGD } from '../../nn/sgd.ts';
import type { Config } from '../config/types.ts';

/** A new optimiser, which moves the module's parameters into its arena. */
export function optimizerOf(module: Module, config: Config): Optimizer {
  const { optim, model } = config;
  const { lr, beta1, beta2, eps: epsilon, weight_decay: weightDecay, momentum, nesterov } = optim;
  const shared: OptimizerOptions = {
    learningRate: rateOf(optim, lr),
    // The other schedules include their warm-up.
    warmup: optim.schedule === 'constant' ? optim.warmup : 0,
    gradientClip: optim.grad_clip,
    emaRate: model.ema_rate,
  };
  switch (optim.optimizer) {
    case 'Adam':
      return new Adam(module, { ...shared, beta1, beta2, epsilon, weightDecay });
    case 'AdamW':
      return new AdamW(module, { ...shared, beta1, beta2, epsilon, weightDecay });
    case 'SGD':
      return new SGD(module, { ...shared, momentum, nesterov: nesterov && momentum > 0, weightDecay });
    case 'Lion':
      return new Lion(module, { ...shared, beta1, beta2, weightDecay });
    case 'Muon': {
      const [learningRate, adamLearningRate] = [rateOf(optim, optim.muon_lr), shared.learningRate];
      const adam = { adamLearningRate, beta1, beta2, epsilon };
      return new Muon(module, { ...shared, ...adam, learningRate, momentum, nesterov, weightDecay });
    }
  }
}

/** The learning rate, a number where it is constant. */
function rateOf({ schedule, schedule_steps: steps, schedule_factor: factor, warmup }: Config['optim'], rate: number) {
  const schedules: Record<typeof schedule, () => number | Schedule> = {
    constant: () => rate,
    linear: () => linearSchedule(rate, { steps, warmup, end: factor * rate }),
    cosine: () => cosineSchedule(rate, { steps, warmup, end: factor * rate }),
    step: () => stepSchedule(rate, { every: steps, warmup, factor }),
  };
  return schedules[schedule]();
}

/** The moments that the optimiser keeps, which a state to resume from must hold. */
export function momentsOf({ optim }: Config): readonly MomentName[] {
  const names: Record<typeof optim.optimizer, readonly MomentName[]> = {
    Adam: ['exp_avg', 'exp_avg_sq'],
    AdamW: ['exp_avg', 'exp_avg_sq'],
    SGD: optim.momentum > 0 ? ['momentum_buffer'] : [],
    Lion: ['exp_avg'],
    Muon: ['momentum_buffer', 'exp_avg', 'exp_avg_sq'],
  };
  return names[optim.optimizer];
}

/** How many numbers the moments hold per parameter. Muon keeps two for vectors, which are few. */
export function momentsPerParameter(config: Config): number {
  return config.optim.optimizer === 'Muon' ? 1 : momentsOf(config).length;
}
