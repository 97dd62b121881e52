// Compiled functions: recorded once for each set of shapes and replayed with the same bits.
import { beforeAll, describe, expect, test } from 'vitest';
import { compile } from '../../src/autograd/compile.ts';
import { jvp } from '../../src/autograd/forward.ts';
import { gradients } from '../../src/autograd/gradients.ts';
import { noGrad } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { fullLike, onesLike } from '../../src/kernels/composed/like.ts';
import { add, mul, sin, tanh } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { full, tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const drawn = (shape: number[], seed: number) => randn(shape, { device, seed });
  const numbers = (t: Tensor) => Array.from(t.dataSync());

  test('gives the bits of the function at every call, for several shapes', () => {
    scope(() => {
      const weight = drawn([3, 3], 1);
      let runs = 0;
      const f = (x: Tensor) => {
        runs++;
        return { y: tanh(matmul(x, weight)), parts: [sum(x), mul(x, 2)] };
      };
      using compiled = compile(f);
      for (const [i, rows] of [2, 5, 2, 2, 5, 5, 2].entries()) {
        const x = drawn([rows, 3], i + 2);
        const [got, want] = [compiled(x), f(x)];
        runs--;
        expect(numbers(got.y)).toEqual(numbers(want.y));
        expect(got.parts.map(numbers)).toEqual(want.parts.map(numbers));
      }
      // Op by op and recorded, for each of two shapes.
      expect(runs).toBe(4);
    });
  });

  test('reads updated weights, and computes gradients inside', () => {
    scope(() => {
      const weight = tensor([1, 2], { device, requiresGrad: true });
      using gradient = compile((x: Tensor) => gradients(sum(mul(mul(x, weight), weight)), [weight])[0]);
      for (const factor of [1, 2, 3, 4]) {
        weight.write(Float32Array.of(factor, -factor));
        expect(numbers(gradient(tensor([1, 10], { device })))).toEqual([2 * factor, -20 * factor]);
      }
    });
  });

  test('an input that requires a gradient is a leaf inside, in every call', () => {
    scope(() => {
      using slope = compile((x: Tensor) => gradients(sum(mul(x, mul(x, x))), [x])[0]);
      for (const value of [1, 2, 3, 4])
        expect(numbers(slope(tensor([value], { device, requiresGrad: true })))).toEqual([3 * value ** 2]);
      using adds = compile((x: Tensor) => sum(mul(x, x)).backward());
      const x = tensor([3], { device, requiresGrad: true });
      for (let i = 0; i < 3; i++)
        expect(() => adds(x)).toThrow('[compile] expected no backward() that reaches input 0, because a replay');
      expect(x.grad).toBeNull();
    });
  });

  test('records constants, and jvp()', () => {
    scope(() => {
      using compiled = compile((x: Tensor) => {
        const [y, slope] = jvp((t) => mul(t, full([2], -1.5, { device })), [x], [onesLike(x)]);
        return [y, slope, fullLike(x, 7, { dtype: 'i32' }), full([5], 1, { device, dtype: 'bool' })];
      });
      for (const value of [1, 2, 3, 4])
        expect(compiled(tensor([value, 0], { device })).map(numbers)).toEqual([
          [-1.5 * value, -0],
          [-1.5, -1.5],
          [7, 7],
          [1, 1, 1, 1, 1],
        ]);
    });
  });

  test('a compiled function inside another is part of its recording', () => {
    scope(() => {
      using inner = compile((x: Tensor) => mul(x, 2));
      using outer = compile((x: Tensor) => add(inner(x), 1));
      for (const value of [1, 2, 3, 4, 5]) expect(numbers(outer(tensor([value], { device })))).toEqual([2 * value + 1]);
      expect(numbers(inner(tensor([7], { device })))).toEqual([14]);
    });
  });

  test('keeps no memory but that of its recordings, and frees the oldest', () => {
    const x = drawn([64], 1);
    const y = drawn([65], 1);
    const before = device.memory().live;
    const compiled = compile((t: Tensor) => add(sin(t), 1), { maxShapes: 1 });
    const call = (t: Tensor) => scope(() => void compiled(t));
    for (const t of [x, x, x]) call(t);
    const one = device.memory().live;
    expect(one).toBeGreaterThan(before);
    for (const t of [y, y, y, x, x]) call(t);
    expect(device.memory().live).toBe(one);
    compiled.dispose();
    expect(device.memory().live).toBe(before);
    for (const t of [x, y]) t.dispose();
  });

  test('results carry no gradient, which backward names; forward mode runs the function itself', () => {
    scope(() => {
      const weight = tensor([1, 2], { device, requiresGrad: true });
      using compiled = compile((x: Tensor) => mul(x, weight));
      const x = tensor([3, 4], { device });
      for (let i = 0; i < 3; i++)
        expect(() => sum(compiled(x)).backward()).toThrow('[compile] has no gradient: results are replayed');
      expect(numbers(jvp((t) => noGrad(() => weight) && compiled(t), [x], [x])[1])).toEqual([3, 8]);
    });
  });

  test('names what cannot be recorded and what cannot be returned', () => {
    scope(() => {
      const x = tensor([3, 4], { device });
      using reads = compile((t: Tensor) => mul(t, sum(t).item()));
      expect(numbers(reads(x))).toEqual([21, 28]);
      expect(() => reads(x)).toThrow('[compile] the function cannot be recorded: ');
      using makes = compile((t: Tensor) => [add(t, 1), 3 as never]);
      expect(() => makes(x)).toThrow(
        '[compile] expected a function that returns tensors in lists and plain objects, got the result[1]: 3',
      );
      expect(() => (makes as unknown as () => void)()).toThrow(
        '[compile] expected at least one input tensor, got none',
      );
      using nothing = compile((t: Tensor) => {
        add(t, 1);
      });
      for (let i = 0; i < 3; i++) expect(nothing(zeros([2], { device }))).toBeUndefined();
    });
  });
});
