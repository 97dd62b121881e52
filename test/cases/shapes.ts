/** Cases of the functions that change axes, repeat, reverse or copy elements. */
import { clone, detach } from '../../src/kernels/composed/clone.ts';
import { pixelShuffle, pixelUnshuffle } from '../../src/kernels/composed/pixel_shuffle.ts';
import { roll } from '../../src/kernels/composed/roll.ts';
import * as shapes from '../../src/kernels/composed/shapes.ts';
import { slice } from '../../src/kernels/movement.ts';
import { unfold } from '../../src/kernels/unfold.ts';
import { constant, normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;

const { exact, summed } = tolerances;
/** The gradient of a repeated element is a sum. */
const repeated = { ...exact, gradient: summed.gradient };
const activations = [4, 32, 32, 128];
const moved = (shape: Shape) => 8 * reference.count(shape);

/** Some axes of a tensor of that rank, in any order. */
const someAxes = (pick: Pick, rank: number) =>
  Array.from({ length: rank }, (_, axis) => axis).filter(() => pick(0, 1) === 1);

const viewCases = [
  defineCase<{ shape: Shape; count: number; axis: number }>({
    op: 'stack',
    name: '',
    inputs: ({ shape, count }) => Array.from({ length: count }, () => normal(shape)),
    run: (xs, { axis }) => shapes.stack(xs, axis),
    reference: (xs, { axis }) => reference.stack(xs, axis),
    tolerance: exact,
    check: [
      { shape: [3], count: 2, axis: 0 },
      { shape: [2, 3], count: 3, axis: 1 },
      { shape: [2, 3], count: 2, axis: -1 },
      { shape: [], count: 4, axis: 0 },
      { shape: [0, 2], count: 2, axis: 1 },
      { shape: [2], count: 1, axis: -1 },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(0, 3), 0, 4);
      return { shape, count: pick(1, 3), axis: pick(-shape.length - 1, shape.length) };
    },
    time: [{ shape: activations, count: 2, axis: 0 }],
    bytes: ({ shape, count }) => count * moved(shape),
  }),
  defineCase<{ shape: Shape; axes?: number | number[]; to: Shape }>({
    op: 'squeeze',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { axes }) => shapes.squeeze(x, { axes }),
    reference: ([x], { to }) => reference.reshape(x, to),
    tolerance: exact,
    check: [
      { shape: [1, 3, 1], to: [3] },
      { shape: [1, 3, 1], axes: -1, to: [1, 3] },
      { shape: [1, 1, 2], axes: [0, 1], to: [2] },
      { shape: [], to: [] },
      { shape: [1, 0], to: [0] },
    ],
  }),
  defineCase<{ shape: Shape; axes: number | number[]; to: Shape }>({
    op: 'unsqueeze',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { axes }) => shapes.unsqueeze(x, axes),
    reference: ([x], { to }) => reference.reshape(x, to),
    tolerance: exact,
    check: [
      { shape: [3], axes: 0, to: [1, 3] },
      { shape: [3, 2], axes: -1, to: [3, 2, 1] },
      { shape: [3, 2], axes: [0, -2], to: [1, 3, 1, 2] },
      { shape: [], axes: [1, 0], to: [1, 1] },
      { shape: [0], axes: [], to: [0] },
    ],
  }),
  defineCase<{ shape: Shape; start?: number; end?: number; to: Shape }>({
    op: 'flatten',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { start, end }) => shapes.flatten(x, { start, end }),
    reference: ([x], { to }) => reference.reshape(x, to),
    tolerance: exact,
    check: [
      { shape: [2, 3, 4], to: [24] },
      { shape: [2, 3, 4], start: 1, to: [2, 12] },
      { shape: [2, 3, 4], end: -2, to: [6, 4] },
      { shape: [], to: [1] },
      { shape: [2, 0, 3], start: -2, to: [2, 0] },
    ],
  }),
  defineCase<{ shape: Shape; axis: number; sizes: number[]; to: Shape }>({
    op: 'unflatten',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { axis, sizes }) => shapes.unflatten(x, axis, sizes),
    reference: ([x], { to }) => reference.reshape(x, to),
    tolerance: exact,
    check: [
      { shape: [12], axis: 0, sizes: [3, 4], to: [3, 4] },
      { shape: [2, 12], axis: -1, sizes: [2, -1, 3], to: [2, 2, 2, 3] },
      { shape: [4, 0], axis: 1, sizes: [0, 2], to: [4, 0, 2] },
      { shape: [1, 5], axis: 0, sizes: [], to: [5] },
    ],
  }),
  defineCase<{ shape: Shape; position: number; axis: number }>({
    op: 'select',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { position, axis }) => shapes.select(x, position, { axis }),
    reference: ([x], { position, axis }) => reference.select(x, position, axis),
    tolerance: exact,
    check: [
      { shape: [4, 3], position: 2, axis: 0 },
      { shape: [4, 3], position: -1, axis: 1 },
      { shape: [2, 3, 5], position: -3, axis: -2 },
      { shape: [3], position: 1, axis: 0 },
      { shape: [0, 3], position: 1, axis: 1 },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 4), 1, 5);
      const axis = pick(-shape.length, shape.length - 1);
      const extent = shape.at(axis) as number;
      return { shape, axis, position: pick(-extent, extent - 1) };
    },
  }),
  defineCase<{ shape: Shape; count: number; axis: number; sizes: number[] }>({
    op: 'chunk',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { count, axis }) => shapes.chunk(x, count, axis),
    reference: ([x], { sizes, axis }) => reference.split(x, sizes, axis),
    tolerance: exact,
    // The sizes are those of torch.chunk.
    check: [
      { shape: [7, 2], count: 3, axis: 0, sizes: [3, 3, 1] },
      { shape: [2, 6], count: 4, axis: 1, sizes: [2, 2, 2] },
      { shape: [2, 5], count: 9, axis: -1, sizes: [1, 1, 1, 1, 1] },
      { shape: [4], count: 1, axis: 0, sizes: [4] },
      { shape: [0, 3], count: 2, axis: 0, sizes: [0, 0] },
    ],
  }),
];

