// Two consecutive group norms of nearly constant groups: the rounding error of the mean is amplified by the ratio of mean to
// deviation. Values and gradients are compared with the definition in float64, from the same floats.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { cast } from '../../src/kernels/cast.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import { groupNorm } from '../../src/kernels/group_norm.ts';
import { chunksOf } from '../../src/kernels/inner/group_norm_chunks.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { largestOf } from '../support/compare.ts';
import { deviceModes, lesserModes, openTestDevice } from '../support/devices.ts';
import { signs } from '../support/family.ts';

const [pixels, channels, eps] = [256, 24, 1e-12];

const cards = deviceModes.filter(({ name }) => name.startsWith('cuda'));
const modes = [
  ...deviceModes.filter(({ precision, exact }) => precision === 'fp32' && exact),
  ...lesserModes,
  { name: 'wasm', precision: 'fp32' as const, exact: true, march: undefined, label: 'wasm' },
];

/** The definition of a norm of one sample [pixels, channels] in one group. */
class Definition {
  readonly y: Float64Array;
  private readonly normal: Float64Array;
  private readonly rstd: number;
  private readonly weight: ArrayLike<number>;

  constructor(x: ArrayLike<number>, weight: ArrayLike<number>, bias: ArrayLike<number>) {
    const values = Float64Array.from(x);
    const mean = values.reduce((total, v) => total + v, 0) / values.length;
    const variance = values.reduce((total, v) => total + (v - mean) ** 2, 0) / values.length;
    this.weight = weight;
    this.rstd = 1 / Math.sqrt(variance + eps);
    this.normal = values.map((v) => (v - mean) * this.rstd);
    this.y = this.normal.map((v, i) => v * weight[i % channels] + bias[i % channels]);
  }

  gradients(dy: ArrayLike<number>) {
    const { normal, rstd, weight } = this;
    const [dweight, dbias] = [new Float64Array(channels), new Float64Array(channels)];
    let [level, slope] = [0, 0];
    normal.forEach((v, i) => {
      const c = i % channels;
      dweight[c] += dy[i] * v;
      dbias[c] += dy[i];
      level += (dy[i] * weight[c]) / normal.length;
      slope += (dy[i] * weight[c] * v) / normal.length;
    });
    return { dx: normal.map((v, i) => rstd * (dy[i] * weight[i % channels] - level - v * slope)), dweight, dbias };
  }
}

describe.each(modes)('$label', (mode) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(mode.name, mode);
  }, 120_000);

  test.each([
    { centre: 0, spread: 1 },
    { centre: 0.1, spread: 1e-3 },
    { centre: -3, spread: 1e-4 },
    { centre: 1000, spread: 0.1 },
  ])('two norms of values around $centre with noise of $spread match float64', ({ centre, spread }) => {
    const x = Float32Array.from(signs(0, pixels * channels), (s) => centre + spread * s);
    const dy = Float32Array.from(signs(1, pixels * channels));
    const weights = [2, 3].map((k) => Float32Array.from(signs(k, channels), (s) => 1 + 0.2 * s));
    const biases = [4, 5].map((k) => Float32Array.from(signs(k, channels)));
    const got = scope(() => {
      const leaf = (values: Float32Array, shape: number[]) => tensor(values, { shape, device, requiresGrad: true });
      const image = leaf(x, [1, 16, 16, channels]);
      const [w, b] = [weights, biases].map((vectors) => vectors.map((values) => leaf(values, [channels])));
      const h = groupNorm(image, w[0], b[0], { groups: 1, eps });
      const y = groupNorm(h, w[1], b[1], { groups: 1, eps });
      y.backward(tensor(dy, { shape: y.shape, device }));
      const named = {
        y: y.dataSync(),
        dx: image.grad,
        dweight0: w[0].grad,
        dweight1: w[1].grad,
        dbias0: b[0].grad,
        dbias1: b[1].grad,
      };
      return Object.entries(named).map(([name, t]) => [name, t && 'dataSync' in t ? t.dataSync() : t] as const);
    });
    const first = new Definition(x, weights[0], biases[0]);
    const second = new Definition(first.y, weights[1], biases[1]);
    const outer = second.gradients(dy);
    const inner = first.gradients(outer.dx);
    const want: Record<string, Float64Array> = {
      ...{ y: second.y, dx: inner.dx, dweight0: inner.dweight, dweight1: outer.dweight },
      ...{ dbias0: inner.dbias, dbias1: outer.dbias },
    };
    for (const [name, values] of got) {
      const error = largestOf(want[name].map((v, i) => v - (values as Float32Array)[i]));
      expect(error / largestOf(want[name]), name).toBeLessThan(2e-6);
    }
  });

  test('a constant group gives the bias, however its mean is rounded', () => {
    const y = scope(() => {
      const x = tensor(new Float32Array(pixels * channels).fill(0.1), { shape: [1, pixels, channels], device });
      const [weight, bias] = [1, 0.5].map((v) => tensor(new Float32Array(channels).fill(v), { device }));
      return groupNorm(x, weight, bias, { groups: 2, eps: 1e-12 }).dataSync();
    });
    for (const value of y) expect(value).toBeCloseTo(0.5, 5);
  });

  test('the gradients of weight and bias are 0 for images without pixels', () => {
    scope(() => {
      for (let i = 0; i < 4; i++) tensor(new Float32Array(64).fill(Number.NaN), { device }).dispose();
      const [weight, bias] = [1, 0].map((v) => tensor([v, v, v, v], { device, requiresGrad: true }));
      groupNorm(tensor([], { shape: [2, 0, 4], device }), weight, bias, { groups: 2 }).backward(
        tensor([], { shape: [2, 0, 4], device }),
      );
      for (const t of [weight, bias]) expect(Array.from(t.grad?.dataSync() ?? [])).toEqual([0, 0, 0, 0]);
    });
  });

  test('a group whose squares overflow gives NaN, as in PyTorch, not 0', () => {
    const y = scope(() => {
      const x = tensor([1e20, -1e20, 1e20, 1e20, 1e18, -1e18, 1e18, 1e18], { shape: [2, 4], device });
      const [weight, bias] = [1, 0].map((v) => tensor([v, v, v, v], { device }));
      return groupNorm(x, weight, bias, { groups: 1 }).dataSync();
    });
    expect(Array.from(y.slice(0, 4))).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
    expect(y[5]).toBeCloseTo(-Math.sqrt(3), 5);
  });
});

