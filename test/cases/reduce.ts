// Cases of reductions, softmax and losses.
import * as loss from '../../src/kernels/loss.ts';
import * as reduce from '../../src/kernels/reduce.ts';
import * as softmax from '../../src/kernels/softmax.ts';
import { constant, distinct, fixed, type Input, indices, normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;
type Size = { shape: Shape; axes?: number | number[]; keepDims?: boolean };

const sizes: Size[] = [
  { shape: [] },
  { shape: [1] },
  { shape: [7] },
  { shape: [3, 5] },
  { shape: [3, 5], axes: 0 },
  { shape: [3, 5], axes: 1, keepDims: true },
  { shape: [3, 5], axes: -1 },
  { shape: [2, 3, 4], axes: [0, 2] },
  { shape: [2, 3, 4], axes: [-1, 0], keepDims: true },
  { shape: [2, 3, 4, 5], axes: [1, 2] },
  { shape: [2, 3, 4, 5], axes: [0, 1, 2] },
  { shape: [2, 1, 3], axes: 1 },
  { shape: [1, 1, 1], axes: [0, 1], keepDims: true },
  { shape: [4, 3, 17], axes: [0, 1] },
  { shape: [5, 131], axes: 1 },
  { shape: [131, 33], axes: 0 },
  { shape: [3000] },
];

const empty: Size[] = [
  { shape: [0, 3], axes: 1 },
  { shape: [2, 0, 3], axes: [0, 2], keepDims: true },
];

function randomSize(pick: Pick): Size {
  const shape = randomShape(pick, pick(1, 4), 1, 6);
  const axes = shape.map((_, axis) => axis).filter(() => pick(0, 1) === 1);
  return { shape, axes: axes.length === 0 ? undefined : axes, keepDims: pick(0, 1) === 1 };
}

function reduction(
  op: 'sum' | 'mean' | 'max' | 'min',
  values: (s: Shape) => Input,
  tolerance: CaseTolerance,
  more: Size[],
): Case {
  return defineCase<Size>({
    op,
    name: '',
    inputs: ({ shape }) => [values(shape)],
    run: ([x], { axes, keepDims }) => reduce[op](x, { axes, keepDims }),
    reference: ([x], size) => reference[op](x, size),
    tolerance,
    check: [...sizes, ...empty, ...more],
    random: randomSize,
    time: [
      { shape: [4, 32, 32, 128], axes: [0, 1, 2] },
      { shape: [4, 16, 16, 256], axes: [1, 2] },
      { shape: [4, 32, 32, 128] },
    ],
    bytes: ({ shape }) => 4 * reference.count(shape),
  });
}

const indexCases = (['argmax', 'argmin'] as const).flatMap((op) => [
  defineCase<{ shape: Shape; axis: number; keepDims?: boolean }>({
    op,
    name: '',
    dtype: 'i32',
    inputs: ({ shape }) => [constant(distinct(shape))],
    run: ([x], { axis, keepDims }) => reduce[op](x, { axis, keepDims }),
    reference: ([x], size) => reference[op](x, size),
    tolerance: tolerances.exact,
    check: [
      { shape: [5], axis: 0 },
      { shape: [3, 4], axis: 0 },
      { shape: [3, 4], axis: 1, keepDims: true },
      { shape: [2, 3, 4], axis: -2 },
      { shape: [0, 3], axis: 1 },
      { shape: [2, 1], axis: 1 },
      { shape: [4, 1000], axis: 1 },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 4), 1, 6);
      return { shape, axis: pick(0, shape.length - 1), keepDims: pick(0, 1) === 1 };
    },
  }),
  defineCase<Shape>({
    op,
    name: 'ties take the first',
    dtype: 'i32',
    inputs: (shape) => [fixed([1, 3, 3, 0, 3, 0], shape)],
    run: ([x]) => reduce[op](x, { axis: -1 }),
    reference: ([x]) => reference[op](x, { axis: -1 }),
    tolerance: tolerances.exact,
    check: [[6], [2, 6], [3, 25]],
  }),
]);

