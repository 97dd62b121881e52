/** Cases of the mathematical functions: rounding, exponentials, logarithms, trigonometry, the error function, remainders. */
import * as ops from '../../src/kernels/math.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { awayFromZero, type Input, lattice, normal, uniform } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;

const layer = [64, 1024];
const { exact, rounded, transcendental } = tolerances;

/** A quarter of the tolerance of the few ulp that test/ops/accuracy.test.ts states for each function. */
const accurate: CaseTolerance = {
  ...transcendental,
  reason: 'a few ulp, as test/ops/accuracy.test.ts states for each function; the gradient multiplies two of them',
};

function unary(
  op: keyof typeof reference.mathFunctions,
  values: (shape: Shape) => Input,
  tolerance: CaseTolerance = accurate,
): Case {
  return defineCase<Shape>({
    op,
    name: '',
    inputs: (shape) => [values(shape)],
    run: ([x]) => ops[op](x),
    reference: ([x]) => reference.map(x, reference.mathFunctions[op]),
    tolerance,
    check: [[], [2, 3, 5], [33], [0, 2], [1029]],
    random: (pick) => randomShape(pick, pick(0, 4), 0, 6),
    time: [layer],
    bytes: (shape) => 8 * reference.count(shape),
  });
}

type Operands = [Tensor | number, Tensor | number];

function binary(
  op: keyof typeof reference.quotientFunctions,
  a: (shape: Shape) => Input,
  b: (shape: Shape) => Input,
  tolerance: CaseTolerance,
): Case[] {
  const f = reference.quotientFunctions[op];
  const scalar = (name: string, values: (s: Shape) => Input, order: <T>(x: T, y: number) => [T | number, T | number]) =>
    defineCase<Shape>({
      op,
      name,
      inputs: (shape) => [values(shape)],
      run: ([x]) => ops[op](...(order(x, 1.1875) as Operands)),
      reference: ([x]) => reference.elementwise(f, ...order(x, 1.1875)),
      tolerance,
      check: [[3, 5], [0, 2], [35]],
    });
  return [
    defineCase<[Shape, Shape]>({
      op,
      name: 'broadcast',
      inputs: ([left, right]) => [a(left), b(right)],
      run: ([x, y]) => ops[op](x, y),
      reference: ([x, y]) => reference.elementwise(f, x, y),
      tolerance,
      check: [
        [[], []],
        [[2, 3], [3]],
        [
          [5, 1, 7],
          [3, 1],
        ],
        [[33], [33]],
        [[0, 3], [3]],
        [
          [2, 19],
          [2, 1],
        ],
      ],
      random: (pick: Pick) => {
        const common = randomShape(pick, pick(0, 3), 0, 5);
        return [common, common.map((extent) => (pick(0, 2) === 0 ? 1 : extent))];
      },
      time: [[layer, layer]],
      bytes: ([left, right]) => 4 * (2 * reference.count(left) + reference.count(right)),
    }),
    scalar('number right', a, (x, y) => [x, y]),
    scalar('number left', b, (x, y) => [y, x]),
  ];
}

/** Quotients of a by b, of a by 1.1875 and of 1.1875 by b are never whole, so that no step is near. */
const dividends = (shape: Shape) => lattice(shape, 1 / 32);
const divisors = (shape: Shape) => lattice(shape, 1 / 8);
const quarters = (shape: Shape) => lattice(shape, 0.0625);
const inside = (shape: Shape) => uniform(shape, -0.9, 0.9);
const positive = (shape: Shape) => uniform(shape, 0.2, 5);

export const mathCases: Case[] = [
  unary('ceil', quarters, exact),
  unary('floor', quarters, exact),
  unary('round', quarters, exact),
  unary('sign', awayFromZero, exact),
  unary('trunc', quarters, exact),
  unary('acos', inside),
  unary('acosh', (shape) => uniform(shape, 1.2, 5)),
  unary('asin', inside),
  unary('asinh', (shape) => normal(shape, 2)),
  unary('atan', (shape) => normal(shape, 2)),
  unary('atanh', inside),
  unary('cosh', (shape) => normal(shape)),
  unary('erf', (shape) => normal(shape)),
  unary('erfc', (shape) => normal(shape)),
  unary('exp2', (shape) => normal(shape, 2)),
  unary('expm1', (shape) => normal(shape)),
  unary('log10', positive),
  unary('log1p', (shape) => uniform(shape, -0.8, 3)),
  unary('log2', positive),
  unary('reciprocal', (shape) => awayFromZero(shape, 0.5), rounded),
  unary('rsqrt', positive, { ...transcendental, reason: 'a square root and a quotient; the gradient is a cube' }),
  unary('sinh', (shape) => normal(shape)),
  unary('tan', (shape) => uniform(shape, -1.2, 1.2)),
  ...binary('atan2', awayFromZero, awayFromZero, accurate),
  ...binary('floorDiv', dividends, divisors, exact),
  ...binary('fmod', dividends, divisors, rounded),
  ...binary('mod', dividends, divisors, rounded),
];
