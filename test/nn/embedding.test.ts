// Time embeddings compared with PyTorch.
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { sinusoidalEmbedding } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

/**
 * torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000) / (half - 1))) as in the official
 * get_timestep_embedding, computed with PyTorch 2.13: all values for half 8, and some for half 64.
 */
const frequencies: { half: number; at: Record<number, number> }[] = [
  {
    half: 8,
    at: [
      ...[1, 0.2682695984840393, 0.07196857035160065, 0.019306981936097145],
      ...[0.005179475527256727, 0.001389495562762022, 0.00037275953218340874, 9.99999901978299e-5],
    ],
  },
  { half: 64, at: { 1: 0.86398845911026, 20: 0.0537228137254715, 40: 0.0028861407190561295, 63: 9.99999901978299e-5 } },
];

test.each(frequencies)(
  'computes the $half frequencies of a sinusoidal embedding with the official bits',
  ({ half, at }) => {
    // The sine of such a small angle is the angle.
    const label = 2 ** -20;
    const sines = scope(() => sinusoidalEmbedding(tensor([label], { device }), 2 * half).dataSync());
    for (const [i, frequency] of Object.entries(at)) expect(sines[Number(i)] / label).toBe(frequency);
  },
);

test("has diffusers' frequencies and order with a shift of 0 and cosines first", () => {
  // torch.exp(-math.log(10000) * torch.arange(half) / half), computed with PyTorch 2.13.
  const at = { 1: 0.9440608620643616, 20: 0.3162277638912201, 77: 0.011885019950568676, 159: 0.00010592537000775337 };
  const label = 2 ** -20;
  const options = { shift: 0, cosineFirst: true } as const;
  const waves = scope(() => sinusoidalEmbedding(tensor([label], { device }), 320, options).dataSync());
  for (const [i, frequency] of Object.entries(at)) {
    const error = Math.abs(waves[160 + Number(i)] / label - frequency);
    // The exponential function of PyTorch is off by up to one unit in the last place.
    expect(error / frequency).toBeLessThan(2 ** -23);
    expect(waves[Number(i)]).toBe(1);
  }
  expect(() => sinusoidalEmbedding(tensor([1], { device }), 8, { maxPeriod: 1 } as never)).toThrow(
    'expected options among shift, cosineFirst',
  );
});
