// The UNet as a whole: its shapes, its gradient compared with differences of the loss, its random draws, its state.
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { mse } from '../../src/kernels/loss.ts';
import { randn } from '../../src/kernels/random.ts';
import { ddpmppCifar10, Initializer, UNet, type UNetOptions } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

const small: UNetOptions = {
  ...ddpmppCifar10,
  imageSize: 8,
  baseChannels: 8,
  channelMultipliers: [1, 2],
  residualBlocks: 1,
  attentionResolutions: [4],
  // Weights of 1e-10 would hide half of the network from the test.
  initScale: 1,
  seed: 3,
};

const ncsnpp: Partial<UNetOptions> = {
  fir: true,
  progressive: 'output_skip',
  progressiveInput: 'input_skip',
  embedding: 'fourier',
  fourierScale: 1,
};

function build(options: Partial<UNetOptions> = {}): UNet {
  const all = { ...small, ...options };
  return new UNet(all, new Initializer({ seed: all.seed, device }));
}

const inputs = (n: number) => ({
  x: randn([n, 8, 8, 3], { seed: 1, device }),
  target: randn([n, 8, 8, 3], { seed: 2, device }),
  labels: tensor(
    Array.from({ length: n }, (_, i) => 100 + 311 * i),
    { device },
  ),
});

test.each([
  ['positional', {}],
  ['fourier, scaled by sigma', { embedding: 'fourier', scaleBySigma: true, dropout: 0 }],
  ['unconditional, data in [0, 1], no rescaling', { conditional: false, centered: false, skipRescale: false }],
  ['NCSN++', { ...ncsnpp, dropout: 0.15 }],
  ['residual pyramids, elu', { fir: true, progressive: 'residual', progressiveInput: 'residual', nonlinearity: 'elu' }],
  ['DDPM blocks, input joined by cat', { resblock: 'ddpm', progressiveInput: 'input_skip', progressiveCombine: 'cat' }],
  ['DDPM blocks with a filter of three taps', { resblock: 'ddpm', fir: true, firKernel: [1, 2, 1] }],
  ['divided by the noise scale', { scaleBySigma: true, sigmaMin: 0.5, sigmaMax: 2 }],
] as [string, Partial<UNetOptions>][])('%s: the gradient of the loss along a direction', (_, options) => {
  using network = build(options);
  const { x, target, labels } = inputs(2);
  const loss = () => mse(network.forward(x, labels), target);
  scope(() => loss().backward());
  const parameters = [...network.namedParameters()].map(([name, t], i) => ({
    name,
    t,
    value: Float32Array.from(t.dataSync()),
    slope: Float32Array.from(t.grad?.dataSync() ?? []),
    direction: randn([t.size], { seed: 9, stream: i, device }).dataSync() as Float32Array,
  }));
  const at = (h: number) => {
    for (const { t, value, direction } of parameters)
      device.upload(
        t.address,
        Float32Array.from(value, (v, i) => v + h * direction[i]),
      );
    return scope(() => loss().item());
  };
  const predicted = parameters.reduce(
    (sum, { slope, direction }) => sum + slope.reduce((s, g, i) => s + g * direction[i], 0),
    0,
  );
  // Richardson extrapolation of two central differences, because f32 rounding does not allow smaller steps.
  const difference = (h: number) => (at(h) - at(-h)) / (2 * h);
  const measured = (4 * difference(1e-3) - difference(2e-3)) / 3;
  const unused = parameters.filter(({ slope }) => slope.length === 0).map(({ name }) => name);
  expect(unused.filter((name) => options.conditional !== false || !name.includes('timeProjection'))).toEqual([]);
  expect(Math.abs(measured - predicted)).toBeLessThan(0.01 * Math.abs(predicted) + 1e-3);
});

test('gives results for a sample that do not depend on its batch, in training too', () => {
  using network = build();
  const { x, labels } = inputs(3);
  const rows = (sample: number, from: number, to: number) => {
    network.dropoutState.first = sample;
    return scope(() => {
      const width = 8 * 8 * 3;
      const part = tensor(x.dataSync().slice(from * width, to * width), { shape: [to - from, 8, 8, 3], device });
      const times = tensor(labels.dataSync().slice(from, to), { device });
      return Array.from(network.train().forward(part, times).dataSync());
    });
  };
  const [all, last] = [rows(40, 0, 3), rows(42, 2, 3)];
  const tail = all.slice(2 * 8 * 8 * 3);
  last.forEach((value, i) => expect(Math.abs(value - tail[i])).toBeLessThan(1e-5));
});

