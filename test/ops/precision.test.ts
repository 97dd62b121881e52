// The precisions of CUDA beyond the case table: what is rounded, what is refused, and products of many tiles.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import type { CudaModule } from '../../src/device/module.ts';
import { openDevice } from '../../src/device/open.ts';
import { cast } from '../../src/kernels/cast.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import { convCuda } from '../../src/kernels/conv/modules.ts';
import { convShapeOf, toTable } from '../../src/kernels/conv/shape.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import type { ProductModules } from '../../src/kernels/launch/product.ts';
import { matmul, matmulCuda } from '../../src/kernels/matmul.ts';
import { gather } from '../../src/kernels/movement.ts';
import { maxPool2d } from '../../src/kernels/pooling.ts';
import { randn } from '../../src/kernels/random.ts';
import { softmax } from '../../src/kernels/softmax.ts';
import { empty, tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { deviceModes, openTestDevice } from '../support/devices.ts';

test('refuses an unknown precision, and one that the CPU does not support', async () => {
  await expect(openDevice('cpu', { precision: 'bf16' })).rejects.toThrow(
    'precision bf16 needs the device cuda; cpu computes in fp32',
  );
  await expect(openDevice('cpu', { precision: 'fp8' as never })).rejects.toThrow(
    'expected precision to be one of "fp32", "tf32", "bf16", got "fp8"',
  );
});

test('bf16 is a storage format on the CPU', async () => {
  const device = await openDevice('cpu');
  scope(() => {
    const x = cast(zeros([2, 2], { device }), 'bf16');
    expect(() => add(x, x)).toThrow(
      /\[add\] expected f32 operands \(on cpu bf16 is for storage only\), got .* bf16 \[2, 2\]/,
    );
    expect(() => matmul(x, x)).toThrow(/\[matmul\].*storage only/);
  });
});

const cards = deviceModes.filter(({ name }) => name.startsWith('cuda'));

describe.each(cards)('$name in $precision', ({ name, precision }) => {
  let cpu: Device;
  let device: Device;
  beforeAll(async () => {
    [cpu, device] = [await openTestDevice('cpu'), await openTestDevice(name, { precision })];
  }, 120_000);

  test('products of f32 tensors round their factors in tf32 only', () => {
    scope(() => {
      const x = tensor([[1 + 2 ** -12]], { device });
      const one = tensor([[1]], { device });
      expect(matmul(x, one).item()).toBe(precision === 'tf32' ? 1 : 1 + 2 ** -12);
      // Ties round away from zero.
      const tie = tensor([[1 + 2 ** -11]], { device });
      expect(matmul(tie, one).item()).toBe(precision === 'tf32' ? 1 + 2 ** -10 : 1 + 2 ** -11);
    });
  });

  test('names incompatible dtypes', () => {
    scope(() => {
      const x = zeros([2, 2], { device });
      const half = cast(x, 'bf16');
      expect(() => add(half, x)).toThrow(/\[add\] expected bf16 operands, got .* f32 \[2, 2\]/);
      expect(() => matmul(x, half)).toThrow(/\[matmul\] expected f32 operands, got .* bf16/);
      expect(() => softmax(half)).toThrow(/\[softmax\] expected f32 operands, got .* bf16/);
      expect(() => gather(half, zeros([1], { device, dtype: 'i32' }))).toThrow(/\[gather\] expected f32/);
      const image = cast(zeros([1, 2, 2, 1], { device }), 'bf16');
      expect(() => maxPool2d(image, { kernel: 2 })).toThrow(/\[maxPool2d\] expected f32/);
    });
  });

  test('the gradient of a tensor has its dtype, whatever it is multiplied by', () => {
    scope(() => {
      const x = cast(tensor([1, 2, 3], { device }), 'bf16').requireGrad();
      const y = cast(mul(add(x, x), 0.5), 'f32');
      y.backward(tensor([1, 3, 5], { device }));
      expect(x.grad?.dtype).toBe('bf16');
      expect([...cast(x.grad as Tensor, 'f32').dataSync()]).toEqual([1, 3, 5]);
      x.grad?.dispose();
      x.grad = null;
    });
  });

  /** Numbers representable in bf16, so that every precision has the same products. */
  const drawn = (shape: readonly number[], stream: number, on: Device) =>
    cast(cast(randn(shape, { device: on, seed: 5, stream }), 'bf16'), 'f32');
  const activation = (x: Tensor) => (x.device.precision === 'bf16' ? cast(x, 'bf16') : x);
  const rounded = precision === 'bf16' ? 2 ** -8 : 0;

  /** Output and gradients on the CPU and on the card. */
  function compare(shapes: readonly (readonly number[])[], f: (tensors: Tensor[]) => Tensor): void {
    const [want, got] = [cpu, device].map((on) =>
      scope(() => {
        const inputs = shapes.map((shape, i) => drawn(shape, i, on).requireGrad());
        const y = f([activation(inputs[0]), ...inputs.slice(1)]);
        const result = cast(y, 'f32');
        result.backward(drawn(result.shape, 9, on));
        const parts = [result, ...inputs.map(({ grad }) => grad as Tensor)].map((t) => t.dataSync());
        for (const input of inputs) {
          input.grad?.dispose();
          input.grad = null;
        }
        return parts;
      }),
    );
    want.forEach((values, i) => {
      expectClose(`part ${i}`, got[i] as Float32Array, values as Float32Array, { relative: rounded, ofLargest: 1e-5 });
    });
  }

  // The choice of a tile only affects speed: the sums are the same, term by term.
  describe.each(precision === 'fp32' ? [] : ['large'])('%s tiles are bit-identical to small ones', () => {
    const dtype = precision === 'bf16' ? 'bf16' : 'f32';
    const held = (shape: readonly number[], stream: number) => cast(drawn(shape, stream, device), dtype);
    const large = 128;
    const gridOf = (rows: number, columns: number) => ({
      grid: [Math.ceil(rows / large) * Math.ceil(columns / large)] as const,
      block: [2 * large] as const,
      shared: 3 * 2 * 80 * large,
    });
    const same = (got: Tensor, want: Tensor) => expect(got.dataSync()).toEqual(want.dataSync());
    const buildOf = <Names extends string>(modules: ProductModules<Names>) => {
      const build = modules[precision].find(({ tile }) => tile === large);
      return device.load(build?.module as CudaModule<Names>);
    };

    test('convolution', () => {
      const [image, outputs] = [[1, 12, 11, 72], 136];
      scope(() => {
        const x = held(image, 0).requireGrad();
        const w = held([outputs, 3, 3, 72], 1).requireGrad();
        const y = conv2d(x, w, { padding: 1 });
        const dy = drawn(y.shape, 2, device);
        y.backward(dy);
        const table = device.table(toTable(convShapeOf(image, w.shape, { paddings: [1, 1] })));
        const [got, dx] = [y, x].map(({ shape }) => empty(shape, { device, dtype }));
        const dw = empty(w.shape, { device });
        const grad = cast(dy, dtype);
        const kernels = buildOf(convCuda);
        kernels.conv_forward(gridOf(132, outputs), x.address, w.address, got.address, 0, 0, 0, table, 1, 3, 0, 72);
        kernels.conv_input_gradient(gridOf(132, 72), grad.address, w.address, dx.address, table, 1, 3);
        kernels.conv_weight_gradient(gridOf(outputs, 648), x.address, grad.address, dw.address, table, 132, 3, 0, 72);
        same(got, y);
        same(dx, x.grad as Tensor);
        same(cast(dw, dtype), w.grad as Tensor);
        for (const t of [x, w]) {
          t.grad?.dispose();
          t.grad = null;
        }
      });
    });

    test.each([
      ['matmul_multiply', false, false],
      ['matmul_multiply_right_transposed', false, true],
      ['matmul_multiply_left_transposed', true, false],
    ] as const)('%s', (kernel, transposeA, transposeB) => {
      const [m, k, n] = [136, 104, 144];
      scope(() => {
        const a = held(transposeA ? [k, m] : [m, k], 0);
        const b = held(transposeB ? [n, k] : [k, n], 1);
        const c = empty([m, n], { device, dtype });
        const operands = [a.address, b.address, 0, c.address, m, k, n, 0, 0, k, dtype === 'f32' ? 1 : 0, 3];
        buildOf(matmulCuda)[kernel](gridOf(m, n), ...operands);
        same(c, matmul(a, b, { transposeA, transposeB }));
      });
    });
  });

  test('sums of many terms in parts match the CPU', () => {
    compare(
      [
        [4100, 5],
        [4100, 7],
      ],
      ([a, b]) => matmul(a, b, { transposeA: true }),
    );
    compare(
      [
        [1, 65, 65, 3],
        [5, 3, 3, 3],
      ],
      ([x, w]) => conv2d(x, w),
    );
  });
});
