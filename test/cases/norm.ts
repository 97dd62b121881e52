// Cases of group normalisation with its fused tail, resampling by two, and dropout.
import { groupNorm } from '../../src/kernels/group_norm.ts';
import { dropout } from '../../src/kernels/random.ts';
import { downsampleMean, upsampleNearest } from '../../src/kernels/resample.ts';
import { awayFromZero, normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick, randomShape, tolerances } from './case.ts';

type Array64 = reference.Array64;
type Shape = reference.Shape;

interface Normalised {
  shape: Shape;
  groups: number;
}

interface Tail {
  activation?: 'none' | 'silu';
  dropout?: number;
  resample?: 'none' | 'up' | 'down';
  eps?: number;
}

/** Where a dropped element is exactly 0 and a kept one is not: 0 or 1 / (1 - p). */
const recoverMask = (output: Array64, p: number): Array64 =>
  reference.map(output, (value) => (value === 0 ? 0 : 1 / (1 - p)));

/** A tensor of size 2n x 2n from nearest upsampling holds every value four times: take the first of each. */
const beforeUpsampling = (y: Array64): Array64 =>
  reference.generate([y.shape[0], y.shape[1] / 2, y.shape[2] / 2, y.shape[3]], ([n, i, j, c]) =>
    reference.at(y, [n, 2 * i, 2 * j, c]),
  );

const random = { seed: 7, stream: 3, first: 5 };

const normalisation: CaseTolerance = {
  value: { absolute: 3e-6, relative: 3e-6 },
  gradient: { absolute: 4e-6, relative: 4e-6, ofLargest: 4e-6 },
  reason: 'statistics over a group in f32 or better; values are near 1 after normalisation',
};

const images: Normalised[] = [
  { shape: [1, 2, 2, 2], groups: 1 },
  { shape: [2, 2, 4, 6], groups: 3 },
  { shape: [2, 4, 2, 32], groups: 32 },
  { shape: [1, 4, 6, 20], groups: 5 },
  { shape: [2, 6, 4, 48], groups: 16 },
  { shape: [1, 8, 8, 64], groups: 32 },
];

/** Groups of a multiple of 4 channels, for which CUDA has kernels of their own; lanes without work, and odd numbers of pixels. */
const wide: Normalised[] = [
  { shape: [2, 16, 8, 64], groups: 8 },
  { shape: [1, 5, 7, 48], groups: 4 },
];

const otherShapes: Normalised[] = [
  { shape: [3, 1, 1, 8], groups: 2 },
  { shape: [2, 3, 5, 7], groups: 7 },
  { shape: [2, 9, 12], groups: 4 },
  { shape: [4, 16], groups: 4 },
  { shape: [1, 17, 33], groups: 11 },
  { shape: [0, 2, 2, 4], groups: 2 },
];

const layers: Normalised[] = [
  { shape: [4, 32, 32, 128], groups: 32 },
  { shape: [4, 32, 32, 384], groups: 32 },
  { shape: [4, 16, 16, 256], groups: 32 },
  { shape: [4, 8, 8, 256], groups: 32 },
  { shape: [16, 32, 32, 128], groups: 32 },
];

/** Larger than a block's shared memory on CUDA, where the pixels are divided among blocks. */
const large: Normalised = { shape: [1, 80, 80, 8], groups: 2 };

function randomImage(pick: Pick): Normalised {
  const groups = pick(1, 5);
  const width = pick(2, 4);
  return { shape: [pick(1, 3), 2 * pick(1, 3), 2 * pick(1, 3), groups * width], groups };
}

