/** Cases of random choices, whose reference draws the same numbers on the host. */
import { bernoulli } from '../../src/kernels/composed/bernoulli.ts';
import { categorical } from '../../src/kernels/composed/categorical.ts';
import { drawnExponential, drawnUniform } from '../support/host_draws.ts';
import { constant, normal, uniform } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase, tolerances } from './case.ts';

type Shape = reference.Shape;

const { exact } = tolerances;

export const drawCases: Case[] = [
  defineCase<{ p: Shape; shape: Shape }>({
    op: 'bernoulli',
    name: '',
    dtype: 'bool',
    inputs: ({ p }) => [constant(uniform(p, 0, 1))],
    run: ([p], { shape }) => bernoulli(p, shape, { seed: 5, first: 3, device: p.device }),
    reference: ([p], { shape }) => reference.bernoulli(p, drawnUniform(shape, { seed: 5, first: 3 })),
    tolerance: exact,
    check: [
      { p: [7], shape: [7] },
      { p: [2, 1], shape: [2, 9] },
      { p: [], shape: [3, 5] },
      { p: [0], shape: [2, 0] },
    ],
  }),
  defineCase<Shape>({
    op: 'categorical',
    name: '',
    dtype: 'i32',
    inputs: (shape) => [constant(normal(shape))],
    run: ([logits]) => categorical(logits, { seed: 6, stream: 2 }),
    // Logits [classes] are one sample.
    reference: ([logits]) => {
      const rows = logits.shape.length === 1 ? [1, ...logits.shape] : logits.shape;
      const times = drawnExponential(rows, { seed: 6, stream: 2 });
      return reference.categorical(logits, reference.reshape(times, logits.shape));
    },
    tolerance: exact,
    check: [[4], [5, 3], [2, 3, 7], [0, 2], [3, 1]],
  }),
];
