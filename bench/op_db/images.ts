// The rows of op_db/mapping.ts for convolutions, pools, resizing and attention. Images and sequences have the channels last
// here and second there; so have the weights of convolutions.
import type { Tensor } from '../../src/index.ts';
import * as ops from '../../src/index.ts';
import { argument, inputOf, type Run, type Sample, Semantics } from './sample.ts';

/** Channels last, and back. */
export const last = (x: Tensor) => ops.moveAxis(x, 1, -1);
export const second = (x: Tensor) => ops.moveAxis(x, -1, 1);

/** Runs f on x with the channels last, also where x is one image without the axis of the batch. */
export function onBatch(x: Tensor, rank: number, f: (x: Tensor) => Tensor): Tensor {
  if (x.rank === rank) return second(f(last(x)));
  return ops.squeeze(second(f(last(ops.unsqueeze(x, 0)))), { axes: 0 });
}

/** One number, or one for each axis of an image. */
type Extent = number | [number, number];

const single = (given: number | number[]) => (Array.isArray(given) && given.length === 1 ? given[0] : given) as Extent;

export const extentOf = (sample: Sample, position: number, name: string, usual: number): Extent =>
  single(argument<number | number[]>(sample, position, name, usual));

// ---------------------------------------------------------------- convolutions

/** The padding that keeps the size of the image at stride 1. */
function samePadding(weight: Tensor, dilation: number[]): Extent {
  const whole = weight.shape.slice(2).map((taps, i) => (dilation[i] ?? dilation[0]) * (taps - 1));
  if (whole.some((width) => width % 2 !== 0)) throw new Semantics('the padding is the same on both sides');
  return single(whole.map((width) => width / 2));
}

const convolution =
  (rank: number, f: (x: Tensor, weight: Tensor, options: never) => Tensor): Run =>
  (sample) => {
    const weight = sample.args[0] as Tensor;
    const dilation = extentOf(sample, 4, 'dilation', 1);
    const given = argument<number | number[] | string>(sample, 3, 'padding', 0);
    const padding = given === 'same' ? samePadding(weight, [dilation].flat()) : given === 'valid' ? 0 : given;
    const options = {
      bias: argument<Tensor | undefined>(sample, 1, 'bias', undefined),
      stride: extentOf(sample, 2, 'stride', 1),
      padding: single(padding as number | number[]),
      dilation,
      groups: argument(sample, 5, 'groups', 1),
    };
    return onBatch(inputOf(sample), rank, (x) => f(x, last(weight), options as never));
  };

const transposed =
  (rank: number, f: (x: Tensor, weight: Tensor, options: never) => Tensor): Run =>
  (sample) => {
    const stride = extentOf(sample, 2, 'stride', 1);
    const outputPadding = extentOf(sample, 4, 'output_padding', 0);
    const steps = [stride].flat();
    if ([outputPadding].flat().some((width, i) => width >= (steps[i] ?? steps[0])))
      throw new Semantics('the outputPadding is below the stride');
    const options = {
      bias: argument<Tensor | undefined>(sample, 1, 'bias', undefined),
      stride,
      padding: extentOf(sample, 3, 'padding', 0),
      outputPadding,
      groups: argument(sample, 5, 'groups', 1),
      dilation: extentOf(sample, 6, 'dilation', 1),
    };
    return onBatch(inputOf(sample), rank, (x) => f(x, last(sample.args[0] as Tensor), options as never));
  };

// ---------------------------------------------------------------- pools

/** The options of a pool; windows that reach beyond the padding, among others, are refused. */
function windowOf(sample: Sample, names: readonly string[]): { kernel: Extent; stride: Extent; padding: Extent } {
  const get = <T>(name: string, usual: T) => argument(sample, names.indexOf(name), name, usual);
  if (get('ceil_mode', false)) throw new Semantics('windows lie within the padded image (no ceil_mode)');
  if ([get<number | number[]>('dilation', 1)].flat().some((step) => step !== 1))
    throw new Semantics('windows of pools have no dilation');
  if (get<number | undefined>('divisor_override', undefined) !== undefined)
    throw new Semantics('the divisor of a mean cannot be given');
  const kernel = single(get<number | number[]>('kernel_size', 1));
  const stride = get<number | number[]>('stride', []);
  const none = Array.isArray(stride) && stride.length === 0;
  return { kernel, stride: none ? kernel : single(stride), padding: single(get<number | number[]>('padding', 0)) };
}

const maxNames = ['kernel_size', 'stride', 'padding', 'dilation', 'ceil_mode', 'return_indices'];
const averageNames = ['kernel_size', 'stride', 'padding', 'ceil_mode', 'count_include_pad', 'divisor_override'];

const maxPool =
  (rank: number, f: (x: Tensor, options: never) => Tensor): Run =>
  (sample) =>
    onBatch(inputOf(sample), rank, (x) => f(x, windowOf(sample, maxNames) as never));

const averagePool =
  (rank: number, f: (x: Tensor, options: never) => Tensor): Run =>
  (sample) => {
    const countIncludePad = argument(sample, 4, 'count_include_pad', true);
    return onBatch(inputOf(sample), rank, (x) => f(x, { ...windowOf(sample, averageNames), countIncludePad } as never));
  };

