/**
 * Members of the NCSN++ family against the official implementation on PyTorch: names, order and shapes of the parameters,
 * output and every gradient. The numbers are fixtures/nn/family.*, made by make_family.py there, which says by which
 * formula both sides fill weights and images.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device, Precision } from '../../src/device/device.ts';
import { toFloat32 } from '../../src/io/array.ts';
import { readNpz } from '../../src/io/npz.ts';
import { mul } from '../../src/kernels/elementwise.ts';
import { sum } from '../../src/kernels/reduce.ts';
import {
  ddpmppCifar10,
  fromOfficial,
  Initializer,
  ncsnpp256,
  type OfficialEntry,
  officialEntries,
  toOfficial,
  UNet,
  type UNetOptions,
} from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { deviceModes, openTestDevice } from '../support/devices.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/nn/${name}`, import.meta.url));
const { base, labels, members, large } = JSON.parse(readFileSync(fixture('family.json'), 'utf8')) as {
  base: Omit<UNetOptions, 'seed'>;
  labels: number[];
  members: Record<string, Partial<UNetOptions>>;
  large: Record<string, { trainable: number; keys: number; sha256: string }>;
};

let device: Device;
let arrays: Awaited<ReturnType<typeof readNpz>>;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  arrays = await readNpz(fixture('family.npz'));
}, 120_000);

/** Of the largest output; of the norm of a parameter's gradient; of the largest norm, where a gradient is rounding alone. */
const tolerances = {
  fp32: { output: 2e-5, gradient: 1e-4, rounding: 1e-6 },
  // Factors of products are off by 2^-11, which some thirty layers add up like a random walk.
  tf32: { output: 4e-3, gradient: 1e-2, rounding: 1e-4 },
  // The same with 2^-9, and every activation and its gradient is rounded.
  bf16: { output: 3e-2, gradient: 0.1, rounding: 1e-3 },
};
type Tolerance = (typeof tolerances)[Precision];

/** Where else a member is computed: on cards those of the presets. */
const cardsFor = (member: string) =>
  ['ddpmpp', 'ncsnpp'].includes(member) ? deviceModes.filter(({ name }) => name.startsWith('cuda')) : [];

function stored(name: string): Float32Array {
  const array = arrays.get(name);
  if (!array) throw new Error(`the fixture lacks ${name}`);
  return toFloat32(array);
}

/** Numbers in [-1, 1): murmur3's finaliser of element + 0x9E3779B9 (number + 1). */
function signs(number: number, size: number): Float64Array {
  const offset = Math.imul(0x9e3779b9, number + 1);
  return Float64Array.from({ length: size }, (_, i) => {
    let h = (i + offset) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return (2 * ((h ^ (h >>> 16)) >>> 0)) / 2 ** 32 - 1;
  });
}

function weights(number: number, { official, shape }: OfficialEntry): Float32Array {
  const s = signs(number, sizeOf(shape));
  const fanIn = sizeOf(shape.slice(1));
  if (shape.length > 1) return Float32Array.from(s, (v) => v * Math.sqrt(3 / fanIn));
  if (official.endsWith('.weight')) return Float32Array.from(s, (v) => 1 + 0.2 * v);
  return Float32Array.from(s, (v) => (official.endsWith('.W') ? 2 : 0.1) * v);
}

const keysOf = (entries: OfficialEntry[]) => entries.map(({ official, shape }) => `${official} ${shape.join()}`);

