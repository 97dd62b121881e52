// Cases of pooling and resizing: windows that overlap, leave pixels out, hang over the border, or are oblong.
import { averagePool1d, globalAveragePool2d, maxPool1d } from '../../src/kernels/composed/pooling.ts';
import { adaptiveAveragePool2d, adaptiveMaxPool2d, averagePool2d, maxPool2d } from '../../src/kernels/pooling.ts';
import { resizeBicubic, resizeBilinear, resizeNearest } from '../../src/kernels/resize.ts';
import { distinct, normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, tolerances } from './case.ts';

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

const resizeFunctions = { resizeBicubic, resizeBilinear, resizeNearest };

const resizeCase = (op: keyof typeof resizeFunctions, tolerance: CaseTolerance): Case =>
  defineCase<Resized>({
    op,
    name: '',
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { size }) => resizeFunctions[op](x, size),
    reference: ([x], { size }) => reference[op](x, size),
    tolerance,
    check: [
      { shape: [1, 1, 1, 1], size: [1, 1] },
      { shape: [2, 1, 3, 3], size: [4, 5] },
      { shape: [1, 4, 4, 3], size: [4, 4] },
      { shape: [1, 5, 7, 3], size: [2, 3] },
      ...(op === 'resizeBilinear' ? [{ shape: [2, 32, 32, 3], size: [75, 41] as Pair }] : []),
      { shape: [1, 3, 2, 17], size: [1, 9] },
      { shape: [0, 2, 2, 3], size: [3, 3] },
    ],
    random: (pick) => ({
      shape: [pick(0, 2), pick(1, 9), pick(1, 9), pick(1, 5)],
      size: [pick(1, 20), pick(1, 20)],
    }),
    time: [{ shape: [4, 32, 32, 3], size: [299, 299] }],
    bytes: ({ shape, size }) => 4 * (reference.count(shape) + shape[0] * size[0] * size[1] * shape[3]),
  });

const meanOf = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

const adaptiveCase = (op: 'adaptiveAveragePool2d' | 'adaptiveMaxPool2d'): Case => {
  const [run, reduce, input, tolerance] =
    op === 'adaptiveMaxPool2d'
      ? [adaptiveMaxPool2d, (values: number[]) => Math.max(...values), distinct, tolerances.exact]
      : [adaptiveAveragePool2d, meanOf, normal, tolerances.summed];
  return defineCase<Resized>({
    op,
    name: '',
    inputs: ({ shape }) => [input(shape)],
    run: ([x], { size }) => run(x, size),
    reference: ([x], { size }) => reference.adaptivePool(x, size, reduce),
    tolerance,
    check: [
      { shape: [1, 1, 1, 1], size: [1, 1] },
      { shape: [2, 5, 7, 3], size: [2, 3] },
      { shape: [1, 6, 4, 17], size: [3, 1] },
      { shape: [1, 3, 2, 5], size: [4, 5] },
      { shape: [0, 2, 2, 3], size: [1, 2] },
    ],
    random: (pick) => ({
      shape: [pick(0, 2), pick(1, 8), pick(1, 8), pick(1, 20)],
      size: [pick(1, 9), pick(1, 9)],
    }),
    time: [{ shape: [4, 35, 35, 288], size: [8, 8] }],
    bytes: ({ shape }) => 4 * reference.count(shape),
  });
};

interface Row {
  shape: Shape;
  kernel: number;
  stride?: number;
  padding?: number;
}

const rowCase = (op: 'averagePool1d' | 'maxPool1d', countIncludePad?: boolean): Case =>
  defineCase<Row>({
    op,
    name: countIncludePad === false ? 'without the border' : '',
    inputs: ({ shape }) => [op === 'maxPool1d' ? distinct(shape) : normal(shape)],
    run: ([x], { kernel, stride, padding }) =>
      op === 'maxPool1d'
        ? maxPool1d(x, { kernel, stride, padding })
        : averagePool1d(x, { kernel, stride, padding, countIncludePad }),
    reference: ([x], { kernel, stride = kernel, padding = 0 }) => {
      const [n, length, channels] = x.shape;
      const pool = op === 'maxPool1d' ? reference.maxPool2d : reference.averagePool2d;
      const image = reference.reshape(x, [n, 1, length, channels]);
      const y = pool(image, { kernel: [1, kernel], stride: [1, stride], padding: [0, padding], countIncludePad });
      return reference.reshape(y, [n, y.shape[2], channels]);
    },
    tolerance: op === 'maxPool1d' ? tolerances.exact : tolerances.summed,
    check: [
      { shape: [1, 2, 1], kernel: 2 },
      { shape: [2, 7, 3], kernel: 3, stride: 2, padding: 1 },
      { shape: [1, 9, 17], kernel: 4, stride: 1, padding: 2 },
      { shape: [0, 4, 3], kernel: 2 },
    ],
    random: (pick) => {
      const kernel = pick(1, 4);
      return {
        shape: [pick(0, 2), pick(kernel, 9), pick(1, 20)],
        kernel,
        stride: pick(1, 4),
        padding: pick(0, Math.floor(kernel / 2)),
      };
    },
  });

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
  adaptiveCase('adaptiveAveragePool2d'),
  adaptiveCase('adaptiveMaxPool2d'),
  rowCase('averagePool1d'),
  rowCase('averagePool1d', false),
  rowCase('maxPool1d'),
  defineCase<Shape>({
    op: 'globalAveragePool2d',
    name: '',
    inputs: (shape) => [normal(shape)],
    run: ([x]) => globalAveragePool2d(x),
    reference: ([x]) => reference.mean(x, { axes: [1, 2] }),
    tolerance: tolerances.summed,
    check: [
      [1, 1, 1, 1],
      [2, 3, 4, 5],
      [0, 2, 2, 3],
    ],
    random: (pick) => [pick(0, 2), pick(1, 5), pick(1, 5), pick(1, 20)],
  }),
  resizeCase('resizeBilinear', {
    value: { absolute: 5e-7, relative: 3e-7 },
    gradient: { absolute: 1e-6, relative: 1e-6, ofLargest: 1e-6 },
    reason: 'four products with weights rounded to f32; the gradient adds as many as outputs reach an input',
  }),
  resizeCase('resizeBicubic', {
    value: { absolute: 2e-6, relative: 1e-6 },
    gradient: { absolute: 2e-6, relative: 2e-6, ofLargest: 2e-6 },
    reason: 'sixteen products with weights rounded to f32; the gradient adds as many as outputs reach an input',
  }),
  resizeCase('resizeNearest', { ...tolerances.exact, gradient: tolerances.summed.gradient }),
];
