// The training objective: E || (x_1 - x_0) - v(x_t, t) ||^2, t uniform (paper, equation 1).
import type { Device } from '../device/device.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { add, mul, sub } from '../kernels/elementwise.ts';
import { mse } from '../kernels/loss.ts';
import { reshape } from '../kernels/movement.ts';
import { uniform } from '../kernels/random.ts';
import { sameShape } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Velocity } from './velocity.ts';

/** Smallest time that is trained on (official sde_lib.py, eps). */
export const TIME_EPSILON = 1e-3;

/** [n] times, uniform in [eps, 1); sample b of step s draws the same whatever the batch before it was. */
export function uniformTimes(n: number, options: { seed: number; step: number; device: Device }): Tensor {
  const { seed, step, device } = options;
  const u = uniform([n], { seed, sample: step * n, stream: streams.times, device });
  return add(mul(u, 1 - TIME_EPSILON), TIME_EPSILON);
}

/** x_t = t x_1 + (1 - t) x_0, t [N] over x [N, ...]. */
export function interpolate(x0: Tensor, x1: Tensor, t: Tensor): Tensor {
  const times = reshape(t, [t.size, ...x1.shape.slice(1).map(() => 1)]);
  return add(mul(times, x1), mul(sub(1, times), x0));
}

/**
 * Mean squared error of the velocity on the straight line from x0 to x1.
 * @param x1 data [N, ...]
 * @param x0 noise, of the same shape
 * @param t [N] in [0, 1]
 */
export function rectifiedFlowLoss(velocity: Velocity, x1: Tensor, x0: Tensor, t: Tensor): Tensor {
  if (!sameShape(x0.shape, x1.shape) || !sameShape(t.shape, [x1.shape[0]]))
    throw new ShapeError(
      'rectified_flow_loss',
      'x1 and x0 of one shape [N, ...] and t [N]',
      [x1, x0, t].map(({ shape }) => formatShape(shape)).join(', '),
    );
  return mse(velocity(interpolate(x0, x1, t), t), sub(x1, x0));
}