const orderCases = [
  defineCase<{ shape: Shape; source: number[]; destination: number[] }>({
    op: 'moveAxis',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { source, destination }) => shapes.moveAxis(x, source, destination),
    reference: ([x], { source, destination }) => reference.moveAxis(x, source, destination),
    tolerance: exact,
    check: [
      { shape: [2, 3, 4], source: [-1], destination: [0] },
      { shape: [2, 3, 4, 5], source: [0, 2], destination: [-1, 0] },
      { shape: [2, 3], source: [], destination: [] },
      { shape: [1, 3, 2], source: [0], destination: [1] },
      { shape: [0, 3], source: [0], destination: [1] },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 4), 0, 4);
      const [source, places] = [someAxes(pick, shape.length), shape.map((_, axis) => axis)];
      return { shape, source, destination: source.map(() => places.splice(pick(0, places.length - 1), 1)[0]) };
    },
  }),
  defineCase<{ shape: Shape; axes: [number, number]; order: number[] }>({
    op: 'swapAxes',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { axes }) => shapes.swapAxes(x, ...axes),
    reference: ([x], { order }) => reference.permute(x, order),
    tolerance: exact,
    check: [
      { shape: [2, 3, 4], axes: [0, -1], order: [2, 1, 0] },
      { shape: [2, 3], axes: [1, 1], order: [0, 1] },
      { shape: [2, 1, 3], axes: [1, 2], order: [0, 2, 1] },
      { shape: [2, 0], axes: [0, 1], order: [1, 0] },
    ],
  }),
  defineCase<{ shape: Shape; axes?: number[] }>({
    op: 'flip',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { axes }) => shapes.flip(x, { axes }),
    reference: ([x], { axes = [...x.shape.keys()] }) => reference.flip(x, axes),
    tolerance: exact,
    check: [
      { shape: [5] },
      { shape: [2, 3, 4], axes: [-2] },
      { shape: [3, 17], axes: [1] },
      { shape: [2, 3, 4], axes: [2, 0] },
      { shape: [1, 0], axes: [0, 1] },
      { shape: [] },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(0, 4), 0, 6);
      return { shape, axes: someAxes(pick, shape.length) };
    },
    time: [{ shape: activations, axes: [2] }],
    bytes: ({ shape }) => moved(shape),
  }),
  defineCase<{ shape: Shape; shifts: number[]; axes?: number[] }>({
    op: 'roll',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { shifts, axes }) => roll(x, shifts, { axes }),
    reference: ([x], { shifts, axes }) => reference.roll(x, shifts, axes),
    tolerance: exact,
    check: [
      { shape: [5], shifts: [2] },
      { shape: [2, 3], shifts: [-1] },
      { shape: [3, 4], shifts: [-7, 2], axes: [1, 0] },
      { shape: [2, 3, 2, 2, 3], shifts: [1, 1, 1, 1, 2], axes: [0, 1, 2, 3, -1] },
      { shape: [3, 1], shifts: [3, 5], axes: [0, 1] },
      { shape: [0, 2], shifts: [1, 1], axes: [0, 1] },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 4), 0, 5);
      const axes = someAxes(pick, shape.length);
      return { shape, axes, shifts: axes.map(() => pick(-6, 6)) };
    },
    time: [{ shape: activations, shifts: [-4, -4], axes: [1, 2] }],
    bytes: ({ shape }) => moved(shape),
  }),
  defineCase<{ shape: Shape; starts: (number | null)[]; ends: (number | null)[]; steps: number[] }>({
    op: 'slice',
    name: 'negative bounds and steps',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { starts, ends, steps }) => slice(x, starts, ends, { steps }),
    reference: ([x], { starts, ends, steps }) => reference.sliceSteps(x, starts, ends, steps),
    tolerance: exact,
    check: [
      { shape: [7], starts: [-5], ends: [-1], steps: [2] },
      { shape: [7], starts: [null], ends: [null], steps: [-3] },
      { shape: [4, 6], starts: [-1, 1], ends: [null, -1], steps: [-1, 3] },
      { shape: [3, 4, 5], starts: [null, -2, 3], ends: [null, null, 0], steps: [2, 1, -2] },
      { shape: [0, 3], starts: [null, 2], ends: [null, null], steps: [-2, 1] },
      { shape: [5], starts: [2], ends: [2], steps: [-1] },
    ],
    random: (pick) => {
      const shape = randomShape(pick, pick(1, 4), 0, 6);
      const steps = shape.map(() => (pick(0, 1) === 0 ? -1 : 1) * pick(1, 3));
      const lows = shape.map((dim) => pick(0, dim));
      const highs = shape.map((dim, axis) => pick(lows[axis], dim));
      const starts = shape.map((dim, axis) => {
        if (steps[axis] > 0) return lows[axis] - (pick(0, 1) === 1 && lows[axis] < dim ? dim : 0);
        return highs[axis] === 0 ? null : highs[axis] - 1 - (pick(0, 1) === 1 ? dim : 0);
      });
      const ends = shape.map((dim, axis) => {
        if (steps[axis] > 0) return highs[axis] === dim ? null : highs[axis];
        return lows[axis] === 0 || highs[axis] === 0 ? null : lows[axis] - 1;
      });
      return { shape, starts, ends, steps };
    },
    time: [{ shape: activations, starts: [0, 0, 0, 0], ends: [null, null, null, null], steps: [1, 2, 2, 1] }],
    bytes: ({ shape }) => moved(shape) / 4,
  }),
];

