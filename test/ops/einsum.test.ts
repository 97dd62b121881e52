/** einsum and tensordot: equations and shapes that they refuse, by name, and results that are tensors of their own. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, DtypeError, ShapeError } from '../../src/errors.ts';
import { einsum } from '../../src/kernels/composed/einsum.ts';
import { dot, outer, tensordot, vecdot } from '../../src/kernels/composed/products.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

const f = (...shape: number[]) => zeros(shape, { device });

test.each<[string, number[][], string]>([
  ['ij,jk->ik', [[2, 3]], 'an equation of 1 operands'],
  [
    'ij',
    [
      [2, 3],
      [3, 4],
    ],
    'an equation of 2 operands',
  ],
  ['ij->ik->i', [[2, 3]], 'at most one "->"'],
  ['i1->i', [[2, 3]], 'letters, and at most one "..."'],
  ['i..->i', [[2, 3]], 'letters, and at most one "..."'],
  ['...i...->i', [[2, 3]], 'letters, and at most one "..."'],
  ['ij->ii', [[2, 3]], 'not "i" twice'],
  ['ij->ik', [[2, 3]], 'labels of operands after "->", not "k"'],
])('refuses the equation %s of operands %j', (equation, shapes, message) => {
  const call = () => scope(() => einsum(equation, ...shapes.map((shape) => f(...shape))));
  expect(call).toThrow(ArgumentError);
  expect(call).toThrow('[einsum] expected ');
  expect(call).toThrow(message);
});

test.each<[string, number[][], string]>([
  ['ijk->i', [[2, 3]], 'an operand of 3 axes for "ijk" in "ijk->i", got [2, 3]'],
  ['i...jk->i', [[2, 3]], 'at least 3 axes'],
  [
    'ij,jk->ik',
    [
      [2, 3],
      [4, 5],
    ],
    'one extent of axis "j", got 3 and 4 in [2, 3], [4, 5]',
  ],
  [
    '...i,...i',
    [
      [2, 3],
      [4, 3],
    ],
    'one extent of each axis of "..."',
  ],
  ['ii->i', [[2, 3]], '2 and 3 in [2, 3]'],
  ['ii->i', [[1, 3]], '1 and 3 in [1, 3]'],
])('einsum refuses shapes for %s: %j', (equation, shapes, message) => {
  const call = () => scope(() => einsum(equation, ...shapes.map((shape) => f(...shape))));
  expect(call).toThrow(ShapeError);
  expect(call).toThrow(message);
});

test('refuses other arguments by name', () => {
  scope(() => {
    expect(() => einsum(f(2) as never, f(2))).toThrow('[einsum] expected an equation such as "ij,jk->ik"');
    expect(() => einsum('i')).toThrow('[einsum] expected at least one tensor');
    expect(() => einsum('i', 3 as never)).toThrow('[einsum] expected a tensor');
    expect(() => einsum(`${'a'.repeat(1e6)}!`, f(2))).toThrow('letters');
    expect(() => einsum(','.repeat(69), ...Array.from({ length: 70 }, () => f()))).toThrow('at most 64 operands');
    expect(() => einsum('i,i', f(2), zeros([2], { device, dtype: 'i32' }))).toThrow(DtypeError);
    expect(() => outer(f(2, 1), f(2))).toThrow('[outer] expected vectors [M] and [N], got [2, 1] and [2]');
    expect(() => dot(f(2), f(3))).toThrow('[dot] expected two vectors [K], got [2] and [3]');
    expect(() => vecdot(f(2), f(3))).toThrow('[vecdot] ');
    expect(() => vecdot(f(), f())).toThrow(ShapeError);
    expect(() => tensordot(f(2, 3), f(3), 2)).toThrow('[tensordot] expected a number of axes of both');
    expect(() => tensordot(f(2, 3), f(2, 3), 1)).toThrow(
      'of equal extents or 1, got axes [1] and [0] of [2, 3] and [2, 3]',
    );
    expect(() => tensordot(f(2, 3), f(2, 3), [[0], [0, 1]])).toThrow('as many axes of each tensor');
    expect(() =>
      tensordot(f(2, 3), f(2, 3), [
        [0, 0],
        [0, 1],
      ]),
    ).toThrow('distinct axes');
    expect(() => tensordot(f(2, 3), f(2, 3), 'ab' as never)).toThrow('axes to be a number or [axes of a, axes of b]');
  });
});

describe('results', () => {
  test('are new tensors, also where nothing is computed', () => {
    scope(() => {
      const x = tensor([1, 2, 3], { device });
      const y = einsum('i->i', x);
      y.dispose();
      expect([...x.dataSync()]).toEqual([1, 2, 3]);
    });
  });

  test('leave no tensors behind outside scopes', () => {
    const [a, b, c, v] = [f(2, 3), f(3, 4), f(4, 2), f(3)];
    const products = () => [einsum('ij,jk,kl->li', a, b, c), tensordot(a, b, 1), outer(v, v)];
    // The first calls upload the tables of their shapes, which the device keeps.
    for (const t of products()) t.dispose();
    const before = device.memory().live;
    for (const t of products()) t.dispose();
    expect(device.memory().live).toBe(before);
    for (const t of [a, b, c, v]) t.dispose();
  });

  test('white space is ignored, and upper case letters come first in an implicit result', () => {
    scope(() => {
      expect(einsum(' b A -> A b ', f(2, 3)).shape).toEqual([3, 2]);
      expect(einsum('bA', f(2, 3)).shape).toEqual([3, 2]);
    });
  });
});
