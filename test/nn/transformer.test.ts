// The transformer's block compared with PyTorch's TransformerEncoderLayer, and attention of several heads with other sequences and masks.
// The numbers are in golden/transformer.json, made by bench/pytorch/transformer.py, which states the formula of weights and inputs.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { Initializer } from '../../src/nn/init.ts';
import type { Module } from '../../src/nn/module.ts';
import { MultiHeadAttention, TransformerBlock } from '../../src/nn/transformer.ts';
import { tensor } from '../../src/tensor/create.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

interface Numbers {
  output: number[];
  gradient: number[];
}

const golden: Record<'whole' | 'causal', Numbers> = JSON.parse(
  readFileSync(new URL('../golden/transformer.json', import.meta.url), 'utf8'),
);
const [n, length, channels, heads, hidden] = [2, 4, 8, 2, 12];
const shape = [n, length, channels];
const numbers = (f: (i: number) => number, count = n * length * channels) =>
  Float32Array.from({ length: count }, (_, i) => f(i));

/** Fills the parameters of a module by the formula. */
function filled<M extends Module>(module: M): M {
  let first = 0;
  for (const [, p] of module.namedParameters()) {
    const start = first;
    p.write(numbers((i) => 0.4 * Math.sin(start + i + 1), p.size));
    first += p.size;
  }
  return module;
}

describe.each([...new Set([...deviceNames, 'wasm'])])('on %s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test.each(['whole', 'causal'] as const)('TransformerBlock equals that of PyTorch, %s', (which) => {
    using block = filled(new TransformerBlock(channels, heads, new Initializer({ device }), { hidden }));
    const x = tensor(numbers(Math.cos), { shape, device, requiresGrad: true });
    const y = block.forward(x, { causal: which === 'causal' });
    y.backward(
      tensor(
        numbers((i) => Math.sin(2 * i)),
        { shape, device },
      ),
    );
    expectClose('output', y.dataSync(), golden[which].output, { absolute: 1e-5 });
    expectClose('gradient', x.grad?.dataSync() ?? [], golden[which].gradient, { absolute: 1e-5 });
  });
});

describe('on cpu', () => {
  let device: Device;
  let layer: MultiHeadAttention;
  beforeAll(async () => {
    device = await openTestDevice('cpu');
    layer = filled(new MultiHeadAttention(channels, heads, new Initializer({ device })));
  });
  const sequence = (f: (i: number) => number) => tensor(numbers(f), { shape, device });

  test('MultiHeadAttention gives the same for a sequence as its own context, and for a mask as for causal', () => {
    const [x, other] = [sequence(Math.cos), sequence(Math.cos)];
    const expected = layer.forward(x).dataSync();
    expectClose('context', layer.forward(x, { context: other }).dataSync(), expected, { absolute: 1e-6 });
    expect(layer.forward(x, { context: sequence(Math.sin) }).dataSync()).not.toEqual(expected);
    const earlier = Uint8Array.from({ length: length ** 2 }, (_, i) => (i % length <= Math.floor(i / length) ? 1 : 0));
    const mask = tensor(earlier, { shape: [1, 1, length, length], dtype: 'bool', device });
    const causal = layer.forward(x, { causal: true }).dataSync();
    expectClose('mask', layer.forward(x, { mask }).dataSync(), causal, { absolute: 1e-6 });
  });

  test('refuses heads that do not divide the channels, and sequences of other ranks', () => {
    expect(() => new MultiHeadAttention(8, 3, new Initializer({ device }))).toThrow(
      '[MultiHeadAttention] expected heads that divide 8 channels, got 3',
    );
    expect(() => layer.forward(tensor([1, 2], { device }))).toThrow(
      '[MultiHeadAttention] expected x [N, L, channels] and context [N, S, channels], got [2] and [2]',
    );
    expect(() => layer.forward(sequence(Math.cos), { heads: 2 } as never)).toThrow(
      '[MultiHeadAttention] expected options among context, mask, causal, got "heads"',
    );
  });
});
