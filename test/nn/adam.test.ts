// Adam compared with its definition in float64: warm-up, weight decay, clipping of the global norm, moving average.
import { expect, test } from 'vitest';
import { checkpoint } from '../../src/autograd/checkpoint.ts';
import type { Device } from '../../src/device/device.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { Adam, Module } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

class Two extends Module {
  a: Tensor;
  b: Tensor;

  constructor(a: number[], b: number[], device?: Device) {
    super();
    this.a = tensor(a, { device, requiresGrad: true });
    this.b = tensor(b, { device, requiresGrad: true });
  }
}

const starts = [[1, -2, 0.5], Array.from({ length: 37 }, (_, i) => Math.sin(i))];
/** The gradient of element i, counted over all parameters, in step s. */
const slope = (step: number, i: number) => Math.fround(Math.cos(3 * step + i));

test.each([
  { weightDecay: 0, warmup: 0, gradientClip: -1, emaRate: 0.999 },
  { weightDecay: 0.01, warmup: 4, gradientClip: 1, emaRate: 0.9 },
])('ten updates with %j', async (options) => {
  await openTestDevice('cpu');
  using model = new Two(starts[0], starts[1]);
  const full = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, ...options };
  const optimizer = new Adam(model, full);
  const p = starts.flat().map(Math.fround);
  const ema = [...p];
  const m = p.map(() => 0);
  const v = p.map(() => 0);
  for (let step = 0; step < 10; step++) {
    scope(() => {
      const gradient = p.map((_, i) => slope(step, i));
      const a = tensor(gradient.slice(0, 3));
      const b = tensor(gradient.slice(3));
      sum(mul(model.a, a)).backward();
      sum(mul(model.b, b)).backward();
      const norm = Math.hypot(...gradient);
      expect(optimizer.step().item()).toBeCloseTo(norm, 5);
      const factor = options.gradientClip >= 0 ? Math.min(1, options.gradientClip / (norm + 1e-6)) : 1;
      const rate = full.learningRate * (options.warmup > 0 ? Math.min(step / options.warmup, 1) : 1);
      const decay = Math.min(options.emaRate, (2 + step) / (11 + step));
      p.forEach((before, i) => {
        const g = gradient[i] * factor + options.weightDecay * before;
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.999 * v[i] + 0.001 * g * g;
        const corrected = Math.sqrt(v[i] / (1 - 0.999 ** (step + 1)));
        p[i] = before - (rate * m[i]) / (1 - 0.9 ** (step + 1)) / (corrected + 1e-8);
        ema[i] -= (1 - decay) * (ema[i] - p[i]);
      });
    });
    const got = [...model.a.dataSync(), ...model.b.dataSync()];
    got.forEach((value, i) => expect(Math.abs(value - p[i])).toBeLessThan(2e-6));
  }
  const averaged = [...optimizer.state('ema')].flatMap(([, t]) => {
    const values = Array.from(t.dataSync());
    t.dispose();
    return values;
  });
  averaged.forEach((value, i) => expect(Math.abs(value - ema[i])).toBeLessThan(2e-6));
  optimizer.dispose();
});