const repetitionCases = [
  defineCase<{ shape: Shape; repeats: number[] }>({
    op: 'tile',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { repeats }) => shapes.tile(x, repeats),
    reference: ([x], { repeats }) => reference.tile(x, repeats),
    tolerance: repeated,
    check: [
      { shape: [3], repeats: [2] },
      { shape: [2, 3], repeats: [3] },
      { shape: [2, 1, 3], repeats: [2, 4, 2] },
      { shape: [2], repeats: [3, 1, 2] },
      { shape: [2, 3], repeats: [1, 0] },
      { shape: [0, 2], repeats: [2, 2] },
      { shape: [], repeats: [] },
    ],
    random: (pick) => ({
      shape: randomShape(pick, pick(0, 3), 0, 4),
      repeats: randomShape(pick, pick(0, 4), 0, 3),
    }),
    time: [{ shape: [4, 16, 16, 128], repeats: [1, 2, 2, 1] }],
    bytes: ({ shape }) => (5 / 2) * moved(shape),
  }),
  defineCase<{ shape: Shape; repeats: number; axis?: number }>({
    op: 'repeatInterleave',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { repeats, axis }) => shapes.repeatInterleave(x, repeats, { axis }),
    reference: ([x], { repeats, axis }) => reference.repeatInterleave(x, repeats, axis),
    tolerance: repeated,
    check: [
      { shape: [3], repeats: 2 },
      { shape: [2, 3], repeats: 3, axis: 0 },
      { shape: [2, 3], repeats: 2, axis: -1 },
      { shape: [2, 2], repeats: 2 },
      { shape: [2, 3], repeats: 0, axis: 1 },
      { shape: [], repeats: 3 },
    ],
  }),
  defineCase<{ sizes: number[]; indexing: 'xy' | 'ij' }>({
    op: 'meshgrid',
    name: '',
    inputs: ({ sizes }) => sizes.map((size) => normal([size])),
    run: (xs, { indexing }) => shapes.meshgrid(xs, { indexing }),
    reference: (xs, { indexing }) => reference.meshgrid(xs, indexing),
    tolerance: repeated,
    check: [
      { sizes: [3, 2], indexing: 'xy' },
      { sizes: [3, 2, 4], indexing: 'ij' },
      { sizes: [2, 3, 4], indexing: 'xy' },
      { sizes: [5], indexing: 'xy' },
      { sizes: [2, 0], indexing: 'ij' },
    ],
  }),
];