test.each<[string, Partial<UNetOptions>]>([
  ['DDPM++', {}],
  ['NCSN++', ncsnpp],
  [
    'DDPM blocks, residual pyramids',
    { resblock: 'ddpm', fir: true, progressive: 'residual', progressiveInput: 'residual' },
  ],
])('%s: output and gradients have the same bits with 1, 2 and 3 threads', async (_, options) => {
  const bits = async (threads: number) => {
    const pool = await openDevice('cpu', { threads });
    const all = { ...small, ...options };
    using network = new UNet(all, new Initializer({ seed: all.seed, device: pool }));
    const x = randn([2, 8, 8, 3], { seed: 1, device: pool });
    return scope(() => {
      const y = network.forward(x, tensor([100, 411], { device: pool }));
      mse(y, randn([2, 8, 8, 3], { seed: 2, device: pool })).backward();
      return [y, ...[...network.namedParameters()].map(([, t]) => t.grad as Tensor)].map((t) =>
        Array.from(t.dataSync()),
      );
    });
  };
  const one = await bits(1);
  for (const threads of [2, 3]) expect(await bits(threads)).toEqual(one);
});

test.each<[string, Partial<UNetOptions>]>([
  ['DDPM++', {}],
  ['NCSN++', { embedding: 'fourier', fir: true, progressive: 'output_skip', progressiveInput: 'input_skip' }],
  ['DDPM blocks, residual pyramids', { resblock: 'ddpm', progressive: 'residual', progressiveInput: 'residual' }],
])('%s: activation checkpointing gives every parameter the same gradient, bit for bit', (_, options) => {
  const gradientsOf = (activationCheckpointing: boolean) => {
    using network = build({ ...options, dropout: 0.3, activationCheckpointing });
    const { x, target, labels } = inputs(2);
    network.dropoutState.first = 10;
    scope(() => {
      const loss = mse(network.train().forward(x, labels), target);
      // Changes that the next micro-batch and an evaluation would make before backward.
      network.dropoutState.first = 99;
      network.eval();
      loss.backward();
      expect([network.dropoutState.first, network.training, network.middle[0].training]).toEqual([99, false, false]);
    });
    return new Map([...network.namedParameters()].map(([name, { grad }]) => [name, grad?.dataSync()]));
  };
  const plain = gradientsOf(false);
  expect([...plain.values()].every((gradient) => gradient !== undefined)).toBe(true);
  expect(gradientsOf(true)).toEqual(plain);
});

test('a fresh official network is nearly zero everywhere', () => {
  using network = build({ initScale: 0 });
  const { x, labels } = inputs(2);
  const y = scope(() => Array.from(network.eval().forward(x, labels).dataSync()));
  expect(Math.max(...y.map(Math.abs))).toBeLessThan(1e-3);
});

test('copies state between networks by name', () => {
  using a = build();
  using b = build({ seed: 4 });
  const { x, labels } = inputs(1);
  const output = (network: UNet) => scope(() => Array.from(network.eval().forward(x, labels).dataSync()));
  expect(output(b)).not.toEqual(output(a));
  b.loadStateDict(
    new Map([...a.stateDict()].map(([name, t]) => [name, { shape: t.shape, data: t.dataSync() as Float32Array }])),
  );
  expect(output(b)).toEqual(output(a));
});

test.each<[Partial<UNetOptions>, RegExp]>([
  [{ imageSize: 9 }, /imageSize 9 cannot be halved 1 times/],
  [{ baseChannels: 7 }, /baseChannels must be even/],
  [{ channelMultipliers: [] }, /at least one level/],
  [{ dropout: 1 }, /dropout must be in \[0, 1\)/],
  [{ resblock: 'resnet' as 'ddpm' }, /expected resblock to be one of "biggan", "ddpm", got "resnet"/],
  [
    { nonlinearity: 'silu' as 'swish' },
    /expected nonlinearity to be one of "swish", "relu", "elu", "lrelu", got "silu"/,
  ],
  [{ progressive: 'input_skip' as 'residual' }, /expected progressive to be one of "none", "output_skip", "residual"/],
  [{ firKernel: [1, -1] }, /firKernel must have a finite sum other than 0, got \[1,-1\]/],
  [{ firKernel: [] }, /firKernel must have/],
  [{ sigmaMin: 0 }, /sigmaMin must be a finite number > 0, got 0/],
  [{ numScales: 1 }, /numScales must be a whole number >= 2/],
  [{ baseChannels: 140 }, /a group norm of 140 channels cannot have 32 groups of equal size/],
])('refuses %j', (options, message) => {
  expect(() => build(options)).toThrow(message);
});

test('refuses images of another size and labels of another count', () => {
  using network = build();
  const { x, labels } = inputs(2);
  expect(() => network.forward(randn([2, 16, 16, 3], { seed: 0, device }), labels)).toThrow(
    '[unet] expected images [N, 8, 8, 3], got [2, 16, 16, 3]',
  );
  expect(() => network.forward(x, tensor([1], { device }))).toThrow('labels [2]');
});

test('refuses a label beyond the noise scales, with its index', () => {
  using network = build({ scaleBySigma: true, numScales: 300 });
  const { x, labels } = inputs(2);
  expect(() => network.forward(x, labels)).toThrow('[gather] index 411 at position 1 is outside [0, 300)');
});
