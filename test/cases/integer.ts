/** Cases of bool and i32 tensors: tests of numbers, logic, whole-number arithmetic, comparisons, bits. */
import * as elementwise from '../../src/kernels/elementwise.ts';
import * as integer from '../../src/kernels/integer.ts';
import * as logic from '../../src/kernels/logic.ts';
import * as math from '../../src/kernels/math.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { booleans, fixed, type Input, indices } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase, tolerances } from './case.ts';

type Shape = reference.Shape;

const layer = [64, 1024];
const { exact } = tolerances;

const tests = Object.entries(reference.testFunctions).map(([op, f]) =>
  defineCase<Shape>({
    op,
    name: '',
    dtype: 'bool',
    inputs: (shape) => [fixed([0, -0, 1.5, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, -2], shape)],
    run: ([x]) => logic[op as keyof typeof reference.testFunctions](x),
    reference: ([x]) => reference.map(x, f),
    tolerance: exact,
    check: [[], [0, 2], [3, 7], [67]],
    time: [layer],
    bytes: (shape) => 5 * reference.count(shape),
  }),
);

const pairs: [Shape, Shape][] = [
  [[5], [5]],
  [[2, 3], [3]],
  [
    [4, 1, 3],
    [2, 1],
  ],
  [[0, 3], [3]],
  [[], [35]],
  [[67], [67]],
];

const connectives = Object.entries(reference.logicFunctions).map(([op, f]) =>
  defineCase<[Shape, Shape]>({
    op,
    name: '',
    dtype: 'bool',
    inputs: ([a, b]) => [booleans(a), booleans(b)],
    run: ([a, b]) => logic[op as keyof typeof reference.logicFunctions](a, b),
    reference: ([a, b]) => reference.elementwise(f, a, b),
    tolerance: exact,
    check: pairs,
    time: [[layer, layer]],
    bytes: ([a]) => 3 * reference.count(a),
  }),
);

const not = defineCase<Shape>({
  op: 'logicalNot',
  name: '',
  dtype: 'bool',
  inputs: (shape) => [booleans(shape)],
  run: ([x]) => logic.logicalNot(x),
  reference: ([x]) => reference.map(x, (value) => 1 - value),
  tolerance: exact,
  check: [[], [0], [67]],
  time: [layer],
  bytes: (shape) => 2 * reference.count(shape),
});

const ends = [2 ** 31 - 1, -(2 ** 31)];
/** Whole numbers of either sign with the ends of the range, as many 0 as a divisor has, and shifts. */
const whole = (shape: Shape, values: readonly number[]): Input => ({
  ...indices(shape, 1),
  values: (_, size) => Array.from({ length: size }, (_, i) => values[i % values.length]),
});
const first = (shape: Shape) => whole(shape, [7, -7, 0, ...ends, 1, -1, 65_537, -123_456_789, 2 ** 30, 12]);
const second = (shape: Shape) => whole(shape, [3, -1, 0, -2, 5, ...ends, 31, 32, -3, 1, 40_503, 2]);

const functions = { ...elementwise, ...math, ...integer } as unknown as Record<
  string,
  (a: Tensor | number, b: Tensor | number) => Tensor
>;

function wholeNumbers(op: string, f: (a: number, b: number) => number, dtype: 'i32' | 'bool'): Case[] {
  const scalar = (name: string, order: <T>(x: T, y: number) => [T | number, T | number]) =>
    defineCase<Shape>({
      op,
      name: `i32, ${name}`,
      dtype,
      inputs: (shape) => [first(shape)],
      run: ([x]) => functions[op](...order(x, -3)),
      reference: ([x]) => reference.elementwise(f, ...order(x, -3)),
      tolerance: exact,
      check: [[11], [3, 5]],
    });
  return [
    defineCase<[Shape, Shape]>({
      op,
      name: 'i32',
      dtype,
      inputs: ([a, b]) => [first(a), second(b)],
      run: ([a, b]) => functions[op](a, b),
      reference: ([a, b]) => reference.elementwise(f, a, b),
      tolerance: exact,
      check: pairs,
      time: dtype === 'i32' ? [[layer, layer]] : undefined,
      bytes: ([a]) => 12 * reference.count(a),
    }),
    scalar('number right', (x, y) => [x, y]),
    scalar('number left', (x, y) => [y, x]),
  ];
}

const bitwiseNot = defineCase<Shape>({
  op: 'bitwiseNot',
  name: '',
  dtype: 'i32',
  inputs: (shape) => [first(shape)],
  run: ([x]) => integer.bitwiseNot(x),
  reference: ([x]) => reference.map(x, (value) => ~value),
  tolerance: exact,
  check: [[], [0], [67]],
  time: [layer],
  bytes: (shape) => 8 * reference.count(shape),
});

const where = [
  defineCase<Shape[]>({
    op: 'where',
    name: 'i32',
    dtype: 'i32',
    inputs: ([condition, a, b]) => [booleans(condition), first(a), second(b)],
    run: ([condition, a, b]) => elementwise.where(condition, a, b),
    reference: ([condition, a, b]) => reference.where(condition, a, b),
    tolerance: exact,
    check: [
      [[5], [5], [5]],
      [[2, 3], [3], [2, 1]],
      [[67], [1], [67]],
    ],
  }),
  defineCase<[Shape, Shape]>({
    op: 'where',
    name: 'i32, number',
    dtype: 'i32',
    inputs: ([condition, a]) => [booleans(condition), first(a)],
    run: ([condition, a]) => elementwise.where(condition, -3, a),
    reference: ([condition, a]) => reference.where(condition, -3, a),
    tolerance: exact,
    check: [
      [[7], [7]],
      [[3], [2, 3]],
    ],
  }),
];

export const integerCases: Case[] = [
  ...tests,
  ...connectives,
  not,
  ...Object.entries(reference.integerFunctions).flatMap(([op, f]) => wholeNumbers(op, f, 'i32')),
  ...Object.entries(reference.comparisonFunctions).flatMap(([op, f]) => wholeNumbers(op, f, 'bool')),
  bitwiseNot,
  ...where,
];
