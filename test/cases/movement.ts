// Cases of the ops that move elements, and of casts.
import { cast } from '../../src/kernels/cast.ts';
import * as ops from '../../src/kernels/movement.ts';
import { constant, fixed, indices, normal, uniform } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;

const { exact, rounded } = tolerances;
const activations = [4, 32, 32, 128];
const moved = (shape: Shape) => 8 * reference.count(shape);

/** A random order of the axes 0 .. rank - 1. */
function randomOrder(pick: Pick, rank: number): number[] {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  for (let i = rank - 1; i > 0; i--) {
    const j = pick(0, i);
    [axes[i], axes[j]] = [axes[j], axes[i]];
  }
  return axes;
}

const shapeCases = [
  defineCase<[Shape, number[]]>({
    op: 'reshape',
    name: '',
    inputs: ([from]) => [normal(from)],
    run: ([x], [, to]) => ops.reshape(x, to),
    reference: ([x], [, to]) => reference.reshape(x, to),
    tolerance: exact,
    check: [
      [[6], [2, 3]],
      [
        [2, 3, 4],
        [4, -1],
      ],
      [[], [1]],
      [[1, 1], []],
      [
        [0, 3],
        [3, 0],
      ],
      [[2, 3], [-1]],
    ],
  }),
  defineCase<{ shape: Shape; axes: number[] }>({
    op: 'permute',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { axes }) => ops.permute(x, axes),
    reference: ([x], { axes }) => reference.permute(x, axes),
    tolerance: exact,
    check: [
      { shape: [5], axes: [0] },
      { shape: [3, 4], axes: [1, 0] },
      { shape: [17, 33], axes: [1, 0] },
      { shape: [2, 3, 4], axes: [2, 0, 1] },
      { shape: [2, 3, 4, 5], axes: [0, 3, 1, 2] },
      { shape: [2, 3, 4, 5], axes: [0, 2, 3, 1] },
      { shape: [2, 1, 3, 1, 2], axes: [4, 3, 2, 1, 0] },
      { shape: [0, 3, 2], axes: [1, 2, 0] },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 5), 0, 5);
      return { shape, axes: randomOrder(pick, shape.length) };
    },
    time: [
      { shape: activations, axes: [0, 3, 1, 2] },
      { shape: [4, 128, 32, 32], axes: [0, 2, 3, 1] },
    ],
    bytes: ({ shape }) => moved(shape),
  }),
  defineCase<Shape>({
    op: 'permute',
    name: 'transpose',
    inputs: (shape) => [normal(shape)],
    run: ([x]) => ops.transpose(x),
    reference: ([x]) => reference.transpose(x),
    tolerance: exact,
    check: [
      [2, 3],
      [1, 5],
      [2, 3, 4],
      [2, 1, 19, 35],
      [0, 3],
    ],
    random: (pick) => randomShape(pick, pick(2, 4), 0, 6),
    time: [[1024, 1024]],
    bytes: moved,
  }),
  defineCase<[Shape, number[]]>({
    op: 'broadcastTo',
    name: '',
    inputs: ([from]) => [normal(from)],
    run: ([x], [, to]) => ops.broadcastTo(x, to),
    reference: ([x], [, to]) => reference.broadcastTo(x, to),
    tolerance: { ...exact, gradient: tolerances.summed.gradient },
    check: [
      [[], [3]],
      [[3], [2, 3]],
      [
        [2, 1],
        [2, 5],
      ],
      [
        [1, 3, 1],
        [4, 3, 2],
      ],
      [
        [2, 3],
        [2, 3],
      ],
      [[1], [0]],
      [[3], [0, 3]],
    ],
    random: (pick) => {
      const to = randomShape(pick, pick(0, 4), 0, 5);
      return [to.map((extent) => (pick(0, 1) === 0 ? 1 : extent)).slice(pick(0, to.length)), to];
    },
  }),
];

type Widths = [number, number][];

