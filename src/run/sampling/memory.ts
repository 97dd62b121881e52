// The number of samples that fit a memory budget, measured on the model.
import { gradients } from '../../autograd/gradients.ts';
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import type { Velocity } from '../../flow/index.ts';
import { ones, zeros } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';

/**
 * The largest micro-batch, at least 1, whose forward pass needs at most `budget` bytes beyond those in use now. With
 * `gradient`, the pass includes the gradient with respect to x. Passes over one and two samples give the bytes per
 * sample.
 */
export function microBatchFor(
  velocity: Velocity,
  imageShape: readonly number[],
  options: { batch: number; budget: number; device: Device; gradient?: boolean },
): number {
  const { batch, budget, device, gradient = false } = options;
  const peakOf = (count: number): number => {
    const before = device.memory().live;
    device.resetHighWater();
    scope(() => {
      const [x, t] = [zeros([count, ...imageShape], { device }), ones([count], { device })];
      if (gradient) gradients(velocity(x.requireGrad(), t), [x], { cotangent: x });
      else noGrad(() => velocity(x, t));
    });
    return device.memory().highWater - before;
  };
  if (batch <= 1) return 1;
  const one = peakOf(1);
  const perSample = Math.max(1, peakOf(2) - one);
  const fitting = Math.floor((budget - (one - perSample)) / perSample);
  return Math.max(1, Math.min(batch, fitting));
}
