// The options that all optimisers share.
import { kind, kinds, type OptionKinds } from '../arguments.ts';
import type { Schedule } from './schedules.ts';

/** Options of every optimiser. */
export interface OptimizerOptions {
  /** Size of a step, or a function of the number of updates made so far that gives it, such as `cosineSchedule`. */
  learningRate: number | Schedule;
  /** Updates over which the rate rises linearly from 0, in addition to a schedule; 0 for none. */
  warmup: number;
  /** Largest global norm of the gradient; negative for no clipping. */
  gradientClip: number;
  /** Largest decay of the moving average; 0 for no average. */
  emaRate: number;
}

export const optimizerDefaults = { warmup: 0, gradientClip: -1, emaRate: 0 };

/** The kind of decay rates: moments, momentum, average. */
export const share = kind('in [0, 1)', (v) => typeof v === 'number' && v >= 0 && v < 1);

/** The kind of a learning rate. */
export const rateKind = kind(
  'a finite number >= 0 or a function of the step',
  (v) => typeof v === 'function' || kinds.notNegative.accepts(v),
);

export const optimizerKinds: OptionKinds<OptimizerOptions> = {
  learningRate: rateKind,
  warmup: kinds.notNegative,
  gradientClip: kinds.finite,
  emaRate: share,
};
