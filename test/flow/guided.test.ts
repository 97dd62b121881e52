// Guidance, and networks that predict noise, on closed forms.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { guided, noisePredictionVelocity, sample, stableDiffusionBetas } from '../../src/flow/index.ts';
import { add, div, mul, sub } from '../../src/kernels/elementwise.ts';
import { reshape } from '../../src/kernels/movement.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

const numbers = (t: Tensor) => [...(t.dataSync() as Float32Array)];
const column = (values: number[]) => tensor(values, { shape: [values.length, 1], device });

describe('guided', () => {
  // v = x c + t
  const velocity = (x: Tensor, t: Tensor, c: Tensor) => add(mul(x, c), reshape(t, [-1, 1]));
  const evaluate = (options: Partial<Parameters<typeof guided>[1]>) =>
    scope(() => {
      const v = guided(velocity, { condition: column([3, 5]), unconditional: column([1]), ...options });
      return numbers(v(column([1, 2]), tensor([0.25, 0.75], { device })));
    });

  test('moves away from the velocity without the condition', () => {
    // 1 + 2 (3 - 1) and 2 + 2 (10 - 2), plus t.
    expect(evaluate({ scale: 2 })).toEqual([5.25, 18.75]);
  });

  test('a scale of at most 1 leaves the condition alone', () => {
    expect(evaluate({ scale: 1 })).toEqual([3.25, 10.75]);
    expect(evaluate({ scale: 0, unconditional: undefined })).toEqual([3.25, 10.75]);
  });

  test('outside the interval the condition alone counts', () => {
    expect(evaluate({ scale: 2, interval: [0.5, 1] })).toEqual([3.25, 18.75]);
  });

  test('refuses a scale without the other condition, and another number of samples', () => {
    expect(() => guided(velocity, { condition: column([1]), scale: 2 })).toThrow('unconditional');
    expect(() =>
      scope(() => guided(velocity, { condition: column([1]) })(column([1, 2]), tensor([0, 0], { device }))),
    ).toThrow('expected 1 samples');
  });
});

describe('noisePredictionVelocity', () => {
  const products = (() => {
    let product = 1;
    return stableDiffusionBetas().map((beta) => {
      product *= 1 - beta;
      return product;
    });
  })();
  const timeOf = (tau: number) => {
    const a = Math.sqrt(products[tau]);
    return a / (a + Math.sqrt(1 - products[tau]));
  };

  test('asks for the step whose time it is', () => {
    for (const tau of [0, 1, 250, 998, 999])
      scope(() => {
        let asked = 0;
        const velocity = noisePredictionVelocity((x, steps) => {
          [asked] = numbers(steps);
          return x;
        });
        velocity(column([1]), tensor([timeOf(tau)], { device }));
        expect(Math.abs(asked - tau)).toBeLessThan(1e-2);
      });
  });

  test('noise of a point mass gives straight paths to it', async () => {
    // Data at 2: x' = 2 a + s e, so that e = (x' - 2 a) / s, with a and s from the step.
    const velocity = noisePredictionVelocity((x, steps) => {
      const [tau] = numbers(steps);
      const low = Math.min(998, Math.floor(tau));
      const product = products[low] + (tau - low) * (products[low + 1] - products[low]);
      return div(sub(x, 2 * Math.sqrt(product)), Math.sqrt(1 - product));
    });
    const from = timeOf(999);
    // Up to a time at which the noise is still a number.
    const start = scope(() => numbers(velocity(column([0.3]), tensor([from], { device }))));
    const later = scope(() => {
      const x = 0.3 + (0.8 - from) * start[0];
      return numbers(velocity(column([x]), tensor([0.8], { device })));
    });
    expect(Math.abs(later[0] - start[0])).toBeLessThan(1e-2);
    const { samples } = await sample((x, t) => noisePredictionVelocity((y) => mul(y, 0))(x, t), {
      shape: [1],
      count: 2,
      seed: 1,
      solver: 'euler',
      steps: 2,
      epsilon: 0,
      device,
    });
    expect(samples.every(Number.isFinite)).toBe(true);
  });
});
