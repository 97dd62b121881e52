// The sizes of a convolution, by name; the kernels read them as a table of integers.
import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/**
 * A convolution of images [batch, height, width, channels] with weights [outputs, kernelHeight, kernelWidth, channels].
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
  /** Zeros on each side. */
  paddingY: number;
  paddingX: number;
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
] as const satisfies readonly (keyof ConvShape)[];

/** The sizes in the order in which the kernels read them. */
export function toTable(shape: ConvShape): number[] {
  return convTableOrder.map((name) => shape[name]);
}

/** [N, H, W, Cin] */
export function inputShape({ batch, height, width, channels }: ConvShape): Shape {
  return [batch, height, width, channels];
}

/** [Cout, kh, kw, Cin] */
export function weightShape({ outputs, kernelHeight, kernelWidth, channels }: ConvShape): Shape {
  return [outputs, kernelHeight, kernelWidth, channels];
}

/** [N, H', W', Cout] */
export function outputShape({ batch, outputHeight, outputWidth, outputs }: ConvShape): Shape {
  return [batch, outputHeight, outputWidth, outputs];
}

/** Stride and padding, each [vertical, horizontal]; by default stride 1 and no padding. */
export interface Steps {
  strides?: readonly [number, number];
  paddings?: readonly [number, number];
}

/** The sizes of a convolution of an image [N, H, W, Cin] with a weight [Cout, kh, kw, Cin]. */
export function convShapeOf(
  [batch, height, width, channels]: Shape,
  [outputs, kernelHeight, kernelWidth]: Shape,
  { strides: [strideY, strideX] = [1, 1], paddings: [paddingY, paddingX] = [0, 0] }: Steps = {},
): ConvShape {
  const outputHeight = Math.floor((height + 2 * paddingY - kernelHeight) / strideY) + 1;
  const outputWidth = Math.floor((width + 2 * paddingX - kernelWidth) / strideX) + 1;
  const image = { batch, height, width, channels, outputHeight, outputWidth, outputs };
  return { ...image, kernelHeight, kernelWidth, strideY, strideX, paddingY, paddingX };
}

/** A linear layer of [rows, inputs] as a convolution: each row is an image of one pixel. */
export function linearShape(rows: number, inputs: number, outputs: number): ConvShape {
  return convShapeOf([rows, 1, 1, inputs], [outputs, 1, 1, inputs]);
}

export function isUnstrided({ strideY, strideX }: ConvShape): boolean {
  return strideY === 1 && strideX === 1;
}

/**
 * Whether the kernel is 1 x 1 at stride 1 without padding: each output pixel is computed from the pixel at its
 * position.
 */
export function isPointwise(shape: ConvShape): boolean {
  const { kernelHeight, kernelWidth, paddingY, paddingX } = shape;
  return kernelHeight === 1 && kernelWidth === 1 && isUnstrided(shape) && paddingY === 0 && paddingX === 0;
}

/** The operations fused after the sum: y = scale (conv(x, w) + bias + add + residual). */
export interface ConvEpilogue {
  bias?: Tensor;
  add?: Tensor;
  residual?: Tensor;
  scale: number;
}
