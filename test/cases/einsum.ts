/** Cases of einsum and of the products written with it. */
import { einsum } from '../../src/kernels/composed/einsum.ts';
import { dot, outer, tensordot, vecdot } from '../../src/kernels/composed/products.ts';
import { normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase, type Pick, tolerances } from './case.ts';

type Shape = reference.Shape;

interface Sum {
  equation: string;
  shapes: Shape[];
}

const labels = 'abcdef';

/** Two or three operands of random labels; each label that is not in the result is summed. */
function randomSum(pick: Pick): Sum {
  const extents = [...labels].map(() => pick(1, 4));
  const terms = Array.from({ length: pick(1, 3) }, () =>
    [...labels].filter(() => pick(0, 2) === 0).sort(() => pick(0, 2) - 1),
  );
  const used = [...new Set(terms.flat())];
  const output = used.filter(() => pick(0, 1) === 0).sort(() => pick(0, 2) - 1);
  const shapes = terms.map((term) => term.map((label) => (pick(0, 7) === 0 ? 1 : extents[labels.indexOf(label)])));
  return { equation: `${terms.map((term) => term.join('')).join(',')}->${output.join('')}`, shapes };
}

const sums = defineCase<Sum>({
  op: 'einsum',
  name: '',
  inputs: ({ shapes }) => shapes.map((shape) => normal(shape)),
  // Several roundings to bf16 follow each other where it is more than one product.
  inBf16: ({ equation }) => ['ij,jk->ik', 'i,j->ij'].includes(equation),
  run: (tensors, { equation }) => einsum(equation, ...tensors),
  reference: (arrays, { equation }) => reference.einsum(equation, arrays),
  tolerance: tolerances.summed,
  check: [
    {
      equation: 'ij,jk->ik',
      shapes: [
        [3, 5],
        [5, 4],
      ],
    },
    {
      equation: 'bhqd,bhkd->bhqk',
      shapes: [
        [2, 1, 3, 4],
        [2, 1, 5, 4],
      ],
    },
    {
      equation: 'ij,jk',
      shapes: [
        [2, 3],
        [3, 4],
      ],
    },
    { equation: 'i,j->ij', shapes: [[3], [4]] },
    { equation: 'ii', shapes: [[4, 4]] },
    { equation: 'ii->i', shapes: [[3, 3]] },
    { equation: 'iji->j', shapes: [[3, 2, 3]] },
    { equation: 'iii->i', shapes: [[3, 3, 3]] },
    { equation: 'ba', shapes: [[2, 3]] },
    { equation: 'ij->', shapes: [[2, 3]] },
    { equation: ',ij->ji', shapes: [[], [2, 3]] },
    {
      equation: '...ij,...jk->...ik',
      shapes: [
        [2, 1, 3, 2],
        [4, 2, 3],
      ],
    },
    { equation: '...a,...a', shapes: [[2, 3], [3]] },
    {
      equation: 'a...,b...->ab',
      shapes: [
        [2, 3],
        [4, 3],
      ],
    },
    {
      equation: 'ab,bc,cd,de->ae',
      shapes: [
        [2, 3],
        [3, 4],
        [4, 1],
        [1, 5],
      ],
    },
    {
      equation: 'ij,ij->ij',
      shapes: [
        [1, 3],
        [2, 3],
      ],
    },
    {
      equation: 'ik,jk->ij',
      shapes: [
        [2, 1],
        [3, 4],
      ],
    },
    {
      equation: 'bn,bn->b',
      shapes: [
        [3, 4],
        [3, 4],
      ],
    },
    {
      equation: 'ikj,lk->jli',
      shapes: [
        [2, 3, 4],
        [5, 3],
      ],
    },
    {
      equation: 'ij,jk->ik',
      shapes: [
        [2, 0],
        [0, 3],
      ],
    },
    {
      equation: 'ij,jk->ik',
      shapes: [
        [0, 2],
        [2, 3],
      ],
    },
    { equation: 'n,nij,nij->', shapes: [[3], [3, 2, 2], [3, 2, 2]] },
  ],
  random: randomSum,
  time: [
    {
      equation: 'bhqd,bhkd->bhqk',
      shapes: [
        [8, 4, 128, 64],
        [8, 4, 128, 64],
      ],
    },
    {
      equation: 'bqhd,bkhd->bhqk',
      shapes: [
        [8, 128, 4, 64],
        [8, 128, 4, 64],
      ],
    },
  ],
  flops: () => 2 * 8 * 4 * 128 * 128 * 64,
});

const vectors = (op: 'outer' | 'dot' | 'vecdot', run: typeof outer, equation: string, check: [Shape, Shape][]): Case =>
  defineCase<[Shape, Shape]>({
    op,
    name: '',
    inputs: ([a, b]) => [normal(a), normal(b)],
    run: ([a, b]) => run(a, b),
    reference: (arrays) => reference.einsum(equation, arrays),
    tolerance: tolerances.summed,
    check,
  });

const tensordots = defineCase<{ a: Shape; b: Shape; axes?: number | [number[], number[]] }>({
  op: 'tensordot',
  name: '',
  inputs: ({ a, b }) => [normal(a), normal(b)],
  run: ([a, b], { axes }) => tensordot(a, b, axes),
  reference: ([a, b], { axes = 2 }) => {
    const [rankA, rankB] = [a.shape.length, b.shape.length];
    const [first, second] =
      typeof axes === 'number'
        ? [Array.from({ length: axes }, (_, i) => rankA - axes + i), Array.from({ length: axes }, (_, i) => i)]
        : axes.map((list, i) => list.map((axis) => (axis < 0 ? axis + [rankA, rankB][i] : axis)));
    const left = [...'abcdefg'].slice(0, rankA);
    const right = [...'nopqrst'].slice(0, rankB);
    second.forEach((axis, i) => {
      right[axis] = left[first[i]];
    });
    const output = [...left.filter((_, i) => !first.includes(i)), ...right.filter((_, i) => !second.includes(i))];
    return reference.einsum(`${left.join('')},${right.join('')}->${output.join('')}`, [a, b]);
  },
  tolerance: tolerances.summed,
  check: [
    { a: [2, 3, 4], b: [3, 4, 5] },
    { a: [2, 3], b: [3, 4], axes: 1 },
    { a: [2], b: [3], axes: 0 },
    { a: [2, 1], b: [3, 4], axes: 1 },
    {
      a: [2, 3, 4],
      b: [4, 5, 2],
      axes: [
        [0, -1],
        [2, 0],
      ],
    },
    {
      a: [2, 3],
      b: [3, 2],
      axes: [
        [0, 1],
        [1, 0],
      ],
    },
  ],
});

export const einsumCases: Case[] = [
  sums,
  vectors('outer', outer, 'i,j->ij', [
    [[3], [4]],
    [[1], [5]],
    [[0], [3]],
  ]),
  vectors('dot', dot, 'i,i->', [
    [[5], [5]],
    [[1], [1]],
    [[0], [0]],
    [[300], [300]],
  ]),
  vectors('vecdot', (a, b) => vecdot(a, b), '...i,...i->...', [
    [
      [2, 3],
      [2, 3],
    ],
    [[2, 3], [3]],
    [
      [2, 1, 3],
      [4, 3],
    ],
    [[3], [3]],
  ]),
  tensordots,
];
