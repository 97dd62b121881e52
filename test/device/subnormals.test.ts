// Subnormal numbers, which take some processors a hundred times as long as others: kernels of the CPU take and give them as 0,
// whatever the number of threads, and JavaScript's own arithmetic is as it was.
import { expect, test } from 'vitest';
import { openDevice } from '../../src/device/open.ts';
import '../../src/fluent.ts';
import { full } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';

/** Fewer elements than a task has, and more than several have. */
const sizes = [5, 300_000];

test.each([1, 2, 3].flatMap((threads) => sizes.map((size) => ({ threads, size }))))(
  'products of $size numbers that are too small, $threads threads',
  async ({ threads, size }) => {
    const device = await openDevice('cpu', { threads });
    scope(() => {
      const small = full([size], 1e-20, { device });
      const made = small.mul(small).dataSync();
      expect(made.every((value) => value === 0)).toBe(true);
      const kept = full([size], 1e-40, { device })
        .mul(full([size], 2, { device }))
        .dataSync();
      expect(kept.every((value) => value === 0)).toBe(true);
    });
    expect(Number.MIN_VALUE * 3 - Number.MIN_VALUE).toBe(2 * Number.MIN_VALUE);
  },
);
