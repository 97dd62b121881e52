// Cases of scans and sorting.
import { unique } from '../../src/kernels/composed/unique.ts';
import { cumprod, cumsum, linearRecurrence } from '../../src/kernels/scan.ts';
import * as sorting from '../../src/kernels/sort.ts';
import { constant, distinct, fixed, type Input, indices, lattice, normal, uniform } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;
type Size = { shape: Shape; axis: number; reverse?: boolean };

const sizes: Size[] = [
  { shape: [7], axis: 0 },
  { shape: [3, 5], axis: 0, reverse: true },
  { shape: [3, 5], axis: -1 },
  { shape: [2, 3, 4], axis: 1 },
  { shape: [1, 1], axis: 0 },
  { shape: [0, 3], axis: 1 },
  { shape: [3, 0], axis: 1 },
  { shape: [2, 130], axis: 0, reverse: true },
  { shape: [2, 67], axis: 1, reverse: true },
];

function randomSize(pick: Pick): Size {
  const shape = randomShape(pick, pick(1, 3), 1, 6);
  return { shape, axis: pick(0, shape.length - 1), reverse: pick(0, 1) === 1 };
}

const scanned: CaseTolerance = {
  value: { absolute: 1e-7, relative: 2e-7 },
  gradient: { absolute: 1e-6, relative: 2e-6, ofLargest: 1e-6 },
  reason: 'sums and products in double, each result rounded once; gradients multiply two of them',
};

interface Scanning {
  op: string;
  name?: string;
  values: (shape: Shape) => Input[];
  run: Case<Size>['run'];
  reference: Case<Size>['reference'];
  more?: Size[];
}

function scanning({ op, name = '', values, run, reference: expected, more = [] }: Scanning): Case {
  return defineCase<Size>({
    op,
    name,
    inputs: ({ shape }) => values(shape),
    run,
    reference: (arrays, size, outputs) => expected(arrays, size, outputs),
    tolerance: scanned,
    check: [...sizes, ...more],
    random: randomSize,
    time:
      name === ''
        ? [
            { shape: [64, 4096], axis: 1 },
            { shape: [4, 1024, 128], axis: 1 },
          ]
        : undefined,
    bytes: ({ shape }) => 8 * reference.count(shape),
  });
}

const scanOf = ({ axis, reverse }: Size) => ({ axis, reverse });

const scans = [
  scanning({
    op: 'cumsum',
    values: (shape) => [normal(shape)],
    run: ([x], size) => cumsum(x, scanOf(size)),
    reference: ([x], size) => reference.cumsum(x, size),
    more: [
      { shape: [5000], axis: 0 },
      { shape: [4100, 2], axis: 0, reverse: true },
    ],
  }),
  scanning({
    op: 'cumprod',
    values: (shape) => [uniform(shape, 0.7, 1.4)],
    run: ([x], size) => cumprod(x, scanOf(size)),
    reference: ([x], size) => reference.cumprod(x, size),
  }),
  scanning({
    op: 'cumprod',
    name: 'with zeros',
    values: (shape) => [{ ...fixed([2, -1, 0.5, 0, 1.5, 3, 0], shape), differentiable: true }],
    run: ([x], size) => cumprod(x, scanOf(size)),
    reference: ([x], size) => reference.cumprod(x, size),
  }),
  scanning({
    op: 'linearRecurrence',
    values: (shape) => [uniform(shape, -1, 1), normal(shape)],
    run: ([a, b], size) => linearRecurrence(a, b, scanOf(size)),
    reference: ([a, b], size) => reference.linearRecurrence(a, b, size),
  }),
];

type SortSize = { shape: Shape; axis?: number; descending?: boolean };

const sortSizes: SortSize[] = [
  { shape: [7] },
  { shape: [3, 5], axis: 0, descending: true },
  { shape: [2, 3, 4], axis: 1 },
  { shape: [3, 70], descending: true },
  { shape: [1] },
  { shape: [2, 0] },
  { shape: [0, 3] },
  { shape: [1500] },
];

const randomSort = (pick: Pick): SortSize => {
  const shape = randomShape(pick, pick(1, 3), 1, 6);
  return { shape, axis: pick(0, shape.length - 1), descending: pick(0, 1) === 1 };
};

const sortTime = [{ shape: [256, 1000] }];
const sortBytes = ({ shape }: { shape: Shape }) => 12 * reference.count(shape);
const { exact } = tolerances;

const sorts = [
  defineCase<SortSize>({
    op: 'sort',
    name: '',
    inputs: ({ shape }) => [distinct(shape)],
    run: ([x], size) => sorting.sort(x, { axis: size.axis, descending: size.descending }).values,
    reference: ([x], size) => reference.sort(x, size),
    tolerance: exact,
    check: sortSizes,
    random: randomSort,
    time: sortTime,
    bytes: sortBytes,
  }),
  defineCase<SortSize>({
    op: 'sort',
    name: 'indices with ties',
    dtype: 'i32',
    inputs: ({ shape }) => [constant(lattice(shape))],
    run: ([x], size) => sorting.sort(x, { axis: size.axis, descending: size.descending }).indices,
    reference: ([x], size) => reference.argsort(x, size),
    tolerance: exact,
    check: [...sortSizes, { shape: [3, 5000] }],
    random: randomSort,
  }),
  defineCase<SortSize>({
    op: 'argsort',
    name: '',
    dtype: 'i32',
    inputs: ({ shape }) => [constant(lattice(shape))],
    run: ([x], size) => sorting.argsort(x, { axis: size.axis, descending: size.descending }),
    reference: ([x], size) => reference.argsort(x, size),
    tolerance: exact,
    check: sortSizes,
    random: randomSort,
    time: sortTime,
    bytes: sortBytes,
  }),
];

