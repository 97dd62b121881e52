// The ends of the range, where the tolerances for ordinary values show nothing: signs of zeros, subnormal results, angles of any
// size, and finite gradients with terms that overflow, underflow or are NaN. On every device and instruction set.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import * as ops from '../../src/kernels/elementwise.ts';
import { mse } from '../../src/kernels/loss.ts';
import { maxPool2d } from '../../src/kernels/pooling.ts';
import { max, min, sum } from '../../src/kernels/reduce.ts';
import { crossEntropy, logSoftmax, softmax } from '../../src/kernels/softmax.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openTestDevice } from '../support/devices.ts';
import { exactModes, randomBits, worst } from '../support/ulp.ts';

const infinity = Number.POSITIVE_INFINITY;
const nan = Number.NaN;

/** The floats next to multiples of pi / 2, small and large. */
const turns = Float32Array.from({ length: 3000 }, (_, i) => ((i < 2000 ? i : 2 ** ((i - 2000) / 9)) * Math.PI) / 2);

describe.each(exactModes)('$label', (mode) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(mode.name, mode);
  }, 120_000);

  const valuesOf = (f: (x: Tensor) => Tensor, x: ArrayLike<number>) =>
    scope(() => f(tensor(Float32Array.from(x), { device })).dataSync());

  test.each([
    ['sin', ops.sin, Math.sin],
    ['cos', ops.cos, Math.cos],
  ] as const)('%s is accurate for angles of any size', (_, op, of) => {
    // The count is odd, so that the last elements are not a full vector.
    for (const x of [randomBits(30_001), turns, turns.map((t) => -t)])
      expect(worst(x, valuesOf(op, x), of).units).toBeLessThan(2);
    // One large angle among small ones does not change their results.
    const near = Float32Array.from({ length: 16 }, (_, i) => i / 3);
    const mixed = near.with(5, 1e30);
    const [alone, together] = [near, mixed].map((x) => Array.from(valuesOf(op, x)));
    expect(together.toSpliced(5, 1)).toEqual(alone.toSpliced(5, 1));
    expect(Array.from(valuesOf(op, [infinity, -infinity, nan]))).toEqual([nan, nan, nan]);
  });

  test('exp is accurate down to the smallest number', () => {
    const x = Float32Array.from({ length: 20_001 }, (_, i) => -105 + (i * 193.5) / 20_000);
    expect(worst(x, valuesOf(ops.exp, x), Math.exp).units).toBeLessThan(2);
    expect(Array.from(valuesOf(ops.exp, [-103.97, -103.98, -104, -1e30, -infinity, 88.8, infinity]))).toEqual([
      2 ** -149,
      0,
      0,
      0,
      0,
      infinity,
      infinity,
    ]);
  });

  test('ops keep the signs of zeros', () => {
    const keep = { neg: [-0, 0], abs: [0, 0], sqrt: [0, -0], sin: [0, -0], tanh: [0, -0], square: [0, 0] } as const;
    for (const [name, expected] of Object.entries(keep))
      expect(Array.from(valuesOf(ops[name as keyof typeof keep], [0, -0])), name).toEqual(expected);
    expect(Array.from(valuesOf((x) => ops.div(1, ops.abs(x)), [0, -0]))).toEqual([infinity, infinity]);
    // As in PyTorch: a zero keeps its sign, the first of two zeros of different sign is taken, and a sum begins at +0.
    expect(Array.from(valuesOf(ops.relu, [0, -0, -1, nan]))).toEqual([0, -0, 0, nan]);
    expect(Array.from(valuesOf((x) => ops.clamp(x, { min: 0, max: 1 }), [0, -0]))).toEqual([0, -0]);
    const reversed = tensor([-0, 0], { device });
    for (const op of [ops.maximum, ops.minimum])
      expect(Array.from(valuesOf((x) => op(x, reversed), [0, -0]))).toEqual([0, -0]);
    reversed.dispose();
    expect(Object.is(valuesOf((x) => sum(x), [-0, -0])[0], 0)).toBe(true);
    expect(Array.from(valuesOf((x) => x, [0, -0]))).toEqual([0, -0]);
    expect(Array.from(valuesOf((x) => ops.pow(x, 0.5), [-0]))).toEqual([0]);
  });

  /** The gradient of each operand for dy = 1. */
  function gradientsOf(f: (...x: Tensor[]) => Tensor, ...operands: number[][]): number[][] {
    return scope(() => {
      const leaves = operands.map((values) => tensor(values, { device, requiresGrad: true }));
      sum(f(...leaves)).backward();
      return leaves.map((leaf) => Array.from(leaf.grad?.dataSync() ?? []));
    });
  }

  const f = (values: number[]) => values.map(Math.fround);

  test('the gradient of a quotient is right if the square of the divisor overflows or underflows', () => {
    for (const [a, b] of [
      [1e-30, 1e-25],
      [1e20, 1e20],
      [1e-3, 1e-20],
      [1e25, -1e22],
    ]) {
      const [da, db] = gradientsOf(ops.div, [a], [b]);
      expect(da[0] * b).toBeCloseTo(1, 6);
      expect(db[0] / -(a / b / b)).toBeCloseTo(1, 5);
      expect(gradientsOf((x) => ops.div(a, x), [b])).toEqual([db]);
    }
    expect(gradientsOf(ops.div, [1, 0, 1], [0, 1, infinity])).toEqual([
      [infinity, 1, 0],
      [-infinity, -0, -0],
    ]);
  });

  test('x to the power of 0 has gradient 0 everywhere', () => {
    const x = [0, -0, 1, infinity, -infinity, nan, -2];
    expect(gradientsOf((t) => ops.pow(t, 0), x)).toEqual([x.map(() => 0)]);
    const zeros = x.map(() => 0);
    expect(gradientsOf((t) => ops.pow(t, tensor(zeros, { device })), x)).toEqual([zeros]);
    expect(gradientsOf((t) => ops.pow(t, 2), [0, 3, infinity])).toEqual([[0, 6, infinity]]);
    // The gradient by the exponent is 0 where the base has no logarithm.
    expect(gradientsOf((t) => ops.pow(tensor([-2, 0, 1], { device }), t), [2, 3, 4])).toEqual([[0, 0, 0]]);
    // This holds even where the power itself is infinite or NaN.
    const exponents = [-1, 0, 0.5, -infinity];
    for (const base of [0, -0, -2, -infinity]) {
      expect(
        gradientsOf((t) => ops.pow(base, t), exponents),
        `${base}`,
      ).toEqual([[0, 0, 0, 0]]);
      const bases = tensor(
        exponents.map(() => base),
        { device },
      );
      expect(
        gradientsOf((t) => ops.pow(bases, t), exponents),
        `[${base}]`,
      ).toEqual([[0, 0, 0, 0]]);
    }
  });

  test('gradients of functions are right at the ends of their range', () => {
    expect(gradientsOf(ops.sqrt, [0, -0, 1e-40, infinity, -1])[0].map(Math.fround)).toEqual(
      [infinity, -infinity, 1 / (2 * Math.sqrt(Math.fround(1e-40))), 0, nan].map(Math.fround),
    );
    expect(gradientsOf(ops.square, [1e25, 1e38])).toEqual([f([2e25, 2e38])]);
    expect(gradientsOf(ops.log, [0, 1e-38, -1, infinity])).toEqual([
      [infinity, Math.fround(1 / Math.fround(1e-38)), -1, 0],
    ]);
    expect(gradientsOf(ops.tanh, [-100, infinity, -infinity])).toEqual([[0, 0, 0]]);
    expect(gradientsOf(ops.sigmoid, [-1000, infinity, -infinity])).toEqual([[0, 0, 0]]);
    expect(gradientsOf(ops.silu, [-1000, 1000])).toEqual([[-0, 1]]);
    expect(gradientsOf((x) => mse(x, tensor([0], { device })), [1e25])).toEqual([f([2e25])]);
  });

  test('NaN propagates as in PyTorch', () => {
    expect(gradientsOf(ops.relu, [nan, 0, -0, -1, 1])).toEqual([[1, 0, 0, 0, 1]]);
    expect(gradientsOf(ops.abs, [nan, 0, -0, -2, 2])).toEqual([[0, 0, 0, -1, 1]]);
    expect(gradientsOf((x) => ops.clamp(x, { min: -1, max: 1 }), [nan, -1, 1, 2])).toEqual([[0, 1, 1, 0]]);
    for (const op of [ops.maximum, ops.minimum])
      expect(gradientsOf(op, [nan, 1, nan, 3], [1, nan, nan, 3])).toEqual([
        [1, 1, 1, 0.5],
        [1, 1, 1, 0.5],
      ]);
    expect(gradientsOf(ops.maximum, [1, 2], [2, 1])).toEqual([
      [0, 1],
      [1, 0],
    ]);
    for (const op of [max, min]) expect(gradientsOf((x) => op(x), [1, nan, 2])).toEqual([[nan, nan, nan]]);
    expect(gradientsOf((x) => min(x), [1, 3, 1])).toEqual([[0.5, 0, 0.5]]);
    expect(
      [
        [3, -2, 5],
        [1, nan],
      ].map((values) => valuesOf((x) => min(x), values)[0]),
    ).toEqual([-2, nan]);
    const pooled = scope(() => {
      const x = tensor([1, nan, 2, nan, 1, 2, 3, 4], { shape: [2, 2, 2, 1], device, requiresGrad: true });
      sum(maxPool2d(x, { kernel: 2 })).backward();
      return Array.from(x.grad?.dataSync() ?? []);
    });
    expect(pooled).toEqual([0, 1, 0, 0, 0, 0, 0, 1]);
  });

  test('softmax handles rows of large, infinite and masked scores', () => {
    const row = (values: number[], g: (x: Tensor) => Tensor) =>
      scope(() => {
        const x = tensor(values, { shape: [1, values.length], device, requiresGrad: true });
        const y = g(x);
        sum(y).backward();
        return [Array.from(y.dataSync()), Array.from(x.grad?.dataSync() ?? [])];
      });
    const entropy = (x: Tensor) => crossEntropy(x, tensor([0], { dtype: 'i32', device }));
    expect(row([1e30, -1e30, 0], entropy)).toEqual([[0], [0, 0, 0]]);
    expect(row([-1e30, 1e30, 0], entropy)).toEqual([f([2e30]), [-1, 1, 0]]);
    expect(row([3e38, -3e38], entropy)).toEqual([[0], [0, 0]]);
    expect(row([-infinity, 0, 0], entropy)).toEqual([[infinity], [-1, 0.5, 0.5]]);
    expect(row([-infinity, 1, 1], softmax)).toEqual([
      [0, 0.5, 0.5],
      [0, 0, 0],
    ]);
    expect(row([3e38, -3e38], logSoftmax)).toEqual([
      [0, -infinity],
      [-1, 1],
    ]);
    expect(row([-infinity, -infinity], softmax)[0]).toEqual([nan, nan]);
  });
});
