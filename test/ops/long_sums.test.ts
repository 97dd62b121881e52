// Sums of many nearly equal numbers. Each addition to a large sum is rounded to the sum's last place, and always in the same direction
// if all terms are equal, so a sequential sum of n terms is off by up to n / 2 units. The kernels sum in short runs instead. Tested on
// every device and instruction set.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { mul } from '../../src/kernels/elementwise.ts';
import { globalNorm } from '../../src/kernels/inner/optimizer.ts';
import { mse } from '../../src/kernels/loss.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { mean, sum } from '../../src/kernels/reduce.ts';
import { crossEntropy, logSoftmax, softmax } from '../../src/kernels/softmax.ts';
import { full, tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deviceModes, lesserModes, openTestDevice } from '../support/devices.ts';

const modes = [
  ...deviceModes.filter(({ precision, exact, name }) => precision === 'fp32' && (exact || !name.startsWith('cpu'))),
  ...lesserModes,
  { name: 'wasm', precision: 'fp32' as const, exact: true, march: undefined, label: 'wasm' },
];

/** Numbers whose partial sums are rounded in the same direction for a long time. */
const values = [0.1, 0.7, 1.2345].map(Math.fround);

describe.each(modes)('$label', (mode) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(mode.name, mode);
  }, 120_000);

  /** The largest relative error of the result of `f`, whose elements should all equal one number. */
  const errorOf = (f: () => Tensor, want: number) =>
    scope(() => Math.max(...Array.from(f().dataSync(), (got) => Math.abs(got - want) / Math.abs(want))));

  test.each(values)('sums over leading axes of %d are within 2e-6', (value) => {
    for (const [rows, columns] of [
      [1024, 20],
      [5000, 3],
      [294, 18],
      [20000, 1],
    ])
      for (const reduce of [sum, mean])
        expect(
          errorOf(
            () => reduce(full([rows, columns], value, { device }), { axes: 0 }),
            reduce === sum ? rows * value : value,
          ),
          `${rows} x ${columns}`,
        ).toBeLessThan(2e-6);
  });

  test.each(values)('the gradient of a broadcast operand is within 2e-6 for %d', (value) => {
    const error = scope(() => {
      const scale = full([32], 1, { device, requiresGrad: true });
      mul(full([5000, 32], value, { device }), scale).backward(full([5000, 32], 1, { device }));
      return errorOf(() => scale.grad as Tensor, 5000 * value);
    });
    expect(error).toBeLessThan(2e-6);
  });

  test.each(values)('a sum of squares of %d is within 2e-6', (value) => {
    for (const n of [1000, 16384, 100_000]) {
      const squares = (reduction: 'sum' | 'mean') =>
        mse(full([n], value, { device }), full([n], 0, { device }), { reduction });
      expect(
        errorOf(() => squares('mean'), value ** 2),
        `mean of ${n}`,
      ).toBeLessThan(2e-6);
      expect(
        errorOf(() => squares('sum'), n * value ** 2),
        `sum of ${n}`,
      ).toBeLessThan(2e-6);
      const norm = scope(() => globalNorm(full([n], value, { device }), -1).dataSync()[0]);
      expect(Math.abs(norm / (Math.sqrt(n) * value) - 1), `norm of ${n}`).toBeLessThan(2e-6);
    }
  });

  test.each(values)('softmax of 10,000 numbers, half of them lower by %d, is within 5e-6', (value) => {
    const n = 10_000;
    const x = Float32Array.from({ length: n }, (_, i) => (i < n / 2 ? 0 : -value));
    const total = (n / 2) * (1 + Math.exp(-value));
    const row = () => tensor(x, { shape: [1, n], device });
    scope(() => {
      expect(Math.abs(softmax(row()).dataSync()[0] * total - 1)).toBeLessThan(5e-6);
      expect(Math.abs(logSoftmax(row()).dataSync()[0] / -Math.log(total) - 1)).toBeLessThan(5e-6);
      const loss = crossEntropy(row(), tensor(Int32Array.of(0), { shape: [1], dtype: 'i32', device }));
      expect(Math.abs(loss.item() / Math.log(total) - 1)).toBeLessThan(5e-6);
    });
  });

  test.each(values)('products of 4,096 and 20,000 terms with %d are within 2e-5', (value) => {
    for (const terms of [4096, 20_000]) {
      const product = () => matmul(full([17, terms], value, { device }), full([terms, 33], 1, { device }));
      expect(errorOf(product, terms * value), `${terms}`).toBeLessThan(2e-5);
    }
  });
});