describe.each(cards)('large images on $label', ({ name, precision }) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name, { precision });
  }, 120_000);

  // Groups of 12 channels, of which one is in both parts.
  const [side, parts, groups] = [72, [8, 16], 2];
  const inputs = parts.map((width, i) => Float32Array.from(signs(i, side * side * width), (s) => i + s));
  const weights = [2, 3].map((k) => Float32Array.from(signs(k, 24), (s) => 1 + 0.2 * s));
  const cotangent = Float32Array.from(signs(4, side * side * 24));

  /** The norm of two parts, of which the first has another gradient too. */
  function run(on: Device, dtype: 'f32' | 'bf16'): Record<string, Float32Array> {
    return scope(() => {
      const leaf = (values: Float32Array, shape: number[]) => tensor(values, { shape, device: on, requiresGrad: true });
      const [a, b] = parts.map((width, i) => leaf(inputs[i], [1, side, side, width]));
      const [weight, bias] = weights.map((values) => leaf(values, [24]));
      const [first, second] = [cast(mul(a, 1), dtype), cast(b, dtype)];
      const y = groupNorm([first, second], weight, bias, { groups, activation: 'silu' });
      const used = tensor(cotangent, { shape: y.shape, device: on });
      add(sum(mul(cast(y, 'f32'), used)), sum(mul(cast(first, 'f32'), 0.5))).backward();
      const named = { y: cast(y, 'f32'), da: a.grad, db: b.grad, dweight: weight.grad, dbias: bias.grad };
      return Object.fromEntries(
        Object.entries(named).map(([key, t]) => [key, (t as Tensor).dataSync() as Float32Array]),
      );
    });
  }

  test('their pixels are divided among blocks, with the results of the CPU, twice with the same bits', async () => {
    const expected = run(await openDevice('cpu'), 'f32');
    const got = run(device, precision === 'bf16' ? 'bf16' : 'f32');
    expect(run(device, precision === 'bf16' ? 'bf16' : 'f32')).toEqual(got);
    for (const [key, values] of Object.entries(expected)) {
      const error = largestOf(values.map((v, i) => v - got[key][i]));
      expect(error / largestOf(values), key).toBeLessThan(precision === 'bf16' ? 1e-2 : 1e-5);
    }
  });
});

test('a norm of a few images of 256 x 256 has enough blocks for a card, however few its images', () => {
  const { chunk, chunks } = chunksOf(256 * 256);
  expect(chunks).toBeGreaterThanOrEqual(2 * 32);
  expect(chunk * (chunks - 1)).toBeLessThan(256 * 256);
  expect(chunk * chunks).toBeGreaterThanOrEqual(256 * 256);
  for (const pixels of [1, 4, 6400, 72 * 72, 1024 * 1024]) {
    const division = chunksOf(pixels);
    expect(division.chunk % 4).toBe(0);
    expect(division.chunk * division.chunks).toBeGreaterThanOrEqual(pixels);
    expect(division.chunk * (division.chunks - 1)).toBeLessThan(pixels);
  }
});
