/** Cases of convolutions with groups and dilation, of sequences, and transposed. */
import { conv1d, convTranspose1d } from '../../src/kernels/composed/conv1d.ts';
import { type Conv2dOptions, conv2d } from '../../src/kernels/conv/conv.ts';
import { convTranspose2d } from '../../src/kernels/conv/transpose.ts';
import { normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, type Pick as Choose, defineCase } from './case.ts';

type Pair = [number, number];

/** A convolution of x [N, H, W, Cin], or a transposed one, to `out` channels. */
interface Layer {
  x: [number, number, number, number];
  out: number;
  kernel: Pair;
  stride?: Pair;
  padding?: Pair;
  outputPadding?: Pair;
  dilation?: Pair;
  groups?: number;
}

const tolerance: CaseTolerance = {
  value: { absolute: 1e-6, ofLargest: 2e-6 },
  gradient: { absolute: 1e-6, ofLargest: 2e-6 },
  reason: 'f32 sums of up to some hundred products',
};

const optionsOf = ({ stride, padding, dilation, groups }: Layer) => ({ stride, padding, dilation, groups });
const fanOf = ({ x, kernel, groups = 1 }: Layer) => (kernel[0] * kernel[1] * x[3]) / groups;

function extent({ x, kernel, stride = [1, 1], padding = [0, 0], dilation = [1, 1] }: Layer, axis: 0 | 1): number {
  return Math.floor((x[axis + 1] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis]) + 1;
}

const outputOf = (layer: Layer) => [layer.x[0], extent(layer, 0), extent(layer, 1), layer.out];

function randomLayer(pick: Choose): Layer {
  const groups = pick(1, 5);
  const kernel: Pair = [pick(1, 3), pick(1, 3)];
  const padding: Pair = [pick(0, 2), pick(0, 2)];
  const dilation: Pair = [pick(1, 3), pick(1, 3)];
  const size = (axis: 0 | 1) => Math.max(pick(1, 8), dilation[axis] * (kernel[axis] - 1) + 1 - 2 * padding[axis], 1);
  const stride: Pair = [pick(1, 3), pick(1, 3)];
  // Every fifth layer is depthwise.
  const [inputs, outputs] = pick(0, 4) === 0 ? [1, 1] : [pick(1, 4), pick(1, 4)];
  const x: Layer['x'] = [pick(0, 2), size(0), size(1), groups * inputs];
  return { x, out: groups * outputs, kernel, stride, padding, dilation, groups };
}

function convCase(name: string, whole: boolean, check: Layer[], more: Partial<Case<Layer>> = {}): Case {
  const named = <T>([bias, add, residual]: T[]) => (whole ? { bias, add, residual } : {});
  const scale = whole ? 0.5 : undefined;
  return defineCase<Layer>({
    op: 'conv2d',
    name,
    inputs: (layer) => {
      const { x, out, kernel, groups = 1 } = layer;
      const weight = normal([out, ...kernel, x[3] / groups], fanOf(layer) ** -0.5);
      return [normal(x), weight, ...(whole ? [[out], [x[0], out], outputOf(layer)] : []).map((shape) => normal(shape))];
    },
    parameters: whole ? [1, 2] : [1],
    run: ([x, weight, ...rest], layer) =>
      conv2d(x, weight, { ...optionsOf(layer), ...(named(rest) as Conv2dOptions), scale }),
    reference: ([x, weight, ...rest], layer) =>
      reference.conv2d(x, weight, { ...optionsOf(layer), ...named(rest), scale }),
    tolerance,
    check,
    flops: (layer) => 2 * reference.count(outputOf(layer)) * fanOf(layer),
    ...more,
  });
}

const grouped: Layer[] = [
  { x: [1, 3, 4, 4], out: 4, kernel: [1, 1], groups: 2 },
  { x: [2, 5, 4, 6], out: 4, kernel: [3, 3], padding: [1, 1], groups: 2 },
  { x: [1, 7, 5, 12], out: 18, kernel: [3, 2], stride: [2, 1], padding: [1, 0], groups: 3 },
  { x: [1, 6, 6, 66], out: 74, kernel: [3, 3], padding: [1, 1], groups: 2 },
  { x: [1, 4, 4, 3], out: 6, kernel: [3, 3], padding: [1, 1], groups: 3 },
  { x: [0, 4, 4, 4], out: 4, kernel: [3, 3], groups: 2 },
];

