// gradcheck() passes right gradients and finds wrong ones, and the arbitraries give what they say.
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { jvp } from '../../src/autograd/forward.ts';
import type { Device } from '../../src/device/device.ts';
import { attention } from '../../src/kernels/composed/attention.ts';
import { customGradient } from '../../src/kernels/composed/custom_gradient.ts';
import { add, div, exp, maximum, mul, neg, sin, square, tanh } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { softmax } from '../../src/kernels/softmax.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { broadcastShapes } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { arrays, broadcastableShapes, GradcheckError, gradcheck, shapes, toTensor } from '../../src/testing/index.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

const drawn = (shape: number[], seed: number) => randn(shape, { device, seed });

describe('gradcheck', () => {
  test.each<[string, (...x: Tensor[]) => Tensor | Tensor[], number[][]]>([
    ['a chain', (x) => tanh(mul(sin(x), 3)), [[4, 5]]],
    [
      'a small network',
      (x, w, v) => sum(square(matmul(tanh(matmul(x, w)), v))),
      [
        [5, 3],
        [3, 8],
        [8, 2],
      ],
    ],
    [
      'attention',
      (q, k, v) => attention(q, k, v),
      [
        [1, 4, 3],
        [1, 5, 3],
        [1, 5, 2],
      ],
    ],
    ['several outputs', (x, y) => [mul(x, y), softmax(x), sum(y)], [[3, 4], [4]]],
    ['a constant function', (x) => mul(x, 0), [[3]]],
    ['large values', (x) => mul(square(x), 1e4), [[6]]],
  ])('passes %s', (_, fn, inputs) => {
    // Small tables of sizes stay with the device.
    device.table([1]);
    const before = device.memory().live;
    scope(() =>
      gradcheck(
        fn,
        inputs.map((shape, i) => drawn(shape, i + 1)),
      ),
    );
    expect(device.memory().live).toBe(before);
  });

  const wrong = (factor: number) =>
    customGradient(
      (x) => exp(x),
      (gradient, { output }) => mul(mul(gradient, output), factor),
      { tangent: ([t], { output }) => mul(t as Tensor, output) },
    );

  test('finds a factor of 1.05, and names the worst element', () => {
    scope(() => {
      const x = tensor([0, 0.5, 3], { device });
      expect(() => gradcheck(wrong(1), [x])).not.toThrow();
      expect(() => gradcheck(wrong(1.05), [x])).toThrow(GradcheckError);
      expect(() => gradcheck(wrong(1.05), [x])).toThrow(
        /the largest difference is at input 0 \[2\]: -?[\d.]+ and -?[\d.]+/,
      );
    });
  });

  test('finds a sign, a missing term, a NaN, and a tangent rule that differs', () => {
    scope(() => {
      const [x, y] = [drawn([4], 1), drawn([4], 2)];
      const signed = customGradient(sin, (gradient) => neg(gradient));
      expect(() => gradcheck((t) => signed(t), [x], { forward: false })).toThrow(GradcheckError);
      const partial = customGradient(
        (a, b) => mul(a, b),
        (gradient, { inputs: [, b] }) => [mul(gradient, b), null],
      );
      expect(() => gradcheck(partial, [x, y], { forward: false })).toThrow('input 1 [');
      const broken = customGradient(square, (gradient) => div(zeros([4], { device }), mul(gradient, 0)));
      expect(() => gradcheck((t) => broken(t), [x], { forward: false })).toThrow(GradcheckError);
      const skewed = customGradient(exp, (gradient, { output }) => mul(gradient, output), {
        tangent: ([t]) => mul(t as Tensor, 2),
      });
      expect(() => gradcheck((t) => skewed(t), [x], { forward: false })).not.toThrow();
      expect(() => gradcheck((t) => skewed(t), [x])).toThrow('[gradcheck] forward mode gives');
      expect(jvp((t) => skewed(t), [x], [x])[1].shape).toEqual([4]);
    });
  });

  test('takes whole numbers as constants, and names what does not fit', () => {
    scope(() => {
      const index = zeros([2], { device, dtype: 'i32' });
      gradcheck((x, i) => mul(x, i.size), [drawn([3], 1), index]);
      expect(() => gradcheck((x) => x, [index])).toThrow('[gradcheck] expected an input of floating dtype, got none');
      expect(() => gradcheck((x) => x, [])).toThrow('[gradcheck] expected a list of at least one input tensor');
      expect(() => gradcheck((x) => x, [drawn([1], 1)], { step: -1 })).toThrow('step');
    });
  });
});

describe('arbitraries', () => {
  test('shapes keep to their bounds and shrink to the smallest', () => {
    fc.assert(
      fc.property(shapes({ minRank: 1, maxRank: 3, minExtent: 2, maxExtent: 4 }), (shape) => {
        return shape.length >= 1 && shape.length <= 3 && shape.every((dim) => dim >= 2 && dim <= 4);
      }),
      { seed: 1 },
    );
    const failed = fc.check(
      fc.property(shapes({ minRank: 1, maxExtent: 9 }), (shape) => shape.every((dim) => dim < 5)),
      { seed: 1 },
    );
    // A local minimum: one extent at the bound, and none but 0 next to it.
    expect(failed.counterexample?.[0].filter((dim) => dim !== 0)).toEqual([5]);
    expect(() => shapes({ minRank: 3, maxRank: 2 })).toThrow('[shapes] expected minimums up to the maximums');
  });

  test('shapes that broadcast do, and arrays become tensors', () => {
    fc.assert(
      fc.property(broadcastableShapes(3, { maxRank: 3, maxExtent: 3 }), ([a, b, c]) => {
        broadcastShapes('test', broadcastShapes('test', a, b), c);
      }),
    );
    fc.assert(
      fc.property(arrays({ maxRank: 2, maxExtent: 3, min: -2, max: 2 }), (a) =>
        scope(() => {
          const x = toTensor(a, { device });
          expect(x.shape).toEqual(a.shape);
          expect(x.dataSync()).toEqual(a.data);
          expect(a.data.every((value) => Math.abs(value) <= 2)).toBe(true);
          expect(add(maximum(x, 0), mul(maximum(neg(x), 0), -1)).dataSync().length).toBe(a.data.length);
        }),
      ),
      { numRuns: 50, seed: 1 },
    );
    const special = fc.sample(arrays({ shape: [64], special: true }), { numRuns: 20, seed: 1 });
    expect(special.some(({ data }) => data.some((value) => !Number.isFinite(value)))).toBe(true);
  });
});
