// Pairs as f16: each number is the nearest f16, and what no f16 can hold is clipped and counted.
import { describe, expect, it } from 'vitest';
import { checkPairs, PairSet } from '../../src/data/index.ts';
import { encodeEnds, halfOf } from '../../src/data/pairs/elements.ts';
import { toFloat32 } from '../../src/io/index.ts';
import { endOf, makePairs, planOf } from '../support/pairs.ts';

const numbersOf = (...patterns: number[]) =>
  toFloat32({ shape: [patterns.length], dtype: 'f16', data: Uint16Array.from(patterns) });
/** The finite f16 from 0 on, in order. */
const positive = numbersOf(...Array.from({ length: 0x7c00 }, (_, pattern) => pattern));

describe('the nearest f16', () => {
  it('of an f16 is itself, with its sign', () => {
    positive.forEach((value, pattern) => {
      expect(halfOf(value)).toBe(pattern);
      expect(halfOf(-value)).toBe(pattern | 0x8000);
    });
  });

  it('of a number between two is the nearer, and of their middle the even one', () => {
    for (let pattern = 0; pattern + 1 < positive.length; pattern++) {
      const [low, high] = [positive[pattern], positive[pattern + 1]];
      const middle = (low + high) / 2;
      expect(halfOf(middle)).toBe(pattern % 2 === 0 ? pattern : pattern + 1);
      expect(halfOf(low + 0.49 * (high - low))).toBe(pattern);
      expect(halfOf(low + 0.51 * (high - low))).toBe(pattern + 1);
    }
  });

  it('of a number that is too large is the largest', () => {
    for (const [value, pattern] of [
      [65504, 0x7bff],
      [65519, 0x7bff],
      [65536, 0x7bff],
      [1e30, 0x7bff],
      [-1e30, 0xfbff],
    ] as const)
      expect(halfOf(value)).toBe(pattern);
  });
});

it('a store of f16 has the values of f32 up to half a step, in half the bytes', async () => {
  const root = await makePairs({ dtype: 'f16' });
  const set = await PairSet.open(root);
  const { z1 } = await set.load(Int32Array.from({ length: 50 }, (_, i) => i));
  await set.close();
  const exact = Array.from({ length: 50 }, (_, i) => Array.from(endOf(i, planOf().shape))).flat();
  expect(z1).toEqual(numbersOf(...exact.map(halfOf)));
  // Numbers below 1 have steps of at most 2^-11.
  expect(Math.max(...exact.map((value, i) => Math.abs(value - z1[i])))).toBeLessThanOrEqual(2 ** -12);
  const finding = (await checkPairs(root)).find(({ what }) => what === '16 bits');
  expect(finding).toMatchObject({ state: 'ok', detail: '0.0 % of z1 of 7 are outside [-65504, 65504]' });
});

it('values that are too large are clipped, and make a store unfit', async () => {
  const { shape } = planOf();
  const far = Float32Array.from(endOf(0, shape), (value, i) => (i % 16 === 0 ? 1e6 : value));
  expect(encodeEnds(far, { shape, dtype: 'f16' }, 0).clipped).toBe(3);
  const root = await makePairs({ dtype: 'f16' }, { end: () => far });
  const finding = (await checkPairs(root)).find(({ what }) => what === '16 bits');
  expect(finding?.state).toBe('broken');
});