const images = [2, 4, 6, 4];

const pixelCases = [
  defineCase<{ shape: Shape; factor: number }>({
    op: 'pixelShuffle',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { factor }) => pixelShuffle(x, factor),
    reference: ([x], { factor }) => reference.pixelShuffle(x, factor),
    tolerance: exact,
    check: [
      { shape: [1, 1, 2, 4], factor: 2 },
      { shape: [2, 2, 3, 18], factor: 3 },
      { shape: images, factor: 1 },
      { shape: [1, 0, 2, 8], factor: 2 },
    ],
    time: [{ shape: activations, factor: 2 }],
    bytes: ({ shape }) => moved(shape),
  }),
  defineCase<{ shape: Shape; factor: number }>({
    op: 'pixelUnshuffle',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { factor }) => pixelUnshuffle(x, factor),
    reference: ([x], { factor }) => reference.pixelUnshuffle(x, factor),
    tolerance: exact,
    check: [
      { shape: [1, 2, 2, 1], factor: 2 },
      { shape: [2, 3, 6, 2], factor: 3 },
      { shape: images, factor: 1 },
      { shape: [0, 2, 2, 3], factor: 2 },
    ],
    time: [{ shape: activations, factor: 2 }],
    bytes: ({ shape }) => moved(shape),
  }),
];

type Pair = [number, number];

interface Unfolded {
  shape: Shape;
  kernel: Pair;
  stride?: Pair;
  padding?: Pair;
  dilation?: Pair;
}

const unfoldCases = [
  defineCase<Unfolded>({
    op: 'unfold',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { kernel, stride, padding, dilation }) => unfold(x, { kernel, stride, padding, dilation }),
    reference: ([x], options) => reference.unfold(x, options),
    tolerance: repeated,
    check: [
      { shape: [1, 3, 3, 2], kernel: [2, 2] },
      { shape: [2, 4, 5, 3], kernel: [3, 3], padding: [1, 1] },
      { shape: [1, 7, 6, 1], kernel: [2, 3], stride: [3, 2], padding: [2, 0], dilation: [2, 1] },
      { shape: [1, 5, 5, 4], kernel: [1, 2], dilation: [1, 3] },
      { shape: [0, 3, 3, 2], kernel: [3, 1] },
      { shape: [1, 0, 2, 2], kernel: [1, 1], padding: [1, 0] },
    ],
    random: (pick) => {
      const kernel: Pair = [pick(1, 3), pick(1, 3)];
      const dilation: Pair = [pick(1, 2), pick(1, 2)];
      const padding: Pair = [pick(0, 2), pick(0, 2)];
      const least = kernel.map((size, axis) => Math.max(1, dilation[axis] * (size - 1) + 1 - 2 * padding[axis]));
      const shape = [pick(1, 2), pick(least[0], 6), pick(least[1], 6), pick(1, 5)];
      return { shape, kernel, dilation, padding, stride: [pick(1, 3), pick(1, 3)] };
    },
    time: [{ shape: [4, 32, 32, 32], kernel: [3, 3], padding: [1, 1] }],
    bytes: ({ shape }) => 5 * moved(shape),
  }),
];

const copyCases = [
  defineCase<Shape>({
    op: 'clone',
    name: '',
    inputs: (shape) => [normal(shape)],
    run: ([x]) => clone(x),
    reference: ([x]) => x,
    tolerance: exact,
    check: [[3], [2, 3], [], [0, 2]],
    time: [activations],
    bytes: moved,
  }),
  defineCase<Shape>({
    op: 'detach',
    name: '',
    inputs: (shape) => [constant(normal(shape))],
    run: ([x]) => detach(x),
    reference: ([x]) => x,
    tolerance: exact,
    check: [[3], [], [0, 2]],
  }),
];

export const shapeCases: Case[] = [
  ...viewCases,
  ...orderCases,
  ...repetitionCases,
  ...pixelCases,
  ...unfoldCases,
  ...copyCases,
];
