// Cases of convolution: [N, H, W, Cin] with weights [Cout, kh, kw, Cin].
import { conv2d } from '../../src/kernels/conv/conv.ts';
import { normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, defineCase, type Pick } from './case.ts';

interface Layer {
  x: [number, number, number, number];
  out: number;
  kernel: number | [number, number];
  stride?: number | [number, number];
  padding?: number | [number, number] | [top: number, bottom: number, left: number, right: number];
  upsample?: number;
}

type Part = 'bias' | 'add' | 'residual';

const pair = (value: number | readonly number[]) => (typeof value === 'number' ? [value, value] : value);

/** A layer whose padding keeps height and width, as all of DDPM++ does. */
const same = (n: number, size: number, channels: number, out: number, kernel = 3): Layer => ({
  x: [n, size, size, channels],
  out,
  kernel,
  padding: Math.floor(kernel / 2),
});

function outputShape({ x, out, kernel, stride = 1, padding = 0, upsample = 1 }: Layer): number[] {
  const edges = typeof padding !== 'number' && padding.length === 4 ? padding : pair(padding).flatMap((p) => [p, p]);
  const extent = (axis: 0 | 1) => {
    const padded = upsample * x[axis + 1] + edges[2 * axis] + edges[2 * axis + 1];
    return Math.floor((padded - pair(kernel)[axis]) / pair(stride)[axis]) + 1;
  };
  return [x[0], extent(0), extent(1), out];
}

const small: Layer[] = [
  same(1, 1, 1, 1),
  same(1, 1, 3, 2, 1),
  same(2, 4, 3, 5),
  same(1, 5, 1, 1),
  { x: [2, 5, 7, 3], out: 4, kernel: 3, padding: 1 },
  { x: [1, 7, 5, 4], out: 3, kernel: 3 },
  { x: [1, 3, 3, 2], out: 3, kernel: 3 },
  { x: [1, 6, 6, 2], out: 3, kernel: 5, padding: 2 },
  { x: [1, 6, 7, 2], out: 3, kernel: [1, 3], padding: [0, 1] },
  { x: [1, 6, 7, 2], out: 3, kernel: [3, 2], padding: [2, 1] },
  { x: [1, 4, 9, 5], out: 6, kernel: [1, 7], padding: [0, 3] },
  { x: [1, 9, 4, 5], out: 6, kernel: [7, 1], padding: [3, 0] },
  { x: [1, 4, 4, 2], out: 3, kernel: 1, padding: 1 },
];

/** Sizes around the tiles of the fast algorithms: 4 x 4 output tiles, blocks of 16 and 32 channels. */
const tiled: Layer[] = [
  same(2, 8, 16, 16),
  same(1, 14, 32, 32),
  same(1, 8, 128, 128),
  same(1, 9, 32, 48),
  { x: [2, 7, 10, 64], out: 32, kernel: 3, padding: 1 },
  same(3, 4, 32, 64),
  same(1, 12, 17, 33),
  same(1, 16, 3, 32),
  same(1, 16, 32, 3),
  same(2, 9, 33, 40, 1),
  same(1, 16, 64, 64, 1),
];

const strided: Layer[] = [
  { x: [1, 7, 7, 3], out: 4, kernel: 3, stride: 2, padding: 1 },
  { x: [2, 8, 6, 3], out: 4, kernel: 3, stride: 2 },
  { x: [1, 8, 9, 4], out: 5, kernel: 1, stride: 2 },
  { x: [1, 9, 9, 2], out: 3, kernel: 3, stride: [2, 3], padding: [1, 0] },
  { x: [1, 12, 12, 16], out: 32, kernel: 4, stride: 2, padding: 1 },
];

/** Paddings of four numbers; the encoder of Stable Diffusion has the first. */
const uneven: Layer[] = [
  { x: [1, 8, 8, 16], out: 16, kernel: 3, stride: 2, padding: [0, 1, 0, 1] },
  { x: [2, 7, 6, 3], out: 4, kernel: 3, stride: 2, padding: [0, 1, 0, 1] },
  { x: [1, 5, 6, 3], out: 4, kernel: 3, padding: [2, 0, 0, 1] },
  { x: [1, 4, 5, 2], out: 3, kernel: [2, 3], padding: [0, 1, 3, 0] },
  { x: [1, 9, 6, 32], out: 32, kernel: 3, padding: [0, 2, 1, 0] },
  { x: [1, 8, 7, 64], out: 64, kernel: 3, padding: [1, 0, 2, 1] },
];

/** Layers behind an upsampling. */
const upsampled: Layer[] = [
  { ...same(1, 4, 3, 5), upsample: 2 },
  { ...same(2, 6, 32, 32), upsample: 2 },
  { x: [1, 3, 5, 64], out: 32, kernel: 3, padding: 1, upsample: 2 },
  { x: [1, 3, 2, 16], out: 8, kernel: 3, padding: 1, upsample: 3 },
  { x: [1, 3, 4, 5], out: 6, kernel: 3, stride: 2, padding: [0, 1, 0, 1], upsample: 2 },
  { x: [1, 3, 3, 4], out: 3, kernel: 1, upsample: 2 },
];