const depthwise: Layer[] = [
  { x: [2, 5, 4, 3], out: 3, kernel: [3, 3], padding: [1, 1], groups: 3 },
  { x: [1, 7, 9, 37], out: 37, kernel: [3, 5], stride: [2, 2], padding: [1, 2], groups: 37 },
  { x: [1, 3, 3, 5], out: 5, kernel: [1, 1], groups: 5 },
  { x: [1, 9, 8, 70], out: 70, kernel: [3, 3], padding: [2, 2], dilation: [2, 2], groups: 70 },
];

const dilated: Layer[] = [
  { x: [1, 7, 6, 3], out: 4, kernel: [3, 3], padding: [2, 2], dilation: [2, 2] },
  { x: [2, 9, 8, 16], out: 32, kernel: [3, 2], stride: [2, 1], dilation: [3, 2] },
  { x: [1, 5, 5, 4], out: 3, kernel: [1, 1], stride: [2, 2], dilation: [2, 2] },
  { x: [1, 12, 4, 9], out: 7, kernel: [3, 3], padding: [4, 1], dilation: [4, 1] },
  { x: [1, 8, 8, 6], out: 4, kernel: [3, 3], padding: [1, 1], dilation: [2, 1], groups: 2 },
];

/** [N, L, Cin] as a layer whose images have one row. */
const sequence = (
  n: number,
  length: number,
  inputs: number,
  out: number,
  width: number,
  rest: Partial<Layer>,
): Layer => ({
  x: [n, 1, length, inputs],
  out,
  kernel: [1, width],
  ...rest,
});

const inRow = (layer: Layer): Layer => ({
  ...layer,
  x: [layer.x[0], 1, layer.x[2], layer.x[3]],
  kernel: [1, layer.kernel[1]],
  stride: [1, layer.stride?.[1] ?? 1],
  padding: [0, layer.padding?.[1] ?? 0],
  dilation: [1, layer.dilation?.[1] ?? 1],
});

/** Drops the axis of rows, or adds it. */
const flat = ([n, , ...rest]: readonly number[]) => [n, ...rest];
const toImage = ({ shape: [n, ...rest], data }: reference.Array64) => reference.array64([n, 1, ...rest], data);
const toSequence = ({ shape, data }: reference.Array64) => reference.array64(flat(shape), data);
const last = (pair: Pair | undefined) => pair?.[1];

const sequenceCase = defineCase<Layer>({
  op: 'conv1d',
  name: '',
  inputs: (layer) => {
    const { x, out, kernel, groups = 1 } = layer;
    return [normal(flat(x)), normal([out, kernel[1], x[3] / groups], fanOf(layer) ** -0.5), normal([out])];
  },
  parameters: [1, 2],
  run: ([x, weight, bias], { stride, padding, dilation, groups }) =>
    conv1d(x, weight, { bias, stride: last(stride), padding: last(padding), dilation: last(dilation), groups }),
  reference: ([x, weight, bias], layer) =>
    toSequence(reference.conv2d(toImage(x), toImage(weight), { ...optionsOf(inRow(layer)), bias })),
  tolerance,
  check: [
    sequence(1, 1, 1, 1, 1, {}),
    sequence(2, 9, 3, 5, 3, { padding: [0, 1] }),
    sequence(1, 17, 8, 6, 4, { stride: [1, 3], dilation: [1, 2], groups: 2 }),
    sequence(2, 12, 7, 7, 3, { padding: [0, 1], groups: 7 }),
    sequence(0, 5, 2, 3, 2, {}),
  ],
  random: (pick) => inRow(randomLayer(pick)),
  time: [sequence(4, 1024, 128, 128, 3, { padding: [0, 1] })],
  flops: (layer) => 2 * reference.count(outputOf(layer)) * fanOf(layer),
});

const transposed: Layer[] = [
  { x: [1, 1, 1, 1], out: 1, kernel: [1, 1] },
  { x: [2, 3, 4, 3], out: 5, kernel: [3, 3], padding: [1, 1] },
  { x: [1, 3, 2, 4], out: 3, kernel: [4, 4], stride: [2, 2], padding: [1, 1] },
  { x: [1, 2, 3, 6], out: 4, kernel: [3, 2], stride: [3, 2], outputPadding: [2, 1], groups: 2 },
  { x: [1, 4, 3, 5], out: 5, kernel: [3, 3], padding: [1, 2], dilation: [2, 2], groups: 5 },
  { x: [1, 6, 6, 32], out: 16, kernel: [3, 3], padding: [1, 1] },
  { x: [0, 2, 2, 3], out: 2, kernel: [2, 2], stride: [2, 2] },
];

