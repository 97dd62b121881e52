/** Cases of reading and writing by index along one axis, and of masks. */
import { booleanMask, maskedFill } from '../../src/kernels/composed/masks.ts';
import { nonzero } from '../../src/kernels/composed/nonzero.ts';
import * as ops from '../../src/kernels/indexing.ts';
import { booleans, constant, indices, lattice, normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;

/** Elements move unchanged; the gradient sums those chosen several times. */
const moved: CaseTolerance = { ...tolerances.exact, gradient: tolerances.summed.gradient };
const added: CaseTolerance = { ...tolerances.summed, gradient: tolerances.exact.gradient };

const replaced = (shape: Shape, axis: number, extent: number): number[] =>
  shape.map((dim, a) => (a === (axis + shape.length) % shape.length ? extent : dim));

const takeCase = defineCase<{ shape: Shape; axis?: number; picks: Shape }>({
  op: 'take',
  name: '',
  inputs: ({ shape, axis, picks }) => [
    normal(shape),
    indices(picks, axis === undefined ? reference.count(shape) : (shape.at(axis) as number)),
  ],
  run: ([x, index], { axis }) => ops.take(x, index, { axis }),
  reference: ([x, index], { axis }) => reference.take(x, index, axis),
  tolerance: moved,
  check: [
    { shape: [3, 4], axis: 1, picks: [5] },
    { shape: [2, 3, 70], axis: 1, picks: [2, 2] },
    { shape: [4, 3], axis: 0, picks: [9] },
    { shape: [2, 3], picks: [2, 4] },
    { shape: [5], axis: -1, picks: [] },
    { shape: [2, 3], axis: 0, picks: [0] },
    { shape: [3, 0], axis: 0, picks: [2] },
  ],
  random: (pick) => {
    const shape = randomShape(pick, pick(1, 4), 1, 5);
    return { shape, axis: pick(-1, shape.length - 1), picks: randomShape(pick, pick(0, 2), 0, 4) };
  },
  time: [{ shape: [4, 1000, 128], axis: 1, picks: [256] }],
  bytes: ({ shape, picks }) => 8 * shape[0] * reference.count(picks) * shape[2],
});

interface Along {
  shape: Shape;
  axis: number;
  picks: number;
}

const alongSizes: Along[] = [
  { shape: [3, 4], axis: 1, picks: 6 },
  { shape: [2, 5, 3], axis: 1, picks: 2 },
  { shape: [4, 70], axis: 0, picks: 3 },
  { shape: [7], axis: -1, picks: 7 },
  { shape: [2, 1, 2], axis: 1, picks: 4 },
  { shape: [2, 3], axis: 1, picks: 0 },
  { shape: [0, 3], axis: 1, picks: 2 },
];

const randomAlong = (pick: Pick): Along => {
  const shape = randomShape(pick, pick(1, 4), 1, 5);
  return { shape, axis: pick(0, shape.length - 1), picks: pick(0, 6) };
};

const layer: Along[] = [{ shape: [16, 1024, 32], axis: 1, picks: 512 }];
const bytes = ({ shape, axis, picks }: Along) => 12 * reference.count(replaced(shape, axis, picks));

const takeAlongCases = [
  defineCase<Along>({
    op: 'takeAlongAxis',
    name: '',
    inputs: ({ shape, axis, picks }) => [
      normal(shape),
      indices(replaced(shape, axis, picks), shape.at(axis) as number),
    ],
    run: ([x, index], { axis }) => ops.takeAlongAxis(x, index, { axis }),
    reference: ([x, index], { axis }) => reference.takeAlongAxis(x, index, axis),
    tolerance: moved,
    check: alongSizes,
    random: randomAlong,
    time: layer,
    bytes,
  }),
  defineCase<{ shape: Shape; index: Shape; axis: number }>({
    op: 'takeAlongAxis',
    name: 'broadcast',
    inputs: ({ shape, index, axis }) => [normal(shape), indices(index, shape[axis])],
    run: ([x, index], { axis }) => ops.takeAlongAxis(x, index, { axis }),
    reference: ([x, index], { axis }) => reference.takeAlongAxis(x, index, axis),
    tolerance: moved,
    check: [
      { shape: [3, 4], index: [1, 2], axis: 1 },
      { shape: [1, 4, 2], index: [3, 5, 1], axis: 1 },
    ],
  }),
];

type Scatter = 'scatterAdd' | 'scatterAlongAxis';

const scatterCases = (['scatterAdd', 'scatterAlongAxis'] as const).flatMap((op: Scatter) => {
  const tolerance = op === 'scatterAdd' ? added : tolerances.exact;
  return [
    defineCase<Along>({
      op,
      name: '',
      inputs: ({ shape, axis, picks }) => {
        const chosen = replaced(shape, axis, picks);
        return [normal(shape), indices(chosen, shape.at(axis) as number), normal(chosen)];
      },
      run: ([x, index, values], { axis }) => ops[op](x, index, values, { axis }),
      reference: ([x, index, values], { axis }) => reference[op](x, index, values, axis),
      tolerance,
      check: alongSizes,
      random: randomAlong,
      time: layer,
      bytes,
    }),
    defineCase<{ shape: Shape; index: Shape; values: Shape; axis: number }>({
      op,
      name: 'broadcast',
      inputs: ({ shape, index, values, axis }) => [normal(shape), indices(index, shape[axis]), normal(values)],
      run: ([x, index, values], { axis }) => ops[op](x, index, values, { axis }),
      reference: ([x, index, values], { axis }) => reference[op](x, index, values, axis),
      tolerance: { ...tolerance, gradient: tolerances.summed.gradient },
      check: [
        { shape: [3, 4], index: [1, 2], values: [3, 1], axis: 1 },
        { shape: [4, 2, 3], index: [5, 1, 3], values: [1, 2, 1], axis: 0 },
      ],
    }),
  ];
});

const indexAddCase = defineCase<Along>({
  op: 'indexAdd',
  name: '',
  inputs: ({ shape, axis, picks }) => [
    normal(shape),
    indices([picks], shape.at(axis) as number),
    normal(replaced(shape, axis, picks)),
  ],
  run: ([x, index, values], { axis }) => ops.indexAdd(x, index, values, { axis }),
  reference: ([x, index, values], { axis }) => reference.indexAdd(x, index, values, axis),
  tolerance: added,
  check: alongSizes,
  random: randomAlong,
  time: layer,
  bytes,
});

const nonzeroCase = defineCase<Shape>({
  op: 'nonzero',
  name: '',
  dtype: 'i32',
  inputs: (shape) => [constant(lattice(shape))],
  run: ([x]) => nonzero(x),
  reference: ([x]) => reference.nonzero(x),
  tolerance: tolerances.exact,
  check: [[7], [3, 5], [2, 3, 4], [], [0, 3], [1500]],
  random: (pick) => randomShape(pick, pick(0, 4), 0, 6),
  time: [[256, 1024]],
  bytes: (shape) => 4 * reference.count(shape),
});

const maskCases = [
  defineCase<[Shape, Shape]>({
    op: 'maskedFill',
    name: '',
    inputs: ([shape, mask]) => [normal(shape), booleans(mask)],
    run: ([x, mask]) => maskedFill(x, mask, -2.5),
    reference: ([x, mask]) => reference.where(mask, -2.5, x),
    tolerance: tolerances.exact,
    check: [
      [[5], [5]],
      [
        [3, 4],
        [3, 1],
      ],
      [[2, 3, 5], [5]],
      [[], []],
      [
        [0, 3],
        [1, 3],
      ],
    ],
  }),
  defineCase<Shape>({
    op: 'maskedFill',
    name: 'with a tensor',
    inputs: (shape) => [normal(shape), booleans(shape), normal([])],
    run: ([x, mask, value]) => maskedFill(x, mask, value),
    reference: ([x, mask, value]) => reference.where(mask, value, x),
    tolerance: { ...tolerances.exact, gradient: tolerances.summed.gradient },
    check: [[5], [3, 4]],
  }),
  defineCase<{ shape: Shape; mask: Shape; axis?: number }>({
    op: 'booleanMask',
    name: '',
    inputs: ({ shape, mask }) => [normal(shape), booleans(mask)],
    run: ([x, mask], { axis }) => booleanMask(x, mask, { axis }),
    reference: ([x, mask], { axis }) => reference.booleanMask(x, mask, axis),
    tolerance: tolerances.exact,
    check: [
      { shape: [6], mask: [6] },
      { shape: [3, 4], mask: [3, 4] },
      { shape: [5, 3], mask: [5] },
      { shape: [2, 4, 3], mask: [4, 3], axis: 1 },
      { shape: [2, 4, 3], mask: [3], axis: -1 },
      { shape: [2, 0], mask: [0], axis: 1 },
    ],
  }),
];

export const indexingCases: Case[] = [
  takeCase,
  ...takeAlongCases,
  ...scatterCases,
  indexAddCase,
  nonzeroCase,
  ...maskCases,
];
