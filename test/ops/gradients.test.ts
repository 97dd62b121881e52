/** gradients(): those of chosen leaves, and no rule that leads to no such leaf. */
import { beforeAll, expect, test } from 'vitest';
import { gradients } from '../../src/autograd/backward.ts';
import type { Device } from '../../src/device/device.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { apply, defineOp } from '../../src/kernels/op.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { view } from '../../src/tensor/view.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

test('the gradient of an input is that of backward(), and leaves of no interest get none', () => {
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

test('rules are told which of their parents lead to a leaf that is asked for', () => {
  const asked: boolean[][] = [];
  const both = defineOp({
    name: 'both',
    cpu: 'none',
    cuda: 'none',
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
