// Sampling, encoding and straightness on the Gaussian-to-Gaussian flow, whose velocity has a closed form, and on a learned flow.
import { beforeAll, describe, expect, it, test } from 'vitest';
import { samplePoints } from '../../src/data/index.ts';
import type { Device } from '../../src/device/device.ts';
import { NonFiniteError } from '../../src/errors.ts';
import {
  encode,
  energyDistance,
  initialNoise,
  interpolate,
  pseudoHuber,
  pseudoHubers,
  rectifiedFlowLoss,
  replayable,
  sample,
  solve,
  straightness,
  TIME_EPSILON,
  type Velocity,
} from '../../src/flow/index.ts';
import { add, mul, sub } from '../../src/kernels/elementwise.ts';
import { concat, reshape } from '../../src/kernels/movement.ts';
import { randn } from '../../src/kernels/random.ts';
import { Adam, MLP } from '../../src/nn/index.ts';
import { full, tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
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

/** The point at time 1 to which the Gaussian flow maps x at time t. */
function imageOf(x: number, t: number): number {
  const { mean: m, deviation: s } = target;
  return m + (s * (x - m * t)) / Math.sqrt((s * t) ** 2 + (1 - t) ** 2);
}

test.each([0, TIME_EPSILON])(
  'rk45 maps each point from t = %d to its closed-form image, in any batch',
  async (epsilon) => {
    const options = { shape: [3], count: 10, seed: 4, solver: 'rk45', tolerance: 1e-6, epsilon, device } as const;
    using start = randn([10, 3], { device, seed: 4, stream: 2 });
    const x0 = start.dataSync();
    for (const batch of [10, 4]) {
      const { samples, nfe } = await sample(gaussian, { ...options, batch });
      expect(nfe).toBeGreaterThan(10);
      samples.forEach((value, i) => expect(Math.abs(value - imageOf(x0[i], epsilon))).toBeLessThan(1e-4));
    }
  },
);

/** The velocity, and a list of the times at which it was evaluated. */
function recorded(velocity: Velocity): { velocity: Velocity; times: number[] } {
  const times: number[] = [];
  return {
    times,
    velocity(x, t) {
      times.push(t.dataSync()[0]);
      return velocity(x, t);
    },
  };
}

test('fixed steps of 1/N use the official times i/N (1 - eps) + eps', async () => {
  const { velocity, times } = recorded((x) => full(x.shape, 2, { device }));
  const options = { shape: [1], count: 1, seed: 0, solver: 'euler', latents: Float32Array.of(1), device } as const;
  const { samples, nfe } = await sample(velocity, { ...options, steps: 4 });
  expect(nfe).toBe(4);
  expect(samples[0]).toBe(3);
  expect(times).toEqual([0, 1, 2, 3].map((i) => Math.fround((i / 4) * (1 - 1e-3) + 1e-3)));

  times.length = 0;
  await sample(velocity, { ...options, steps: 4, epsilon: 0 });
  expect(times).toEqual([0, 0.25, 0.5, 0.75]);

  times.length = 0;
  scope(() => solve(velocity, tensor([[1]], { device }), { solver: 'heun', steps: 1, reverse: true }));
  expect(times).toEqual([1, Math.fround(1e-3)]);
});

test('one Euler step is z_0 + v(z_0, eps)', async () => {
  const { samples } = await sample(gaussian, { shape: [2], count: 5, seed: 3, solver: 'euler', steps: 1, device });
  scope(() => {
    const z0 = initialNoise([5, 2], { seed: 3, device });
    const one = add(z0, gaussian(z0, full([5], TIME_EPSILON, { device })));
    samples.forEach((value, i) => expect(Math.abs(value - one.dataSync()[i])).toBeLessThan(1e-6));
  });
});

test('encode recovers the noise of the samples', async () => {
  const options = { shape: [2], solver: 'rk45', tolerance: 1e-6, device } as const;
  const { samples } = await sample(gaussian, { ...options, count: 9, seed: 7 });
  for (const batch of [9, 4]) {
    const { latents, nfe } = await encode(gaussian, samples, { ...options, batch });
    expect(nfe).toBeGreaterThan(10);
    const z0 = scope(() => initialNoise([9, 2], { seed: 7, device }).dataSync());
    latents.forEach((value, i) => expect(Math.abs(value - z0[i])).toBeLessThan(1e-4));
  }
  await expect(encode(gaussian, new Float32Array(3), options)).rejects.toThrow(/samples \[2\], got 3 numbers/);
});

test('a sample depends on its number and not on the call, and scales with the noise', async () => {
  const options = { shape: [3], seed: 5, solver: 'euler', steps: 3, device } as const;
  const all = await sample(gaussian, { ...options, count: 8 });
  const last = await sample(gaussian, { ...options, count: 3, first: 5 });
  expect(last.samples).toEqual(all.samples.slice(15));
  scope(() => {
    const z0 = initialNoise([4, 3], { seed: 5, device }).dataSync();
    const doubled = initialNoise([4, 3], { seed: 5, noiseScale: 2, device }).dataSync();
    doubled.forEach((value, i) => expect(value).toBe(2 * z0[i]));
  });
});

test('refuses an epsilon outside [0, 1)', () => {
  const start = tensor([[1]], { device });
  for (const epsilon of [-0.1, 1, Number.NaN])
    expect(() => solve(gaussian, start, { solver: 'euler', epsilon })).toThrow(/expected epsilon to be in \[0, 1\)/);
  start.dispose();
});

test('latents replace the noise', async () => {
  const latents = Float32Array.of(0, 1, -1, 2);
  const { samples } = await sample(gaussian, { shape: [2], count: 2, seed: 0, solver: 'rk45', latents, device });
  samples.forEach((value, i) => expect(Math.abs(value - imageOf(latents[i], TIME_EPSILON))).toBeLessThan(1e-3));
});

test('stops when its signal is aborted', async () => {
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
      rectifiedFlowLoss(velocity, tensor(points, { shape: [256, 2], device }), { seed: 0, first: 256 * step }),
    );
  }
  const { samples } = await optimizer.withEma(() =>
    sample(velocity, { shape: [2], count: 2000, seed: 1, solver: 'rk45', device }),
  );
  const data = samplePoints('two_moons', 2000, 1_000_000);
  const distance = energyDistance(samples, data, 2);
  const noise = energyDistance(samplePoints('gaussian', 2000, 3), data, 2);
  expect(distance).toBeLessThan(0.02);
  expect(noise).toBeGreaterThan(5 * distance);
  optimizer.dispose();
});

