// The rows of op_db/mapping.ts for new tensors.

import * as ops from '../../src/index.ts';
import { Tensor } from '../../src/index.ts';
import type { Run, Sample } from './sample.ts';

/** A number, given as such, as a boolean or as a tensor without axes. */
const numberOf = (value: unknown) => (Tensor.is(value) ? value.item() : Number(value));

/** All arguments in order as numbers. */
const numbersOf = ({ input, args }: Sample) => [input, ...args].map(numberOf);

const arange: Run = (sample) => {
  const numbers = numbersOf(sample);
  const { end, step: by } = sample.kwargs as { end?: number; step?: number };
  const [start, stop, step = by ?? 1] =
    end !== undefined ? [numbers[0], end] : numbers.length === 1 ? [0, ...numbers] : numbers;
  return ops.arange(start, stop, step);
};

const linspace: Run = (sample) => {
  const [start, stop, count] = numbersOf(sample);
  return ops.linspace(start, stop, count);
};

const logspace: Run = (sample) => {
  const [start, stop, count, base = 10] = numbersOf(sample);
  return ops.logspace(start, stop, count, { base });
};

/** A shape and a value. */
const filled = ([shape, value]: unknown[]) => ops.full(shape as number[], numberOf(value));

export const creationRows: Record<string, Run> = {
  arange,
  eye: (sample) => {
    const [rows, columns] = numbersOf(sample);
    return ops.eye(rows, { columns });
  },
  fill: ({ input, args, kwargs }) => ops.fullLike(input as Tensor, numberOf(args[0] ?? kwargs.value)),
  full: ({ input, args }) => filled([input, ...args]),
  full_like: ({ input, args: [value] }) => ops.fullLike(input as Tensor, value as number),
  linspace,
  'linspace:tensor_overload': linspace,
  logspace,
  'logspace:tensor_overload': logspace,
  new_full: ({ args }) => filled(args),
  new_ones: ({ args: [shape] }) => ops.ones(shape as number[]),
  new_zeros: ({ args: [shape] }) => ops.zeros(shape as number[]),
  ones: ({ input }) => ops.ones(input as number[]),
  ones_like: ({ input }) => ops.onesLike(input as Tensor),
  scalar_tensor: ({ input }) => ops.tensor([numberOf(input)], { shape: [] }),
  zeros: ({ input }) => ops.zeros(input as number[]),
  zeros_like: ({ input }) => ops.zerosLike(input as Tensor),
};
