// Functions with gradients of their own.
import { beforeAll, describe, expect, test } from 'vitest';
import { jvp } from '../../src/autograd/forward.ts';
import { gradients } from '../../src/autograd/gradients.ts';
import type { Device } from '../../src/device/device.ts';
import { customGradient } from '../../src/kernels/composed/custom_gradient.ts';
import { add, exp, greater, log, mul, neg, where } from '../../src/kernels/elementwise.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const leaf = (values: number[]) => tensor(values, { device, requiresGrad: true });
  const numbers = (t: Tensor) => Array.from(t.dataSync());

  const step = (x: Tensor) => where(greater(x, 0), 1, 0);

  test('a straight-through estimator passes the gradient', () => {
    scope(() => {
      const straight = customGradient(step, (gradient) => gradient);
      const x = leaf([-1, 2]);
      const y = straight(mul(x, 3));
      expect(numbers(y)).toEqual([0, 1]);
      expect(numbers(gradients(sum(mul(y, tensor([5, 7], { device }))), [x])[0])).toEqual([15, 21]);
    });
  });

  test('gradient reversal changes the sign, and a function may return its input', () => {
    scope(() => {
      const reverse = customGradient(
        (x) => x,
        (gradient) => neg(gradient),
      );
      const x = leaf([2, 3]);
      const y = add(mul(x, 10), reverse(x));
      expect(numbers(y)).toEqual([22, 33]);
      expect(numbers(gradients(sum(y), [x])[0])).toEqual([9, 9]);
      expect(x.source).toBeUndefined();
    });
  });

  test('backward reads inputs and outputs, of several of each, and may leave some out', () => {
    scope(() => {
      const both = customGradient(
        (a, b) => [mul(a, b), exp(a)],
        ([first, second], { inputs: [, b], outputs: [, e] }) => [add(mul(first, b), mul(second, e)), null],
      );
      const [a, b] = [leaf([0, 1]), leaf([4, 5])];
      const [product, power] = both(a, b);
      expect(numbers(gradients(sum(product), [a, b], { retainGraph: true })[0])).toEqual([4, 5]);
      const [da, db] = gradients(sum(power), [a, b]);
      expect(numbers(da)).toEqual(numbers(exp(tensor([0, 1], { device }))));
      expect(numbers(db)).toEqual([0, 0]);
    });
  });

  test('a stable gradient where the parts overflow', () => {
    scope(() => {
      // log(1 + e^x): the gradient of the parts at 200 is infinity / infinity.
      const plain = (x: Tensor) => log(add(exp(x), 1));
      const stable = customGradient(plain, (gradient, { inputs: [x] }) => mul(gradient, where(greater(x, 50), 1, 0)));
      const x = leaf([200]);
      expect(numbers(gradients(sum(plain(x)), [x])[0])).toEqual([Number.NaN]);
      expect(numbers(gradients(sum(stable(x)), [x])[0])).toEqual([1]);
    });
  });

  test('forward mode uses the tangent rule, and names a function without one', () => {
    scope(() => {
      const x = tensor([-1, 2], { device });
      const straight = customGradient(step, (gradient) => gradient, {
        name: 'straight',
        tangent: ([t]) => t as Tensor,
      });
      expect(numbers(jvp(straight, [x], [x])[1])).toEqual([-1, 2]);
      expect(() =>
        jvp(
          customGradient(step, (gradient) => gradient),
          [x],
          [x],
        ),
      ).toThrow('[customGradient] has no gradient: give customGradient() a tangent rule for forward mode');
    });
  });

  test('frees what it makes, with and without a scope', () => {
    const f = customGradient(
      (x) => exp(mul(x, 2)),
      (gradient, { output }) => mul(mul(gradient, output), 2),
    );
    const x = leaf([0, 1]);
    const before = device.memory().live;
    const y = f(x);
    y.dispose();
    expect(device.memory().live).toBe(before);
    scope(() => sum(f(x)).backward());
    x.grad?.dispose();
    expect(device.memory().live).toBe(before);
    x.dispose();
  });

  test('names gradients that do not fit', () => {
    scope(() => {
      const x = leaf([1, 2]);
      const run = (backward: (gradient: Tensor) => never) =>
        gradients(sum(customGradient((t) => exp(t), backward, { name: 'mine' })(x)), [x]);
      expect(() => run((gradient) => sum(gradient) as never)).toThrow(
        '[mine] expected a gradient f32 [2] from backward, got tensor of sum f32 []'.replace(' of sum', ''),
      );
      expect(() => run((gradient) => [gradient, gradient] as never)).toThrow(
        '[mine] expected 1 gradients from backward',
      );
      expect(() => run(() => undefined as never)).toThrow('[mine] expected a backward function that returns tensors');
      expect(() => customGradient((t) => t, 3 as never)).toThrow('[customGradient] expected backward to be a function');
      expect(() =>
        customGradient(
          () => 3 as never,
          (g) => g,
        )(x),
      ).toThrow('a function that returns a tensor or a list');
    });
  });
});
