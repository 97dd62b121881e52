// Cases of the solvers' state update: x + sum c_j k_j.
import { linearCombination } from '../../src/kernels/ode.ts';
import { constant, normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase, randomShape, tolerances } from './case.ts';

interface Size {
  shape: reference.Shape;
  coefficients: readonly number[];
  /** Whether x is given; otherwise it is 0. */
  start?: boolean;
  /** Whether x is also the last stage. */
  again?: boolean;
}

/** x if it is given, then the stages. */
const split = <T>(operands: T[], { start, again }: Size): { x: T | null; stages: T[] } => {
  const x = start ? operands[0] : null;
  const stages = start ? operands.slice(1) : operands;
  return { x, stages: again ? [...stages, operands[0]] : stages };
};

const dormandPrince = [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84].map((b) => b * 0.13);

export const odeCases: readonly Case[] = [
  defineCase<Size>({
    op: 'linearCombination',
    name: '',
    inputs: ({ shape, coefficients, start, again }) => {
      const stages = (again ? coefficients.slice(0, -1) : coefficients).map((c) =>
        c === 0 ? constant(normal(shape)) : normal(shape),
      );
      return start ? [normal(shape), ...stages] : stages;
    },
    run(tensors, size) {
      const { x, stages } = split(tensors, size);
      return linearCombination(x, stages, size.coefficients);
    },
    reference(arrays, size) {
      const { x, stages } = split(arrays, size);
      return reference.linearCombination(x, stages, size.coefficients);
    },
    tolerance: {
      ...tolerances.rounded,
      value: { absolute: 1e-6, relative: 1e-6 },
      reason: 'a sum of at most 8 terms of size 1, each rounded to f32',
    },
    check: [
      { shape: [], coefficients: [0.5], start: true },
      { shape: [3, 5], coefficients: [], start: true },
      { shape: [3, 5], coefficients: [1, -1] },
      { shape: [2, 0], coefficients: [0.5, 1], start: true },
      { shape: [301], coefficients: [0.5, 0, -2], start: true },
      { shape: [7, 3], coefficients: [0.01, -0.25], start: true, again: true },
      { shape: [1, 8, 8, 3], coefficients: dormandPrince, start: true },
      { shape: [2, 9], coefficients: [0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7] },
      // The size is more than one task, and more than one block.
      { shape: [(1 << 14) + 3], coefficients: [0.5, 0.25], start: true },
    ],
    random: (pick) => ({
      shape: randomShape(pick, pick(0, 4), 0, 6),
      coefficients: Array.from({ length: pick(1, 7) }, () => (pick(0, 4) === 0 ? 0 : pick(-40, 40) / 16)),
      start: pick(0, 1) === 1,
    }),
    time: [{ shape: [4, 32, 32, 3], coefficients: [0.01], start: true }],
    bytes: ({ shape, coefficients }) => 4 * (coefficients.length + 2) * reference.count(shape),
  }),
];
