// How many samples fit a memory budget: measured on the model itself, not guessed.
import { noGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import type { Velocity } from '../flow/index.ts';
import { ones, zeros } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';

/**
 * The largest micro-batch whose forward pass stays within `budget` bytes beyond what is in use now; at least 1.
 * Two forward passes, of one and two samples, give the bytes per sample.
 */
export function microBatchFor(
  velocity: Velocity,
  imageShape: readonly number[],
  options: { batch: number; budget: number; device: Device },
): number {
  const { batch, budget, device } = options;
  const peakOf = (count: number): number => {
    const before = device.memory().live;
    device.resetHighWater();
    scope(() =>
      noGrad(() => {
        velocity(zeros([count, ...imageShape], { device }), ones([count], { device }));
      }),
    );
    return device.memory().highWater - before;
  };
  if (batch <= 1) return 1;
  const one = peakOf(1);
  const perSample = Math.max(1, peakOf(2) - one);
  const fitting = Math.floor((budget - (one - perSample)) / perSample);
  return Math.max(1, Math.min(batch, fitting));
}
