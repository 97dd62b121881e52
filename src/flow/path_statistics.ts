// Statistics of a flow's paths from one pass of a few Euler steps: where they end, their straightness (straightness.ts)
// and the transport cost of the flow's coupling, the mean of (Z_1 - Z_0)^2 (paper, theorem 3.5 with c = |.|^2).
//
// Z_1 - Z_0 is the mean of the velocities v_k of the steps, so the mean over k of |v_k - (Z_1 - Z_0)|^2 is that of
// |v_k|^2 minus |Z_1 - Z_0|^2. This needs no second pass and keeps no velocity.
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { noGrad } from '../autograd/mode.ts';
import { square } from '../kernels/elementwise.ts';
import { mse } from '../kernels/loss.ts';
import { checkOperands } from '../kernels/op.ts';
import { mean } from '../kernels/reduce.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { solve } from './sample.ts';
import { type Velocity, withObserver } from './velocity.ts';

export interface PathStatistics {
  /** Mean over steps, samples and dimensions; 0 for one step. */
  straightness: number;
  /** Mean over samples and dimensions. */
  transportCost: number;
  /** Where the paths end, with the shape of `start`. */
  end: Tensor;
}

interface StatisticsOptions {
  /** Euler steps. */
  steps: number;
  /** Smallest time that the velocity is asked for, as in `sample`. */
  epsilon?: number;
  /** From data to noise. */
  reverse?: boolean;
}

const statisticsOptions: OptionKinds<StatisticsOptions> = {
  steps: kinds.number,
  epsilon: kinds.number,
  reverse: kinds.boolean,
};

/**
 * Measures the ends, the straightness and the transport cost of the paths from `start` in one pass of a few Euler steps, inside
 * noGrad(): `end` has no gradient.
 * @param start [N, ...]: noise, or data with `reverse`
 * @throws ValueError for steps below 1
 * @example
 * // dx/dt = x takes straight lines only in one step.
 * const { straightness, transportCost, end } = pathStatistics((x) => x, ones([1, 1]), { steps: 2 });
 * end; // [[2.25]]
 * transportCost; // 1.563
 * straightness; // 0.0625
 */
export function pathStatistics(velocity: Velocity, start: Tensor, options: StatisticsOptions): PathStatistics {
  checkArgument('pathStatistics', 'velocity', velocity, kinds.callback);
  checkOperands('pathStatistics', [start]);
  const { steps, epsilon, reverse } = checkOptions('pathStatistics', options, statisticsOptions, ['steps']);
  let squares = 0;
  const measured = withObserver(velocity, (_x, _t, v) => {
    squares += scope(() => mean(square(v)).item());
  });
  const { x: end } = noGrad(() => solve(measured, start, { steps, epsilon, reverse, solver: 'euler' }));
  const transportCost = scope(() => noGrad(() => mse(end, start).item()));
  // Rounding may make the difference slightly negative.
  return { straightness: Math.max(0, squares / steps - transportCost), transportCost, end };
}
