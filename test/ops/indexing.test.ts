/**
 * Reading and writing by index, and masks: what the case table does not state. Dtypes, equal places, the order of sums,
 * special values, refusals by name, and recording.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, DtypeError, RecordingError, ShapeError, ValueError } from '../../src/errors.ts';
import { nllLoss } from '../../src/kernels/composed/class_losses.ts';
import { booleanMask, maskedFill } from '../../src/kernels/composed/masks.ts';
import { nonzero, where } from '../../src/kernels/composed/nonzero.ts';
import {
  indexAdd,
  scatterAdd,
  scatterAlongAxis,
  take,
  takeAlongAxis,
  takeAlongChecked,
  takeChecked,
} from '../../src/kernels/indexing.ts';
import { gather, oneHot } from '../../src/kernels/movement.ts';
import { permutation } from '../../src/kernels/random.ts';
import { crossEntropy } from '../../src/kernels/softmax.ts';
import { eye, linspace, tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  type Nested = number | readonly Nested[];
  const f = (values: Nested) => tensor(values, { device });
  const i = (values: Nested) => tensor(values, { device, dtype: 'i32' });
  const b = (values: Nested) => tensor(values, { device, dtype: 'bool' });
  const read = (t: Tensor) => ({ shape: t.shape, values: Array.from(t.dataSync(), Number) });

  test('moves elements of any dtype', () => {
    scope(() => {
      const rows = [
        [1, 2, 3],
        [4, 5, 6],
      ];
      for (const dtype of ['i32', 'u8', 'bool'] as const) {
        const x = tensor(rows, { device, dtype });
        const expected = (values: number[]) => (dtype === 'bool' ? values.map(() => 1) : values);
        expect(take(x, i([2, 0]), { axis: 1 }).dtype).toBe(dtype);
        expect(read(take(x, i([2, 0]), { axis: 1 })).values).toEqual(expected([3, 1, 6, 4]));
        expect(read(takeAlongAxis(x, i([[1], [2]]), { axis: 1 })).values).toEqual(expected([2, 6]));
        expect(read(booleanMask(x, b([0, 1]))).values).toEqual(expected([4, 5, 6]));
        const put = scatterAlongAxis(x, i([[0], [0]]), tensor([[7], [8]], { device, dtype }), { axis: 1 });
        expect(read(put).values).toEqual(expected([7, 2, 3, 8, 5, 6]));
      }
    });
  });

  test('the last of several values at one place is written, and alone gets the gradient', () => {
    scope(() => {
      const x = f([1, 2, 3]).requireGrad();
      const values = f([10, 20, 30]).requireGrad();
      const y = scatterAlongAxis(x, i([1, 0, 1]), values, { axis: 0 });
      expect(read(y).values).toEqual([20, 30, 3]);
      y.backward(f([5, 6, 7]));
      expect(read(x.grad as Tensor).values).toEqual([0, 0, 7]);
      expect(read(values.grad as Tensor).values).toEqual([0, 5, 6]);
      x.grad = null;
      values.grad = null;
    });
  });

  test('sums values at one place in the order of the index', () => {
    scope(() => {
      const values = [2 ** 24, 1, 1, -(2 ** 24)];
      const inOrder = values.reduce((sum, value) => Math.fround(sum + value), 0);
      expect(inOrder).toBe(0);
      const [x, index] = [zeros([2], { device }), i([1, 1, 1, 1])];
      expect(read(scatterAdd(x, index, f(values), { axis: 0 })).values).toEqual([0, inOrder]);
      expect(read(indexAdd(x, index, f([...values].reverse()), { axis: 0 })).values).toEqual([0, 2]);
    });
  });

  test('nonzero counts NaN, not -0, and works beyond one part', () => {
    scope(() => {
      expect(read(nonzero(f([0, -0, Number.NaN, 1e-45, -1])))).toEqual({ shape: [3, 1], values: [2, 3, 4] });
      expect(read(nonzero(i([-(2 ** 31), 0])))).toEqual({ shape: [1, 1], values: [0] });
      expect(read(nonzero(f(3)))).toEqual({ shape: [1, 0], values: [] });
      expect(read(nonzero(f(0)))).toEqual({ shape: [0, 0], values: [] });
      const many = Array.from({ length: 40_000 }, (_, k) => Number(k % 7 === 0));
      const places = many.flatMap((value, k) => (value === 1 ? [k] : []));
      expect(read(nonzero(tensor(many, { device, dtype: 'u8' }))).values).toEqual(places);
    });
  });

  test('where with a condition alone gives the coordinates along each axis', () => {
    scope(() => {
      const [rows, columns] = where(
        b([
          [0, 1],
          [1, 1],
        ]),
      );
      expect([read(rows), read(columns)]).toEqual([
        { shape: [3], values: [0, 1, 1] },
        { shape: [3], values: [1, 0, 1] },
      ]);
      expect(read(where(b([0, 0]))[0])).toEqual({ shape: [0], values: [] });
      expect(() => where(f([1, 0]))).toThrow('[where] expected bool operands');
    });
  });

  test.each<[string, () => unknown, string]>([
    ['take', () => take(f([1, 2]), i([0, 2]), { axis: 0 }), 'index 2 at position 1 is outside [0, 2)'],
    ['take', () => take(f([1, 2]), i([-1])), 'index -1 at position 0 is outside [0, 2)'],
    ['take', () => take(zeros([0], { device }), i([0])), 'index 0 at position 0 is outside [0, 0)'],
    [
      'takeAlongAxis',
      () => takeAlongAxis(f([[1], [2]]), i([[0], [1]]), { axis: 1 }),
      'index 1 at position [1, 0] is outside [0, 1)',
    ],
    ['scatterAdd', () => scatterAdd(f([1]), i([-1]), f([1]), { axis: 0 }), 'index -1 at position 0 is outside [0, 1)'],
    ['scatterAlongAxis', () => scatterAlongAxis(f([1]), i([1]), f([1]), { axis: 0 }), 'index 1 at position 0'],
    ['indexAdd', () => indexAdd(f([1]), i([5]), f([1]), { axis: 0 }), 'index 5 at position 0 is outside [0, 1)'],
  ])('%s refuses an index out of range by position and value: %#', (op, call, message) => {
    const before = device.memory().live;
    expect(() => scope(call)).toThrow(ValueError);
    expect(() => scope(call)).toThrow(`[${op}] ${message}`);
    expect(device.memory().live).toBe(before);
  });

  test.each<[string, () => unknown, string]>([
    ['takeAlongAxis', () => takeAlongAxis(f([[1, 2]]), i([0]), { axis: 1 }), '[1] for [1, 2]'],
    ['takeAlongAxis', () => takeAlongAxis(f([[1], [2]]), i([[0], [0], [0]]), { axis: 1 }), '[2, 1] and [3, 1]'],
    ['scatterAdd', () => scatterAdd(f([1, 2]), i([[0]]), f([1]), { axis: 0 }), '[2], [1, 1], [1]'],
    ['scatterAdd', () => scatterAdd(f([[1, 2]]), i([[0], [0]]), f([[1], [1]]), { axis: 1 }), '[1, 2], [2, 1], [2, 1]'],
    ['indexAdd', () => indexAdd(f([[1, 2]]), i([0, 0]), f([[1, 2]]), { axis: 0 }), '[1, 2], [2], [1, 2]'],
    ['booleanMask', () => booleanMask(f([[1, 2]]), b([1]), { axis: 1 }), '[1] for [1, 2]'],
    ['booleanMask', () => booleanMask(f(1), b(1)), '[] for []'],
    ['maskedFill', () => maskedFill(f([1]), b([1, 0]), 0), '[2]'],
    ['take', () => take(f([1]), i([0]), { axis: 1 }), '[1]'],
  ])('%s refuses shapes that do not fit: %#', (op, call, message) => {
    expect(() => scope(call)).toThrow(ShapeError);
    expect(() => scope(call)).toThrow(`[${op}] `);
    expect(() => scope(call)).toThrow(message);
  });

  test.each<[string, () => unknown]>([
    ['take', () => take(f([1]), f([0]), { axis: 0 })],
    ['takeAlongAxis', () => takeAlongAxis(f([1]), f([0]), { axis: 0 })],
    ['scatterAdd', () => scatterAdd(i([1]), i([0]), i([0]), { axis: 0 })],
    ['scatterAlongAxis', () => scatterAlongAxis(f([1]), i([0]), i([0]), { axis: 0 })],
    ['indexAdd', () => indexAdd(f([1]), i([0]), i([0]), { axis: 0 })],
    ['maskedFill', () => maskedFill(f([1]), f([0]), 0)],
    ['booleanMask', () => booleanMask(f([1]), i([0]))],
  ])('%s refuses a wrong dtype', (op, call) => {
    expect(() => scope(call)).toThrow(DtypeError);
    expect(() => scope(call)).toThrow(`[${op}] `);
  });

  test('an axis must be named where there is no default', () => {
    scope(() => {
      const [x, index] = [f([1]), i([0])];
      expect(() => takeAlongAxis(x, index, {})).toThrow(ArgumentError);
      expect(() => takeAlongAxis(x, index, undefined as never)).toThrow('[takeAlongAxis] ');
      expect(() => scatterAdd(x, index, x, {})).toThrow('[scatterAdd] expected axis to be a whole number');
      expect(() => take(x, index, { axis: 0, axes: 0 })).toThrow('[take] expected axis or axes, got both');
      expect(() => maskedFill(x, b([1]), '0' as never)).toThrow('[maskedFill] expected tensors or numbers');
    });
  });

  test('checks of indices and shapes that depend on values refuse recording by name', () => {
    scope(() => {
      const [x, index, mask] = [f([1, 2]), i([0, 1]), b([1, 0])];
      const logits = zeros([2, 2], { device });
      const calls: [string, () => unknown][] = [
        ['take', () => take(x, index)],
        ['takeAlongAxis', () => takeAlongAxis(x, index, { axis: 0 })],
        ['scatterAdd', () => scatterAdd(x, index, x, { axis: 0 })],
        ['scatterAlongAxis', () => scatterAlongAxis(x, index, x, { axis: 0 })],
        ['indexAdd', () => indexAdd(x, index, x, { axis: 0 })],
        ['nonzero', () => nonzero(x)],
        ['where', () => where(mask)],
        ['booleanMask', () => booleanMask(x, mask)],
        ['gather', () => gather(x, index)],
        ['oneHot', () => oneHot(index, 2)],
        ['crossEntropy', () => crossEntropy(logits, index)],
        ['crossEntropy', () => crossEntropy(logits, index, { labelSmoothing: 0.1 })],
        ['nllLoss', () => nllLoss(logits, index)],
        ['permutation', () => permutation(2, { seed: 0, device })],
        ['eye', () => eye(2, { device })],
        ['linspace', () => linspace(0, 1, 2, { device })],
        ['tensor', () => tensor([1], { device })],
      ];
      for (const [op, call] of calls) {
        call();
        const recorded = () => device.record(() => scope(call));
        expect(recorded, op).toThrow(RecordingError);
        expect(recorded, op).toThrow(`[${op}] expected no recording around it`);
      }
      // Without a check they are recorded.
      let y: Tensor | undefined;
      using recording = device.record(() => {
        y = takeChecked(takeAlongChecked(x, index, 0), index, 0);
      });
      recording.replay();
      expect(read(y as Tensor).values).toEqual([1, 2]);
    });
  });
});
