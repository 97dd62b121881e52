// The sizes of a convolution, by name; the kernels read them as a table of integers.
import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/**
 * A convolution of images [batch, height, width, channels] with weights
 * [outputs, kernelHeight, kernelWidth, channels / groups].
 */
export interface ConvShape {
  batch: number;
  height: number;
  width: number;
  channels: number;
  outputHeight: number;
  outputWidth: number;
  /** Channels of the output. */
  outputs: number;
  kernelHeight: number;
  kernelWidth: number;
  strideY: number;
  strideX: number;
  /** Zeros above and on the left. Those below and on the right follow from the sizes of the output. */
  paddingY: number;
  paddingX: number;
  /** Distances between the taps of the kernel. */
  dilationY: number;
  dilationX: number;
  /** The channels of both sides are divided into groups; each group of outputs reads the same group of the input. */
  groups: number;
  /**
   * How many times each pixel in memory is repeated in both directions, which `height` and `width` count; default 1. Only
   * the forward pass of the CPU and WebAssembly knows it.
   */
  repeat?: number;
}

/** The order in which the kernels read the sizes: see conv_shape in conv.c and conv in table.cuh. */
export const convTableOrder = [
  'batch',
  'height',
  'width',
  'channels',
  'outputHeight',
  'outputWidth',
  'outputs',
  'kernelHeight',
  'kernelWidth',
  'strideY',
  'strideX',
  'paddingY',
  'paddingX',
  'dilationY',
  'dilationX',
  'groups',
] as const satisfies readonly (keyof ConvShape)[];

/** The sizes in the order in which the kernels read them. */
export function toTable(shape: ConvShape): number[] {
  return convTableOrder.map((name) => shape[name]);
}

/** The same with what kernels of the CPU read besides: see conv_shape_of in conv.c. */
export function toHostTable(shape: ConvShape): number[] {
  return [...toTable(shape), shape.repeat ?? 1];
}

/** [N, H, W, Cin] */
export function inputShape({ batch, height, width, channels }: ConvShape): Shape {
  return [batch, height, width, channels];
}

/** [Cout, kh, kw, Cin / groups] */
export function weightShape({ outputs, kernelHeight, kernelWidth, channels, groups }: ConvShape): Shape {
  return [outputs, kernelHeight, kernelWidth, channels / groups];
}

/** [N, H', W', Cout] */
export function outputShape({ batch, outputHeight, outputWidth, outputs }: ConvShape): Shape {
  return [batch, outputHeight, outputWidth, outputs];
}

/** The channels of a tensor [..., C]. */
export const channelsOf = ({ shape }: Tensor): number => shape[shape.length - 1];

/** Zeros at the edges of an image. */
export type Paddings = readonly [top: number, bottom: number, left: number, right: number];

/**
 * Stride, padding and dilation, each [vertical, horizontal], and groups; by default 1, but no padding. Paddings may be those of the four
 * edges.
 */
export interface Steps {
  strides?: readonly [number, number];
  paddings?: readonly [number, number] | Paddings;
  dilations?: readonly [number, number];
  groups?: number;
}

/** The sizes of a convolution of an image [N, H, W, Cin] with a weight [Cout, kh, kw, Cin / groups]. */
export function convShapeOf(
  [batch, height, width, channels]: Shape,
  [outputs, kernelHeight, kernelWidth]: Shape,
  { strides = [1, 1], paddings = [0, 0], dilations = [1, 1], groups = 1 }: Steps = {},
): ConvShape {
  const [strideY, strideX] = strides;
  const [paddingY, bottom, paddingX, right] =
    paddings.length === 4 ? paddings : [paddings[0], paddings[0], paddings[1], paddings[1]];
  const [dilationY, dilationX] = dilations;
  const outputHeight = Math.floor((height + paddingY + bottom - dilationY * (kernelHeight - 1) - 1) / strideY) + 1;
  const outputWidth = Math.floor((width + paddingX + right - dilationX * (kernelWidth - 1) - 1) / strideX) + 1;
  const image = { batch, height, width, channels, outputHeight, outputWidth, outputs };
  const steps = { strideY, strideX, paddingY, paddingX, dilationY, dilationX, groups };
  return { ...image, kernelHeight, kernelWidth, ...steps };
}

/** A linear layer of [rows, inputs] as a convolution: each row is an image of one pixel. */
export function linearShape(rows: number, inputs: number, outputs: number): ConvShape {
  // Written out, so that programs without convolutions do not contain their arithmetic.
  const pixel = { height: 1, width: 1, outputHeight: 1, outputWidth: 1, kernelHeight: 1, kernelWidth: 1 };
  const steps = { strideY: 1, strideX: 1, paddingY: 0, paddingX: 0, dilationY: 1, dilationX: 1, groups: 1 };
  return { batch: rows, channels: inputs, outputs, ...pixel, ...steps };
}

/** The convolution at stride 1 whose forward pass computes the input gradient of `shape`, which is at stride 1 too. */
export function mirror(shape: ConvShape): ConvShape {
  const { height, width, channels, outputHeight, outputWidth, outputs, kernelHeight, kernelWidth } = shape;
  return {
    ...shape,
    ...{ height: outputHeight, width: outputWidth, channels: outputs },
    ...{ outputHeight: height, outputWidth: width, outputs: channels },
    ...{ paddingY: kernelHeight - 1 - shape.paddingY, paddingX: kernelWidth - 1 - shape.paddingX },
  };
}

/** The padding at each edge that the output needs, which gives the same sizes. */
export function paddingsOf(shape: ConvShape): Paddings {
  const { height, width, outputHeight, outputWidth, kernelHeight, kernelWidth } = shape;
  const { strideY, strideX, dilationY, dilationX, paddingY, paddingX } = shape;
  const bottom = (outputHeight - 1) * strideY + dilationY * (kernelHeight - 1) + 1 - height - paddingY;
  const right = (outputWidth - 1) * strideX + dilationX * (kernelWidth - 1) + 1 - width - paddingX;
  return [paddingY, Math.max(0, bottom), paddingX, Math.max(0, right)];
}

/** Whether opposite edges have equal paddings, for a convolution at stride 1. */
export function isEvenlyPadded(shape: ConvShape): boolean {
  const [top, bottom, left, right] = paddingsOf(shape);
  return top === bottom && left === right;
}

export function isUnstrided({ strideY, strideX }: ConvShape): boolean {
  return strideY === 1 && strideX === 1;
}

/** Whether every output reads all channels, at neighbouring pixels: one group, dilation 1. */
export function isDense({ groups, dilationY, dilationX }: ConvShape): boolean {
  return groups === 1 && dilationY === 1 && dilationX === 1;
}

/**
 * Whether the kernel is 1 x 1 at stride 1 without padding, of one group: each output pixel is computed from the pixel at
 * its position.
 */
export function isPointwise(shape: ConvShape): boolean {
  const { kernelHeight, kernelWidth, paddingY, paddingX, groups } = shape;
  const single = kernelHeight === 1 && kernelWidth === 1 && isUnstrided(shape) && groups === 1;
  return single && paddingY === 0 && paddingX === 0;
}

/** The operations fused after the sum: y = scale (conv(x, w) + bias + add + residual). */
export interface ConvEpilogue {
  bias?: Tensor;
  add?: Tensor;
  residual?: Tensor;
  scale: number;
}