const regionCases = [
  defineCase<{ shape: Shape; widths: Widths; value?: number }>({
    op: 'pad',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    // Padding values other than 0 are written as f32.
    inBf16: ({ value = 0 }) => value === 0,
    run: ([x], { widths, value }) => ops.pad(x, widths, value),
    reference: ([x], { widths, value }) => reference.pad(x, widths, value),
    tolerance: exact,
    check: [
      { shape: [3], widths: [[1, 2]] },
      {
        shape: [2, 3],
        widths: [
          [0, 0],
          [2, 0],
        ],
        value: -1.5,
      },
      {
        shape: [2, 3, 4],
        widths: [
          [1, 0],
          [0, 1],
          [2, 2],
        ],
      },
      {
        shape: [1, 4, 5, 3],
        widths: [
          [0, 0],
          [1, 1],
          [1, 1],
          [0, 0],
        ],
      },
      {
        shape: [2, 0],
        widths: [
          [0, 0],
          [1, 2],
        ],
        value: 7,
      },
      {
        shape: [2, 3],
        widths: [
          [0, 0],
          [0, 0],
        ],
      },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 4), 0, 4);
      return { shape, widths: shape.map((): [number, number] => [pick(0, 2), pick(0, 2)]), value: pick(-2, 2) };
    },
    time: [
      {
        shape: activations,
        widths: [
          [0, 0],
          [1, 1],
          [1, 1],
          [0, 0],
        ],
      },
    ],
    bytes: ({ shape }) => moved(shape),
  }),
  defineCase<{ shape: Shape; starts: number[]; ends: number[] }>({
    op: 'slice',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { starts, ends }) => ops.slice(x, starts, ends),
    reference: ([x], { starts, ends }) => reference.slice(x, starts, ends),
    tolerance: exact,
    check: [
      { shape: [5], starts: [1], ends: [4] },
      { shape: [4, 3], starts: [1, 0], ends: [3, 3] },
      { shape: [4, 6], starts: [0, 2], ends: [4, 5] },
      { shape: [2, 5, 7], starts: [1, 1, 2], ends: [2, 4, 7] },
      { shape: [2, 4, 4, 3], starts: [0, 1, 1, 0], ends: [2, 3, 3, 3] },
      { shape: [4, 3], starts: [2, 0], ends: [2, 3] },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 4), 0, 6);
      const starts = shape.map((extent) => pick(0, extent));
      return { shape, starts, ends: starts.map((start, axis) => pick(start, shape[axis])) };
    },
    time: [{ shape: [4, 32, 32, 256], starts: [0, 0, 0, 0], ends: [4, 32, 32, 128] }],
    bytes: ({ starts, ends }) => moved(starts.map((start, axis) => ends[axis] - start)),
  }),
  defineCase<{ shapes: Shape[]; axis: number }>({
    op: 'concat',
    name: '',
    inputs: ({ shapes }) => shapes.map((shape) => normal(shape)),
    run: (xs, { axis }) => ops.concat(xs, axis),
    reference: (xs, { axis }) => reference.concat(xs, axis),
    tolerance: exact,
    check: [
      { shapes: [[3]], axis: 0 },
      { shapes: [[2], [3]], axis: 0 },
      {
        shapes: [
          [2, 3],
          [1, 3],
          [4, 3],
        ],
        axis: 0,
      },
      {
        shapes: [
          [2, 3],
          [2, 5],
        ],
        axis: 1,
      },
      {
        shapes: [
          [2, 2, 2, 3],
          [2, 2, 2, 5],
        ],
        axis: -1,
      },
      {
        shapes: [
          [2, 3, 2],
          [2, 1, 2],
        ],
        axis: 1,
      },
      {
        shapes: [
          [0, 3],
          [2, 3],
        ],
        axis: 0,
      },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 4), 1, 4);
      const axis = pick(0, shape.length - 1);
      const shapes = Array.from({ length: pick(1, 3) }, () =>
        shape.map((extent, a) => (a === axis ? pick(0, 4) : extent)),
      );
      return { shapes, axis };
    },
    time: [{ shapes: [activations, [4, 32, 32, 256]], axis: -1 }],
    bytes: ({ shapes }) => shapes.reduce((total, shape) => total + moved(shape), 0),
  }),
  defineCase<{ shape: Shape; sizes: number | number[]; axis: number }>({
    op: 'slice',
    name: 'split',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { sizes, axis }) => ops.split(x, sizes, axis),
    reference: ([x], { sizes, axis }) => {
      const extent = x.shape.at(axis) as number;
      const list = typeof sizes === 'number' ? Array(sizes).fill(extent / sizes) : sizes;
      return reference.split(x, list, axis);
    },
    tolerance: exact,
    check: [
      { shape: [6], sizes: [2, 4], axis: 0 },
      { shape: [4, 6], sizes: 3, axis: 1 },
      { shape: [4, 3], sizes: 2, axis: 0 },
      { shape: [2, 3, 8], sizes: [1, 2, 5], axis: -1 },
      { shape: [2, 5, 3], sizes: [4, 1], axis: 1 },
    ],
  }),
];

