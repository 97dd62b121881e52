/** Cases of the losses that are written in other ops. Differences stay away from the kinks of their losses. */
import * as classes from '../../src/kernels/composed/class_losses.ts';
import * as losses from '../../src/kernels/composed/losses.ts';
import { crossEntropy } from '../../src/kernels/softmax.ts';
import { awayFromZero, constant, fixed, indices, lattice, normal, uniform } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;

const reductions = ['mean', 'sum', 'none'] as const;
const shapes: Shape[] = [[], [1], [7], [2, 3, 5]];
const withEmpty: Shape[] = [...shapes, [0, 3]];
const random = (pick: Pick) => randomShape(pick, pick(1, 3), 1, 6);
/** Differences are a multiple of 1/4 plus or minus 0.1, so never 0, 0.7 or 1.2. */
const apart = (shape: Shape) => [lattice(shape), lattice(shape, 0.1)];

const pairCases = reductions.flatMap((reduction) => {
  const check = reduction === 'mean' ? shapes : withEmpty;
  const rest = { inputs: apart, tolerance: tolerances.summed, check, random };
  return [
    defineCase<Shape>({
      op: 'l1Loss',
      name: reduction,
      run: ([a, b]) => losses.l1Loss(a, b, { reduction }),
      reference: ([a, b]) => reference.l1Loss(a, b, reduction),
      ...rest,
    }),
    defineCase<Shape>({
      op: 'huberLoss',
      name: reduction,
      run: ([a, b]) => losses.huberLoss(a, b, { reduction, delta: 0.7 }),
      reference: ([a, b]) => reference.huberLoss(a, b, 0.7, reduction),
      ...rest,
    }),
    defineCase<Shape>({
      op: 'smoothL1Loss',
      name: reduction,
      run: ([a, b]) => losses.smoothL1Loss(a, b, { reduction, beta: 1.2 }),
      reference: ([a, b]) => reference.smoothL1Loss(a, b, 1.2, reduction),
      ...rest,
    }),
  ];
});

const stable: CaseTolerance = {
  value: { absolute: 1e-6, relative: 2e-6 },
  gradient: { absolute: 2e-6, relative: 3e-6, ofLargest: 1e-6 },
  reason: 'exp and log, a few ulp each, and sums of up to some hundred terms',
};

const binaryCases = reductions.map((reduction) =>
  defineCase<Shape>({
    op: 'binaryCrossEntropyWithLogits',
    name: reduction,
    inputs: (shape) => [normal(shape, 3), uniform(shape, 0, 1)],
    run: ([x, t]) => losses.binaryCrossEntropyWithLogits(x, t, { reduction }),
    reference: ([x, t]) => reference.binaryCrossEntropyWithLogits(x, t, { reduction }),
    tolerance: stable,
    check: reduction === 'mean' ? shapes : withEmpty,
    random,
    time: reduction === 'mean' ? [[256, 1000]] : undefined,
    bytes: (shape) => 8 * reference.count(shape),
  }),
);

const weightedBinary = defineCase<{ shape: Shape; weight: Shape; positiveWeight: Shape }>({
  op: 'binaryCrossEntropyWithLogits',
  name: 'weights',
  inputs: ({ shape, weight, positiveWeight }) => [
    normal(shape, 3),
    uniform(shape, 0, 1),
    uniform(weight, 0.5, 2),
    uniform(positiveWeight, 0.5, 4),
  ],
  run: ([x, t, weight, positiveWeight]) => losses.binaryCrossEntropyWithLogits(x, t, { weight, positiveWeight }),
  reference: ([x, t, weight, positiveWeight]) =>
    reference.binaryCrossEntropyWithLogits(x, t, { weight, positiveWeight }),
  tolerance: stable,
  check: [
    { shape: [3, 4], weight: [3, 4], positiveWeight: [4] },
    { shape: [2, 3, 2], weight: [3, 1], positiveWeight: [] },
  ],
});

const divergenceCases = [...reductions, 'batchMean' as const].map((reduction) =>
  defineCase<Shape>({
    op: 'klDivergence',
    name: reduction,
    inputs: (shape) => [normal(shape), uniform(shape, 0.05, 1)],
    run: ([x, t]) => losses.klDivergence(x, t, { reduction }),
    reference: ([x, t]) => reference.klDivergence(x, t, { reduction }),
    tolerance: stable,
    check: [[7], [2, 3, 5], ...(reduction === 'none' ? [[], [0, 3]] : [])],
    random,
  }),
);

