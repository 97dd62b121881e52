// Time laws against their distribution functions, and the loss options.
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients } from '../../src/autograd/gradients.ts';
import type { Device } from '../../src/device/device.ts';
import { Draw, pseudoHuber, rectifiedFlowLoss, TIME_EPSILON, type TimeLaw } from '../../src/flow/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const COUNT = 20_000;

/** The standard normal distribution function, Abramowitz and Stegun 7.1.26, with an error of at most 1.5e-7. */
function normal(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const k = 1 / (1 + 0.3275911 * z);
  const erf =
    1 -
    k *
      (0.254829592 + k * (-0.284496736 + k * (1.421413741 + k * (-1.453152027 + k * 1.061405429)))) *
      Math.exp(-z * z);
  return x < 0 ? (1 - erf) / 2 : (1 + erf) / 2;
}

const logit = (t: number) => Math.log(t / (1 - t));
const uShaped = (a: number) => (t: number) =>
  (Math.expm1(a * t) + Math.exp(a) - Math.exp(a * (1 - t))) / (2 * Math.expm1(a));

const laws: [TimeLaw, (t: number) => number][] = [
  [{ law: 'uniform' }, (t) => t],
  [{ law: 'logit_normal' }, (t) => normal(logit(t))],
  [{ law: 'logit_normal', mean: -0.5, deviation: 0.7 }, (t) => normal((logit(t) + 0.5) / 0.7)],
  [{ law: 'u_shaped' }, uShaped(4)],
  [{ law: 'u_shaped', steepness: 1.5 }, uShaped(1.5)],
  // The law is so flat that it is uniform, and e^a - 1 is lost in rounding or too small for a float.
  ...[1e-3, 1e-6, 1e-7, 1e-9, 1e-50].map((steepness): (typeof laws)[number] => [
    { law: 'u_shaped', steepness },
    (t) => t,
  ]),
  // t = tan / (1 + tan), so u = (2 / pi) atan(t / (1 - t)).
  [{ law: 'cosmap' }, (t) => (2 / Math.PI) * Math.atan(t / (1 - t))],
];

describe.each(deviceNames)('on %s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  });

  it.each(laws)('%j follows its distribution', (law, distribution) => {
    const times = Float64Array.from(scope(() => new Draw({ seed: 3, device }).times(COUNT, law).dataSync())).sort();
    expect(times[0]).toBeGreaterThanOrEqual(Math.fround(TIME_EPSILON));
    expect(times[COUNT - 1]).toBeLessThanOrEqual(1);
    let distance = 0;
    times.forEach((time, i) => {
      const t = (time - TIME_EPSILON) / (1 - TIME_EPSILON);
      distance = Math.max(distance, Math.abs(distribution(Math.min(Math.max(t, 1e-9), 1 - 1e-9)) - (i + 0.5) / COUNT));
    });
    // Kolmogorov's distance is below 1.63 / sqrt(n) in 99 of 100 draws; the seed is fixed.
    expect(distance).toBeLessThan(1.63 / Math.sqrt(COUNT));
  });

  it('a sample draws the same time in any batch', () => {
    for (const [law] of laws) {
      const whole = scope(() => new Draw({ seed: 3, first: 40, device }).times(8, law).dataSync());
      const part = scope(() => new Draw({ seed: 3, first: 43, device }).times(3, law).dataSync());
      expect(part).toEqual(whole.slice(3, 6));
    }
  });

  it.each<[TimeLaw, RegExp]>([
    [{ law: 'uniforn' as 'uniform' }, /expected law to be one of "uniform", "logit_normal"/],
    [{ law: 'logit_normal', deviation: 0 }, /a deviation > 0, got 0 and 0/],
    [{ law: 'u_shaped', steepness: -1 }, /a steepness in/],
  ])('%j is refused', (law, message) => {
    expect(() => new Draw({ seed: 0, device }).times(1, law)).toThrow(message);
  });

  it('pseudo-Huber has the right value and gradient with respect to v', () => {
    const [v, x0, x1] = [2, 0.25, -1].map((base) =>
      Float32Array.from({ length: 12 }, (_, i) => base + Math.sin(i * (base + 1))),
    );
    const c = 0.00054 * Math.sqrt(6);
    const norms = [0, 1].map((n) => {
      let square = c * c;
      for (let i = 6 * n; i < 6 * n + 6; i++) square += (v[i] - (x1[i] - x0[i])) ** 2;
      return Math.sqrt(square);
    });
    scope(() => {
      const [a, b, d] = [v, x0, x1].map((data) => tensor(data, { shape: [2, 3, 2], device }));
      const loss = pseudoHuber(a.requireGrad(), b, d);
      expect(loss.item()).toBeCloseTo((norms[0] + norms[1]) / 2 - c, 5);
      const [gradient] = gradients(loss, [a]);
      const expected = Array.from(v, (value, i) => (value - (x1[i] - x0[i])) / norms[i < 6 ? 0 : 1] / 2);
      gradient.dataSync().forEach((value, i) => {
        expect(value).toBeCloseTo(expected[i], 5);
      });
    });
  });

  it('an input and a distance replace x_t and the squared error', () => {
    scope(() => {
      const x1 = tensor([[1, 2, 3]], { device });
      const x0 = tensor([[0, 0, 1]], { device });
      const seen: number[][] = [];
      const loss = rectifiedFlowLoss(
        (x) => {
          seen.push(Array.from(x.dataSync()));
          return x;
        },
        x1,
        { seed: 0, x0, t: tensor([0.25], { device }), input: x0, distance: pseudoHuber },
      );
      expect(seen).toEqual([[0, 0, 1]]);
      expect(loss.item()).toBeCloseTo(Math.sqrt(1 + 4 + 1), 2);
    });
  });
});
