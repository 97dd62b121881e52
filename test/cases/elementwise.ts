// Cases of the elementwise ops: y = f(a, b) with NumPy broadcasting.
import * as ops from '../../src/kernels/elementwise.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { awayFromZero, booleans, constant, fixed, type Input, lattice, normal, uniform } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;

const activations = [4, 32, 32, 128];
const shapes: Shape[] = [[], [1], [0], [7], [3, 0, 2], [2, 3, 5], [1, 1, 17], [33], [4, 65], [1025]];

const pairs: [Shape, Shape][] = [
  [[], []],
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [[3], [2, 3]],
  [
    [2, 1],
    [1, 3],
  ],
  [[], [4]],
  [
    [5, 1, 7],
    [3, 1],
  ],
  [
    [0, 3],
    [1, 3],
  ],
  [[0, 3], []],
  [[0], [1]],
  [
    [4, 17],
    [4, 1],
  ],
  [
    [1, 1],
    [3, 3, 3],
  ],
  [
    [2, 3, 4, 5],
    [4, 1],
  ],
  [
    [2, 1, 4, 1, 3],
    [1, 3, 1, 2, 3],
  ],
  [
    [3, 5, 33],
    [3, 1, 33],
  ],
  [[2, 3, 129], [129]],
  [[1031], [1031]],
];

/** Several shapes that broadcast: drop leading axes and stretch some extents of one common shape. */
function randomBroadcast(pick: Pick, operands: number): Shape[] {
  const common = randomShape(pick, pick(0, 4), 0, 5);
  return Array.from({ length: operands }, () =>
    common.map((extent) => (pick(0, 2) === 0 ? 1 : extent)).slice(pick(0, 1) * pick(0, common.length)),
  );
}

const broadcastBytes = (operands: readonly Shape[]) =>
  4 * (operands.reduce((n, s) => n + reference.count(s), 0) + reference.count(reference.broadcastShape(...operands)));

type Unary = keyof typeof reference.unaryFunctions;

function unary(op: Unary, values: (shape: Shape) => Input, tolerance: CaseTolerance): Case {
  return defineCase<Shape>({
    op,
    name: '',
    inputs: (shape) => [values(shape)],
    run: ([x]) => ops[op](x),
    reference: ([x]) => reference.map(x, reference.unaryFunctions[op]),
    tolerance,
    check: shapes,
    random: (pick) => randomShape(pick, pick(0, 4), 0, 6),
    time: [activations],
    bytes: (shape) => 8 * reference.count(shape),
  });
}

/** Inputs at the ends of the range, where polynomials and exponents break first; only values are checked. */
function extremes(op: Unary, values: number[], tolerance: CaseTolerance): Case {
  return defineCase<Shape>({
    op,
    name: 'extreme values',
    inputs: (shape) => [fixed(values, shape)],
    run: ([x]) => ops[op](x),
    reference: ([x]) => reference.map(x, reference.unaryFunctions[op]),
    tolerance,
    check: [[values.length], [67]],
  });
}

type Binary = keyof typeof reference.binaryFunctions;
type Operands = [Tensor | number, Tensor | number];

function binary(op: Binary, a: (s: Shape) => Input, b: (s: Shape) => Input, tolerance: CaseTolerance): Case[] {
  const tensors = defineCase<[Shape, Shape]>({
    op,
    name: 'broadcast',
    inputs: ([left, right]) => [a(left), b(right)],
    run: ([x, y]) => ops[op](x, y),
    reference: ([x, y]) => reference.elementwise(reference.binaryFunctions[op], x, y),
    tolerance,
    check: pairs,
    random: (pick) => randomBroadcast(pick, 2) as [Shape, Shape],
    time: [
      [activations, activations],
      [activations, [128]],
      [activations, [4, 1, 1, 128]],
    ],
    bytes: broadcastBytes,
  });
  const scalar = (name: string, values: (s: Shape) => Input, order: <T>(x: T, y: number) => [T | number, T | number]) =>
    defineCase<Shape>({
      op,
      name,
      inputs: (shape) => [values(shape)],
      run: ([x]) => ops[op](...(order(x, 1.1875) as Operands)),
      reference: ([x]) => reference.elementwise(reference.binaryFunctions[op], ...order(x, 1.1875)),
      tolerance,
      check: [[], [0, 2], [3, 5], [130]],
      time: name === 'number right' ? [activations] : undefined,
      bytes: (shape) => 8 * reference.count(shape),
    });
  return [tensors, scalar('number right', a, (x, y) => [x, y]), scalar('number left', b, (x, y) => [y, x])];
}

