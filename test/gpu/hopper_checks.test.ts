// What the comparison of kernels on a card accepts and refuses.
import { expect, it } from 'vitest';
import { differenceOf } from '../../bench/gpu/hopper.ts';
import { checkProducts, productChecks } from '../../bench/gpu/hopper_products.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

it.each<[string, number[], number[], number]>([
  ['equal values', [1, -2, 0], [1, -2, 0], 0],
  ['the largest difference, over the largest value', [1, -2, 4], [1, -4, 4.5], 2 / 4.5],
  ['a NaN at the beginning', [Number.NaN, 1, 1], [1, 1, 1], Number.NaN],
  ['a NaN after a difference', [9, Number.NaN, 1], [1, 1, 1], Number.NaN],
  ['a NaN at the end', [1, 1, Number.NaN], [1, 1, 1], Number.NaN],
])('%s', (_, got, expected, off) => {
  const difference = differenceOf(Float32Array.from(got), Float32Array.from(expected));
  if (Number.isNaN(off)) expect(difference).toBeNaN();
  else expect(difference).toBeCloseTo(off, 6);
});

it.runIf(deviceNames.includes('cuda-emulated'))(
  'matrix products pass at small sizes on the emulated card',
  async () => {
    const [device, portable] = [
      await openTestDevice('cuda-emulated', { precision: 'bf16' }),
      await openTestDevice('cuda-emulated', { precision: 'fp32' }),
    ];
    const kinds = new Set(productChecks().map(({ kind }) => kind));
    for (const kind of kinds) {
      const check = { name: kind, kind, batches: 2, rows: 64, columns: 64, terms: 64 };
      expect(checkProducts(device, portable, check).values?.worst, kind).toBeGreaterThan(0);
    }
  },
  120_000,
);
