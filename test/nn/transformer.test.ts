// The transformer's block compared with PyTorch's TransformerEncoderLayer, and attention of several heads with other sequences and masks.
// The numbers are in golden/transformer.json, made by bench/pytorch/transformer.py, which states the formula of weights and inputs.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import {
  add,
  attention,
  dropout,
  gelu,
  gradients,
  jvp,
  matmul,
  mul,
  ones,
  permute,
  reshape,
  scope,
  softmax,
  sum,
  type Tensor,
  tensor,
  tril,
  where,
} from '../../src/index.ts';
import { Initializer } from '../../src/nn/init.ts';
import type { Linear } from '../../src/nn/layers.ts';
import type { Module } from '../../src/nn/module.ts';
import { MultiHeadAttention, TransformerBlock } from '../../src/nn/transformer.ts';
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

  test.each([false, true])(
    'dropout applies where it does in PyTorch, with a stream for each place; causal: %s',
    (causal) => {
      const state = { seed: 3, first: 7 };
      const options = { hidden, dropout: 0.4, stream: 20, state };
      using block = filled(new TransformerBlock(channels, heads, new Initializer({ device }), options));
      const zeroed = (t: Tensor, stream: number) => dropout(t, 0.4, { ...state, stream });
      const attend = ({ query, key, value, projection }: MultiHeadAttention, t: Tensor) => {
        const split = (layer: Linear) => permute(reshape(layer.forward(t), [n, length, heads, -1]), [0, 2, 1, 3]);
        const scores = mul(matmul(split(query), split(key), { transposeB: true }), (channels / heads) ** -0.5);
        const p = softmax(
          causal ? where(tril(ones([length, length], { dtype: 'bool', device })), scores, -1e30) : scores,
        );
        const y = permute(matmul(zeroed(p, 20), split(value)), [0, 2, 1, 3]);
        return projection.forward(reshape(y, shape));
      };
      const expected = (t: Tensor) => {
        const h = add(t, zeroed(attend(block.attention, block.norm1.forward(t)), 21));
        const inner = zeroed(gelu(block.expand.forward(block.norm2.forward(h))), 22);
        return add(h, zeroed(block.contract.forward(inner), 23));
      };
      const results = (f: (t: Tensor) => Tensor) =>
        scope(() => {
          const x = tensor(numbers(Math.cos), { shape, device, requiresGrad: true });
          const [y, tangent] = jvp(f, [x], [tensor(numbers(Math.sin), { shape, device })]);
          const [gradient] = gradients(sum(mul(y, y)), [x]);
          return [y, tangent, gradient].map((t) => t.dataSync());
        });
      const [got, wanted] = [results((t) => block.forward(t, { causal })), results(expected)];
      got.forEach((values, i) => {
        expectClose(['output', 'tangent', 'gradient'][i], values, wanted[i], { absolute: 2e-5 });
      });
      const whole = scope(() =>
        block
          .eval()
          .forward(tensor(numbers(Math.cos), { shape, device }), { causal })
          .dataSync(),
      );
      expectClose('eval', whole, golden[causal ? 'causal' : 'whole'].output, { absolute: 1e-5 });
    },
  );
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

  test('the masks of dropout belong to a sample, whatever batch it is in', () => {
    const state = { seed: 3, first: 7 };
    const options = { hidden, dropout: 0.4, stream: 20, state };
    using block = filled(new TransformerBlock(channels, heads, new Initializer({ device }), options));
    const both = block.forward(sequence(Math.cos)).dataSync();
    state.first = 8;
    const size = length * channels;
    const second = tensor(numbers(Math.cos).slice(size), { shape: [1, length, channels], device });
    expectClose('second sample', block.forward(second).dataSync(), both.slice(size), { absolute: 1e-6 });
    state.first = 9;
    expect(block.forward(second).dataSync()).not.toEqual(both.slice(size));
  });

  test('refuses dropout without a stream or state, and probabilities outside [0, 1)', () => {
    const init = new Initializer({ device });
    const state = { seed: 0, first: 0 };
    expect(() => new TransformerBlock(8, 2, init, { dropout: 0.1, state })).toThrow(
      '[TransformerBlock] expected stream and state with dropout, got no stream',
    );
    expect(() => new MultiHeadAttention(8, 2, init, { dropout: 0.1, stream: 1 })).toThrow(
      '[MultiHeadAttention] expected stream and state with dropout, got no state',
    );
    for (const dropout of [1, -0.1, Number.NaN])
      expect(() => new TransformerBlock(8, 2, init, { dropout, stream: 1, state })).toThrow(
        `[Dropout] expected a probability in [0, 1), got ${dropout}`,
      );
    expect(() =>
      attention(sequence(Math.cos), sequence(Math.cos), sequence(Math.cos), { dropout: { p: 1, seed: 0 } }),
    ).toThrow('expected a dropout probability in [0, 1), got 1');
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