test('skips an update with a non-finite gradient, which does not affect the next update', async () => {
  await openTestDevice('cpu');
  using model = new Two(starts[0], starts[1]);
  const optimizer = new Adam(model, { learningRate: 0.01, emaRate: 0.9 });
  const values = () => [model.a, model.b].map((t) => Array.from(t.dataSync()));
  const stepWith = (factor: number) =>
    scope(() => {
      sum(mul(model.b, factor)).backward();
      return optimizer.step().item();
    });
  const before = values();
  expect(stepWith(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
  expect(values()).toEqual(before);
  expect(Number.isFinite(stepWith(1))).toBe(true);
  expect(values()[1]).not.toEqual(before[1]);
  optimizer.dispose();
});

test.each(deviceNames.flatMap((name) => [0.999, 0.9999, 0.99999].map((beta2) => ({ name, beta2 }))))(
  'moves by the learning rate in the first update, for beta2 $beta2 on $name',
  async ({ name, beta2 }) => {
    const device = await openTestDevice(name);
    using model = new Two([0], [0, 0], device);
    const optimizer = new Adam(model, { learningRate: 1, beta2 });
    optimizer.minimize(() => sum(add(model.a, sum(model.b))));
    for (const value of [...model.a.dataSync(), ...model.b.dataSync()])
      expect(Math.abs(value + 1)).toBeLessThanOrEqual(2 ** -23);
    optimizer.dispose();
  },
);

// Rounding constants before subtracting them would cause a relative error that does not shrink with more updates.
test.each(
  deviceNames.flatMap((name) =>
    [
      { beta1: 0.9, beta2: 0.999 },
      { beta1: 0, beta2: 0.9999 },
      { beta1: 0.5, beta2: 0.9 },
    ].map((betas) => ({ name, ...betas })),
  ),
)('moments of 300 updates on $name, beta1 $beta1, beta2 $beta2', async ({ name, beta1, beta2 }) => {
  const device = await openTestDevice(name);
  using model = new Two(starts[0], starts[1], device);
  const optimizer = new Adam(model, { learningRate: 1e-3, beta1, beta2, gradientClip: 2, emaRate: 0.9999 });
  const count = starts.flat().length;
  const [m, v] = [new Float64Array(count), new Float64Array(count)];
  for (let step = 0; step < 300; step++) {
    const gradient = Float32Array.from({ length: count }, (_, i) => slope(step, i));
    const clip = Math.min(1, 2 / (Math.hypot(...gradient) + 1e-6));
    gradient.forEach((g, i) => {
      m[i] = beta1 * m[i] + (1 - beta1) * clip * g;
      v[i] = beta2 * v[i] + (1 - beta2) * (clip * g) ** 2;
    });
    optimizer.minimize(() =>
      add(
        sum(mul(model.a, tensor(gradient.slice(0, 3), { device }))),
        sum(mul(model.b, tensor(gradient.slice(3), { device }))),
      ),
    );
  }
  for (const [kind, expected] of [
    ['exp_avg', m],
    ['exp_avg_sq', v],
  ] as const) {
    const got = [...optimizer.state(kind)].flatMap(([, t]) => Array.from(t.dataSync()));
    // Each update rounds a moment once, and an average over 1 / (1 - beta) updates accumulates that number of
    // roundings.
    expectClose(kind, got, expected, { relative: 2e-6, ofLargest: 1e-6 });
  }
  optimizer.dispose();
});

/** Two parameters [2] after three updates with a moving average. */
async function averaged(): Promise<{ model: Two; optimizer: Adam; update: () => void }> {
  await openTestDevice('cpu');
  const model = new Two([1, 2], [3, 4]);
  const optimizer = new Adam(model, { learningRate: 0.1, emaRate: 0.9 });
  const update = () => optimizer.minimize(() => sum(add(mul(model.a, model.a), mul(model.b, model.b))));
  for (let step = 0; step < 3; step++) update();
  return { model, optimizer, update };
}

test('shows the average to all overlapping calls of withEma, and restores the trained weights', async () => {
  const { model, optimizer } = await averaged();
  const trained = Array.from(model.a.dataSync());
  const average = [...optimizer.state('ema')].map(([, t]) => Array.from(t.dataSync()));
  const seen: number[][] = [];
  const look = (turns: number) =>
    optimizer.withEma(async () => {
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      seen.push(Array.from(model.b.dataSync()));
    });
  await Promise.all([look(1), look(5)]);
  expect(seen).toEqual([average[1], average[1]]);
  expect(Array.from(model.a.dataSync())).toEqual(trained);
  await expect(optimizer.withEma(() => Promise.reject(new Error('inside')))).rejects.toThrow('inside');
  expect(Array.from(model.a.dataSync())).toEqual(trained);
});

test('refuses an update while withEma runs, because it would be lost', async () => {
  const { model, optimizer, update } = await averaged();
  await expect(optimizer.withEma(async () => update())).rejects.toThrow(
    '[Adam.step] expected the trained weights in the module, got a call while withEma() runs',
  );
  const before = Array.from(model.a.dataSync());
  update();
  expect(Array.from(model.a.dataSync())).not.toEqual(before);
});

test.each<[string, (model: Two) => void, string]>([
  [
    'grad null',
    (model) => (model.a.grad = null),
    '[Adam.step] expected the grad of "a" to be the optimiser\'s, got a different tensor f32 [2]',
  ],
  ['a grad of its own', (model) => (model.a.grad = tensor([0, 0])), "the optimiser's, got a different tensor f32 [2]"],
  [
    'another tensor',
    (model) => (model.b = tensor([1, 2], { requiresGrad: true })),
    '[Adam.step] expected "b" to be the tensor that the optimiser put there, got a different tensor f32 [2]',
  ],
  ['another optimiser', (model) => new Adam(model), 'expected "a" to be the tensor that the optimiser put there'],
])('a parameter with %s is refused: it would not be trained', async (_, change, message) => {
  const { model, update } = await averaged();
  change(model);
  expect(update).toThrow(message);
});

test('refuses a tensor under two names, and a computed tensor, before moving anything', async () => {
  await openTestDevice('cpu');
  const model = new Two([1, 2], [3, 4]);
  const { a, b } = model;
  model.b = a;
  expect(() => new Adam(model)).toThrow('expected one name per tensor, got the same tensor as "a" and "b"');
  model.b = mul(a, 2);
  expect(() => new Adam(model)).toThrow('expected parameters that are leaves, got "b", tensor of mul f32 [2]');
  expect([a.disposed, b.disposed, model.a === a]).toEqual([false, false, true]);
});

test('leaves no gradient when minimize fails in backward', async () => {
  const { model, optimizer } = await averaged();
  let calls = 0;
  const part = (x: Tensor) => {
    if (calls++ > 0) throw new Error('the second time');
    return mul(x, x);
  };
  const failing = () => optimizer.minimize(() => add(sum(checkpoint(part, [model.a])), sum(mul(model.b, model.b))));
  expect(failing).toThrow('the second time');
  for (const t of [model.a, model.b]) expect(Array.from(t.grad?.dataSync() ?? [])).toEqual([0, 0]);
});
