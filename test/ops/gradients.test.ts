// gradients() gives the gradients of chosen leaves and values, and runs only the rules that lead to one of them.
import { beforeAll, describe, expect, test } from 'vitest';
import { checkpoint } from '../../src/autograd/checkpoint.ts';
import { gradients } from '../../src/autograd/gradients.ts';
import type { Device } from '../../src/device/device.ts';
import { cast } from '../../src/kernels/cast.ts';
import { add, greater, mul } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { reshape, split } from '../../src/kernels/movement.ts';
import { apply, declareOp, notDifferentiable } from '../../src/kernels/op.ts';
import { max, sum } from '../../src/kernels/reduce.ts';
import { tensor } from '../../src/tensor/create.ts';
import { keep, scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { view } from '../../src/tensor/view.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

test('the gradient of an input equals that of backward(), and other leaves get none', () => {
  scope(() => {
    const leaf = (values: number[][]) => tensor(values, { device, requiresGrad: true });
    const x = leaf([[1, 2]]);
    const weight = leaf([
      [3, 4],
      [5, 6],
    ]);
    const loss = () => sum(mul(matmul(add(x, mul(x, x)), weight), matmul(x, weight)));
    const [dx] = gradients(loss(), [x]);
    expect(x.grad).toBeNull();
    expect(weight.grad).toBeNull();
    loss().backward();
    expect(dx.dataSync()).toEqual(x.grad?.dataSync());
    const [dw] = gradients(loss(), [weight]);
    expect(dw.dataSync()).toEqual(weight.grad?.dataSync());
  });
});

test('rules receive which of their parents lead to a requested leaf', () => {
  const asked: boolean[][] = [];
  const both = declareOp({
    name: 'both',
    cpu: 'none',
    cuda: 'none',
    tangent: notDifferentiable('it has no rule').tangent,
    backward({ grad, needs }) {
      asked.push([...needs]);
      return [grad, grad];
    },
  });
  const join = (a: Tensor, b: Tensor) => apply(both, view(a, a.shape), { parents: [a, b] });
  scope(() => {
    const [a, b, c] = [1, 2, 3].map((value) => tensor([value], { device, requiresGrad: true }));
    const output = join(join(a, b), join(b, c));
    const [da] = gradients(output, [a]);
    expect(da.dataSync()).toEqual(Float32Array.of(1));
    expect(asked).toEqual([
      [true, false],
      [true, false],
    ]);
    asked.length = 0;
    join(join(a, b), c).backward();
    expect(asked).toEqual([
      [true, true],
      [true, true],
    ]);
    expect([a, b, c].map((t) => t.grad?.item())).toEqual([1, 1, 1]);
  });
});

describe('gradients()', () => {
  const leaf = (values: number[]) => tensor(values, { device, requiresGrad: true });
  const numbers = (t: Tensor) => Array.from(t.dataSync());

  test('gives two separate gradients for an input that is listed twice', () => {
    scope(() => {
      const x = leaf([2, 3]);
      const [a, b] = gradients(sum(mul(x, x)), [x, x]);
      expect([a, b].map(numbers)).toEqual([
        [4, 6],
        [4, 6],
      ]);
      a.dispose();
      expect(numbers(b)).toEqual([4, 6]);
    });
  });

  test('gives gradients of intermediate values, of values before them, and of the output itself', () => {
    scope(() => {
      const [x, w] = [leaf([2]), leaf([5])];
      const h = mul(x, 3);
      const y = mul(h, h);
      const loss = mul(y, w);
      const all = [loss, y, h, x, w];
      expect(gradients(loss, all, { retainGraph: true }).map((t) => t.item())).toEqual([1, 5, 60, 180, 36]);
      const cotangent = tensor([10], { device });
      expect(gradients(loss, [h], { cotangent }).map((t) => t.item())).toEqual([600]);
      // Nothing before h was needed, so its graph is not freed.
      expect(gradients(h, [x]).map((t) => t.item())).toEqual([3]);
      expect([x.grad, w.grad, h.grad]).toEqual([null, null, null]);
    });
  });

  test.each<[string, (x: Tensor) => Tensor[], number[][]]>([
    [
      'parts of a split',
      (x) => split(mul(x, 1), 2, 0),
      [
        [2, 4],
        [6, 8],
      ],
    ],
    ['a view', (x) => [reshape(mul(x, 1), [2, 2])], [[2, 4, 6, 8]]],
    ['a maximum', (x) => [max(x)], [[8]]],
    [
      'outputs of a checkpointed part',
      (x) => checkpoint((h) => [mul(h, 1), mul(h, 1)], [x]),
      [
        [2, 4, 6, 8],
        [2, 4, 6, 8],
      ],
    ],
    [
      'an input of a checkpointed part',
      (x) => {
        const h = mul(x, 1);
        return [h, checkpoint((t) => mul(t, 1), [h])];
      },
      [
        [4, 8, 12, 16],
        [2, 4, 6, 8],
      ],
    ],
  ])('gives gradients of %s', (_, make, expected) => {
    scope(() => {
      const made = make(leaf([1, 2, 3, 4]));
      const loss = made.map((t) => sum(mul(t, t))).reduce((a, b) => add(a, b));
      const got = gradients(loss, made);
      expect(got.map(({ shape }) => shape)).toEqual(made.map(({ shape }) => shape));
      expect(got.map(numbers)).toEqual(expected);
    });
  });

  test('gives zeros for an input that the output does not depend on', () => {
    scope(() => {
      const [x, w] = [leaf([1, 2]), leaf([3])];
      const [h, other] = [mul(x, 2), mul(w, 2)];
      expect(gradients(sum(h), [w, other, x]).map(numbers)).toEqual([[0], [0], [2, 2]]);
    });
  });

  test('gives the cotangent for a leaf that is its own output', () => {
    scope(() => {
      const x = leaf([1, 2]);
      const cotangent = tensor([3, 4], { device });
      expect(gradients(x, [x, leaf([1])], { cotangent }).map(numbers)).toEqual([[3, 4], [0]]);
    });
  });

  test('names refused inputs that require no gradient or are disposed, and outputs without a graph', () => {
    scope(() => {
      const x = leaf([1, 2]);
      const constant = tensor([3, 4], { device });
      constant.label = 'scale';
      const loss = sum(mul(x, constant));
      const refused =
        (inputs: Tensor[], output = loss) =>
        () =>
          gradients(output, inputs);
      expect(refused([x, constant])).toThrow("[gradients] tensor 'scale' f32 [2] does not require a gradient");
      expect(refused([cast(greater(x, 0), 'f32')])).toThrow('[greater] has no gradient');
      expect(refused([x], constant)).toThrow("[gradients] tensor 'scale' f32 [2] has no graph");
      // Values inside a checkpointed part are not recorded.
      let inside = x;
      const y = sum(
        checkpoint(
          (h) => {
            inside = keep(mul(h, 2));
            return mul(inside, h);
          },
          [x],
        ),
      );
      expect(refused([inside], y)).toThrow('[gradients] tensor f32 [2] does not require a gradient');
      inside.dispose();
      const gone = leaf([1]);
      gone.label = 'gone';
      gone.dispose();
      expect(refused([gone])).toThrow("[gradients] used tensor 'gone' f32 [1] after it was disposed");
      const { live } = device.memory();
      expect(() => gradients(mul(x, x), [x])).toThrow('a tensor of one element, or a cotangent');
      expect(device.memory().live - live).toBeLessThanOrEqual(64);
      loss.dispose();
      expect(refused([x])).toThrow(/\[gradients\] used tensor.* after it was disposed/);
    });
  });

  test('frees the gradients found so far when a rule fails', () => {
    const broken = declareOp({
      name: 'broken',
      cpu: 'none',
      cuda: 'none',
      tangent: notDifferentiable('it has no rule').tangent,
      backward: () => {
        throw new Error('no gradient today');
      },
    });
    const x = leaf([1, 2]);
    const run = () =>
      scope(() => {
        const h = mul(x, 2);
        const failing = apply(broken, view(h, h.shape), { parents: [h] });
        gradients(sum(mul(failing, x)), [x, h, failing]);
      });
    expect(run).toThrow('no gradient today');
    const { live } = device.memory();
    expect(run).toThrow('no gradient today');
    expect(device.memory().live).toBe(live);
    x.dispose();
  });
});
