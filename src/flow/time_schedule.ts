// The times of reflow's training stages (official losses.py): by a law, one time for all, or the grid of a few Euler
// steps.
import { checkArgument, describeValue, isWhole, kinds, refuseInert } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { cast } from '../kernels/cast.ts';
import { add, div, mul } from '../kernels/elementwise.ts';
import { zeros } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type Draw, drawKind } from './draw.ts';
import { overInterval, TIME_EPSILON, type TimeLaw } from './times.ts';

/** Which times a stage is trained on: see scheduledTimes. */
export type TimeSchedule = 'uniform' | 't0' | 't1' | number;

/**
 * [n] times of a training stage: 'uniform' by the law, for reflow; 't0' all eps, distillation to one step; a number k:
 * i (1 - eps) / k + eps with i uniform in 0..k-1, the times at which Euler with k steps asks; 't1' all 1, one step from
 * data to noise.
 * @param law of the schedule 'uniform' alone; default the uniform law
 * @throws ValueError for another schedule
 * @example
 * const draw = new Draw({ seed: 1 });
 * scheduledTimes('t0', 3, draw); // [0.001, 0.001, 0.001]
 * scheduledTimes('uniform', 3, draw, { law: 'logit_normal' }).shape; // [3]
 */
export function scheduledTimes(schedule: TimeSchedule, n: number, draw: Draw, law?: TimeLaw): Tensor {
  checkArgument('scheduledTimes', 'n', n, kinds.whole);
  checkArgument('scheduledTimes', 'draw', draw, drawKind);
  if (schedule === 'uniform') return draw.times(n, law);
  refuseInert('scheduledTimes', { law }, ['law'], 'with a schedule other than "uniform"');
  if (schedule === 't0') return constantTimes(n, TIME_EPSILON, draw);
  if (schedule === 't1') return constantTimes(n, 1, draw);
  if (!isWhole(schedule, 1))
    throw new ValueError(`a time schedule is uniform, t0, t1 or a whole number >= 1, got ${describeValue(schedule)}`);
  return scope(() => {
    const index = cast(cast(mul(draw.uniform([n], streams.times), schedule), 'i32'), 'f32');
    return overInterval(div(index, schedule));
  });
}

/** The same time [n] for all samples, computed on the device, because a recorded step cannot upload values. */
function constantTimes(n: number, t: number, { device }: Draw): Tensor {
  return scope(() => add(zeros([n], { device }), t));
}
