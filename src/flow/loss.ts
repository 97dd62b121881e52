// The training objective: E || (x_1 - x_0) - v(x_t, t) ||^2, t uniform (paper, equation 1).
import type { Device } from '../device/device.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { cast } from '../kernels/cast.ts';
import { add, mul, sub } from '../kernels/elementwise.ts';
import { mse } from '../kernels/loss.ts';
import { reshape } from '../kernels/movement.ts';
import { type DrawOptions, randn, uniform } from '../kernels/random.ts';
import { full } from '../tensor/create.ts';
import { sameShape } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Velocity } from './velocity.ts';

/** Smallest time that is trained on (official sde_lib.py, eps). */
export const TIME_EPSILON = 1e-3;

export interface LossOptions extends Pick<DrawOptions, 'seed' | 'sample'> {
  /** Starts of the paths, [N, ...] as x1; default: noise of (seed, sample), independent of the data. */
  x0?: Tensor;
  /** [N] in [0, 1]; default: uniform times of (seed, sample). */
  t?: Tensor;
  /** Standard deviation of that noise; default 1. */
  noiseScale?: number;
  /** The loss of a sample is the mean over its dimensions (default); false: half their sum. */
  reduceMean?: boolean;
}

/** Which times are trained on: see scheduledTimes. */
export type TimeSchedule = 'uniform' | 't0' | 't1' | number;

/** [n] times, uniform in [eps, 1); sample i of a seed draws the same in any batch. */
export function uniformTimes(n: number, options: DrawOptions & { device?: Device }): Tensor {
  return add(mul(uniform([n], { stream: streams.times, ...options }), 1 - TIME_EPSILON), TIME_EPSILON);
}

/**
 * [n] times of a training stage (official losses.py): 'uniform' in [eps, 1) for reflow; 't0' all eps, distillation to one
 * step; a number k: i (1 - eps) / k + eps with i uniform in 0..k-1, the times at which Euler with k steps asks; 't1' all 1,
 * one step from data to noise.
 * @throws ValueError for another schedule
 */
export function scheduledTimes(schedule: TimeSchedule, n: number, options: DrawOptions & { device?: Device }): Tensor {
  const { device } = options;
  if (schedule === 'uniform') return uniformTimes(n, options);
  if (schedule === 't0') return full([n], TIME_EPSILON, { device });
  if (schedule === 't1') return full([n], 1, { device });
  if (!Number.isInteger(schedule) || schedule < 1)
    throw new ValueError(`a time schedule is uniform, t0, t1 or a whole number >= 1, got ${schedule}`);
  const index = cast(cast(mul(uniform([n], { stream: streams.times, ...options }), schedule), 'i32'), 'f32');
  return add(mul(index, (1 - TIME_EPSILON) / schedule), TIME_EPSILON);
}

/** x_t = t x_1 + (1 - t) x_0, t [N] over x [N, ...]. */
export function interpolate(x0: Tensor, x1: Tensor, t: Tensor): Tensor {
  const times = reshape(t, [t.size, ...x1.shape.slice(1).map(() => 1)]);
  return add(mul(times, x1), mul(sub(1, times), x0));
}

/**
 * Mean squared error of the velocity on straight lines from x0 to x1.
 * @param x1 data [N, ...]
 */
export function rectifiedFlowLoss(velocity: Velocity, x1: Tensor, options: LossOptions): Tensor {
  const { seed, sample, noiseScale = 1, reduceMean = true } = options;
  const { device } = x1;
  const { x0 = noise(x1.shape, noiseScale, { seed, sample, stream: streams.noise, device }) } = options;
  const { t = uniformTimes(x1.shape[0], { seed, sample, device }) } = options;
  if (!sameShape(x0.shape, x1.shape) || !sameShape(t.shape, [x1.shape[0]]))
    throw new ShapeError(
      'rectified_flow_loss',
      'x1 and x0 of one shape [N, ...] and t [N]',
      [x1, x0, t].map(({ shape }) => formatShape(shape)).join(', '),
    );
  const error = mse(velocity(interpolate(x0, x1, t), t), sub(x1, x0));
  return reduceMean ? error : mul(error, x1.size / x1.shape[0] / 2);
}

function noise(shape: readonly number[], scale: number, options: DrawOptions & { device?: Device }): Tensor {
  const drawn = randn(shape, options);
  return scale === 1 ? drawn : mul(drawn, scale);
}
