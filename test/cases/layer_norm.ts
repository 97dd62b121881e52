/** Cases of layer, RMS, batch and instance normalisation. */
import { batchNorm } from '../../src/kernels/batch_norm.ts';
import { instanceNorm } from '../../src/kernels/composed/instance_norm.ts';
import { layerNorm, rmsNorm } from '../../src/kernels/layer_norm.ts';
import { constant, type Input, normal, uniform } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape } from './case.ts';

type Shape = reference.Shape;
type Affine = 'weight and bias' | 'weight' | 'bias' | 'none';

const normalisation: CaseTolerance = {
  value: { absolute: 3e-6, relative: 3e-6 },
  gradient: { absolute: 4e-6, relative: 4e-6, ofLargest: 4e-6 },
  reason: 'statistics in f32 or better; values are near 1 after normalisation',
};

/** Values away from 0, where the rounding of a mean would show. */
const shifted = (shape: Shape): Input => {
  const input = normal(shape, 2);
  return { ...input, values: (draw, size) => Array.from(input.values(draw, size), (v) => Math.fround(v + 3)) };
};

const parametersOf = (affine: Affine, shape: Shape): Input[] =>
  affine === 'none' ? [] : affine === 'weight and bias' ? [normal(shape), normal(shape)] : [normal(shape)];

/** The tensors or arrays after x as weight and bias. */
function named<T>(affine: Affine, [, first, second]: readonly T[]): { weight?: T; bias?: T } {
  if (affine === 'none') return {};
  return affine === 'bias' ? { bias: first } : { weight: first, bias: second };
}

interface Layer {
  shape: Shape;
  axes?: number | number[];
  affine: Affine;
}

/** The shape of weight and bias. */
function normalShape(shape: Shape, axes: number | number[] = -1): number[] {
  const list = [axes].flat().map((axis) => (axis + shape.length) % shape.length);
  return list.sort((a, b) => a - b).map((axis) => shape[axis]);
}

const layerNormCase = defineCase<Layer>({
  op: 'layerNorm',
  name: '',
  inputs: ({ shape, axes, affine }) => [shifted(shape), ...parametersOf(affine, normalShape(shape, axes))],
  parameters: [1, 2],
  run: (tensors, { axes, affine }) => layerNorm(tensors[0], { axes, ...named(affine, tensors) }),
  reference: (arrays, { axes, affine }) => {
    const { weight, bias } = named(affine, arrays);
    return reference.layerNorm(arrays[0], weight, bias, { axes });
  },
  tolerance: normalisation,
  check: [
    { shape: [3, 5], affine: 'weight and bias' },
    { shape: [2, 3, 37], affine: 'weight' },
    { shape: [40, 6], affine: 'bias' },
    { shape: [2, 4, 3], axes: [1, 2], affine: 'weight and bias' },
    { shape: [3, 2, 5], axes: 1, affine: 'weight and bias' },
    { shape: [7], affine: 'none' },
    { shape: [2, 600], affine: 'weight and bias' },
    { shape: [0, 3], affine: 'weight and bias' },
    { shape: [3, 0], affine: 'weight' },
  ],
  random: (pick) => {
    const shape = [...randomShape(pick, pick(0, 3), 1, 5), pick(2, 40)];
    return { shape, affine: (['weight and bias', 'weight', 'bias', 'none'] as const)[pick(0, 3)] };
  },
  time: [{ shape: [8, 256, 512], affine: 'weight and bias' }],
  bytes: ({ shape }) => 8 * reference.count(shape),
});

const rmsNormCase = defineCase<Omit<Layer, 'affine'>>({
  op: 'rmsNorm',
  name: '',
  inputs: ({ shape, axes }) => [shifted(shape), normal(normalShape(shape, axes))],
  parameters: [1],
  run: ([x, weight], { axes }) => rmsNorm(x, weight, { axes }),
  reference: ([x, weight], { axes }) => reference.rmsNorm(x, weight, axes),
  tolerance: normalisation,
  check: [
    { shape: [3, 5] },
    { shape: [2, 3, 37] },
    { shape: [3, 2, 5], axes: [0, 2] },
    { shape: [4] },
    { shape: [40, 6] },
    { shape: [0, 3] },
    { shape: [3, 0] },
  ],
  random: (pick) => ({ shape: [...randomShape(pick, pick(0, 3), 1, 5), pick(1, 40)] }),
  time: [{ shape: [8, 256, 512] }],
  bytes: ({ shape }) => 8 * reference.count(shape),
});

