// The stochastic sampler from N(0, 1) to N(0, 1/4): which drift keeps the marginals, and what its noise depends on.
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { sample, solveFixed, solveStochastic, type Velocity } from '../../src/flow/index.ts';
import { mul } from '../../src/kernels/elementwise.ts';
import { randn } from '../../src/kernels/random.ts';
import { full } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { streams } from '../../src/tensor/streams.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

const DEVIATION = 0.5;

/** From N(0, a^2) to N(0, s^2): v = (s^2 t - a^2 (1 - t)) / (s^2 t^2 + a^2 (1 - t)^2) x. */
function gaussian(a: number): Velocity {
  return (x, t) => {
    const time = t.dataSync()[0];
    const [noise, data] = [a * a * (1 - time), DEVIATION * DEVIATION * time];
    return mul(x, (data - noise) / (data * time + noise * (1 - time)));
  };
}

function deviation(values: Float32Array): number {
  let square = 0;
  for (const value of values) square += value * value;
  return Math.sqrt(square / values.length);
}

const common = { shape: [4], count: 4000, seed: 11, solver: 'euler', steps: 500 } as const;

// The deviation of 16,000 numbers is known to 0.6 %.
test.each([
  [0.5, 0.488],
  [1, 0.46],
  [2, 0.369],
  [4, 0.201],
])(
  'sigmaVariance %d: the exact drift keeps the deviation at 0.5, the legacy drift ends at %d',
  async (sigmaVariance, legacy) => {
    const exact = await sample(gaussian(1), { ...common, sigmaVariance, device });
    expect(exact.nfe).toBe(500);
    expect(Math.abs(deviation(exact.samples) - DEVIATION)).toBeLessThan(0.01);
    const official = await sample(gaussian(1), { ...common, sigmaVariance, sdeDrift: 'legacy', device });
    expect(Math.abs(deviation(official.samples) - legacy)).toBeLessThan(0.01);
  },
  60_000,
);

test('the exact drift accounts for the scale of the noise', async () => {
  const options = { ...common, noiseScale: 2, sigmaVariance: 2, device };
  const { samples } = await sample(gaussian(2), options);
  expect(Math.abs(deviation(samples) - DEVIATION)).toBeLessThan(0.01);
});

test('one step follows the formula, with noise by stream, sample and step', () => {
  scope(() => {
    const [sigmaVariance, noiseScale, t, count] = [1.5, 2, 1e-3, 5];
    const start = randn([count, 1], { device, seed: 2 });
    const noise = randn([count, 1], { device, seed: 3, first: 40, stream: streams.diffusion }).dataSync();
    const slope = gaussian(noiseScale)(full([1, 1], 1, { device }), full([1], t, { device })).item();
    const sigma = (1 - t) * sigmaVariance;
    const score = (x: number, v: number) => (t * v - x) / ((1 - t) * noiseScale ** 2);
    const official = (x: number, v: number) =>
      (0.5 * t * (1 - t) * v - 0.5 * (2 - t) * x) / ((1 - t) ** 2 * noiseScale ** 2);
    for (const [drift, correction] of [
      ['exact', score],
      ['legacy', official],
    ] as const) {
      const options = { steps: 1, sigmaVariance, noiseScale, drift, seed: 3, first: 40 };
      const { x } = solveStochastic(gaussian(noiseScale), start, options);
      x.dataSync().forEach((got, i) => {
        const from = start.dataSync()[i];
        const v = slope * from;
        const want = from + v + (sigma ** 2 / 2) * correction(from, v) + sigma * noise[i];
        expect(Math.abs(got - want)).toBeLessThan(2e-6);
      });
    }
  });
});

test('sigmaVariance 0 is bit-identical to Euler', () => {
  scope(() => {
    const start = randn([6, 3], { device, seed: 2 });
    const euler = solveFixed(gaussian(1), start, { solver: 'euler', steps: 7, epsilon: 1e-3 });
    for (const drift of ['exact', 'legacy'] as const) {
      const { x, nfe } = solveStochastic(gaussian(1), start, { steps: 7, sigmaVariance: 0, drift, seed: 0 });
      expect(nfe).toBe(7);
      expect(x.dataSync()).toEqual(euler.x.dataSync());
    }
  });
});

test('its noise depends on seed, sample and step and not on the batch, and no memory leaks', async () => {
  const options = { ...common, count: 10, steps: 5, sigmaVariance: 1, device };
  const whole = await sample(gaussian(1), options);
  const runs = async () => [
    await sample(gaussian(1), { ...options, batch: 4, microBatch: 3 }),
    await sample(gaussian(1), { ...options, count: 2, first: 8 }),
  ];
  await runs(); // loop tables of these shapes are made once and stay
  const before = device.memory().live;
  const [parts, last] = await runs();
  expect(device.memory().live).toBe(before);
  expect(parts.samples).toEqual(whole.samples);
  expect(last.samples).toEqual(whole.samples.slice(32));
  const other = await sample(gaussian(1), { ...options, seed: 12 });
  expect(other.samples).not.toEqual(whole.samples);
});

test('refuses options out of range', async () => {
  const options = { ...common, count: 1, steps: 1, device };
  const refused = (changed: object) => expect(sample(gaussian(1), { ...options, ...changed })).rejects;
  await refused({ sigmaVariance: 1, solver: 'rk45' }).toThrow(/sigmaVariance 1 is for the solver "euler", got "rk45"/);
  await refused({ sigmaVariance: -1 }).toThrow(/expected sigmaVariance to be a finite number >= 0, got -1/);
  await refused({ sigmaVariance: 1, sdeDrift: 'other' }).toThrow(
    /expected sdeDrift to be one of "exact", "legacy", got "other"/,
  );
  await refused({ sigmaVariance: 1, noiseScale: 0 }).toThrow(/expected noiseScale to be a finite number > 0, got 0/);
});
