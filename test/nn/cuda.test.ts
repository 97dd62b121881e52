/** A small network trained on the card as on the CPU: outputs, gradients and losses of three steps, within constant memory. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { mse } from '../../src/kernels/loss.ts';
import { randn } from '../../src/kernels/random.ts';
import { Adam, ddpmppCifar10, Initializer, UNet, type UNetOptions } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { largestOf } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

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

const cards = deviceNames.filter((name) => name.startsWith('cuda'));

describe.each(cards)('%s', (name) => {
  let devices: Device[];
  beforeAll(async () => {
    devices = [await openTestDevice('cpu'), await openTestDevice(name)];
  }, 120_000);

  test.each(members)(
    '%s',
    (_, options) => {
      const [cpu, card] = devices.map((device) => train(options, device));
      card.losses.forEach((loss, step) => expect(Math.abs(loss / cpu.losses[step] - 1)).toBeLessThan(1e-4));
      expect([...card.gradients.keys()]).toEqual([...cpu.gradients.keys()]);
      for (const [parameter, gradient] of cpu.gradients) {
        const got = card.gradients.get(parameter) as Float32Array;
        const worst = largestOf(gradient.map((g, i) => g - got[i]));
        expect(worst, parameter).toBeLessThan(1e-4 * largestOf(gradient) + 1e-6);
      }
      expect(card.live[2]).toBe(card.live[1]);
    },
    240_000,
  );
});
