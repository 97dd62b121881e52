// Subnormal numbers, on which some processors are a hundred times slower: Adam's update on the CPU flushes them to 0 for any number
// of threads; other kernels keep them, and so does JavaScript's arithmetic.
import { expect, test } from 'vitest';
import { openDevice } from '../../src/device/open.ts';
import '../../src/fluent.ts';
import { adamStep, scheduleOf } from '../../src/kernels/inner/optimizer.ts';
import { full, tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';

/** Sizes: fewer elements than one task processes, and more than several tasks do. */
const sizes = [5, 100_000];

test.each([1, 2, 3].flatMap((threads) => sizes.map((size) => ({ threads, size }))))(
  'an update flushes subnormals to 0: $size parameters, $threads threads',
  async ({ threads, size }) => {
    const device = await openDevice('cpu', { threads });
    scope(() => {
      const filled = (value: number) => full([size], value, { device });
      const [parameters, gradients, firstMoment, secondMoment] = [filled(1), filled(1e-20), filled(0), filled(0)];
      const values = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, emaDecay: 0 };
      const [norm, schedule] = [tensor([1, 1], { device }), tensor(Array.from(scheduleOf(1, values)), { device })];
      adamStep(
        { parameters, gradients, firstMoment, secondMoment, ema: null, copy: null, norm, schedule },
        { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, zeroGradients: true },
      );
      // (1 - beta2) g^2 is 1e-43.
      expect(secondMoment.dataSync().every((value) => value === 0)).toBe(true);
      expect(firstMoment.dataSync()[size - 1]).toBeCloseTo(1e-21, 27);
      const small = filled(1e-20);
      expect(small.mul(small).dataSync()[size - 1]).toBe(Math.fround(Math.fround(1e-20) ** 2));
    });
    expect(Number.MIN_VALUE * 3 - Number.MIN_VALUE).toBe(2 * Number.MIN_VALUE);
  },
);