function groupNormCase(name: string, tail: Tail, check: Normalised[], time?: Normalised[]): Case {
  const { activation, resample, eps, dropout: p } = tail;
  const forward = ([x, weight, bias]: Array64[], { groups }: Normalised, outputs: Array64[]) => {
    const plain = resample === 'up' ? beforeUpsampling : (y: Array64) => y;
    const mask = p === undefined ? undefined : recoverMask(plain(outputs[0]), p);
    return reference.groupNorm(x, weight, bias, { groups, eps, activation, resample, mask });
  };
  return defineCase<Normalised>({
    op: 'groupNorm',
    name,
    inputs: ({ shape }) => {
      const channels = shape[shape.length - 1];
      return [normal(shape, 2), normal([channels]), normal([channels])];
    },
    parameters: [1, 2],
    run: ([x, weight, bias], { groups }) =>
      groupNorm(x, weight, bias, {
        groups,
        eps,
        activation,
        resample,
        dropout: p === undefined ? undefined : { p, ...random },
      }),
    reference: forward,
    tolerance: normalisation,
    check,
    random: randomImage,
    time,
    bytes: ({ shape }) => 8 * reference.count(shape),
  });
}

const pixels: Shape[] = [
  [1, 2, 2, 1],
  [2, 2, 4, 3],
  [1, 6, 2, 17],
  [2, 4, 4, 32],
  [0, 2, 2, 3],
];
const randomPixels = (pick: Pick): Shape => [pick(0, 3), 2 * pick(1, 4), 2 * pick(1, 4), pick(1, 20)];

function resampleCase(op: 'upsampleNearest' | 'downsampleMean'): Case {
  const [run, expected] =
    op === 'upsampleNearest'
      ? [upsampleNearest, reference.upsampleNearest]
      : [downsampleMean, reference.downsampleMean];
  return defineCase<Shape>({
    op,
    name: '',
    inputs: (shape) => [normal(shape)],
    run: ([x]) => run(x, 2),
    reference: ([x]) => expected(x),
    tolerance: {
      value: { absolute: 3e-7, relative: 3e-7 },
      gradient: { absolute: 2e-6, relative: 2e-6 },
      reason: 'a sum of four f32 numbers, in value or gradient',
    },
    check: pixels,
    random: randomPixels,
    time: [[4, 16, 16, 256]],
    bytes: (shape) => reference.count(shape) * (op === 'upsampleNearest' ? 20 : 5),
  });
}

const dropoutCase = (p: number): Case =>
  defineCase<Shape>({
    op: 'dropout',
    name: `p = ${p}, mask recovered`,
    inputs: (shape) => [awayFromZero(shape)],
    run: ([x]) => dropout(x, p, random),
    reference: ([x], _, [y]) => reference.elementwise((value, factor) => value * factor, x, recoverMask(y, p)),
    tolerance: tolerances.rounded,
    check: [[1], [0], [7], [3, 5], [2, 3, 5, 7], [1030]],
    random: (pick) => randomShape(pick, pick(1, 4), 0, 6),
    time: p === 0.15 ? [[4, 32, 32, 128]] : undefined,
    bytes: (shape) => 8 * reference.count(shape),
  });

export const normCases: Case[] = [
  groupNormCase('', {}, [...images, ...otherShapes], layers),
  groupNormCase('silu', { activation: 'silu' }, [...images, ...otherShapes, ...wide], layers),
  groupNormCase('eps 0.1', { eps: 0.1 }, [images[1]]),
  groupNormCase('silu, up', { activation: 'silu', resample: 'up' }, images, [layers[2]]),
  groupNormCase('silu, down', { activation: 'silu', resample: 'down' }, [...images, large], [layers[0]]),
  groupNormCase(
    'silu, dropout',
    { activation: 'silu', dropout: 0.25 },
    [...images, otherShapes[1], ...wide, large],
    [layers[0]],
  ),
  groupNormCase('silu, dropout, up', { activation: 'silu', dropout: 0.25, resample: 'up' }, [images[1], images[4]]),
  resampleCase('upsampleNearest'),
  resampleCase('downsampleMean'),
  dropoutCase(0.15),
  dropoutCase(0.5),
  dropoutCase(0),
];