type TopSize = { shape: Shape; k: number; axis?: number; largest?: boolean };

const topSizes: TopSize[] = [
  { shape: [7], k: 3 },
  { shape: [3, 5], k: 2, axis: 0, largest: false },
  { shape: [2, 3, 4], k: 3, axis: 1 },
  { shape: [3, 70], k: 70 },
  { shape: [4], k: 0 },
  { shape: [0, 3], k: 2 },
];

const topKCase = (part: 'values' | 'indices') =>
  defineCase<TopSize>({
    op: 'topK',
    name: part === 'values' ? '' : part,
    dtype: part === 'values' ? 'f32' : 'i32',
    inputs: ({ shape }) => [part === 'values' ? distinct(shape) : constant(lattice(shape))],
    run: ([x], { k, axis, largest }) => sorting.topK(x, k, { axis, largest })[part],
    reference: ([x], { k, axis, largest = true }) =>
      (part === 'values' ? reference.sort : reference.argsort)(x, { axis, descending: largest, keep: k }),
    tolerance: exact,
    check: topSizes,
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 3), 1, 6);
      const axis = pick(0, shape.length - 1);
      return { shape, axis, k: pick(0, shape[axis]), largest: pick(0, 1) === 1 };
    },
    time: part === 'values' ? [{ shape: [256, 1000], k: 10 }] : undefined,
    bytes: ({ shape }) => 4 * reference.count(shape),
  });

/** Rows in ascending order, with repeated elements. */
const ascending = (shape: Shape): Input => ({
  ...constant(lattice(shape)),
  values: (draw, size) => {
    const n = shape[shape.length - 1];
    const drawn = Float32Array.from(lattice(shape).values(draw, size));
    for (let row = 0; row < size; row += n) drawn.subarray(row, row + n).sort();
    return drawn;
  },
});

const searches = defineCase<{ sorted: Shape; values: Shape; side?: 'left' | 'right' }>({
  op: 'searchSorted',
  name: '',
  dtype: 'i32',
  inputs: ({ sorted, values }) => [ascending(sorted), constant(lattice(values))],
  run: ([sorted, values], { side }) => sorting.searchSorted(sorted, values, { side }),
  reference: ([sorted, values], { side }) => reference.searchSorted(sorted, values, side === 'right'),
  tolerance: exact,
  check: [
    { sorted: [9], values: [7] },
    { sorted: [9], values: [2, 3], side: 'right' },
    { sorted: [1], values: [] },
    { sorted: [0], values: [3] },
    { sorted: [2, 3, 40], values: [2, 3, 5], side: 'right' },
    { sorted: [2, 5], values: [2, 0] },
  ],
  time: [{ sorted: [10_000], values: [100_000] }],
  bytes: ({ values }) => 8 * reference.count(values),
});

const bins = defineCase<{ shape: Shape; limit: number; length: number }>({
  op: 'binCount',
  name: '',
  dtype: 'i32',
  inputs: ({ shape, limit }) => [indices(shape, limit)],
  run: ([x], { length }) => sorting.binCount(x, { length }),
  reference: ([x], { length }) => reference.binCount(x, length),
  tolerance: exact,
  check: [
    { shape: [20], limit: 5, length: 5 },
    { shape: [3, 40], limit: 9, length: 4 },
    { shape: [], limit: 1, length: 2 },
    { shape: [0], limit: 3, length: 3 },
    { shape: [4], limit: 3, length: 0 },
  ],
  time: [{ shape: [100_000], limit: 100, length: 100 }],
  bytes: ({ shape }) => 4 * reference.count(shape),
});

const distinctOf = (x: reference.Array64) => [...new Set(x.data)].sort((a, b) => a - b);

const uniques = (['values', 'inverse', 'counts'] as const).map((part) =>
  defineCase<Shape>({
    op: 'unique',
    name: part,
    dtype: part === 'values' ? 'f32' : 'i32',
    inputs: (shape) => [constant(lattice(shape))],
    run: ([x]) => unique(x)[part],
    reference: ([x]) => {
      const values = distinctOf(x);
      if (part === 'inverse') return reference.map(x, (value) => values.indexOf(value));
      const counts = values.map((value) => x.data.filter((other) => other === value).length);
      return reference.array64([values.length], part === 'values' ? values : counts);
    },
    tolerance: exact,
    check: [[9], [3, 40], [], [0]],
    random: (pick) => randomShape(pick, pick(1, 3), 1, 5),
  }),
);

export const scanCases: Case[] = [
  ...scans,
  ...sorts,
  topKCase('values'),
  topKCase('indices'),
  searches,
  bins,
  ...uniques,
];
