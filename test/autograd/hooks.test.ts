// Hooks on tensors: they see and replace gradients, for leaves and for values in between.
import { beforeAll, describe, expect, test } from 'vitest';
import { checkpoint } from '../../src/autograd/checkpoint.ts';
import { gradients } from '../../src/autograd/gradients.ts';
import type { Device } from '../../src/device/device.ts';
import { clamp, mul, square } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { reshape } from '../../src/kernels/movement.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const leaf = (values: number[]) => tensor(values, { device, requiresGrad: true });
  const numbers = (t: Tensor | null) => Array.from(t?.dataSync() ?? []);

  test('a hook of a leaf sees the sum over its uses, once a pass, and may replace it', () => {
    scope(() => {
      const x = leaf([1, 2]);
      const seen: number[][] = [];
      const handle = x.registerHook((gradient) => {
        seen.push(numbers(gradient));
        return mul(gradient, 10);
      });
      const loss = () => sum(mul(mul(x, x), x));
      loss().backward();
      expect(seen).toEqual([[3, 12]]);
      expect(numbers(x.grad)).toEqual([30, 120]);
      handle.remove();
      loss().backward();
      expect(seen.length).toBe(1);
      expect(numbers(x.grad)).toEqual([33, 132]);
    });
  });

  test('hooks of a value in between run in order, and the rest of the graph gets the result', () => {
    scope(() => {
      const x = leaf([1, -2, 3]);
      const h = square(x);
      const seen: number[][] = [];
      h.registerHook((gradient) => mul(gradient, 5));
      h.registerHook((gradient) => {
        seen.push(numbers(gradient));
        return clamp(gradient, { max: 20 });
      });
      sum(mul(h, h)).backward(undefined, { retainGraph: true });
      // dL/dh = 2 h = 2, 8, 18; times 5; at most 20; dh/dx = 2 x.
      expect(seen).toEqual([[10, 40, 90]]);
      expect(numbers(x.grad)).toEqual([20, -80, 120]);
      expect(numbers(gradients(sum(mul(h, h)), [h])[0])).toEqual([10, 20, 20]);
    });
  });

  test('weights with gradients in an arena and biases are hooked like any leaf', () => {
    scope(() => {
      const [x, w, b] = [tensor([[1, 2]], { device }), leaf([1, 0, 0, 1]), leaf([0, 0])];
      for (const t of [w, b]) {
        t.grad = zeros(t.shape, { device });
        t.registerHook((gradient) => mul(gradient, 3));
      }
      sum(matmul(x, reshape(w, [2, 2]), { bias: b })).backward();
      expect(numbers(w.grad)).toEqual([3, 3, 6, 6]);
      expect(numbers(b.grad)).toEqual([3, 3]);
    });
  });

  test('hooks of leaves run once through checkpointed parts', () => {
    scope(() => {
      const [x, w] = [leaf([1, 2]), leaf([3, 4])];
      let calls = 0;
      w.registerHook((gradient) => {
        calls++;
        return mul(gradient, 2);
      });
      sum(checkpoint((h) => mul(mul(h, w), w), [x])).backward();
      expect(calls).toBe(1);
      expect(numbers(w.grad)).toEqual([12, 32]);
    });
  });

  test('frees everything, also when a hook throws or returns what does not fit', () => {
    const x = leaf([1, 2]);
    const before = device.memory().live;
    const run = (hook: (gradient: Tensor) => Tensor | undefined) =>
      scope(() => {
        const h = mul(x, 2);
        using _ = h.registerHook(hook);
        using __ = x.registerHook(hook);
        sum(mul(h, h)).backward();
      });
    expect(() =>
      run(() => {
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(() => run((gradient) => sum(gradient))).toThrow('[registerHook] expected a hook that returns f32 [2]');
    expect(() => run(() => 3 as never)).toThrow('[registerHook] expected a hook that returns a tensor or nothing');
    expect(device.memory().live).toBe(before);
    run((gradient) => {
      gradient.dispose();
      return undefined;
    });
    expect(numbers(x.grad)).toEqual([8, 16]);
    x.dispose();
  });

  test('a hook that a hook adds runs from the next pass on', () => {
    scope(() => {
      const x = leaf([2]);
      let calls = 0;
      const add = () =>
        x.registerHook(() => {
          if (++calls < 100) add();
          return undefined;
        });
      add();
      sum(mul(x, 2)).backward();
      expect(calls).toBe(1);
      sum(mul(x, 2)).backward();
      expect(calls).toBe(3);
    });
  });

  test('names a tensor without a gradient', () => {
    scope(() => {
      const hook = () => undefined;
      expect(() => zeros([2], { device }).registerHook(hook)).toThrow(
        '[registerHook] tensor f32 [2] does not require a gradient',
      );
      expect(() => leaf([1]).registerHook(3 as never)).toThrow('[registerHook] expected hook to be a function, got 3');
    });
  });
});
