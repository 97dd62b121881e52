/**
 * What the cases do not show of grouped and transposed convolutions, adaptive pools and resizing: PyTorch's numbers, the bits of
 * dense convolutions, special values, and refusals by name. The numbers are those of torch.nn.functional in PyTorch 2.13.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { type RectiflowError, ShapeError, ValueError } from '../../src/errors.ts';
import { conv1d, convTranspose1d } from '../../src/kernels/composed/conv1d.ts';
import { averagePool1d, globalAveragePool2d, maxPool1d } from '../../src/kernels/composed/pooling.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import { convTranspose2d } from '../../src/kernels/conv/transpose.ts';
import { adaptiveAveragePool2d, adaptiveMaxPool2d } from '../../src/kernels/pooling.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { resizeBicubic, resizeBilinear, resizeNearest } from '../../src/kernels/resize.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

/**
 * interpolate and the adaptive pools of 0, 1, ... 11 as [1, 1, 3, 4], and conv_transpose2d of 0, 1, ... 5 as [1, 2, 3, 1]
 * with the weight sin(0), sin(1), ... as [2, 3, 3, 1], stride (2, 1), padding (1, 0) and output_padding (1, 0).
 */
// biome-ignore format: rows of numbers
const pytorch = {
  bicubic: [0.02225, 2.20975, 1.67025, 3.85775, 4.40625, 6.59375, 7.14225, 9.32975, 8.79025, 10.97775],
  nearest: [0, 1, 2, 0, 1, 2, 4, 5, 6, 4, 5, 6, 8, 9, 10],
  adaptiveAverage: [2.5, 3.5, 4.5, 6.5, 7.5, 8.5],
  adaptiveMax: [5, 6, 7, 9, 10, 11],
  transposed: [-1.6320634, -1.3514967, -1.3346136, -1.030071, -1.0371637, -3.1813563, 1.2605011, 0.9666504, 0.9238656, 0.6028806, 0.5872301, 3.0351883, -0.8637099, -0.5624564, -0.4946266, -0.1636233, -0.1255434, -2.8282709],
};

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const numbers = (t: Tensor) => Array.from(t.dataSync() as Float32Array);
  const ramp = (shape: number[]) => {
    const size = shape.reduce((a, b) => a * b);
    return tensor(
      Array.from({ length: size }, (_, i) => i),
      { shape, device },
    );
  };
  const f = (...shape: number[]) => zeros(shape, { device });

  test('dilation 1 and one group are the dense convolution, bit by bit', () => {
    scope(() => {
      const leaf = (shape: number[], stream: number) => randn(shape, { seed: 1, stream, device, requiresGrad: true });
      const run = (options: object) => {
        const [x, w] = [leaf([2, 9, 8, 16], 1), leaf([32, 3, 3, 16], 2)];
        const y = conv2d(x, w, { padding: 1, ...options });
        sum(y).backward();
        const read = [y, x.grad as Tensor, w.grad as Tensor].map(numbers);
        for (const t of [x, w]) t.dispose();
        return read;
      };
      expect(run({ groups: 1, dilation: [1, 1] })).toEqual(run({}));
    });
  });

  test('a grouped convolution is one convolution for each group', () => {
    scope(() => {
      const [x, w] = [randn([2, 6, 5, 6], { seed: 1, device }), randn([4, 3, 3, 3], { seed: 2, device })];
      const got = numbers(conv2d(x, w, { groups: 2, padding: 1 }));
      const channels = (t: Tensor, first: number, count: number) =>
        tensor(
          numbers(t).filter((_, i) => i % 6 >= first && i % 6 < first + count),
          { shape: [2, 6, 5, count], device },
        );
      const outputs = (first: number) =>
        tensor(numbers(w).slice(first * 27, (first + 2) * 27), { shape: [2, 3, 3, 3], device });
      const parts = [0, 1].map((g) => numbers(conv2d(channels(x, 3 * g, 3), outputs(2 * g), { padding: 1 })));
      const want = got.map((_, i) => parts[Math.floor((i % 4) / 2)][Math.floor(i / 4) * 2 + (i % 2)]);
      expectClose('groups', got, want, { absolute: 2e-6 });
    });
  });

  test('resizing and adaptive pools agree with PyTorch', () => {
    scope(() => {
      const x = ramp([1, 3, 4, 1]);
      expectClose('bicubic', numbers(resizeBicubic(x, [5, 2])), pytorch.bicubic, { absolute: 2e-6 });
      expect(numbers(resizeNearest(x, [5, 3]))).toEqual(pytorch.nearest);
      expect(numbers(adaptiveAveragePool2d(x, [2, 3]))).toEqual(pytorch.adaptiveAverage);
      expect(numbers(adaptiveMaxPool2d(x, [2, 3]))).toEqual(pytorch.adaptiveMax);
      expect(numbers(globalAveragePool2d(x))).toEqual([5.5]);
    });
  });

  test('a transposed convolution agrees with PyTorch', () => {
    scope(() => {
      const x = tensor([0, 3, 1, 4, 2, 5], { shape: [1, 3, 1, 2], device });
      // PyTorch's weight [Cin, Cout, kh, kw] is sin(0), sin(1), ... in its own order.
      const values = Array.from({ length: 18 }, (_, i) => Math.sin(i));
      const own = [0, 1].flatMap((c) => [0, 1, 2].flatMap((p) => [0, 1, 2].map((o) => values[9 * c + 3 * o + p])));
      const w = tensor(own, { shape: [2, 3, 1, 3], device });
      const y = convTranspose2d(x, w, { stride: [2, 1], padding: [1, 0], outputPadding: [1, 0] });
      expect(y.shape).toEqual([1, 6, 1, 3]);
      const [rows, channels] = [6, 3];
      const asPyTorch = Array.from(
        { length: rows * channels },
        (_, i) => numbers(y)[(i % rows) * channels + Math.floor(i / rows)],
      );
      expectClose('convTranspose2d', asPyTorch, pytorch.transposed, { absolute: 1e-5 });
    });
  });

  test('nearest neighbours keep every value; a NaN spreads only to the outputs that read it', () => {
    scope(() => {
      const x = tensor([-0, Number.NaN, Number.POSITIVE_INFINITY, 1], { shape: [1, 1, 4, 1], device });
      expect(numbers(resizeNearest(x, [1, 4]))).toEqual([-0, Number.NaN, Number.POSITIVE_INFINITY, 1]);
      const pooled = numbers(adaptiveMaxPool2d(tensor([1, Number.NaN, 2, 3], { shape: [1, 1, 4, 1], device }), [1, 2]));
      expect(pooled).toEqual([Number.NaN, 3]);
      const cubic = numbers(
        resizeBicubic(tensor([Number.NaN, 1, 1, 1, 1, 1], { shape: [1, 1, 6, 1], device }), [1, 6]),
      );
      expect(cubic.slice(3)).toEqual([1, 1, 1]);
    });
  });

  test('arguments that do not fit are refused by name', () => {
    scope(() => {
      const refused: [string, new (...values: never[]) => RectiflowError, () => unknown][] = [
        [
          '[conv2d] expected x [N, H, W, Cin] and a weight [Cout, kh, kw, Cin / 2]',
          ShapeError,
          () => conv2d(f(1, 4, 4, 4), f(4, 3, 3, 4), { groups: 2 }),
        ],
        [
          '[conv2d] expected a weight whose Cout is a multiple of 2',
          ShapeError,
          () => conv2d(f(1, 4, 4, 4), f(3, 3, 3, 2), { groups: 2 }),
        ],
        [
          '[conv2d] expected a kernel that fits',
          ShapeError,
          () => conv2d(f(1, 4, 4, 4), f(3, 3, 3, 4), { dilation: 2 }),
        ],
        [
          '[conv2d] expected a dilation of whole numbers >= 1',
          ValueError,
          () => conv2d(f(1, 4, 4, 4), f(3, 3, 3, 4), { dilation: 0 }),
        ],
        ['[conv1d] expected x [N, L, Cin]', ShapeError, () => conv1d(f(1, 4, 4), f(3, 3, 3))],
        ['[conv1d] expected x [N, L, Cin]', ShapeError, () => conv1d(f(1, 4, 4, 4), f(3, 3, 3, 4))],
        ['[conv1d] expected a stride', ValueError, () => conv1d(f(1, 4, 4), f(3, 3, 4), { stride: 0.5 })],
        ['[conv1d] expected a bias [3]', ShapeError, () => conv1d(f(1, 4, 4), f(3, 3, 4), { bias: f(4) })],
        [
          '[convTranspose2d] expected non-empty images',
          ShapeError,
          () => convTranspose2d(f(1, 4, 4, 4), f(3, 3, 3, 4)),
        ],
        [
          '[convTranspose2d] expected non-empty images',
          ShapeError,
          () => convTranspose2d(f(1, 0, 4, 4), f(4, 3, 3, 4)),
        ],
        [
          '[convTranspose2d] expected an outputPadding below the stride',
          ValueError,
          () => convTranspose2d(f(1, 4, 4, 4), f(4, 3, 3, 4), { outputPadding: 1 }),
        ],
        [
          '[convTranspose2d] expected an output of at least one pixel',
          ShapeError,
          () => convTranspose2d(f(1, 1, 1, 4), f(4, 3, 3, 4), { padding: 2 }),
        ],
        [
          '[convTranspose2d] expected a bias [3]',
          ShapeError,
          () => convTranspose2d(f(1, 4, 4, 4), f(4, 3, 3, 3), { bias: f(4) }),
        ],
        ['[convTranspose1d] expected x [N, L, Cin]', ShapeError, () => convTranspose1d(f(1, 4, 4), f(3, 3, 4))],
        ['[maxPool1d] expected sequences [N, L, C]', ShapeError, () => maxPool1d(f(1, 4, 4, 4), { kernel: 2 })],
        ['[averagePool1d] expected kernel', Error as never, () => averagePool1d(f(1, 4, 4), {} as never)],
        ['[adaptiveMaxPool2d] expected non-empty images', ShapeError, () => adaptiveMaxPool2d(f(1, 0, 4, 4), 2)],
        [
          '[adaptiveAveragePool2d] expected a size of whole numbers >= 1',
          ValueError,
          () => adaptiveAveragePool2d(f(1, 4, 4, 4), [0, 2]),
        ],
        [
          "[adaptiveMaxPool2d] expected H H' and W W' below 2^31",
          ShapeError,
          () => adaptiveMaxPool2d(f(1, 9, 1, 1), [2 ** 28, 1]),
        ],
        ['[globalAveragePool2d] expected images', ShapeError, () => globalAveragePool2d(f(1, 4, 4))],
        ['[resizeBicubic] expected non-empty images', ShapeError, () => resizeBicubic(f(1, 0, 4, 4), [2, 2])],
        ['[resizeNearest] expected non-empty images', ShapeError, () => resizeNearest(f(1, 4, 4, 4), [2] as never)],
        ['[resizeBilinear] expected non-empty images', ShapeError, () => resizeBilinear(f(1, 4, 4, 4), [2, 0])],
      ];
      for (const [message, type, call] of refused) {
        expect(call, message).toThrow(type);
        expect(call).toThrow(message);
      }
    });
  });
});
