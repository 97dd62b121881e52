// The training objective: E || (x_1 - x_0) - v(x_t, t) ||^2, t uniform (paper, equation 1).
import type { Device } from '../device/device.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { add, mul, sub } from '../kernels/elementwise.ts';
import { mse } from '../kernels/loss.ts';
import { reshape } from '../kernels/movement.ts';
import { type DrawOptions, randn, uniform } from '../kernels/random.ts';
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
}

/** [n] times, uniform in [eps, 1); sample i of a seed draws the same in any batch. */
export function uniformTimes(n: number, options: DrawOptions & { device?: Device }): Tensor {
  return add(mul(uniform([n], { stream: streams.times, ...options }), 1 - TIME_EPSILON), TIME_EPSILON);
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
  const { seed, sample } = options;
  const { device } = x1;
  const { x0 = randn(x1.shape, { seed, sample, stream: streams.noise, device }) } = options;
  const { t = uniformTimes(x1.shape[0], { seed, sample, device }) } = options;
  if (!sameShape(x0.shape, x1.shape) || !sameShape(t.shape, [x1.shape[0]]))
    throw new ShapeError(
      'rectified_flow_loss',
      'x1 and x0 of one shape [N, ...] and t [N]',
      [x1, x0, t].map(({ shape }) => formatShape(shape)).join(', '),
    );
  return mse(velocity(interpolate(x0, x1, t), t), sub(x1, x0));
}