const indexCases = [
  defineCase<{ shape: Shape; picks: number }>({
    op: 'gather',
    name: '',
    inputs: ({ shape, picks }) => [normal(shape), indices([picks], shape[0])],
    run: ([x, index]) => ops.gather(x, index),
    reference: ([x, index]) => reference.gather(x, index),
    tolerance: { ...exact, gradient: tolerances.summed.gradient },
    check: [
      { shape: [5], picks: 3 },
      { shape: [4, 3], picks: 9 },
      { shape: [3, 2, 5], picks: 4 },
      { shape: [1, 7], picks: 5 },
      { shape: [10, 33], picks: 1 },
      { shape: [3, 2], picks: 0 },
    ],
    random: (pick) => ({ shape: randomShape(pick, pick(1, 3), 1, 6), picks: pick(0, 8) }),
  }),
  defineCase<{ shape: Shape; depth: number }>({
    op: 'oneHot',
    name: '',
    inputs: ({ shape, depth }) => [indices(shape, depth)],
    run: ([index], { depth }) => ops.oneHot(index, depth),
    reference: ([index], { depth }) => reference.oneHot(index, depth),
    tolerance: exact,
    check: [
      { shape: [4], depth: 10 },
      { shape: [2, 3], depth: 5 },
      { shape: [1], depth: 1 },
      { shape: [0], depth: 3 },
    ],
    random: (pick) => ({ shape: randomShape(pick, pick(1, 2), 0, 6), depth: pick(1, 12) }),
  }),
];

/** Halfway values, overflow to infinity, subnormals: where rounding to 16 bits goes wrong first. */
const roundingEdges = [
  0,
  1,
  -1,
  1.00390625,
  1.01171875,
  1.0009765625,
  1.00048828125,
  1.00146484375,
  65504,
  65519,
  65520,
  -65520,
  6e-8,
  3e-8,
  2.9e-8,
  -6.1e-5,
  3.39e38,
  -3.3e38,
  1e-40,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
];

const castCases = (['bf16', 'f16'] as const).flatMap((dtype) => [
  defineCase<Shape>({
    op: 'cast',
    name: `f32 to ${dtype} and back`,
    inputs: (shape) => [normal(shape)],
    run: ([x]) => cast(cast(x, dtype), 'f32'),
    reference: ([x]) => reference.cast(x, dtype),
    smooth: ([x]) => x,
    tolerance: {
      value: {},
      gradient: { absolute: 1e-6, relative: dtype === 'bf16' ? 2 ** -8 : 2 ** -11 },
      reason: 'rounding is exact; its gradient passes through and may itself be stored in 16 bits',
    },
    check: [[], [0], [7], [3, 17], [1030]],
    random: (pick) => randomShape(pick, pick(0, 3), 0, 9),
    time: [activations],
    bytes: (shape) => 12 * reference.count(shape),
  }),
  defineCase<Shape>({
    op: 'cast',
    name: `f32 to ${dtype} at the edges`,
    inputs: (shape) => [fixed(roundingEdges, shape)],
    run: ([x]) => cast(cast(x, dtype), 'f32'),
    reference: ([x]) => reference.cast(x, dtype),
    tolerance: exact,
    check: [[roundingEdges.length], [67]],
  }),
]);

const wholeCasts = (['i32', 'u8', 'bool'] as const).map((dtype) =>
  defineCase<Shape>({
    op: 'cast',
    name: `f32 to ${dtype}`,
    dtype,
    inputs: (shape) => [constant(uniform(shape, dtype === 'u8' ? 0 : -200, 200))],
    run: ([x]) => cast(x, dtype),
    reference: ([x]) => reference.cast(x, dtype),
    tolerance: exact,
    check: [[7], [3, 17], [0]],
  }),
);

const fromWhole = defineCase<Shape>({
  op: 'cast',
  name: 'i32 to f32',
  inputs: (shape) => [indices(shape, 1000)],
  run: ([x]) => cast(x, 'f32'),
  reference: ([x]) => x,
  tolerance: rounded,
  check: [[7], [3, 17], [0]],
});

export const movementCases: Case[] = [
  ...shapeCases,
  ...regionCases,
  ...indexCases,
  ...castCases,
  ...wholeCasts,
  fromWhole,
];
