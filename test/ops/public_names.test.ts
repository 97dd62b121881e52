// Every op of the table has a public name in src/index.ts and is a method in src/fluent.ts, or a reason why not.
import { expect, test } from 'vitest';
import * as engine from '../../src/index.ts';
import { ops } from '../../src/kernels/index.ts';
import { openTestDevice } from '../support/devices.ts';

const own = () => Object.getOwnPropertyNames(engine.Tensor.prototype);
const before = new Set(own());
await import('../../src/fluent.ts');
const methods = own().filter((name) => !before.has(name));

/** Ops of the table that src/index.ts does not export. */
const notExported: Record<string, string> = {
  castToWhole: 'is what cast() uses for i32, u8 and bool',
  flashAttention: 'is what attention() uses for heads, masks and causal attention',
  linearCombination: 'is a step of the solvers, which rectiflow/flow exports',
};

/** Functions of src/index.ts that take tensors but are not methods. */
const notMethods: Record<string, string> = {
  checkFinite: 'takes a function',
  checkpoint: 'takes a function',
  compile: 'takes a function',
  concat: 'takes a list of tensors',
  customGradient: 'takes functions',
  defineOp: 'takes a definition',
  einsum: 'takes an equation first',
  enableGrad: 'takes a function',
  gradients: 'takes a list of tensors; backward() is the method',
  jvp: 'takes a function',
  keep: 'takes any structure that holds tensors',
  linearize: 'takes a function',
  meshgrid: 'takes a list of tensors',
  noGrad: 'takes a function',
  scope: 'takes a function',
  stack: 'takes a list of tensors',
  vjp: 'takes a function',
};

/** Functions of src/index.ts that make tensors or take none. */
const makers = [
  ...['arange', 'bernoulli', 'empty', 'exponential', 'eye', 'full', 'linspace', 'logspace', 'ones', 'openDevice'],
  ...['openScope', 'permutation', 'randint', 'randn', 'tensor', 'truncatedNormal', 'uniform', 'zeros'],
];

/** Names of the functions of src/index.ts; classes have names that begin with a capital. */
const functions = Object.entries(engine).flatMap(([name, value]) =>
  typeof value === 'function' && /^[a-z]/.test(name) ? [name] : [],
);

test('src/index.ts exports every op of src/kernels/index.ts', () => {
  const missing = Object.keys(ops).filter((name) => !(name in engine) && !(name in notExported));
  expect(missing, 'ops of src/kernels/index.ts that src/index.ts does not export').toEqual([]);
});

test('src/fluent.ts has every op of src/index.ts that takes a tensor first', () => {
  const left = new Set([...Object.keys(notMethods), ...makers]);
  const missing = functions.filter((name) => !methods.includes(name) && !left.has(name));
  expect(missing, 'functions of src/index.ts that are not methods in src/fluent.ts').toEqual([]);
});

test('every method of src/fluent.ts is a function of src/index.ts', () => {
  expect(methods.filter((name) => !functions.includes(name))).toEqual([]);
});

test('what is left out exists, and is left out', () => {
  for (const name of Object.keys(notExported)) {
    expect(Object.keys(ops)).toContain(name);
    expect(Object.keys(engine)).not.toContain(name);
  }
  for (const name of [...Object.keys(notMethods), ...makers]) {
    expect(functions).toContain(name);
    expect(methods).not.toContain(name);
  }
});

test('a method is the function of its name, of the tensor and the arguments', async () => {
  const device = await openTestDevice('cpu');
  engine.scope(() => {
    const x = engine.tensor(
      [
        [1, -2, 3],
        [4, 5, -6],
      ],
      { device },
    );
    const index = engine.tensor([1, 0], { dtype: 'i32', device });
    const values = (t: engine.Tensor) => [t.shape, t.dtype, [...t.dataSync()]];
    for (const [method, call] of [
      [x.less(2), engine.less(x, 2)],
      [
        x.greaterEqual(x.transpose().reshape([2, 3])),
        engine.greaterEqual(x, engine.reshape(engine.transpose(x), [2, 3])),
      ],
      [x.notEqual(3), engine.notEqual(x, 3)],
      [x.greater(0).where(x, 0), engine.where(engine.greater(x, 0), x, 0)],
      [
        x.pad(
          [
            [0, 1],
            [2, 0],
          ],
          7,
        ),
        engine.pad(
          x,
          [
            [0, 1],
            [2, 0],
          ],
          7,
        ),
      ],
      [x.gather(index), engine.gather(x, index)],
      [index.oneHot(3), engine.oneHot(index, 3)],
      [x.slice([0, 1], [1, 2]).broadcastTo([4, 2]), engine.broadcastTo(engine.slice(x, [0, 1], [1, 2]), [4, 2])],
      [x.split(3, 1)[1], engine.split(x, 3, 1)[1]],
      [x.cast('i32'), engine.cast(x, 'i32')],
      [x.logSoftmax({ axis: 0 }), engine.logSoftmax(x, { axis: 0 })],
      [x.mse(x.abs()), engine.mse(x, engine.abs(x))],
      [x.crossEntropy(index), engine.crossEntropy(x, index)],
    ])
      expect(values(method)).toEqual(values(call));
  });
});