const shift = (input: Input, offset: number): Input => ({
  ...input,
  values: (draw, size) => Array.from(input.values(draw, size), (value) => Math.fround(value + offset)),
});

type Axis = { shape: Shape; axis?: number };

const normalised: CaseTolerance = {
  value: { absolute: 1e-6, relative: 2e-6 },
  gradient: { absolute: 3e-6, relative: 3e-6 },
  reason: 'exp and the sum of its values, a few ulp each; probabilities are at most 1',
};

function softmaxCase(op: 'softmax' | 'logSoftmax', offset: number): Case {
  const [run, expected] =
    op === 'softmax' ? [softmax.softmax, reference.softmax] : [softmax.logSoftmax, reference.logSoftmax];
  return defineCase<Axis>({
    op,
    name: offset === 0 ? '' : `shifted by ${offset}`,
    inputs: ({ shape }) => [shift(normal(shape, 2), offset)],
    run: ([x], { axis }) => run(x, { axis }),
    reference: ([x], { axis }) => expected(x, axis),
    tolerance: normalised,
    check: [
      { shape: [1] },
      { shape: [5] },
      { shape: [0, 4] },
      { shape: [3, 1] },
      { shape: [2, 3, 17] },
      { shape: [3, 4], axis: 0 },
      { shape: [2, 5, 3], axis: 1 },
      { shape: [2, 5, 3], axis: -2 },
      { shape: [4, 130] },
      { shape: [5, 40] },
      { shape: [3, 256] },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 3), 1, 9);
      return { shape, axis: pick(0, shape.length - 1) };
    },
    time: [{ shape: [4, 256, 256] }, { shape: [256, 1000] }],
    bytes: ({ shape }) => 8 * reference.count(shape),
  });
}

const reductions = ['mean', 'sum', 'none'] as const;

const crossEntropyCases = reductions.map((kind) =>
  defineCase<[number, number]>({
    op: 'crossEntropy',
    name: kind,
    inputs: ([samples, classes]) => [normal([samples, classes], 2), indices([samples], classes)],
    run: ([logits, labels]) => softmax.crossEntropy(logits, labels, { reduction: kind }),
    reference: ([logits, labels]) => reference.crossEntropy(logits, labels, kind),
    tolerance: { ...normalised, value: { absolute: 2e-6, relative: 3e-6 } },
    check: [
      [1, 1],
      [1, 10],
      [5, 3],
      [17, 10],
      [3, 130],
    ],
    random: (pick) => [pick(1, 9), pick(1, 20)],
    time:
      kind === 'mean'
        ? [
            [256, 10],
            [256, 1000],
          ]
        : undefined,
    bytes: ([samples, classes]) => 4 * samples * classes,
  }),
);

const mseCases = reductions.map((kind) =>
  defineCase<Shape>({
    op: 'mse',
    name: kind,
    inputs: (shape) => [normal(shape), normal(shape)],
    run: ([prediction, target]) => loss.mse(prediction, target, { reduction: kind }),
    reference: ([prediction, target]) => reference.mse(prediction, target, kind),
    tolerance: tolerances.summed,
    check: [[], [1], [7], [2, 3, 5], [3, 5, 5, 3], [1500], ...(kind === 'mean' ? [] : [[0, 3]])],
    random: (pick) => randomShape(pick, pick(1, 4), 1, 6),
    time: kind === 'mean' ? [[128, 32, 32, 3]] : undefined,
    bytes: (shape) => 8 * reference.count(shape),
  }),
);

export const reduceCases: Case[] = [
  reduction('sum', normal, tolerances.summed, [{ shape: [0, 3], axes: 0 }, { shape: [0] }]),
  reduction('mean', normal, tolerances.summed, []),
  reduction('max', distinct, tolerances.exact, []),
  reduction('min', distinct, tolerances.exact, []),
  ...indexCases,
  softmaxCase('softmax', 0),
  softmaxCase('softmax', 128),
  softmaxCase('logSoftmax', 0),
  softmaxCase('logSoftmax', -128),
  ...crossEntropyCases,
  ...mseCases,
];