describe('samples that are not finite', () => {
  /** A velocity that is NaN or infinite for the samples with these numbers in a batch of 8. */
  const broken =
    (numbers: number[], value: number): Velocity =>
    (x) =>
      mul(
        x,
        tensor(
          Float32Array.from({ length: x.shape[0] }, (_, i) => (numbers.includes(i) ? value : 1)),
          { shape: [x.shape[0], 1] },
        ),
      );

  it.each([
    ['euler', [3], Number.NaN, '1 of 8'],
    ['rk4', [0, 7], Number.POSITIVE_INFINITY, '2 of 8'],
  ] as const)('cause an error that counts them: %s', async (solver, numbers, value, count) => {
    const options = { shape: [2], solver, steps: 2 } as const;
    const velocity = broken([...numbers], value);
    await expect(sample(velocity, { ...options, count: 8, seed: 1 })).rejects.toThrow(
      `${count} samples are not finite`,
    );
    await expect(encode(velocity, new Float32Array(16).fill(1), options)).rejects.toThrow(NonFiniteError);
  });
});

test('copies the shape, so that changes while batches are awaited have no effect', async () => {
  const options = { count: 3, batch: 1, seed: 0, solver: 'euler', steps: 2 } as const;
  const still = await sample((x) => x, { ...options, shape: [2], device });
  const shape = [2];
  const onProgress = () => {
    shape[0] = 5;
  };
  expect((await sample((x) => x, { ...options, shape, onProgress, device })).samples).toEqual(still.samples);
  shape[0] = 2;
  const { latents } = await encode((x) => x, still.samples, { shape, batch: 1, solver: 'euler', onProgress, device });
  expect(latents.length).toBe(6);
});

test('names points whose buffer is transferred while batches are awaited', async () => {
  const latents = new Float32Array(6);
  const onProgress = () => {
    if (latents.length > 0) structuredClone(latents.buffer, { transfer: [latents.buffer] });
  };
  const options = {
    shape: [2],
    count: 3,
    batch: 1,
    seed: 0,
    solver: 'euler',
    steps: 2,
    latents,
    onProgress,
    device,
  } as const;
  await expect(sample((x) => x, options)).rejects.toThrow('to be a Float32Array, got a detached Float32Array of 0');
});

test('does not dispose tensors that a replayable velocity keeps', async () => {
  const kept = tensor([[1], [2]], { device });
  const options = { shape: [1], count: 2, seed: 0, solver: 'euler', steps: 4, device } as const;
  const { samples } = await sample(
    replayable(() => kept),
    options,
  );
  expect(Array.from(kept.dataSync())).toEqual([1, 2]);
  expect(samples).toEqual((await sample(() => kept, options)).samples);
});

test('refuses points, times and velocities of wrong counts instead of broadcasting them', () => {
  scope(() => {
    const [one, two] = [1, 2].map((n) => full([n, 2], 1, { device }));
    const times = (n: number) => full([n], 0.5, { device });
    expect(() => interpolate(one, two, times(2))).toThrow(
      'points of one shape [N, ...] and times [N], got [1, 2], [2, 2], [2]',
    );
    expect(() => interpolate(two, two, times(1))).toThrow('got [2, 2], [2, 2], [1]');
    expect(() => interpolate(one, one, times(3))).toThrow('got [1, 2], [1, 2], [3]');
    expect(() => pseudoHubers(one, two, two, 1)).toThrow('points of one shape [N, ...], got [1, 2], [2, 2], [2, 2]');
    expect(() => rectifiedFlowLoss((x) => x, full([], 1, { device }), { seed: 0 })).toThrow(
      '[rectifiedFlowLoss] expected x1 [N, ...], got []',
    );
    expect(() => rectifiedFlowLoss((x) => x, two, { seed: 0, x0: one })).toThrow(
      '[rectifiedFlowLoss] expected x1 and x0 of one shape [N, ...] and t [N], got [2, 2], [1, 2], [2]',
    );
    expect(() => rectifiedFlowLoss(() => one, two, { seed: 0, distance: pseudoHuber })).toThrow(
      '[velocity] expected a result [2, 2] as x, got [1, 2]',
    );
    expect(() => rectifiedFlowLoss((x) => x, two, { seed: 0, distance: (() => 1) as never })).toThrow(
      '[rectifiedFlowLoss] expected a distance that returns a loss tensor, got 1',
    );
  });
});
