// Reductions and scans at the ends of their range: NaN, infinity, zeros, ties, empty axes, products and norms that overflow in
// between; what they refuse. Values and gradients are those of PyTorch 2.13 where a comment does not state otherwise:
//   x = torch.tensor([2., 0, 3], requires_grad=True); y = torch.prod(x); y.sum().backward(); print(y, x.grad)
// and so on, with torch.amin, torch.argmin, x.var(correction=...), x.std(), torch.linalg.vector_norm(x, ord), torch.logsumexp(x, 0),
// torch.median, torch.any, torch.all, torch.count_nonzero, torch.cumsum(x, 0), torch.cumprod(x, 0).
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, DtypeError, ShapeError } from '../../src/errors.ts';
import { median } from '../../src/kernels/composed/median.ts';
import { std, variance } from '../../src/kernels/composed/variance.ts';
import { less } from '../../src/kernels/elementwise.ts';
import { all, any, countNonzero, logSumExp, norm } from '../../src/kernels/fold.ts';
import { argmax, argmin, max, min, sum } from '../../src/kernels/reduce.ts';
import { cumprod, cumsum, linearRecurrence, prod } from '../../src/kernels/scan.ts';
import { full, tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const [nan, infinity] = [Number.NaN, Number.POSITIVE_INFINITY];
const f = (values: number[]) => values.map(Math.fround);

describe.each([...deviceNames, 'wasm'])('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  /** The elements of g(x), and the gradient of their sum. */
  function at(values: number[], g: (x: Tensor) => Tensor, shape: number[] = [values.length]): [number[], number[]] {
    return scope(() => {
      const x = tensor(values, { shape, device, requiresGrad: true });
      const y = g(x);
      if (y.dtype === 'f32') sum(y).backward();
      return [Array.from(y.dataSync()), Array.from(x.grad?.dataSync() ?? [])];
    });
  }
  const resultOf = (values: number[], g: (x: Tensor) => Tensor, shape?: number[]) =>
    scope(() => Array.from(g(tensor(values, { shape: shape ?? [values.length], device })).dataSync()));

  test('minima share the gradient of ties, and are NaN next to a NaN', () => {
    expect(at([2, 1, 1], min)).toEqual([[1], [0, 0.5, 0.5]]);
    expect(at([1, nan, 2], min)).toEqual([[nan], [nan, nan, nan]]);
    expect(at([infinity, infinity], min)).toEqual([[infinity], [0.5, 0.5]]);
    expect(resultOf([3, -infinity, 1], (x) => argmin(x, { axis: 0 }))).toEqual([1]);
    expect(resultOf([3, nan, -1, nan], (x) => argmin(x, { axis: 0 }))).toEqual([1]);
    expect(resultOf([3, nan, 9, nan], (x) => argmax(x, { axis: 0 }))).toEqual([1]);
    expect(resultOf([0, -0], (x) => argmin(x, { axis: 0 }))).toEqual([0]);
    const long = Array.from({ length: 100 }, (_, i) => (i === 65 || i === 34 ? nan : (i * 7) % 50));
    expect(resultOf(long, (x) => argmin(x, { axis: 0 }))).toEqual([34]);
    const ties = long.map((value) => (Number.isNaN(value) ? 60 : value));
    expect(resultOf(ties, (x) => argmax(x, { axis: 0 }))).toEqual([34]);
    expect(resultOf(ties.slice(1), (x) => argmin(x, { axis: 0 }))).toEqual([49]);
    expect(at([1, 5], (x) => max(min(x, { axes: [] })))).toEqual([[5], [0, 1]]);
  });

  test('a product has the right gradient at zeros', () => {
    expect(at([2, 0, 3], prod)).toEqual([[0], [0, 6, 0]]);
    expect(at([2, 0, 0], prod)).toEqual([[0], [0, 0, 0]]);
    expect(at([2, nan, 3], prod)).toEqual([[nan], [nan, 6, nan]]);
    // PyTorch: the first gradient is NaN, Infinity / Infinity, and the product below overflows.
    expect(at([infinity, 2], prod)).toEqual([[infinity], [2, infinity]]);
    expect(resultOf([1e30, 1e30, 1e-30, 1e-30], prod)[0]).toBeCloseTo(1, 5);
  });

  test('variances need more elements than the correction', () => {
    expect(resultOf([3], variance)).toEqual([nan]);
    expect(resultOf([3], (x) => variance(x, { correction: 0 }))).toEqual([0]);
    expect(resultOf([3, 4], (x) => variance(x, { correction: 2 }))).toEqual([infinity]);
    expect(resultOf([], variance)).toEqual([nan]);
    expect(resultOf([], (x) => std(x, { axes: 1 }), [2, 0])).toEqual([nan, nan]);
    expect(resultOf([1, nan, 2], std)).toEqual([nan]);
    expect(resultOf([1, infinity], std)).toEqual([nan]);
    // PyTorch: 2.5.
    expect(resultOf([10_000_001, 10_000_002, 10_000_003], variance)).toEqual([1]);
  });

  test('the gradient of a deviation of 0 is 0', () => {
    expect(at([4, 4, 4], std)).toEqual([[0], [0, 0, 0]]);
    expect(at([4, 4, 4, 4, 0, 2], (x) => std(x, { axes: 1 }), [3, 2])).toEqual([
      f([0, 0, Math.SQRT2]),
      [0, 0, 0, 0, ...f([-Math.SQRT1_2, Math.SQRT1_2])],
    ]);
  });

  test('norms', () => {
    for (const ord of [1, 2, 3, infinity]) {
      const g = (x: Tensor) => norm(x, { ord });
      expect(at([0, 0], g)[0], `${ord}`).toEqual([0]);
      expect(at([0, 0], g)[1].map(Math.abs), `${ord}`).toEqual([0, 0]);
      expect(resultOf([nan, 1], g), `${ord}`).toEqual([nan]);
      expect(resultOf([-infinity, 1], g), `${ord}`).toEqual([infinity]);
    }
    expect(at([3, -4], norm)).toEqual([[5], f([0.6, -0.8])]);
    const below: [ord: number, x: number[], value: number, slopes: number[]][] = [
      [0.5, [0, 4, 9], 25, [0, 2.5, 5 / 3]],
      [-1, [0, 2], 0, [0, 0]],
      [-1, [-2, 4, 4], 1, [-0.25, 0.0625, 0.0625]],
    ];
    for (const [ord, x, value, slopes] of below) {
      const [got, gradient] = at(x, (t) => norm(t, { ord }));
      expectClose(`norm of order ${ord}`, [...got, ...gradient], [value, ...slopes], { relative: 1e-6 });
    }
    expect(at([-2, 2, 3], (x) => norm(x, { ord: -infinity }))).toEqual([[2], [-0.5, 0.5, 0]]);
    expect(at([-2, 2, 1], (x) => norm(x, { ord: infinity }))).toEqual([[2], [-0.5, 0.5, 0]]);
    // Squares overflow and underflow f32: PyTorch returns Infinity and 0.
    expect(resultOf([3e30, 4e30], norm)).toEqual(f([5e30]));
    expect(resultOf([3e-30, 4e-30], norm)).toEqual(f([5e-30]));
    expect(resultOf([3e30, 0], (x) => norm(x, { ord: 3 }))).toEqual(f([3e30]));
    expect(resultOf([], norm)).toEqual([0]);
    for (const ord of [0, nan, '2'])
      expect(() => resultOf([1], (x) => norm(x, { ord } as never)), `${ord}`).toThrow(ArgumentError);
    expect(() => resultOf([], (x) => norm(x, { ord: infinity }))).toThrow(ShapeError);
  });

  test('log sum exp of large, infinite and no numbers', () => {
    expect(resultOf([1000, 1000], logSumExp)).toEqual(f([1000 + Math.LN2]));
    expect(at([-infinity, 2], logSumExp)).toEqual([[2], [0, 1]]);
    expect(resultOf([-infinity, -infinity], logSumExp)).toEqual([-infinity]);
    expect(resultOf([infinity, 1], logSumExp)).toEqual([infinity]);
    expect(resultOf([nan, 1], logSumExp)).toEqual([nan]);
    expect(resultOf([], logSumExp)).toEqual([-infinity]);
  });

  test('the median is the lower one, and NaN next to a NaN', () => {
    expect(at([4, 1, 3, 2], median)).toEqual([[2], [0, 0, 0, 1]]);
    expect(at([4, nan, 3], median)).toEqual([[nan], [0, 1, 0]]);
    expect(resultOf([-infinity, 1, infinity], median)).toEqual([1]);
    expect(resultOf([5, 1, 2, 8, 7, 9], (x) => median(x, { axis: 1, keepDims: true }), [2, 3])).toEqual([2, 8]);
  });

  test('any, all and countNonzero take every dtype, and NaN is true', () => {
    scope(() => {
      for (const dtype of ['f32', 'i32', 'u8', 'bool'] as const) {
        const x = tensor([0, 0, 1, 0, 2, 3], { shape: [2, 3], dtype, device });
        expect(Array.from(any(x, { axes: 0 }).dataSync()), dtype).toEqual([0, 1, 1]);
        expect(Array.from(all(x, { axes: 0 }).dataSync()), dtype).toEqual([0, 0, 1]);
        expect(Array.from(countNonzero(x, { axes: 1 }).dataSync()), dtype).toEqual([1, 2]);
      }
      expect(any(tensor([nan, -0], { device })).item()).toBe(1);
      expect(all(tensor([nan, -0], { device })).item()).toBe(0);
      expect(countNonzero(full([3, 5000], 2, { device })).item()).toBe(15_000);
    });
  });

  test('scans carry NaN and infinity on, and products are right at zeros', () => {
    expect(resultOf([1, nan, 2], (x) => cumsum(x, { axis: 0 }))).toEqual([1, nan, nan]);
    expect(resultOf([infinity, 1, -infinity], (x) => cumsum(x, { axis: 0 }))).toEqual([infinity, infinity, nan]);
    expect(at([2, 0, 3, 4], (x) => cumprod(x, { axis: 0 }))).toEqual([
      [2, 0, 0, 0],
      [1, 32, 0, 0],
    ]);
    expect(at([2, 3, 0], (x) => cumprod(x, { axis: 0, reverse: true }))).toEqual([
      [0, 0, 0],
      [0, 0, 10],
    ]);
    // The state is double, as in PyTorch on the CPU.
    expect(resultOf([1e-30, 1e-30, 1e30, 1e30], (x) => cumprod(x, { axis: 0 }))[3]).toBeCloseTo(1, 5);
    expect(resultOf([nan, 2, 3], (x) => linearRecurrence(x, full([3], 1, { device }), { axis: 0 }))).toEqual([
      1, 3, 10,
    ]);
  });

  test.each([4095, 4096, 4097, 9000])('a cumulative sum of %d numbers adds in double', (length) => {
    scope(() => {
      const x = Float32Array.from({ length }, (_, i) => Math.fround(Math.sin(i) + 0.1));
      for (const [shape, stride] of [
        [[length], 1],
        [[length, 2], 2],
      ] as const) {
        const values =
          stride === 1 ? x : Float32Array.from({ length: 2 * length }, (_, i) => x[i >> 1] * (1 + (i & 1)));
        for (const reverse of [false, true]) {
          const got = cumsum(tensor(values, { shape, device }), { axis: 0, reverse }).dataSync();
          const wrong: number[] = [];
          for (let column = 0; column < stride; column++) {
            let total = 0;
            for (let step = 0; step < length; step++) {
              const place = (reverse ? length - 1 - step : step) * stride + column;
              total += values[place];
              if (Math.abs(got[place] - total) > 1e-7 * Math.abs(total) + 1e-6) wrong.push(place);
            }
          }
          expect(wrong, `${shape} ${reverse}`).toEqual([]);
        }
      }
    });
  });

  test('refuses shapes, dtypes and options that do not fit, by name', () => {
    const x = zeros([2, 3], { device });
    const none = zeros([2, 0], { device });
    const whole = zeros([3], { device, dtype: 'i32' });
    const refusals: [
      call: () => unknown,
      type: typeof ShapeError | typeof DtypeError | typeof ArgumentError,
      text: RegExp,
    ][] = [
      [() => min(none, { axes: 1 }), ShapeError, /^\[min\].*\[2, 0\]/],
      [() => argmin(none, { axis: 1 }), ShapeError, /^\[argmin\].*\[2, 0\]/],
      [() => prod(x, { axes: 2 }), ShapeError, /^\[prod\].*\[2, 3\]/],
      [() => norm(x, { axes: [1, 1] }), ShapeError, /^\[norm\].*\[2, 3\]/],
      [() => logSumExp(x, { axis: -3 }), ShapeError, /^\[logSumExp\].*\[2, 3\]/],
      [() => any(x, { axes: 2 }), ShapeError, /^\[any\].*\[2, 3\]/],
      [() => variance(x, { axes: 2 }), ShapeError, /^\[variance\].*\[2, 3\]/],
      [() => std(x, { axes: 2 }), ShapeError, /^\[std\].*\[2, 3\]/],
      [() => median(none, { axis: 1 }), ShapeError, /^\[median\].*\[2, 0\]/],
      [() => median(none), ShapeError, /^\[median\].*\[2, 0\]/],
      [() => cumsum(x, { axis: 2 }), ShapeError, /^\[cumsum\].*\[2, 3\]/],
      [() => cumprod(zeros([], { device }), { axis: 0 }), ShapeError, /^\[cumprod\].*\[\]/],
      [() => linearRecurrence(x, none, { axis: 0 }), ShapeError, /^\[linearRecurrence\].*\[2, 3\] and \[2, 0\]/],
      [() => norm(whole), DtypeError, /^\[norm\].*i32 \[3\]/],
      [() => prod(less(x, 0)), DtypeError, /^\[prod\].*bool \[2, 3\]/],
      [() => cumsum(whole, { axis: 0 }), DtypeError, /^\[cumsum\].*i32 \[3\]/],
      [() => median(whole), DtypeError, /^\[median\].*i32 \[3\]/],
      [() => cumsum(x, {}), ArgumentError, /^\[cumsum\] expected axis to be a whole number/],
      [() => variance(x, { correction: Number.NaN }), ArgumentError, /^\[variance\] expected correction to be/],
      [
        () => variance(x, { ddof: 1 } as never),
        ArgumentError,
        /^\[variance\] expected options among axes, axis, keepDims, correction/,
      ],
      [() => all(x, { axis: 0, axes: 1 }), ArgumentError, /^\[all\] expected axes or axis, got both/],
      [
        () => cumprod(x, { axis: 0, reverse: 1 } as never),
        ArgumentError,
        /^\[cumprod\] expected reverse to be true or false/,
      ],
      [() => norm(x, null as never), ArgumentError, /^\[norm\] expected options/],
    ];
    for (const [call, type, text] of refusals)
      scope(() => {
        expect(call, `${text}`).toThrow(type);
        expect(call, `${text}`).toThrow(text);
      });
    for (const t of [x, none, whole]) t.dispose();
  });
});
