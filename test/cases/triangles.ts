/** Cases of triangles and diagonals of matrices. */
import * as diagonals from '../../src/kernels/composed/diagonal.ts';
import { tril, triu } from '../../src/kernels/triangle.ts';
import { normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase, randomShape, tolerances } from './case.ts';

type Shape = reference.Shape;

const { exact, summed } = tolerances;

export const triangleCases: Case[] = [
  ...([tril, triu] as const).map((triangle) =>
    defineCase<{ shape: Shape; offset?: number }>({
      op: triangle === tril ? 'tril' : 'triu',
      name: '',
      inputs: ({ shape }) => [normal(shape)],
      run: ([x], { offset }) => triangle(x, { offset }),
      reference: ([x], { offset = 0 }) => reference.triangle(x, triangle === tril ? 'lower' : 'upper', offset),
      tolerance: exact,
      check: [
        { shape: [3, 3] },
        { shape: [2, 3, 5], offset: 1 },
        { shape: [5, 3], offset: -2 },
        { shape: [2, 19, 17], offset: -3 },
        { shape: [3, 4], offset: -7 },
        { shape: [3, 4], offset: 9 },
        { shape: [2, 0, 3] },
      ],
      random: (pick) => ({
        shape: [...randomShape(pick, pick(0, 2), 0, 3), pick(0, 6), pick(0, 6)],
        offset: pick(-7, 7),
      }),
      time: [{ shape: [16, 256, 256] }],
      bytes: ({ shape }) => 8 * reference.count(shape),
    }),
  ),
  defineCase<{ shape: Shape; offset?: number }>({
    op: 'diagonal',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { offset }) => diagonals.diagonal(x, { offset }),
    reference: ([x], { offset = 0 }) => reference.diagonal(x, offset),
    tolerance: exact,
    check: [
      { shape: [3, 3] },
      { shape: [2, 3, 5], offset: 2 },
      { shape: [5, 3], offset: -3 },
      { shape: [2, 3, 4], offset: 4 },
      { shape: [2, 0, 3] },
    ],
    random: (pick) => ({
      shape: [...randomShape(pick, pick(0, 2), 0, 3), pick(0, 6), pick(0, 6)],
      offset: pick(-7, 7),
    }),
  }),
  defineCase<{ shape: Shape; offset?: number }>({
    op: 'diagEmbed',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { offset }) => diagonals.diagEmbed(x, { offset }),
    reference: ([x], { offset = 0 }) => reference.diagEmbed(x, offset),
    tolerance: exact,
    check: [{ shape: [3] }, { shape: [2, 3], offset: 2 }, { shape: [2, 2, 1], offset: -1 }, { shape: [0], offset: 2 }],
    random: (pick) => ({ shape: randomShape(pick, pick(1, 3), 0, 4), offset: pick(-3, 3) }),
  }),
  defineCase<{ shape: Shape; offset?: number }>({
    op: 'diag',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { offset }) => diagonals.diag(x, { offset }),
    reference: ([x], { offset = 0 }) =>
      x.shape.length === 1 ? reference.diagEmbed(x, offset) : reference.diagonal(x, offset),
    tolerance: exact,
    check: [{ shape: [3] }, { shape: [2], offset: -2 }, { shape: [3, 4] }, { shape: [4, 3], offset: 1 }],
  }),
  defineCase<{ shape: Shape; offset?: number }>({
    op: 'trace',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { offset }) => diagonals.trace(x, { offset }),
    reference: ([x], { offset = 0 }) => reference.trace(x, offset),
    tolerance: summed,
    check: [{ shape: [3, 3] }, { shape: [2, 3, 5], offset: 1 }, { shape: [2, 3], offset: 3 }],
  }),
];
