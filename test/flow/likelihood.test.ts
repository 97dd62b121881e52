// Likelihood under N(0, I) to N(m, S) with S not diagonal, where the density of the data is known.
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { type Likelihood, likelihood, type Velocity } from '../../src/flow/index.ts';
import { add, mul, sub } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { reshape } from '../../src/kernels/movement.ts';
import { tensor } from '../../src/tensor/create.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

const D = 4;
const MEAN = [1, -0.5, 0, 2];
/** Deviations of the data along the rows of ROTATION. */
const DEVIATIONS = [0.3, 0.7, 1.2, 2];
/** An orthogonal matrix: half of Hadamard's matrix. */
const ROTATION = [
  [1, 1, 1, 1],
  [1, -1, 1, -1],
  [1, 1, -1, -1],
  [1, -1, -1, 1],
].map((row) => row.map((entry) => entry / 2));

/** v = m + R^T diag(c(t)) R (x - m t), c = (s^2 t - (1 - t)) / (s^2 t^2 + (1 - t)^2), from ops that carry gradients. */
const velocity: Velocity = (x, t) => {
  const time = t.dataSync()[0];
  const slopes = DEVIATIONS.map((s) => (s * s * time - (1 - time)) / (s * s * time * time + (1 - time) ** 2));
  const [mean, rotation, c] = [MEAN, ROTATION, slopes].map((values) => tensor(values, { device }));
  const along = matmul(sub(x, mul(mean, time)), rotation, { transposeB: true });
  return add(matmul(mul(along, c), rotation), mean);
};

/** log N(x; m, S). */
function logDensity(x: readonly number[]): number {
  return ROTATION.reduce((total, row, k) => {
    const y = row.reduce((sum, r, j) => sum + r * (x[j] - MEAN[j]), 0) / DEVIATIONS[k];
    return total - 0.5 * y * y - Math.log(DEVIATIONS[k]) - 0.5 * Math.log(2 * Math.PI);
  }, 0);
}

const COUNT = 6;
const points = Array.from({ length: COUNT }, (_, i) => MEAN.map((m, j) => m + Math.sin(1 + 3 * i + 5 * j)));
const data = Float32Array.from(points.flat());
const want = points.map(logDensity);

function expectNear(got: ArrayLike<number>, expected: ArrayLike<number>, allowed: (i: number) => number): void {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < got.length; i++) expect(Math.abs(got[i] - expected[i])).toBeLessThan(allowed(i));
}

test('the exact trace gives the density', async () => {
  const result = await likelihood(velocity, data, { shape: [D], trace: 'exact', device });
  expectNear(result.logLikelihood, want, () => 1e-3);
  expect([...result.standardError]).toEqual([0, 0, 0, 0, 0, 0]);
  expect(result.nfe % 6).toBe(2);
  // z is the noise that maps to the data: R (x - m) / s, rotated back.
  const z = points.map((x) => {
    const y = ROTATION.map((row, k) => row.reduce((sum, r, j) => sum + r * (x[j] - MEAN[j]), 0) / DEVIATIONS[k]);
    return MEAN.map((_, j) => ROTATION.reduce((sum, row, k) => sum + row[j] * y[k], 0));
  });
  expectNear(result.z, z.flat(), () => 1e-3);
});

test("Hutchinson's estimate agrees with the density within its standard error", async () => {
  const repeats = 32;
  const result = await likelihood(velocity, data, { shape: [D], seed: 3, repeats, tolerance: 1e-4, device });
  const nats = Array.from(result.standardError, (bits) => bits * Math.LN2 * D);
  for (const error of nats) expect(error).toBeGreaterThan(0.01);
  expectNear(result.logLikelihood, want, (i) => 4 * nats[i]);
});

test('bits per dimension: 7 more in [-1, 1], 8 more in [0, 1]', async () => {
  const options = { shape: [D], trace: 'exact', device } as const;
  for (const [centered, bits] of [
    [undefined, 0],
    [true, 7],
    [false, 8],
  ] as const) {
    const { bpd } = await likelihood(velocity, data, { ...options, centered });
    expectNear(
      bpd,
      want.map((log) => bits - log / (Math.LN2 * D)),
      () => 1e-3,
    );
  }
});

test('probes belong to samples: batches, micro-batches and a given probe agree, and memory is freed', async () => {
  const options = { shape: [2, 2], seed: 9, tolerance: 1e-6, device };
  const shaped: Velocity = (x, t) => reshape(velocity(reshape(x, [-1, D]), t), x.shape);
  const whole = await likelihood(shaped, data, options);
  const runs = async (): Promise<Likelihood[]> => [
    await likelihood(shaped, data, { ...options, microBatch: 4 }),
    await likelihood(shaped, data, { ...options, batch: 4, microBatch: 3 }),
  ];
  await runs(); // loop tables of these shapes are made once and stay
  const before = device.memory().live;
  const [parts, batches] = await runs();
  expect(device.memory().live).toBe(before);
  expect(parts.nfe).toBe(whole.nfe);
  expectNear(parts.logLikelihood, whole.logLikelihood, () => 1e-5);
  expectNear(batches.logLikelihood, whole.logLikelihood, () => 1e-4);
  const second = await likelihood(shaped, data.slice(8), { ...options, first: 2 });
  expectNear(second.logLikelihood, whole.logLikelihood.slice(2), () => 1e-4);

  const probe = Float32Array.from({ length: data.length }, (_, i) => (i % 3 ? 1 : -1));
  const given = await likelihood(shaped, data, { ...options, seed: undefined, probe });
  const again = await likelihood(shaped, data, { ...options, seed: undefined, probe, batch: 5 });
  expectNear(given.logLikelihood, again.logLikelihood, () => 1e-4);
  const changes = given.logLikelihood.map((log, i) => Math.abs(log - whole.logLikelihood[i]));
  expect(Math.max(...changes)).toBeGreaterThan(0.1);
});

test('refuses an invalid probe, and repeats that would have no effect', async () => {
  const options = { shape: [D], device };
  const probe = new Float32Array(3);
  await expect(likelihood(velocity, data, { ...options, probe })).rejects.toThrow(/probe of 24 numbers.*got 3/);
  await expect(likelihood(velocity, data, { ...options, trace: 'exact', repeats: 2 })).rejects.toThrow(/repeats 2/);
  await expect(likelihood(velocity, data.slice(1), options)).rejects.toThrow(/got 23 numbers/);
});

test.each([-0.1, 1, 2, Number.NaN])('refuses epsilon %s: noise is at 0, data at 1', async (epsilon) => {
  await expect(likelihood((x) => mul(x, 2), Float32Array.of(1), { shape: [1], epsilon, device })).rejects.toThrow(
    '[likelihood] expected epsilon to be in [0, 1)',
  );
});
