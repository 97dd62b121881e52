// Sequential, Embedding, norms and accuracy: values, names, mode, memory, and what they refuse.
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { relu, type Tensor } from '../../src/index.ts';
import {
  accuracy,
  BatchNorm,
  Dropout,
  Embedding,
  Initializer,
  LayerNorm,
  Linear,
  RMSNorm,
  Sequential,
  SGD,
} from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { expectClose } from '../support/compare.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
let init: Initializer;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  init = new Initializer({ seed: 1, device });
});

test('Sequential applies modules and functions in order, names their parameters, and sets their mode', () => {
  const [first, second] = [new Linear(3, 4, init), new Linear(4, 2, init)];
  const dropout = new Dropout(0.5, 1, { seed: 1, first: 0 });
  using network = new Sequential([first, relu, dropout, new Sequential([second])]);
  const names = ['layers.0.weight', 'layers.0.bias', 'layers.3.layers.0.weight', 'layers.3.layers.0.bias'];
  expect([...network.stateDict().keys()]).toEqual(names);
  network.eval();
  expect(dropout.training).toBe(false);
  const x = tensor([1, -2, 3], { shape: [1, 3], device });
  const expected = scope(() => second.forward(relu(first.forward(x))).dataSync());
  expect(scope(() => network.forward(x).dataSync())).toEqual(expected);
  const { live } = device.memory();
  const y = network.forward(x);
  y.dispose();
  expect(device.memory().live).toBe(live);
  expect(scope(() => new Sequential([]).forward(x))).toBe(x);
});

test('Sequential names the layer that is not one, or returns no tensor', () => {
  expect(() => new Sequential([relu, 5 as never])).toThrow(
    '[Sequential] expected layers to be a list of modules with forward(), or functions',
  );
  const network = new Sequential([relu, () => undefined as never]);
  expect(() => network.forward(tensor([1], { device }))).toThrow(
    '[Sequential] expected a tensor from layers[1], got undefined',
  );
});

test('Embedding gives the vectors of its indices, in their shape', () => {
  using embedding = new Embedding(5, 3, init);
  const index = tensor([4, 0, 4, 1], { shape: [2, 2], dtype: 'i32', device });
  const rows = embedding.weight.dataSync();
  const y = embedding.forward(index);
  expect(y.shape).toEqual([2, 2, 3]);
  expect(Array.from(y.dataSync())).toEqual([4, 0, 4, 1].flatMap((i) => Array.from(rows.slice(3 * i, 3 * i + 3))));
  expect(() => embedding.forward(tensor([5], { dtype: 'i32', device }))).toThrow('is outside [0, 5)');
});

test('accuracy is the share of right answers; of equal logits the first counts', () => {
  const logits = tensor(
    [
      [1, 2, 0],
      [3, 0, 0],
      [1, 1, 0],
      [0, 0, 9],
    ],
    { device },
  );
  const labels = (...numbers: number[]) => tensor(numbers, { dtype: 'i32', device });
  expect(accuracy(logits, labels(1, 0, 0, 0))).toBe(0.75);
  const { live } = device.memory();
  accuracy(logits.requireGrad(), labels(1, 1, 1, 2));
  expect(device.memory().live).toBeLessThanOrEqual(live + 1024);
  expect(() => accuracy(logits, labels(1))).toThrow('[accuracy] expected logits [N, classes] and labels [N], N >= 1');
  expect(() => accuracy(logits, tensor([1, 1, 1, 1], { device }) as Tensor)).toThrow(
    '[accuracy] expected i32 operands',
  );
});

test('LayerNorm and RMSNorm normalise the last axis and apply their weights', () => {
  const x = tensor(
    [
      [1, 2, 3, 6],
      [0, 0, 4, 4],
    ],
    { device },
  );
  using layer = new LayerNorm(4, init, { eps: 0 });
  using rms = new RMSNorm(4, init, { eps: 0 });
  layer.weight.write(Float32Array.of(1, 2, 1, 1));
  layer.bias.write(Float32Array.of(0, 0, 0, 5));
  const [a, b] = [Math.sqrt(3.5), Math.sqrt(12.5)];
  expectClose('LayerNorm', layer.forward(x).dataSync(), [-2 / a, -2 / a, 0, 5 + 3 / a, -1, -2, 1, 6], {
    absolute: 1e-6,
  });
  const rows = [1, 2, 3, 6].map((v) => v / b).concat([0, 0, 4, 4].map((v) => v / Math.sqrt(8)));
  expectClose('RMSNorm', rms.forward(x).dataSync(), rows, { absolute: 1e-6 });
  expect([layer.eps, new LayerNorm(4, init).eps, new RMSNorm(4, init).eps]).toEqual([0, 1e-5, 2 ** -23]);
  expect(() => new LayerNorm(0, init)).toThrow('LayerNorm size must be a whole number >= 1, got 0');
  expect(() => new RMSNorm(4, init, { epsilon: 1 } as never)).toThrow(
    '[RMSNorm] expected options among eps, got "epsilon"',
  );
});

test('BatchNorm moves its statistics in training, uses them in evaluation, and saves them', () => {
  const norm = new BatchNorm(2, init, { momentum: 0.25 });
  const x = tensor(
    [
      [1, 10],
      [3, 30],
      [8, 20],
    ],
    { device },
  );
  const running = () => [norm.mean, norm.variance].flatMap((t) => Array.from(t.dataSync()));
  // The means are 4 and 20; the variances 26/3 and 200/3, with n - 1 they are 13 and 100.
  const y = norm.forward(x).dataSync();
  expectClose('training', [y[0], y[3]], [-3 / Math.sqrt(26 / 3 + 1e-5), 10 / Math.sqrt(200 / 3 + 1e-5)], {
    absolute: 1e-6,
  });
  expectClose('statistics', running(), [1, 5, 0.75 + 13 / 4, 0.75 + 25], { absolute: 1e-5 });
  norm.eval();
  const z = norm.forward(x).dataSync();
  expectClose('evaluation', [z[0], z[1]], [0, 5 / Math.sqrt(25.75)], { absolute: 1e-5 });
  expectClose('statistics', running(), [1, 5, 4, 25.75], { absolute: 1e-5 });
  expect([...norm.stateDict().keys()]).toEqual(['weight', 'bias', 'mean', 'variance']);
  const optimizer = new SGD(norm);
  expect([...optimizer.state('ema')].map(([name]) => name)).toEqual(['weight', 'bias']);
  const copy = new BatchNorm(2, init).eval();
  copy.loadStateDict(norm.stateDict());
  expect(copy.forward(x).dataSync()).toEqual(z);
});
