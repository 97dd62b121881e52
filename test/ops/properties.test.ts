// Properties of the ops over random shapes (odd sizes, broadcasting, extents of 1 and 0), driven by fast-check.
// First, values and gradients of every case with random sizes are compared with the reference; then identities between ops
// are checked, most of them bit by bit. RECTIFLOW_TEST_FULL=1 runs many more.
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { concat, permute, reshape, slice, split, transpose } from '../../src/kernels/movement.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { softmax } from '../../src/kernels/softmax.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { describeCase, type Pick } from '../cases/case.ts';
import { cases } from '../cases.ts';
import { checkCase, makeTensor } from '../support/check.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, full, openTestDevice } from '../support/devices.ts';
import { fill, normal, random } from '../support/random.ts';
import type { Shape } from '../support/reference/index.ts';

const runs = full ? 200 : 6;

/** Whole numbers from which a size is drawn; each shrinks towards the low end of its range. */
const choices = fc.array(fc.nat(9999), { minLength: 24, maxLength: 24 });

function pickFrom(numbers: readonly number[]): Pick {
  let next = 0;
  return (low, high) => low + (numbers[next++ % numbers.length] % (high - low + 1));
}

describe.each(deviceNames)('%s', (name) => {
  let device: Device;

  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test.each(
    cases.flatMap((definition) => {
      const { random: randomSize } = definition;
      return randomSize ? [{ title: describeCase(definition), definition, randomSize }] : [];
    }),
  )(
    '$title matches the reference at random sizes',
    async ({ definition, randomSize }) => {
      const property = fc.asyncProperty(choices, fc.nat(1000), async (numbers, seed) => {
        await checkCase(definition, randomSize.call(definition, pickFrom(numbers)), device, seed);
      });
      await fc.assert(property, { numRuns: runs, seed: 20_220_907, interruptAfterTimeLimit: 100_000 });
    },
    120_000,
  );

  /** An identity between tensors of random shape: `got` and `want` must be bit-identical, or within `tolerance` if given. */
  function identity(
    title: string,
    shape: (pick: Pick) => Shape,
    both: (x: Tensor, pick: Pick) => [got: Tensor, want: Tensor],
    tolerance = {},
  ): void {
    test(title, async () => {
      const property = fc.asyncProperty(choices, async (numbers) => {
        const pick = pickFrom(numbers);
        const input = normal(shape(pick));
        const pair = scope(() => both(makeTensor(fill(input, random(title)), 'f32', device, false), pick));
        const [got, want] = await Promise.all(pair.map((t) => t.data()));
        expect(pair[0].shape).toEqual(pair[1].shape);
        expectClose(title, got as ArrayLike<number>, want as ArrayLike<number>, tolerance);
        for (const t of pair) t.dispose();
      });
      await fc.assert(property, { numRuns: 4 * runs, seed: 20_220_907 });
    }, 120_000);
  }

  const extents = (rank: number, low: number, high: number) => (pick: Pick) =>
    Array.from({ length: rank }, () => pick(low, high));

  identity('concat undoes split', extents(3, 1, 6), (x, pick) => {
    const axis = pick(0, 2);
    const cut = pick(0, x.shape[axis]);
    return [concat(split(x, [cut, x.shape[axis] - cut], axis), axis), x];
  });

  identity('split is slices', extents(2, 1, 7), (x, pick) => {
    const cut = pick(1, x.shape[1]);
    return [split(x, [cut, x.shape[1] - cut], 1)[0], slice(x, [0, 0], [x.shape[0], cut])];
  });

  identity('permuting back restores', extents(4, 0, 5), (x) => [permute(permute(x, [2, 0, 3, 1]), [1, 3, 0, 2]), x]);

  identity('transposing twice restores', extents(3, 0, 9), (x) => [transpose(transpose(x)), x]);

  identity('reshape keeps the order', extents(3, 0, 5), (x) => [reshape(reshape(x, [x.size]), x.shape), x]);

  identity('addition commutes', extents(2, 0, 9), (x) => {
    const row = sum(x, { axes: 0 });
    return [add(x, row), add(row, x)];
  });

  identity(
    'softmax sums to one',
    extents(3, 1, 20),
    (x) => {
      const total = sum(softmax(x), { axes: -1 });
      return [total, add(mul(total, 0), 1)];
    },
    { absolute: 1e-6 },
  );

  identity(
    'a sum by axes is a sum of sums',
    extents(3, 0, 12),
    (x) => [sum(x, { axes: [0, 2] }), sum(sum(x, { axes: 2 }), { axes: 0 })],
    { absolute: 3e-5 },
  );

  identity(
    'matmul flags equal transposed operands',
    extents(2, 1, 40),
    (x) => [matmul(x, x, { transposeA: true }), matmul(transpose(x), x)],
    { absolute: 2e-5 },
  );

  identity(
    'matmul with ones sums',
    extents(2, 1, 40),
    (x) => {
      const ones = add(mul(x, 0), 1);
      return [matmul(x, ones, { transposeB: true }), matmul(ones, x, { transposeB: true })].map((y, i) =>
        i === 0 ? y : transpose(y),
      ) as [Tensor, Tensor];
    },
    { absolute: 2e-5 },
  );
});