const logDivergence = defineCase<Shape>({
  op: 'klDivergence',
  name: 'logarithms',
  inputs: (shape) => [normal(shape), normal(shape)],
  run: ([x, t]) => losses.klDivergence(x, t, { logTarget: true }),
  reference: ([x, t]) => reference.klDivergence(x, t, { logTarget: true }),
  tolerance: stable,
  check: [[], [2, 3]],
  random,
});

type Samples = [samples: number, classes: number];
const few: Samples[] = [
  [1, 1],
  [5, 3],
  [3, 33],
];

const labelled = ([samples, count]: Samples) => [normal([samples, count], 2), indices([samples], count)];

const classCases = reductions.flatMap((reduction) => [
  defineCase<Samples>({
    op: 'nllLoss',
    name: reduction,
    inputs: labelled,
    run: ([x, labels]) => classes.nllLoss(x, labels, { reduction }),
    reference: ([x, labels]) => reference.nllLoss(x, labels, { reduction }),
    tolerance: tolerances.summed,
    check: few,
    random: (pick) => [pick(1, 9), pick(1, 12)],
    time: reduction === 'mean' ? [[256, 1000]] : undefined,
    bytes: ([samples, count]) => 8 * samples * count,
  }),
  defineCase<Samples>({
    op: 'nllLoss',
    name: `weight, ${reduction}`,
    inputs: (size) => [...labelled(size), uniform([size[1]], 0.5, 2)],
    run: ([x, labels, weight]) => classes.nllLoss(x, labels, { reduction, weight }),
    reference: ([x, labels, weight]) => reference.nllLoss(x, labels, { reduction, weight }),
    tolerance: tolerances.summed,
    check: few,
  }),
  defineCase<Samples>({
    op: 'crossEntropy',
    name: `weight, smoothed, ${reduction}`,
    inputs: (size) => [...labelled(size), uniform([size[1]], 0.5, 2)],
    run: ([x, labels, weight]) => crossEntropy(x, labels, { reduction, weight, labelSmoothing: 0.2 }),
    reference: ([x, labels, weight]) => reference.crossEntropyWith(x, labels, { reduction, weight, smoothing: 0.2 }),
    tolerance: stable,
    check: few,
    random: (pick) => [pick(1, 9), pick(1, 12)],
  }),
  defineCase<Samples>({
    op: 'crossEntropy',
    name: `smoothed, ${reduction}`,
    inputs: labelled,
    run: ([x, labels]) => crossEntropy(x, labels, { reduction, labelSmoothing: 0.1 }),
    reference: ([x, labels]) => reference.crossEntropyWith(x, labels, { reduction, smoothing: 0.1 }),
    tolerance: stable,
    check: few,
  }),
]);

const similarity: CaseTolerance = {
  value: { absolute: 1e-6, relative: 1e-6 },
  gradient: { absolute: 4e-6, relative: 4e-6, ofLargest: 4e-6 },
  reason: 'sums of squares under a root and a quotient, a few ulp each; similarities are at most 1',
};

const similarityCases = [
  defineCase<{ shape: Shape; axis?: number }>({
    op: 'cosineSimilarity',
    name: '',
    inputs: ({ shape }) => [awayFromZero(shape, 0.5), awayFromZero(shape, 0.5)],
    run: ([a, b], { axis }) => losses.cosineSimilarity(a, b, { axis }),
    reference: ([a, b], { axis }) => reference.cosineSimilarity(a, b, axis),
    tolerance: similarity,
    check: [{ shape: [2] }, { shape: [3, 4] }, { shape: [3, 4], axis: 0 }, { shape: [2, 3, 2], axis: 1 }],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 3), 2, 5);
      return { shape, axis: pick(-1, shape.length - 1) };
    },
    time: [{ shape: [256, 512] }],
    bytes: ({ shape }) => 8 * reference.count(shape),
  }),
  ...reductions.map((reduction) =>
    defineCase<Shape>({
      op: 'cosineEmbeddingLoss',
      name: reduction,
      inputs: (shape) => [
        awayFromZero(shape, 0.5),
        awayFromZero(shape, 0.5),
        constant(fixed([1, -1, -1], shape.slice(0, -1))),
      ],
      run: ([a, b, target]) => losses.cosineEmbeddingLoss(a, b, target, { reduction, margin: -0.3 }),
      reference: ([a, b, target]) => reference.cosineEmbeddingLoss(a, b, target, { reduction, margin: -0.3 }),
      tolerance: similarity,
      check: [[4], [3, 4], [7, 2]],
      random: (pick) => [pick(1, 5), pick(2, 5)],
    }),
  ),
];

export const lossCases: Case[] = [
  ...pairCases,
  ...binaryCases,
  weightedBinary,
  ...divergenceCases,
  logDivergence,
  ...classCases,
  ...similarityCases,
];
