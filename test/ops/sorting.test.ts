// Sorting and what is built on it: NaN, zeros, ties, whole numbers, rows of many blocks, gradients, recording, and refusals.
import { beforeAll, describe, expect, test } from 'vitest';
import { checkpoint } from '../../src/autograd/checkpoint.ts';
import { jvp } from '../../src/autograd/forward.ts';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, DtypeError, RecordingError, ShapeError, type ValueError } from '../../src/errors.ts';
import { cast } from '../../src/kernels/cast.ts';
import { unique } from '../../src/kernels/composed/unique.ts';
import { less, mul } from '../../src/kernels/elementwise.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { argsort, binCount, searchSorted, sort, topK } from '../../src/kernels/sort.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';
import { random } from '../support/random.ts';

const [nan, infinity] = [Number.NaN, Number.POSITIVE_INFINITY];

describe.each([...deviceNames, 'wasm'])('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const given = (values: number[], dtype: 'f32' | 'i32' = 'f32') => tensor(values, { device, dtype });
  const numbers = (t: Tensor) => Array.from(t.dataSync());

  test('NaN is the largest, and equal elements keep their order', () => {
    scope(() => {
      const x = given([1, nan, -infinity, -0, 1, 0, infinity, nan, -1e-45]);
      const up = sort(x);
      expect(numbers(up.values)).toEqual([-infinity, -1.401298464324817e-45, -0, 0, 1, 1, infinity, nan, nan]);
      expect(numbers(up.indices)).toEqual([2, 8, 3, 5, 0, 4, 6, 1, 7]);
      const down = sort(x, { descending: true });
      expect(numbers(down.values)).toEqual([nan, nan, infinity, 1, 1, -0, 0, -1.401298464324817e-45, -infinity]);
      expect(numbers(down.indices)).toEqual([1, 7, 6, 0, 4, 3, 5, 8, 2]);
      expect(numbers(argsort(x))).toEqual(numbers(up.indices));
      const top = topK(x, 3);
      expect([numbers(top.values), numbers(top.indices)]).toEqual([
        [nan, nan, infinity],
        [1, 7, 6],
      ]);
      expect(numbers(topK(x, 2, { largest: false }).indices)).toEqual([2, 8]);
    });
  });

  test('whole numbers are sorted as such', () => {
    scope(() => {
      const x = given([3, -(2 ** 31), 2 ** 31 - 1, 16_777_217, 16_777_216, -1, 3], 'i32');
      const { values, indices } = sort(x);
      expect(values.dtype).toBe('i32');
      expect(numbers(values)).toEqual([-(2 ** 31), -1, 3, 3, 16_777_216, 16_777_217, 2 ** 31 - 1]);
      expect(numbers(indices)).toEqual([1, 5, 0, 6, 4, 3, 2]);
      expect(numbers(topK(x, 2).values)).toEqual([2 ** 31 - 1, 16_777_217]);
    });
  });

  test.each([
    [1, 1023],
    [3, 1024],
    [2, 1025],
    [1, 9001],
  ])('sorts %d rows of %d elements', (rows, n) => {
    scope(() => {
      const draw = random(`${rows} ${n}`);
      const values = Float32Array.from({ length: rows * n }, () => Math.floor(2000 * draw()) - 1000);
      for (const descending of [false, true])
        for (const axis of [0, 1]) {
          const shape = axis === 1 ? [rows, n] : [n, rows];
          const place = (row: number, k: number) => (axis === 1 ? row * n + k : k * rows + row);
          const { values: sorted, indices } = sort(tensor(values, { shape, device }), { axis, descending });
          const [got, order] = [sorted.dataSync(), indices.dataSync()];
          const sign = descending ? -1 : 1;
          for (let row = 0; row < rows; row++) {
            const value = (k: number) => values[place(row, k)];
            const want = Array.from({ length: n }, (_, k) => k).sort((a, b) => sign * (value(a) - value(b)) || a - b);
            expect(
              want.every((k, i) => order[place(row, i)] === k && got[place(row, i)] === value(k)),
              `row ${row} along ${axis}, ${descending}`,
            ).toBe(true);
          }
        }
    });
  });

  test('the gradient goes to the elements that were chosen, and none to indices', () => {
    scope(() => {
      const x = tensor([3, 1, 2], { device, requiresGrad: true });
      const { values, indices } = sort(x);
      expect(indices.requiresGrad).toBe(false);
      sum(mul(values, given([10, 20, 30]))).backward();
      expect(numbers(x.grad as Tensor)).toEqual([30, 10, 20]);
      const { values: top, indices: places } = topK(x, 1);
      expect(() => sum(cast(places, 'f32')).backward()).toThrow(
        '[topK] has no gradient: its indices are whole numbers',
      );
      top.backward(given([5]));
      expect(numbers(x.grad as Tensor)).toEqual([35, 10, 20]);
      expect(numbers(jvp((t) => sort(t, { descending: true }).values, [x], [given([1, 2, 3])])[1])).toEqual([1, 3, 2]);
    });
  });

  test('both outputs pass through a checkpoint', () => {
    scope(() => {
      const x = tensor([3, 1, 2], { device, requiresGrad: true });
      const [values, indices] = checkpoint((t: Tensor) => Object.values(sort(t)), [x]);
      expect([values.requiresGrad, indices.requiresGrad]).toEqual([true, false]);
      sum(mul(values, given([10, 20, 30]))).backward();
      expect(numbers(x.grad as Tensor)).toEqual([30, 10, 20]);
      expect(() => sum(cast(indices, 'f32')).backward()).toThrow('[sort] has no gradient');
    });
  });

  test('finds places of values, with NaN as the largest', () => {
    scope(() => {
      const sorted = given([-0, 0, 1, 2, nan]);
      const values = given([-infinity, 0, 1.5, 2, infinity, nan]);
      expect(numbers(searchSorted(sorted, values))).toEqual([0, 0, 3, 3, 4, 4]);
      expect(numbers(searchSorted(sorted, values, { side: 'right' }))).toEqual([0, 2, 3, 4, 4, 5]);
      expect(numbers(searchSorted(given([-5, 7], 'i32'), given([-6, 0, 9], 'i32')))).toEqual([0, 1, 2]);
    });
  });

  test('counts whole numbers; without a length up to the largest', () => {
    scope(() => {
      const x = given([0, 3, 3, 1], 'i32');
      expect(numbers(binCount(x))).toEqual([1, 1, 0, 2]);
      expect(numbers(binCount(given([], 'i32')))).toEqual([]);
      expect(numbers(binCount(given([-1, 5, 1, 1], 'i32'), { length: 3 }))).toEqual([0, 2, 0]);
      expect(() => binCount(given([0, -1], 'i32'))).toThrow('[binCount] expected elements >= 0, got -1 at position 1');
    });
  });

  test('distinct elements: all NaN are one, and so are both zeros', () => {
    scope(() => {
      const { values, inverse, counts } = unique(tensor([nan, 2, 0, nan, -0, 2], { shape: [2, 3], device }));
      expect(numbers(values)).toEqual([0, 2, nan]);
      expect([inverse.shape, numbers(inverse)]).toEqual([
        [2, 3],
        [2, 1, 0, 2, 0, 1],
      ]);
      expect(numbers(counts)).toEqual([2, 2, 2]);
      const whole = unique(given([7, -7, 7], 'i32'));
      expect([whole.values.dtype, numbers(whole.values)]).toEqual(['i32', [-7, 7]]);
    });
  });

  test('is recorded, unless the shape of a result depends on elements', () => {
    scope(() => {
      const x = given([3, 1, 2]);
      const index = given([0, 1, 1], 'i32');
      const run = () => [sort(x).values, cast(argsort(x), 'f32'), cast(binCount(index, { length: 2 }), 'f32')];
      run();
      let recorded: Tensor[] = [];
      const recording = device.record(() => {
        recorded = run();
      });
      recording.replay();
      expect(recorded.map(numbers)).toEqual([
        [1, 2, 3],
        [1, 2, 0],
        [1, 2],
      ]);
      for (const t of recorded) t.dispose();
      recording[Symbol.dispose]();
      const refusals: [op: string, call: () => unknown][] = [
        ['unique', () => unique(x)],
        ['binCount', () => binCount(index)],
      ];
      for (const [op, call] of refusals) {
        const refused = () => device.record(() => scope(call));
        expect(refused).toThrow(RecordingError);
        expect(refused).toThrow(
          `[${op}] expected no recording around it, because the shape of its result depends on the values`,
        );
      }
    });
  });

  test('refuses shapes, dtypes and arguments that do not fit, by name', () => {
    const x = zeros([2, 3], { device });
    const other = zeros([3, 2], { device });
    const scalar = zeros([], { device });
    const whole = zeros([3], { device, dtype: 'i32' });
    const mask = scope(() => less(x, 0));
    type Kind = typeof ShapeError | typeof DtypeError | typeof ValueError;
    const refusals: [call: () => unknown, type: Kind, text: RegExp][] = [
      [() => sort(x, { axis: 2 }), ShapeError, /^\[sort\].*\[2, 3\]/],
      [() => argsort(scalar), ShapeError, /^\[argsort\] expected at least one axis, got \[\]/],
      [() => topK(x, 4), ShapeError, /^\[topK\] expected at least 4 elements along axis 1, got \[2, 3\]/],
      [() => topK(x, -1), ArgumentError, /^\[topK\] expected k to be a whole number >= 0, got -1/],
      [
        () => topK(x, 1, { descending: true } as never),
        ArgumentError,
        /^\[topK\] expected options among axis, axes, largest/,
      ],
      [() => searchSorted(x, other), ShapeError, /^\[searchSorted\].*\[2, 3\] and \[3, 2\]/],
      [() => searchSorted(scalar, x), ShapeError, /^\[searchSorted\].*\[\] and \[2, 3\]/],
      [() => searchSorted(whole, x), DtypeError, /^\[searchSorted\].*f32 \[2, 3\]/],
      [
        () => searchSorted(x, x, { side: 'middle' } as never),
        ArgumentError,
        /^\[searchSorted\] expected side to be one of/,
      ],
      [() => sort(mask), DtypeError, /^\[sort\] expected f32 or i32 operands, got .*bool \[2, 3\]/],
      [() => unique(mask), DtypeError, /^\[unique\].*bool \[2, 3\]/],
      [
        () => (unique as (...values: unknown[]) => unknown)(x, { counts: true }),
        ArgumentError,
        /^\[unique\] expected no further argument/,
      ],
      [() => binCount(x), DtypeError, /^\[binCount\].*f32 \[2, 3\]/],
      [() => binCount(whole, { length: -1 }), ArgumentError, /^\[binCount\] expected length to be/],
      [() => sort(null as never), ArgumentError, /^\[sort\] expected a tensor, got null/],
    ];
    for (const [call, type, text] of refusals)
      scope(() => {
        expect(call, `${text}`).toThrow(type);
        expect(call, `${text}`).toThrow(text);
      });
    for (const t of [x, other, scalar, whole, mask]) t.dispose();
  });
});
