// Cases of pooling and bilinear resizing: windows that overlap, leave pixels out, hang over the border, or are oblong.
import { averagePool2d, maxPool2d } from '../../src/kernels/pooling.ts';
import { resizeBilinear } from '../../src/kernels/resize.ts';
import { distinct, normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase, type Pick, tolerances } from './case.ts';

type Shape = reference.Shape;
type Pair = readonly [number, number];

interface Pooled {
  shape: Shape;
  kernel: Pair;
  stride: Pair;
  padding: Pair;
}

const pooled = (shape: Shape, kernel: Pair, stride: Pair, padding: Pair = [0, 0]): Pooled => ({
  shape,
  kernel,
  stride,
  padding,
});

const check = [
  pooled([1, 2, 2, 1], [2, 2], [2, 2]),
  pooled([2, 4, 6, 3], [2, 2], [2, 2]),
  pooled([1, 5, 7, 17], [3, 3], [2, 2]),
  pooled([2, 5, 4, 32], [3, 3], [1, 1], [1, 1]),
  pooled([1, 1, 1, 5], [3, 3], [1, 1], [1, 1]),
  pooled([1, 7, 5, 4], [2, 2], [3, 3], [1, 1]),
  pooled([1, 6, 8, 3], [1, 4], [1, 3], [0, 2]),
  pooled([1, 8, 8, 7], [8, 8], [1, 1]),
  pooled([0, 4, 4, 3], [2, 2], [2, 2]),
];

function randomPooled(pick: Pick): Pooled {
  const kernel: Pair = [pick(1, 4), pick(1, 4)];
  const padding: Pair = [pick(0, Math.floor(kernel[0] / 2)), pick(0, Math.floor(kernel[1] / 2))];
  const shape = [pick(0, 2), pick(kernel[0], 7), pick(kernel[1], 7), pick(1, 20)];
  return pooled(shape, kernel, [pick(1, 4), pick(1, 4)], padding);
}

// These are layers of the FID Inception at batch 1.
const time = [pooled([1, 35, 35, 288], [3, 3], [2, 2]), pooled([1, 17, 17, 768], [3, 3], [1, 1], [1, 1])];
const bytes = ({ shape, stride }: Pooled) => 4 * reference.count(shape) * (1 + 1 / (stride[0] * stride[1]));

/** Only the options of the op, which refuses others. */
const optionsOf = ({ kernel, stride, padding }: Pooled) => ({ kernel, stride, padding });

const averageCase = (countIncludePad: boolean): Case =>
  defineCase<Pooled>({
    op: 'averagePool2d',
    name: countIncludePad ? '' : 'without the border',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], options) => averagePool2d(x, { ...optionsOf(options), countIncludePad }),
    reference: ([x], options) => reference.averagePool2d(x, { ...options, countIncludePad }),
    tolerance: tolerances.summed,
    check,
    random: randomPooled,
    time,
    bytes,
  });

interface Resized {
  shape: Shape;
  size: Pair;
}

export const poolingCases: Case[] = [
  defineCase<Pooled>({
    op: 'maxPool2d',
    name: '',
    inputs: ({ shape }) => [distinct(shape)],
    run: ([x], options) => maxPool2d(x, optionsOf(options)),
    reference: ([x], options) => reference.maxPool2d(x, options),
    tolerance: tolerances.exact,
    check,
    random: randomPooled,
    time,
    bytes,
  }),
  averageCase(true),
  averageCase(false),
  defineCase<Resized>({
    op: 'resizeBilinear',
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { size }) => resizeBilinear(x, size),
    reference: ([x], { size }) => reference.resizeBilinear(x, size),
    tolerance: {
      value: { absolute: 5e-7, relative: 3e-7 },
      gradient: { absolute: 1e-6, relative: 1e-6, ofLargest: 1e-6 },
      reason: 'four products with weights rounded to f32; the gradient adds as many as outputs reach an input',
    },
    check: [
      { shape: [1, 1, 1, 1], size: [1, 1] },
      { shape: [2, 1, 3, 3], size: [4, 5] },
      { shape: [1, 4, 4, 3], size: [4, 4] },
      { shape: [1, 5, 7, 3], size: [2, 3] },
      { shape: [2, 32, 32, 3], size: [75, 41] },
      { shape: [1, 3, 2, 17], size: [1, 9] },
      { shape: [0, 2, 2, 3], size: [3, 3] },
    ],
    random: (pick) => ({
      shape: [pick(0, 2), pick(1, 9), pick(1, 9), pick(1, 5)],
      size: [pick(1, 20), pick(1, 20)],
    }),
    time: [{ shape: [4, 32, 32, 3], size: [299, 299] }],
    bytes: ({ shape, size }) => 4 * (reference.count(shape) + shape[0] * size[0] * size[1] * shape[3]),
  }),
];