interface Batch {
  shape: Shape;
  affine: Affine;
}

const batchSizes: Batch[] = [
  { shape: [4, 3], affine: 'weight and bias' },
  { shape: [2, 3, 3, 5], affine: 'weight' },
  { shape: [3, 7, 20], affine: 'bias' },
  { shape: [40, 1], affine: 'none' },
  { shape: [70, 2, 33], affine: 'weight and bias' },
];

const randomBatch = (pick: Pick): Batch => ({
  shape: [pick(3, 6), ...randomShape(pick, pick(0, 2), 1, 4), pick(1, 20)],
  affine: (['weight and bias', 'weight', 'bias', 'none'] as const)[pick(0, 3)],
});

const images: Batch[] = [{ shape: [32, 16, 16, 64], affine: 'weight and bias' }];
const bytes = ({ shape }: Batch) => 12 * reference.count(shape);

const batchNormCases = [
  defineCase<Batch>({
    op: 'batchNorm',
    name: 'in training',
    inputs: ({ shape, affine }) => [shifted(shape), ...parametersOf(affine, shape.slice(-1))],
    parameters: [1, 2],
    run: (tensors, { affine }) => batchNorm(tensors[0], { training: true, ...named(affine, tensors) }),
    reference: (arrays, { affine }) => {
      const { weight, bias } = named(affine, arrays);
      return reference.batchNorm(arrays[0], weight, bias);
    },
    tolerance: normalisation,
    check: batchSizes,
    random: randomBatch,
    time: images,
    bytes,
  }),
  defineCase<Batch>({
    op: 'batchNorm',
    name: 'with given statistics',
    inputs: ({ shape, affine }) => [
      shifted(shape),
      ...parametersOf(affine, shape.slice(-1)),
      constant(normal(shape.slice(-1))),
      constant(uniform(shape.slice(-1), 0.5, 3)),
    ],
    parameters: [1, 2, 3, 4],
    run: (tensors, { affine }) => {
      const [mean, variance] = tensors.slice(-2);
      return batchNorm(tensors[0], { mean, variance, ...named(affine, tensors.slice(0, -2)) });
    },
    reference: (arrays, { affine }) => {
      const { weight, bias } = named(affine, arrays.slice(0, -2));
      const [mean, variance] = arrays.slice(-2);
      return reference.batchNorm(arrays[0], weight, bias, { given: [mean, variance] });
    },
    tolerance: normalisation,
    check: [...batchSizes, { shape: [1, 3], affine: 'none' }, { shape: [0, 3], affine: 'weight and bias' }],
    random: randomBatch,
    time: images,
    bytes,
  }),
];

const instanceNormCase = defineCase<Batch>({
  op: 'instanceNorm',
  name: '',
  inputs: ({ shape, affine }) => [shifted(shape), ...parametersOf(affine, shape.slice(-1))],
  parameters: [1, 2],
  run: (tensors, { affine }) => instanceNorm(tensors[0], named(affine, tensors)),
  reference: (arrays, { affine }) => {
    const { weight, bias } = named(affine, arrays);
    return reference.instanceNorm(arrays[0], weight, bias);
  },
  tolerance: normalisation,
  check: [
    { shape: [2, 3, 4], affine: 'weight and bias' },
    { shape: [1, 3, 3, 5], affine: 'none' },
    { shape: [2, 7, 20], affine: 'weight' },
    { shape: [0, 3, 2], affine: 'bias' },
  ],
});

export const layerNormCases: Case[] = [layerNormCase, rmsNormCase, ...batchNormCases, instanceNormCase];
