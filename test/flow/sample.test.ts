/** Sampling and straightness on Gaussian to Gaussian, whose velocity has a closed form, and a flow learned in the plane. */
import { beforeAll, expect, test } from 'vitest';
import { samplePoints } from '../../src/data/index.ts';
import type { Device } from '../../src/device/device.ts';
import { energyDistance, rectifiedFlowLoss, sample, straightness, type Velocity } from '../../src/flow/index.ts';
import { add, mul, sub } from '../../src/kernels/elementwise.ts';
import { concat, reshape } from '../../src/kernels/movement.ts';
import { randn } from '../../src/kernels/random.ts';
import { Adam, MLP } from '../../src/nn/index.ts';
import { full, tensor } from '../../src/tensor/create.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

const target = { mean: 3, deviation: 0.5 };

/**
 * From N(0, 1) to N(m, s^2), independently coupled: v = m + (s^2 t - (1 - t)) / (s^2 t^2 + (1 - t)^2) (x - m t), whose
 * flow maps x_0 to m + s x_0.
 */
const gaussian: Velocity = (x, t) => {
  const time = t.dataSync()[0];
  const { mean: m, deviation: s } = target;
  const slope = (s * s * time - (1 - time)) / (s * s * time * time + (1 - time) ** 2);
  return add(mul(sub(x, m * time), slope), m);
};

test('rk45 carries each point to its own image, in any batch', async () => {
  const options = { shape: [3], count: 10, seed: 4, solver: 'rk45', tolerance: 1e-6, device } as const;
  using start = randn([10, 3], { device, seed: 4, stream: 2 });
  const x0 = start.dataSync();
  for (const batch of [10, 4]) {
    const { images, nfe } = await sample(gaussian, { ...options, batch });
    expect(nfe).toBeGreaterThan(10);
    images.forEach((value, i) => expect(Math.abs(value - (target.mean + target.deviation * x0[i]))).toBeLessThan(1e-4));
  }
});

test('latents replace the noise', async () => {
  const latents = Float32Array.of(0, 1, -1, 2);
  const { images } = await sample(gaussian, { shape: [2], count: 2, seed: 0, solver: 'rk45', latents, device });
  images.forEach((value, i) => expect(Math.abs(value - (3 + 0.5 * latents[i]))).toBeLessThan(1e-3));
});

test('an aborted signal ends it', async () => {
  const options = { shape: [2], count: 2, seed: 0, solver: 'euler', device, signal: AbortSignal.abort() } as const;
  await expect(sample(gaussian, options)).rejects.toThrow(/abort/i);
});

test('straightness is 0 for a translation and not for the Gaussian flow', async () => {
  const options = { shape: [2], count: 256, seed: 1, steps: 20, device };
  const straight = await straightness((x) => full(x.shape, 2, { device }), options);
  expect(straight.straightness).toBeLessThan(1e-10);
  const curved = await straightness(gaussian, options);
  expect(curved.straightness).toBeGreaterThan(0.01);
});

test('a flow to two moons reaches an energy distance below 0.02', async () => {
  using network = new MLP([3, 64, 64, 2]);
  const velocity: Velocity = (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));
  const optimizer = new Adam(network, { learningRate: 3e-3, emaRate: 0.995 });
  for (let step = 0; step < 3000; step++) {
    const points = samplePoints('two_moons', 256, step);
    optimizer.minimize(() =>
      rectifiedFlowLoss(velocity, tensor(points, { shape: [256, 2], device }), { seed: 0, sample: 256 * step }),
    );
  }
  const { images } = await optimizer.withEma(() =>
    sample(velocity, { shape: [2], count: 2000, seed: 1, solver: 'rk45', device }),
  );
  const data = samplePoints('two_moons', 2000, 1_000_000);
  const distance = energyDistance(images, data, 2);
  const noise = energyDistance(samplePoints('gaussian', 2000, 3), data, 2);
  expect(distance).toBeLessThan(0.02);
  expect(noise).toBeGreaterThan(5 * distance);
  optimizer.dispose();
});
