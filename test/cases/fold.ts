// Cases of reductions beyond sums and extremes: products, norms, log sum exp, variance, median, and counts of true elements.
import { median } from '../../src/kernels/composed/median.ts';
import { std, variance } from '../../src/kernels/composed/variance.ts';
import * as fold from '../../src/kernels/fold.ts';
import { prod } from '../../src/kernels/scan.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { awayFromZero, constant, distinct, fixed, type Input, normal, uniform } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;
type Size = { shape: Shape; axes?: number | number[]; keepDims?: boolean };

/** No axis that is reduced alone has fewer than three elements, as variances need. */
const sizes: Size[] = [
  { shape: [7] },
  { shape: [3, 5], axes: 0 },
  { shape: [3, 5], axes: -1, keepDims: true },
  { shape: [2, 3, 4], axes: [0, 2] },
  { shape: [4, 3, 17], axes: [0, 1] },
  { shape: [3, 70], axes: 0 },
  { shape: [2, 131], axes: 1, keepDims: true },
];

const trivial: Size[] = [
  { shape: [] },
  { shape: [1, 1], axes: 0 },
  { shape: [0, 3], axes: 1 },
  { shape: [2, 0, 3], axes: [0, 2], keepDims: true },
];

function randomSize(pick: Pick): Size {
  const shape = randomShape(pick, pick(1, 3), 3, 6);
  const axes = shape.map((_, axis) => axis).filter(() => pick(0, 1) === 1);
  return { shape, axes: axes.length === 0 ? undefined : axes, keepDims: pick(0, 1) === 1 };
}

interface Folding {
  op: string;
  name?: string;
  dtype?: Case['dtype'];
  values: (shape: Shape) => Input;
  run: (x: Tensor, options: Size) => Tensor;
  reference: (x: reference.Array64, options: Size) => reference.Array64;
  tolerance: CaseTolerance;
  more?: Size[];
}

function folding({ op, name = '', dtype, values, run, reference: expected, tolerance, more = [] }: Folding): Case {
  return defineCase<Size>({
    op,
    name,
    dtype,
    inputs: ({ shape }) => [values(shape)],
    run: ([x], { axes, keepDims }) => run(x, { axes, keepDims } as Size),
    reference: ([x], size) => expected(x, size),
    tolerance,
    check: [...sizes, ...more],
    random: randomSize,
    time: name === '' ? [{ shape: [4, 16, 16, 256], axes: [1, 2] }] : undefined,
    bytes: ({ shape }) => 4 * reference.count(shape),
  });
}

const products: CaseTolerance = {
  value: { relative: 2e-7 },
  gradient: { absolute: 1e-7, relative: 1e-6, ofLargest: 1e-6 },
  reason: 'a product in double, rounded once; the gradient multiplies two products',
};

const empty = (length: number): Size[] => [{ shape: [length, 0], axes: 1 }, { shape: [0] }];

const withZeros =
  (...values: number[]) =>
  (shape: Shape) => ({ ...fixed(values, shape), differentiable: true });

/** Different magnitudes, so that the largest one is clear. */
const distinctSizes = (shape: Shape): Input => {
  const input = distinct(shape);
  return { ...input, values: (draw, size) => Array.from(input.values(draw, size), (v) => Math.fround(v + 0.03)) };
};

const norms: CaseTolerance = {
  value: { absolute: 1e-6, relative: 1e-6 },
  gradient: { absolute: 2e-6, relative: 4e-6 },
  reason: 'a sum of powers in double or by runs, its root, and the division by it, each rounded',
};

const normCases = [2, 1, 3.5, -0.5, Number.POSITIVE_INFINITY].map((ord) =>
  folding({
    op: 'norm',
    name: ord === 2 ? '' : `of order ${ord}`,
    values: ord === Number.POSITIVE_INFINITY ? distinctSizes : awayFromZero,
    run: (x, options) => fold.norm(x, { ...options, ord }),
    reference: (x, options) => reference.norm(x, { ...options, ord }),
    tolerance: norms,
    more: ord === 2 ? [...trivial, ...empty(2), { shape: [10_000] }, { shape: [9000, 2], axes: 0 }] : [],
  }),
);

const spreads: CaseTolerance = {
  value: { absolute: 1e-6, relative: 2e-6 },
  gradient: { absolute: 2e-6, relative: 4e-6 },
  reason: 'the mean, the differences and the sum of their squares are rounded to f32',
};

const truth = (shape: Shape) => constant(fixed([0, 2, 0, 0, -1, 0.5, 0, 3, 1, 0, 0], shape));
const counts = [
  ['any', 'bool'],
  ['all', 'bool'],
  ['countNonzero', 'i32'],
] as const;

const countCases = counts.map(([op, dtype]) =>
  folding({
    op,
    dtype,
    values: truth,
    run: (x, options) => fold[op](x, options),
    reference: (x, options) => reference[op](x, options),
    tolerance: tolerances.exact,
    more: [...trivial, ...empty(2)],
  }),
);

export const foldCases: Case[] = [
  folding({
    op: 'prod',
    values: (shape) => uniform(shape, 0.5, 1.5),
    run: prod,
    reference: reference.prod,
    tolerance: products,
    more: [...trivial, ...empty(2)],
  }),
  folding({
    op: 'prod',
    name: 'with one zero',
    values: withZeros(2, -1, 0.5, 0, 1.5, 1.25, 1, 0.75, -2, 1.5, 0.5),
    run: prod,
    reference: reference.prod,
    tolerance: products,
  }),
  folding({
    op: 'prod',
    name: 'with many zeros',
    values: withZeros(0, -1, 0, 2),
    run: prod,
    reference: reference.prod,
    tolerance: products,
  }),
  ...normCases,
  folding({
    op: 'logSumExp',
    values: (shape) => normal(shape, 2),
    run: fold.logSumExp,
    reference: reference.logSumExp,
    tolerance: { ...norms, reason: 'exp and its sum, a few ulp each, and a logarithm; weights are at most 1' },
    more: [...trivial, { shape: [2, 3000], axes: 1 }],
  }),
  folding({ op: 'variance', values: normal, run: variance, reference: reference.variance, tolerance: spreads }),
  folding({
    op: 'variance',
    name: 'without correction',
    values: normal,
    run: (x, options) => variance(x, { ...options, correction: 0 }),
    reference: (x, options) => reference.variance(x, { ...options, correction: 0 }),
    tolerance: spreads,
    more: [{ shape: [] }],
  }),
  folding({
    op: 'std',
    values: normal,
    run: std,
    reference: (x, options) => reference.map(reference.variance(x, options), Math.sqrt),
    tolerance: spreads,
  }),
  defineCase<{ shape: Shape; axis?: number; keepDims?: boolean }>({
    op: 'median',
    name: '',
    inputs: ({ shape }) => [distinct(shape)],
    run: ([x], options) => {
      const { axis, keepDims } = options;
      return median(x, { axis, keepDims });
    },
    reference: ([x], { axis, keepDims }) => reference.median(x, { axes: axis, keepDims }),
    tolerance: tolerances.exact,
    check: [
      { shape: [7] },
      { shape: [3, 4], axis: 0 },
      { shape: [3, 4], axis: -1, keepDims: true },
      { shape: [2, 3, 2], keepDims: true },
      { shape: [] },
      { shape: [0, 3], axis: 1 },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 3), 1, 6);
      return { shape, axis: pick(0, shape.length - 1), keepDims: pick(0, 1) === 1 };
    },
    time: [{ shape: [64, 1000], axis: 1 }],
    bytes: ({ shape }) => 4 * reference.count(shape),
  }),
  ...countCases,
];