const layers: Layer[] = [
  same(4, 32, 128, 128),
  same(4, 32, 64, 64),
  same(16, 16, 64, 64),
  same(4, 32, 256, 256),
  same(4, 32, 256, 128),
  same(4, 32, 384, 128),
  same(4, 16, 256, 256),
  same(4, 16, 512, 256),
  same(4, 8, 256, 256),
  same(4, 8, 512, 256),
  same(4, 4, 256, 256),
  same(4, 32, 3, 128),
  same(4, 32, 128, 3),
  same(4, 32, 256, 128, 1),
  same(4, 32, 384, 128, 1),
  same(4, 16, 512, 256, 1),
  same(4, 16, 256, 256, 1),
  same(16, 32, 128, 128),
  same(16, 16, 256, 256),
];

function randomLayer(pick: Pick): Layer {
  const kernel: [number, number] = [pick(1, 4), pick(1, 4)];
  const padding: [number, number] = [pick(0, 2), pick(0, 2)];
  const extent = (axis: 0 | 1) => Math.max(pick(1, 10), kernel[axis] - 2 * padding[axis]);
  const stride: [number, number] = pick(0, 1) === 0 ? [1, 1] : [pick(1, 3), pick(1, 3)];
  const layer = { x: [pick(0, 3), extent(0), extent(1), pick(1, 20)] as Layer['x'], out: pick(1, 20), kernel, stride };
  if (pick(0, 2) > 0) return { ...layer, padding, upsample: pick(0, 2) === 0 ? 2 : 1 };
  return { ...layer, padding: [padding[0] + pick(0, 1), padding[0], padding[1], padding[1] + pick(0, 1)] };
}

function convCase(name: string, parts: Part[], scale: number | undefined, check: Layer[], time?: Layer[]): Case {
  const named = <T>(tensors: T[]): { [P in Part]?: T } =>
    Object.fromEntries(parts.map((part, i) => [part, tensors[i]])) as { [P in Part]?: T };
  return defineCase<Layer>({
    op: 'conv2d',
    name,
    inputs: (layer) => {
      const [height, width] = pair(layer.kernel);
      const fan = height * width * layer.x[3];
      const shapes = { bias: [layer.out], add: [layer.x[0], layer.out], residual: outputShape(layer) };
      return [
        normal(layer.x),
        normal([layer.out, height, width, layer.x[3]], fan ** -0.5),
        ...parts.map((part) => normal(shapes[part])),
      ];
    },
    parameters: parts[0] === 'bias' ? [1, 2] : [1],
    run: ([x, weight, ...rest], { stride, padding, upsample }) =>
      conv2d(x, weight, { ...named(rest), stride, padding, upsample, scale }),
    reference: ([x, weight, ...rest], { stride, padding, upsample }) =>
      reference.conv2d(x, weight, { ...named(rest), stride, padding, upsample, scale }),
    tolerance: {
      value: { absolute: 1e-6, ofLargest: 2e-6 },
      gradient: { absolute: 1e-6, ofLargest: 2e-6 },
      reason: 'f32 sums of up to 9 x 512 products: rounding grows with the square root of their number',
    },
    check,
    random: randomLayer,
    time,
    flops: (layer) => {
      const [height, width] = pair(layer.kernel);
      return 2 * reference.count(outputShape(layer)) * height * width * layer.x[3];
    },
  });
}

export const convCases: Case[] = [
  convCase('', [], undefined, [...small, ...tiled, { ...same(2, 4, 3, 5), x: [0, 4, 4, 3] }], layers),
  convCase('bias', ['bias'], undefined, [...small, tiled[1], tiled[6], tiled[7], tiled[8], tiled[9]], [layers[0]]),
  convCase('strided', ['bias'], undefined, strided),
  convCase('padding of four edges', ['bias'], undefined, uneven),
  convCase('upsample', ['bias', 'residual'], Math.SQRT1_2, upsampled, [{ ...same(1, 32, 128, 128), upsample: 2 }]),
  convCase('add per sample and channel', ['bias', 'add'], undefined, [small[2], small[4], tiled[0], tiled[4]]),
  convCase(
    'residual, scaled',
    ['bias', 'residual'],
    Math.SQRT1_2,
    [small[2], small[5], tiled[3], tiled[9], strided[0]],
    [layers[0]],
  ),
  convCase('add, residual, scaled', ['bias', 'add', 'residual'], 0.5, [
    small[0],
    small[4],
    tiled[1],
    tiled[9],
    strided[4],
  ]),
  convCase('residual', ['residual'], undefined, [small[4], tiled[0]]),
  convCase('scaled', [], -2, [small[4], tiled[0]]),
];
