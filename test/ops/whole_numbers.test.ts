/** Elementwise functions of i32 and bool tensors: which dtypes they take and give, and what they refuse. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, DtypeError, NotDifferentiableError } from '../../src/errors.ts';
import { cast } from '../../src/kernels/cast.ts';
import { add, div, equal, less, mul, sub, where } from '../../src/kernels/elementwise.ts';
import { leftShift } from '../../src/kernels/integer.ts';
import { logicalNot } from '../../src/kernels/logic.ts';
import { floorDiv, mod } from '../../src/kernels/math.ts';
import { argmax, sum } from '../../src/kernels/reduce.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const i32 = (values: number[]) => tensor(values, { device, dtype: 'i32' });

  test('rows and columns of flat positions', () => {
    scope(() => {
      const at = i32([0, 5, 7, 11]);
      const [row, column] = [floorDiv(at, 4), mod(at, 4)];
      expect([row.dtype, column.dtype]).toEqual(['i32', 'i32']);
      expect(Array.from(row.dataSync())).toEqual([0, 1, 1, 2]);
      expect(Array.from(column.dataSync())).toEqual([0, 1, 3, 3]);
      expect(Array.from(add(mul(row, 4), column).dataSync())).toEqual([0, 5, 7, 11]);
      expect(Array.from(where(logicalNot(equal(row, 1)), at, -1).dataSync())).toEqual([0, -1, -1, 11]);
      expect(less(at, 6).dtype).toBe('bool');
    });
  });

  test('numbers beyond 2^24 are exact, and results wrap around', () => {
    scope(() => {
      expect(add(i32([16_777_217]), 2).item()).toBe(16_777_219);
      expect(where(cast(i32([1]), 'bool'), i32([16_777_217]), 0).item()).toBe(16_777_217);
      expect(add(i32([2 ** 31 - 1]), 1).item()).toBe(-(2 ** 31));
      expect(sub(0, i32([-(2 ** 31)])).item()).toBe(-(2 ** 31));
      expect(floorDiv(i32([-(2 ** 31)]), -1).item()).toBe(-(2 ** 31));
      expect(Array.from(floorDiv(i32([5, -5]), 0).dataSync())).toEqual([0, 0]);
      expect(Array.from(mod(i32([5, -5]), 0).dataSync())).toEqual([0, 0]);
    });
  });

  test('a number next to an i32 tensor must be one', () => {
    scope(() => {
      const x = i32([1, 2]);
      for (const number of [0.5, 2 ** 31, Number.NaN, Number.POSITIVE_INFINITY]) {
        expect(() => add(x, number)).toThrow(ArgumentError);
        expect(() => add(number, x)).toThrow(
          `[add] expected a whole number of 32 bits next to a tensor of i32, got ${number}`,
        );
        expect(() => where(equal(x, 1), x, number)).toThrow('[where] expected a whole number of 32 bits');
        expect(() => leftShift(x, number)).toThrow('[leftShift] expected a whole number of 32 bits');
      }
    });
  });

  test('i32 and f32 do not mix, and a quotient of whole numbers is refused', () => {
    scope(() => {
      const [whole, float] = [i32([1]), tensor([1], { device })];
      expect(() => add(whole, float)).toThrow(DtypeError);
      expect(() => add(float, whole)).toThrow(DtypeError);
      expect(() => where(equal(whole, 1), whole, float)).toThrow(DtypeError);
      expect(() => div(whole, 2)).toThrow('[div] expected f32 operands');
    });
  });

  test('the op that lost a gradient is named after arithmetic on whole numbers', () => {
    scope(() => {
      const x = tensor([1, 3, 2], { device, requiresGrad: true });
      const y = sum(cast(add(argmax(x, { axis: 0 }), 1), 'f32'));
      expect(() => y.backward()).toThrow(NotDifferentiableError);
      expect(() => y.backward()).toThrow('[argmax] has no gradient');
    });
  });
});
