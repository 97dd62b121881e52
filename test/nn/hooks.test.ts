// Hooks of modules: they see, and may replace, what forward takes and returns.
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { mul } from '../../src/kernels/elementwise.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { Initializer, Linear, MLP, Module, registerForwardHook, registerForwardPreHook } from '../../src/nn/index.ts';
import { ones, tensor } from '../../src/tensor/create.ts';
import { keep, scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

const numbers = (t: Tensor) => Array.from(t.dataSync());

test('collects what a layer inside a network returns, and changes nothing else', () => {
  scope(() => {
    const network = new MLP([3, 4, 2], new Initializer({ device }));
    const x = ones([5, 3], { device });
    const plain = numbers(network.forward(x));
    const shapes: (readonly number[])[] = [];
    for (const layer of network.layers)
      registerForwardHook(layer, (output, [input]) => {
        shapes.push(input.shape, output.shape);
      });
    expect(numbers(network.forward(x))).toEqual(plain);
    expect(shapes).toEqual([
      [5, 3],
      [5, 4],
      [5, 4],
      [5, 2],
    ]);
  });
});

test('replaces arguments and results, in order, and removes hooks', () => {
  scope(() => {
    const layer = new Linear(2, 2, new Initializer({ device }));
    layer.weight.write(Float32Array.of(1, 0, 0, 1));
    const names = [...layer.stateDict().keys()];
    const x = tensor([[1, 2]], { device });
    const seen: number[][] = [];
    const pre = registerForwardPreHook(layer, ([input]) => [mul(input, 10)]);
    const first = registerForwardHook(layer, (output, [input], module) => {
      expect(module).toBe(layer);
      seen.push(numbers(output), numbers(input));
    });
    const second = registerForwardHook(layer, (output) => mul(output, -1));
    expect(numbers(layer.forward(x))).toEqual([-10, -20]);
    expect(seen).toEqual([
      [10, 20],
      [10, 20],
    ]);
    for (const handle of [pre, first, second]) handle.remove();
    expect(numbers(layer.forward(x))).toEqual([1, 2]);
    expect([...layer.stateDict().keys()]).toEqual(names);
    sum(layer.forward(ones([1, 2], { device }))).backward();
    expect(numbers(layer.weight.grad as Tensor)).toEqual([1, 1, 1, 1]);
  });
});

test('names a value that is not a module, a function or a list of arguments', () => {
  class Empty extends Module {}
  scope(() => {
    const layer = new Linear(2, 2, new Initializer({ device }));
    const x = ones([1, 2], { device });
    expect(() => registerForwardHook(new Empty() as never, () => undefined)).toThrow(
      '[registerForwardHook] expected a module with a method forward',
    );
    expect(() => registerForwardHook(layer, 3 as never)).toThrow('expected hook to be a function, got 3');
    using _ = registerForwardPreHook(layer, (() => x) as never);
    expect(() => layer.forward(x)).toThrow('[registerForwardPreHook] expected a hook that returns a list of arguments');
    keep(x).dispose();
  });
});