/** Runs f on sequences [N, L, C] as images of one row. */
const asRow = (f: (x: Tensor) => Tensor) => (x: Tensor) => ops.squeeze(f(ops.unsqueeze(x, 1)), { axes: 1 });

const adaptive =
  (rank: 3 | 4, f: (x: Tensor, size: [number, number]) => Tensor): Run =>
  (sample) => {
    const given = [argument<number | (number | null)[]>(sample, 0, 'output_size', 1)].flat();
    return onBatch(inputOf(sample), rank, (x) => {
      if (rank === 3) return asRow((image) => f(image, [1, given[0] ?? x.shape[1]]))(x);
      const [height, width] = [given[0], given[given.length - 1]];
      return f(x, [height ?? x.shape[1], width ?? x.shape[2]]);
    });
  };

// ---------------------------------------------------------------- resizing

/** The size of the result. PyTorch may take positions from a factor that is not the ratio of the sizes. */
function sizeOf(sample: Sample): number[] {
  const { scale_factor: factor, recompute_scale_factor: recompute } = sample.kwargs;
  const size = argument<number | number[] | undefined>(sample, 0, 'size', undefined);
  const from = inputOf(sample).shape.slice(2);
  if (size !== undefined) return Array.isArray(size) ? size : from.map(() => size);
  const factors = [factor as number | number[]].flat();
  const to = from.map((dim, i) => Math.floor(dim * (factors[i] ?? factors[0])));
  if (!recompute && to.some((dim, i) => dim !== from[i] * (factors[i] ?? factors[0])))
    throw new Semantics('an image is resized to a size, not by a factor');
  return to;
}

const resized =
  (f: (x: Tensor, size: [number, number]) => Tensor): Run =>
  (sample) => {
    const { align_corners, antialias } = sample.kwargs;
    const x = inputOf(sample);
    if (align_corners) throw new Semantics('the corners of images are not aligned');
    if (antialias) throw new Semantics('images are resized without a filter');
    if (x.rank === 5) throw new Semantics('volumes are not resized');
    const [height, width] = sizeOf(sample);
    return second(x.rank === 3 ? asRow((image) => f(image, [1, height]))(last(x)) : f(last(x), [height, width]));
  };

// ---------------------------------------------------------------- attention

/** Heads [N, heads, L, C] there, [N, L, heads C] here. */
const attention: Run = (sample) => {
  const [q, k, v] = [sample.input, ...sample.args] as Tensor[];
  const { is_causal: causal, dropout_p: p, attn_mask: mask, scale, enable_gqa } = sample.kwargs;
  if (p) throw new Semantics('attention has no dropout');
  if (enable_gqa) throw new Semantics('queries, keys and values have the same number of heads');
  const given = (mask ?? undefined) as Tensor | undefined;
  if (given && given.dtype !== 'bool') throw new Semantics('a mask is bool');
  if (new Set([q, k, v].map((x) => `${x.rank} ${x.shape[0]}`)).size > 1)
    throw new Semantics('q, k and v have the same N');
  const heads = q.rank === 4 ? q.shape[1] : 1;
  const joined = ([n, , length]: readonly number[], x: Tensor) => ops.reshape(ops.swapAxes(x, 1, 2), [n, length, -1]);
  const [a, b, c] = [q, k, v].map((x) => (x.rank === 4 ? joined(x.shape, x) : x));
  const whole = given && q.rank === 3 && given.rank === 3 ? ops.unsqueeze(given, 1) : given;
  const y = ops.attention(a, b, c, { heads, causal: Boolean(causal), mask: whole, scale: scale as number | undefined });
  if (q.rank === 3) return y;
  return ops.swapAxes(ops.reshape(y, [y.shape[0], y.shape[1], heads, y.shape[2] / heads]), 1, 2);
};

const rows: Record<string, Run> = {
  adaptive_avg_pool1d: adaptive(3, ops.adaptiveAveragePool2d),
  adaptive_avg_pool2d: adaptive(4, ops.adaptiveAveragePool2d),
  adaptive_max_pool1d: adaptive(3, ops.adaptiveMaxPool2d),
  adaptive_max_pool2d: adaptive(4, ops.adaptiveMaxPool2d),
  avg_pool1d: averagePool(3, ops.averagePool1d),
  avg_pool2d: averagePool(4, ops.averagePool2d),
  conv1d: convolution(3, ops.conv1d),
  conv2d: convolution(4, ops.conv2d),
  conv_transpose1d: transposed(3, ops.convTranspose1d),
  conv_transpose2d: transposed(4, ops.convTranspose2d),
  'interpolate:area': resized(ops.adaptiveAveragePool2d),
  'interpolate:bicubic': resized(ops.resizeBicubic),
  'interpolate:bilinear': resized(ops.resizeBilinear),
  'interpolate:linear': resized(ops.resizeBilinear),
  'interpolate:nearest': resized(ops.resizeNearest),
  max_pool1d: maxPool(3, ops.maxPool1d),
  max_pool2d: maxPool(4, ops.maxPool2d),
  scaled_dot_product_attention: attention,
  upsample_nearest: resized(ops.resizeNearest),
};

export const imageRows: Record<string, Run> = Object.fromEntries(
  Object.entries(rows).map(([name, run]) => [`nn.functional.${name}`, run]),
);
