// A small network trained on the GPU and on the CPU: equal outputs, gradients and losses of three steps in constant
// memory.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { cast } from '../../src/kernels/cast.ts';
import { mse } from '../../src/kernels/loss.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { Adam, ddpmppCifar10, Initializer, Linear, UNet, type UNetOptions } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { largestOf } from '../support/compare.ts';
import { deviceModes, openTestDevice } from '../support/devices.ts';

const small: UNetOptions = {
  ...ddpmppCifar10,
  imageSize: 8,
  baseChannels: 8,
  channelMultipliers: [1, 2],
  residualBlocks: 1,
  attentionResolutions: [4],
  initScale: 1,
  dropout: 0.1,
  seed: 3,
};

const members: [string, Partial<UNetOptions>][] = [
  ['DDPM++', {}],
  [
    'NCSN++',
    { fir: true, progressive: 'output_skip', progressiveInput: 'input_skip', embedding: 'fourier', fourierScale: 1 },
  ],
];

interface Run {
  losses: number[];
  gradients: Map<string, Float32Array>;
  live: number[];
}

function train(options: Partial<UNetOptions>, device: Device): Run {
  const all = { ...small, ...options };
  using network = new UNet(all, new Initializer({ seed: all.seed, device }));
  network.train();
  const optimizer = new Adam(network, { learningRate: 1e-3, gradientClip: 1, emaRate: 0.9 });
  const x = randn([2, 8, 8, 3], { seed: 1, device });
  const target = randn([2, 8, 8, 3], { seed: 2, device });
  const labels = tensor([100, 411], { device });
  const run: Run = { losses: [], gradients: new Map(), live: [] };
  for (let step = 0; step < 3; step++) {
    scope(() => {
      const loss = mse(network.forward(x, labels), target);
      run.losses.push(loss.item());
      loss.backward();
      if (step === 0)
        for (const [name, t] of network.namedParameters())
          if (t.grad) run.gradients.set(name, t.grad.dataSync() as Float32Array);
      optimizer.step();
    });
    run.live.push(device.memory().live);
  }
  for (const t of [x, target, labels, optimizer]) t.dispose();
  return run;
}

/**
 * Tolerances relative to the CPU: of the losses (relative), of all gradients together (the norm of the difference over
 * the norm), and of the gradients of one parameter (relative to its largest; `rounding` is absolute, for the biases of
 * keys, whose gradients are mere rounding errors).
 */
const tolerances = {
  // Sums are in a different order.
  fp32: { loss: 1e-4, all: 1e-5, gradient: 1e-4, rounding: 1e-6 },
  // Factors of products have a relative error of 2^-11, which some thirty layers accumulate like a random walk.
  tf32: { loss: 1e-3, all: 4e-3, gradient: 1e-2, rounding: 1e-6 },
  // The same with 2^-9; also, every activation and its gradient is rounded. The gradients of one attention happen to
  // have a larger error.
  bf16: { loss: 1e-2, all: 0.04, gradient: 0.2, rounding: 1e-5 },
};

const cards = deviceModes.filter(({ name }) => name.startsWith('cuda'));

describe.each(cards)('$name in $precision', ({ name, precision }) => {
  let devices: Device[];
  beforeAll(async () => {
    devices = [await openTestDevice('cpu'), await openTestDevice(name, { precision })];
  }, 120_000);

  test.each(members)(
    '%s',
    (_, options) => {
      const tolerance = tolerances[precision];
      const [cpu, card] = devices.map((device) => train(options, device));
      card.losses.forEach((loss, step) => expect(Math.abs(loss / cpu.losses[step] - 1)).toBeLessThan(tolerance.loss));
      expect([...card.gradients.keys()]).toEqual([...cpu.gradients.keys()]);
      let [difference, size] = [0, 0];
      for (const [parameter, gradient] of cpu.gradients) {
        const got = card.gradients.get(parameter) as Float32Array;
        for (const [i, g] of gradient.entries()) {
          difference += (g - got[i]) ** 2;
          size += g ** 2;
        }
        const worst = largestOf(gradient.map((g, i) => g - got[i]));
        expect(worst, parameter).toBeLessThan(tolerance.gradient * largestOf(gradient) + tolerance.rounding);
      }
      expect(Math.sqrt(difference / size)).toBeLessThan(tolerance.all);
      expect(card.live[2]).toBe(card.live[1]);
    },
    240_000,
  );

  test.each(precision === 'bf16' ? ['weights'] : [])('keeps the copies of the %s in sync', async () => {
    const device = devices[1];
    using layer = new Linear(3, 2, new Initializer({ seed: 1, device }));
    const optimizer = new Adam(layer, { learningRate: 0.1, emaRate: 0.5 });
    const expectSame = () => {
      const rounded = scope(() => cast(layer.weight, 'bf16').dataSync());
      expect(layer.weight.bf16?.dataSync()).toEqual(rounded);
    };
    expectSame();
    const x = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3], device });
    optimizer.minimize(() => sum(cast(layer.forward(cast(x, 'bf16')), 'f32')));
    expectSame();
    const trained = layer.weight.dataSync();
    await optimizer.withEma(async () => {
      expect(layer.weight.dataSync()).not.toEqual(trained);
      expectSame();
    });
    expectSame();
    const bias = { shape: [2], data: Float32Array.of(0, 0) };
    layer.loadStateDict(
      new Map([
        ['weight', { shape: [2, 3], data: new Float32Array(6).fill(1 / 3) }],
        ['bias', bias],
      ]),
    );
    expectSame();
    for (const t of [x, optimizer]) t.dispose();
  });
});