describe.each(Object.entries(members))('%s', (name, options) => {
  const build = (on = device) => new UNet({ ...base, ...options, seed: 0 }, new Initializer({ device: on }));

  test('names, order and shapes of the parameters', () => {
    using network = build();
    const { data } = arrays.get(`${name}/keys`) ?? {};
    const keys = new TextDecoder().decode(data as Uint8Array).split('\n');
    expect(keysOf(officialEntries(network))).toEqual(keys);
  });

  test('output and gradients', () => compare(device, tolerances.fp32));

  test.each(cardsFor(name))(
    'output and gradients on $name in $precision',
    async (mode) => compare(await openTestDevice(mode.name, mode.precision), tolerances[mode.precision]),
    240_000,
  );

  function compare(device: Device, tolerance: Tolerance): void {
    using network = build(device);
    const entries = officialEntries(network);
    const state = entries.map((entry, k) => {
      const data = weights(k, entry);
      return [entry.path, fromOfficial(entry.layout, { shape: entry.shape, data })] as const;
    });
    network.loadStateDict(new Map(state));
    network.eval();
    const shape = [labels.length, network.options.imageSize, network.options.imageSize, network.options.channels];
    const image = (number: number, factor: number) =>
      tensor(
        Float32Array.from(signs(number, sizeOf(shape)), (v) => factor * Math.fround(v)),
        { shape, device },
      );
    scope(() => {
      const x = image(1000, 1.5).requireGrad();
      const y = network.forward(x, tensor(labels, { device }));
      sum(mul(y, image(1001, 1))).backward();
      const expected = stored(`${name}/y`);
      const largest = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      const error = (y.dataSync() as Float32Array).reduce((most, v, i) => Math.max(most, Math.abs(v - expected[i])), 0);
      expect(error / largest, 'output').toBeLessThan(tolerance.output);
      const tensors = network.stateDict();
      const gradients = entries.map(({ path, layout, trainable }) => {
        const { shape, grad } = tensors.get(path) as { shape: readonly number[]; grad?: typeof x };
        return trainable && grad ? toOfficial(layout, { shape, data: grad.dataSync() as Float32Array }).data : [];
      });
      compareGradients(
        [...entries.map(({ official }) => official), 'x'],
        [...gradients, x.grad?.dataSync() ?? []],
        tolerance,
      );
    });
  }

  function compareGradients(names: string[], gradients: ArrayLike<number>[], allowed: Tolerance): void {
    const summaries = stored(`${name}/gradients`);
    expect(summaries.length).toBe(2 * names.length);
    const largest = summaries.reduce((most, v, i) => (i % 2 ? most : Math.max(most, v)), 0);
    gradients.forEach((gradient, k) => {
      const values = Array.from(gradient);
      const direction = signs(2000 + k, values.length);
      const norm = Math.sqrt(values.reduce((total, g) => total + g * g, 0));
      const product = values.reduce((total, g, i) => total + g * direction[i], 0);
      const [expectedNorm, expectedProduct] = summaries.slice(2 * k, 2 * k + 2);
      // Softmax does not see a number added to all its scores: the gradient of a key's bias is rounding.
      const rounding = names[k].endsWith('NIN_1.b');
      const tolerance = rounding ? allowed.rounding * largest : allowed.gradient * expectedNorm;
      expect(Math.abs(norm - expectedNorm), `norm of the gradient of ${names[k]}`).toBeLessThanOrEqual(tolerance);
      expect(Math.abs(product - expectedProduct), `gradient of ${names[k]}`).toBeLessThanOrEqual(2 * tolerance);
    });
  }
});

test.each([
  ['ddpmppCifar10', ddpmppCifar10, 61_804_419, 0],
  ['ncsnpp256', ncsnpp256, 65_574_421, 128],
] as const)(
  '%s: the parameters of the official configuration',
  (name, options, trainable, fixed) => {
    using network = new UNet(options, new Initializer({ device }));
    const entries = officialEntries(network);
    const count = (kind: boolean) =>
      entries.filter((entry) => entry.trainable === kind).reduce((total, { shape }) => total + sizeOf(shape), 0);
    expect([count(true), count(false)]).toEqual([trainable, fixed]);
    const sha256 = createHash('sha256').update(keysOf(entries).join('\n')).digest('hex');
    expect({ trainable, keys: entries.length, sha256 }).toEqual(large[name]);
  },
  120_000,
);

test.each([
  ['conv', [2, 3, 5, 7], [2, 5, 7, 3]],
  ['nin', [3, 2], [2, 3]],
  ['nin_conv', [3, 2], [2, 1, 1, 3]],
  ['same', [4, 3], [4, 3]],
] as const)('layout %s there and back', (layout, official, ours) => {
  const array = { shape: official, data: Float32Array.from({ length: sizeOf(official) }, (_, i) => i) };
  const here = fromOfficial(layout, array);
  expect(here.shape).toEqual(ours);
  expect(toOfficial(layout, here)).toEqual(array);
});

test('a convolution and a NIN weight land where they belong', () => {
  const conv = fromOfficial('conv', { shape: [1, 2, 1, 3], data: Float32Array.of(1, 2, 3, 10, 20, 30) });
  expect([...conv.data]).toEqual([1, 10, 2, 20, 3, 30]);
  const nin = fromOfficial('nin', { shape: [2, 3], data: Float32Array.of(1, 2, 3, 10, 20, 30) });
  expect([...nin.data]).toEqual([1, 10, 2, 20, 3, 30]);
});