const comparisons = Object.entries(reference.comparisonFunctions).map(([name, compare]) =>
  defineCase<[Shape, Shape]>({
    op: name,
    name: '',
    dtype: 'bool',
    inputs: (operands) => operands.map((shape) => constant(lattice(shape))),
    run: ([a, b]) => ops[name as keyof typeof reference.comparisonFunctions](a, b),
    reference: ([a, b]) => reference.elementwise(compare, a, b),
    tolerance: tolerances.exact,
    check: pairs,
    random: (pick) => randomBroadcast(pick, 2) as [Shape, Shape],
  }),
);

const clampCase = (name: string, limits: { min?: number; max?: number }): Case =>
  defineCase<Shape>({
    op: 'clamp',
    name,
    inputs: (shape) => [lattice(shape, 0.0625)],
    run: ([x]) => ops.clamp(x, limits),
    reference: ([x]) => reference.clamp(x, limits),
    tolerance: tolerances.exact,
    check: shapes,
  });

const whereCases = [
  defineCase<Shape[]>({
    op: 'where',
    name: 'broadcast',
    inputs: ([condition, a, b]) => [booleans(condition), normal(a), normal(b)],
    run: ([condition, a, b]) => ops.where(condition, a, b),
    reference: ([condition, a, b]) => reference.where(condition, a, b),
    tolerance: tolerances.rounded,
    check: [
      [[], [], []],
      [[5], [5], [5]],
      [[2, 3], [3], [2, 1]],
      [[3, 1], [2, 1, 4], [1]],
      [[0, 3], [3], [1, 3]],
      [[129], [1], [129]],
    ],
    random: (pick) => randomBroadcast(pick, 3),
    time: [[activations, activations, activations]],
    bytes: broadcastBytes,
  }),
  defineCase<[Shape, Shape]>({
    op: 'where',
    name: 'number',
    inputs: ([condition, a]) => [booleans(condition), normal(a)],
    run: ([condition, a]) => ops.where(condition, a, -3),
    reference: ([condition, a]) => reference.where(condition, a, -3),
    tolerance: tolerances.rounded,
    check: [
      [[7], [7]],
      [[2, 3], [3]],
      [[3], [2, 3]],
    ],
  }),
];

const { exact, rounded, transcendental } = tolerances;
const infinity = Number.POSITIVE_INFINITY;
const ends = [0, 1e-30, -1e-30, 1e-4, -1e-4, 0.5, -0.5, 9, -9, 20, -20, 80, -80, 1000, -1000, 1e30, -1e30, Number.NaN];

/** Ops that return one operand or the other unchanged. */
const chosen = { ...exact, gradient: rounded.gradient };