function randomTransposed(pick: Choose): Layer {
  const groups = pick(1, 3);
  const kernel: Pair = [pick(1, 4), pick(1, 4)];
  const stride: Pair = [pick(1, 3), pick(1, 3)];
  const dilation: Pair = [pick(1, 2), pick(1, 2)];
  const least = (axis: 0 | 1) => dilation[axis] * (kernel[axis] - 1);
  const padding: Pair = [pick(0, Math.floor(least(0) / 2)), pick(0, Math.floor(least(1) / 2))];
  const outputPadding: Pair = [pick(0, stride[0] - 1), pick(0, stride[1] - 1)];
  const x: Layer['x'] = [pick(0, 2), pick(1, 5), pick(1, 5), groups * pick(1, 5)];
  return { x, out: groups * pick(1, 5), kernel, stride, padding, outputPadding, dilation, groups };
}

const weightOf = ({ x, out, kernel, groups = 1, stride = [1, 1] }: Layer) =>
  normal([x[3], ...kernel, out / groups], ((kernel[0] * kernel[1] * x[3]) / groups / stride[0] / stride[1]) ** -0.5);

const transposedCase = (biased: boolean) =>
  defineCase<Layer>({
    op: 'convTranspose2d',
    name: biased ? 'bias' : '',
    inputs: (layer) => [normal(layer.x), weightOf(layer), ...(biased ? [normal([layer.out])] : [])],
    parameters: biased ? [1, 2] : [1],
    run: ([x, weight, bias], layer) =>
      convTranspose2d(x, weight, { ...optionsOf(layer), outputPadding: layer.outputPadding, bias }),
    reference: ([x, weight, bias], layer) =>
      reference.convTranspose2d(x, weight, { ...optionsOf(layer), outputPadding: layer.outputPadding, bias }),
    tolerance,
    check: biased ? transposed.slice(1, 4) : transposed,
    random: randomTransposed,
    time: biased ? undefined : [{ x: [4, 16, 16, 256], out: 128, kernel: [4, 4], stride: [2, 2], padding: [1, 1] }],
    flops: ({ x, out, kernel, groups = 1 }) => (2 * reference.count(x) * kernel[0] * kernel[1] * out) / groups,
  });

const transposedSequence = defineCase<Layer>({
  op: 'convTranspose1d',
  name: '',
  inputs: (layer) => {
    const { x, out, kernel, groups = 1 } = layer;
    return [normal(flat(x)), normal([x[3], kernel[1], out / groups], fanOf(layer) ** -0.5), normal([out])];
  },
  parameters: [1, 2],
  run: ([x, weight, bias], { stride, padding, outputPadding, dilation, groups }) =>
    convTranspose1d(x, weight, {
      bias,
      stride: last(stride),
      padding: last(padding),
      outputPadding: last(outputPadding),
      dilation: last(dilation),
      groups,
    }),
  reference: ([x, weight, bias], layer) => {
    const outputPadding: Pair = [0, layer.outputPadding?.[1] ?? 0];
    const options = { ...optionsOf(inRow(layer)), outputPadding, bias };
    return toSequence(reference.convTranspose2d(toImage(x), toImage(weight), options));
  },
  tolerance,
  check: [
    sequence(1, 1, 1, 1, 1, {}),
    sequence(2, 5, 3, 4, 4, { stride: [1, 2], padding: [0, 1] }),
    sequence(1, 4, 6, 4, 3, { stride: [1, 3], outputPadding: [0, 2], dilation: [1, 2], groups: 2 }),
  ],
  random: (pick) => inRow(randomTransposed(pick)),
});

export const convGroupCases: Case[] = [
  convCase('groups', false, grouped, {
    random: randomLayer,
    time: [{ x: [4, 32, 32, 128], out: 128, kernel: [3, 3], padding: [1, 1], groups: 4 }],
  }),
  convCase('depthwise', false, depthwise, {
    time: [{ x: [4, 32, 32, 128], out: 128, kernel: [3, 3], padding: [1, 1], groups: 128 }],
  }),
  convCase('dilated', false, dilated, {
    time: [{ x: [4, 32, 32, 128], out: 128, kernel: [3, 3], padding: [2, 2], dilation: [2, 2] }],
  }),
  convCase('groups, add, residual, scaled', true, [grouped[1], depthwise[0], dilated[0]]),
  sequenceCase,
  transposedCase(false),
  transposedCase(true),
  transposedSequence,
];