export const elementwiseCases: Case[] = [
  unary('neg', normal, exact),
  unary('abs', awayFromZero, exact),
  unary('exp', normal, transcendental),
  unary('log', (shape) => uniform(shape, 0.1, 5), {
    ...transcendental,
    value: { absolute: 2e-7, relative: 1e-6 },
    reason: 'log crosses zero at 1, where only the absolute error is bounded',
  }),
  unary('sqrt', (shape) => uniform(shape, 0.1, 5), { ...transcendental, value: rounded.value }),
  unary('sin', (shape) => normal(shape, 4), {
    ...transcendental,
    value: { absolute: 5e-7, relative: 1e-6 },
    reason: 'near multiples of pi only the absolute error is bounded',
  }),
  unary('cos', (shape) => normal(shape, 4), {
    ...transcendental,
    value: { absolute: 5e-7, relative: 1e-6 },
    reason: 'near odd multiples of pi / 2 only the absolute error is bounded',
  }),
  unary('tanh', (shape) => normal(shape, 2), transcendental),
  unary('sigmoid', (shape) => normal(shape, 3), transcendental),
  unary('silu', (shape) => normal(shape, 3), transcendental),
  unary('relu', awayFromZero, exact),
  unary('square', normal, rounded),
  extremes('exp', [0, 1e-8, -1e-8, 1, -1, 88.7, 88.8, -80, -87, 100, -200, infinity, -infinity, Number.NaN], {
    ...transcendental,
    value: { absolute: 1e-37, relative: 2e-6 },
    reason: 'range reduction of a large argument; results below the smallest normal may be 0',
  }),
  extremes('log', [0, 1, 1e-38, 1e-30, 1e30, 3e38, 0.99999, 1.00001, -1, infinity, Number.NaN], {
    ...transcendental,
    value: { absolute: 1e-8, relative: 1e-6 },
    reason: 'near 1 the logarithm is small and its absolute error counts',
  }),
  extremes('sqrt', [0, 1e-38, 1e-30, 1e30, 3e38, -1, infinity, Number.NaN], rounded),
  extremes('sin', [0, 3.1415927, -3.1415927, 1e-5, 100, -1000, 5000.5, infinity, Number.NaN], {
    ...transcendental,
    value: { absolute: 1e-6, relative: 1e-6 },
    reason: 'range reduction: the error of x mod pi is absolute',
  }),
  extremes('cos', [0, 1.5707964, -1.5707964, 1e-5, 100, -1000, 5000.5, infinity, Number.NaN], {
    ...transcendental,
    value: { absolute: 1e-6, relative: 1e-6 },
    reason: 'range reduction: the error of x mod pi is absolute',
  }),
  extremes('tanh', [...ends, infinity, -infinity], transcendental),
  extremes('sigmoid', [...ends, infinity, -infinity], {
    ...transcendental,
    value: { absolute: 1e-34, relative: 2e-6 },
  }),
  extremes('silu', ends, { ...transcendental, value: { absolute: 1e-32, relative: 2e-6 } }),
  extremes('relu', [0, -1, 1, -1e30, 1e30, infinity, -infinity, Number.NaN], exact),
  ...binary('add', normal, normal, { ...rounded, value: { absolute: 1e-37, relative: 6e-8 } }),
  ...binary('sub', normal, normal, { ...rounded, value: { absolute: 1e-37, relative: 6e-8 } }),
  ...binary('mul', normal, normal, rounded),
  ...binary('div', normal, (shape) => awayFromZero(shape, 0.5), rounded),
  ...binary(
    'pow',
    (shape) => uniform(shape, 0.2, 3),
    (shape) => uniform(shape, -2, 2),
    {
      value: { absolute: 1e-37, relative: 3e-6 },
      gradient: { absolute: 2e-6, relative: 1e-5, ofLargest: 2e-6 },
      reason: 'exp(b log a): the error of the logarithm is multiplied by b',
    },
  ),
  ...binary(
    'maximum',
    (shape) => lattice(shape),
    (shape) => lattice(shape, 0.125),
    chosen,
  ),
  ...binary(
    'minimum',
    (shape) => lattice(shape),
    (shape) => lattice(shape, 0.125),
    chosen,
  ),
  ...comparisons,
  clampCase('both', { min: -1, max: 1 }),
  clampCase('min', { min: 0 }),
  clampCase('max', { max: 0.5 }),
  ...whereCases,
];
