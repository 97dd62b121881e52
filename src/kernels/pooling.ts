// Pooling of images [N, H, W, C]: the maximum or the mean of every window of the padded image, or of windows that divide
// the image (adaptive).
//   H' = floor((H + 2 padding - kernel) / stride) + 1

import { checkArgument, checkOptions, kinds, type OptionKinds, refuseExtra } from '../arguments.ts';
import { cudaModule, kernelModule } from '../device/module.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type Extent, extentKind, extents } from './inner/window.ts';
import { perElement } from './launch/grid.ts';
import { apply, checkOperands, declareOp } from './op.ts';

const poolingKernels = kernelModule('kernels/pooling.c', {
  pooling_max: 'ptr ptr ptr',
  pooling_mean: 'ptr ptr ptr',
  pooling_max_gradient: 'ptr ptr ptr ptr ptr',
  pooling_max_tangent: 'ptr ptr ptr ptr ptr',
  pooling_mean_gradient: 'ptr ptr ptr',
});

const cudaKernels = cudaModule('kernels/pooling.cu', {
  pooling_max: 'ptr ptr ptr i32',
  pooling_mean: 'ptr ptr ptr i32',
  pooling_max_gradient: 'ptr ptr ptr ptr ptr i32',
  pooling_max_tangent: 'ptr ptr ptr ptr ptr i32',
  pooling_mean_gradient: 'ptr ptr ptr i32',
});

export interface PoolOptions {
  /** Size of the window. */
  kernel: Extent;
  /** Default: the kernel size, so that windows do not overlap. */
  stride?: Extent;
  /** Padding on each side, at most half the kernel; default 0. */
  padding?: Extent;
}

export interface AveragePoolOptions extends PoolOptions {
  /**
   * Whether the mean counts the padding as zeros; if not, it is over the pixels of the image. Default true, as in
   * PyTorch.
   */
  countIncludePad?: boolean;
}

const poolOptions: OptionKinds<PoolOptions> = { kernel: extentKind, stride: extentKind, padding: extentKind };

/** The sizes of a pooling of [batch, height, width, channels]. */
export interface PoolShape {
  batch: number;
  height: number;
  width: number;
  channels: number;
  outputHeight: number;
  outputWidth: number;
  kernel: readonly [vertical: number, horizontal: number];
  stride: readonly [vertical: number, horizontal: number];
  padding: readonly [vertical: number, horizontal: number];
  /** Whether a mean counts the padding. */
  withBorder: boolean;
  /** Whether the windows divide the image; kernel, stride and padding are not used then. */
  adaptive: boolean;
}

/** The sizes in the order in which the kernels read them: see pooling_of in pooling.c. */
function toTable(shape: PoolShape): number[] {
  const { batch, height, width, channels, outputHeight, outputWidth, kernel, stride, padding } = shape;
  const image = [batch, height, width, channels, outputHeight, outputWidth];
  return [...image, ...kernel, ...stride, ...padding, shape.withBorder ? 1 : 0, shape.adaptive ? 1 : 0];
}

export const maxPool2dOp = declareOp<PoolShape>({
  name: 'maxPool2d',
  cpu: poolingKernels,
  cuda: cudaKernels,
  backward({ grad, saved: [x, y], attributes: shape }) {
    const dx = allocate(x.shape, { device: x.device });
    launch('pooling_max_gradient', [x, y, grad, dx], shape);
    return [dx];
  },
  tangent: ({ tangents: [t], saved: [x, y], attributes: shape }) => pickMaxima(t as Tensor, x, y, shape),
});

/** The elements of t at the maxima of x: linear in t. */
const pickMaximaOp = declareOp<PoolShape>({
  ...maxPool2dOp,
  name: 'pickMaxima',
  tangent: ({ tangents: [t], saved: [x, y], attributes: shape }) => pickMaxima(t as Tensor, x, y, shape),
});

function pickMaxima(t: Tensor, x: Tensor, y: Tensor, shape: PoolShape): Tensor {
  const picked = allocate(y.shape, { device: t.device });
  launch('pooling_max_tangent', [x, y, t, picked], shape);
  return apply(pickMaximaOp, picked, { parents: [t], saved: [x, y], attributes: shape });
}

/**
 * The maximum of every window. Padding is never selected. On ties, the first maximum (or the first NaN) gets the
 * gradient. Unlike PyTorch's, every window lies within the padded image (no `ceil_mode`) and has no dilation.
 * @param x [N, H, W, C]
 * @returns [N, H', W', C]
 * @throws ShapeError for a window larger than the padded image; ValueError for sizes that are not whole numbers
 * @example
 * const x = reshape(arange(0, 16), [1, 4, 4, 1]);
 * maxPool2d(x, { kernel: 2, stride: 2 }); // [[[[5], [7]], [[13], [15]]]]
 */
export function maxPool2d(x: Tensor, options: PoolOptions): Tensor {
  return maxima(x, prepare('maxPool2d', x, checkOptions('maxPool2d', options, poolOptions, ['kernel']), true));
}

/** maxPool2d of checked operands. */
export function maxima(x: Tensor, shape: PoolShape): Tensor {
  const y = allocate(outputShape(shape), { device: x.device });
  launch('pooling_max', [x, y], shape);
  return apply(maxPool2dOp, y, { parents: [x], saved: [x, y], attributes: shape });
}

/**
 * The maximum of each of H' x W' windows that divide the image. Window i covers rows floor(i H / H') to
 * ceil((i + 1) H / H') - 1; windows overlap by a row where H' does not divide H. Ties are resolved as in maxPool2d.
 * @param x [N, H, W, C], H and W at least 1
 * @param size H' and W', at least 1: one number, or [vertical, horizontal]
 * @returns [N, H', W', C]
 * @example
 * const x = reshape(arange(0, 16), [1, 4, 4, 1]);
 * adaptiveMaxPool2d(x, 2); // [[[[5], [7]], [[13], [15]]]]
 */
export function adaptiveMaxPool2d(x: Tensor, size: Extent): Tensor;
export function adaptiveMaxPool2d(x: Tensor, size: Extent, ...extra: unknown[]): Tensor {
  refuseExtra('adaptiveMaxPool2d', extra);
  return maxima(x, prepareAdaptive('adaptiveMaxPool2d', x, size));
}

export const averagePool2dOp = declareOp<PoolShape>({
  name: 'averagePool2d',
  cpu: poolingKernels,
  cuda: cudaKernels,
  backward({ grad, attributes: shape }) {
    const { batch, height, width, channels } = shape;
    const dx = allocate([batch, height, width, channels], { device: grad.device });
    launch('pooling_mean_gradient', [grad, dx], shape);
    return [dx];
  },
  tangent: ({ tangents: [t], attributes: shape }) => averages(t as Tensor, shape),
});

/**
 * The mean of every window (no `divisor_override`). Windows, shapes and errors are those of maxPool2d.
 * @example
 * const x = reshape(arange(0, 16), [1, 4, 4, 1]);
 * averagePool2d(x, { kernel: 2, stride: 2 }); // [[[[2.5], [4.5]], [[10.5], [12.5]]]]
 */
export function averagePool2d(x: Tensor, options: AveragePoolOptions): Tensor {
  const known = { ...poolOptions, countIncludePad: kinds.boolean };
  const { countIncludePad = true, ...window } = checkOptions('averagePool2d', options, known, ['kernel']);
  return averages(x, prepare('averagePool2d', x, window, countIncludePad));
}

/** averagePool2d of checked operands. */
export function averages(x: Tensor, shape: PoolShape): Tensor {
  const y = allocate(outputShape(shape), { device: x.device });
  launch('pooling_mean', [x, y], shape);
  return apply(averagePool2dOp, y, { parents: [x], attributes: shape });
}

/**
 * The mean of each of H' x W' windows that divide the image: see adaptiveMaxPool2d.
 * @param x [N, H, W, C], H and W at least 1
 * @param size H' and W', at least 1: one number, or [vertical, horizontal]
 * @returns [N, H', W', C]
 * @example adaptiveAveragePool2d(ones([1, 7, 7, 3]), 2).shape; // [1, 2, 2, 3]
 */
export function adaptiveAveragePool2d(x: Tensor, size: Extent): Tensor;
export function adaptiveAveragePool2d(x: Tensor, size: Extent, ...extra: unknown[]): Tensor {
  refuseExtra('adaptiveAveragePool2d', extra);
  return averages(x, prepareAdaptive('adaptiveAveragePool2d', x, size));
}

/** Launches a kernel on `tensors`, of which it writes the last. */
function launch(kernel: keyof typeof cudaKernels.kernels, tensors: readonly Tensor[], shape: PoolShape): void {
  const { device, size } = tensors[tensors.length - 1];
  if (size === 0) return;
  const operands = [...tensors.map(({ address }) => address), device.table(toTable(shape))];
  if (device.kind === 'cuda') device.load(cudaKernels)[kernel](perElement(size), ...operands, size);
  else device.load(poolingKernels)[kernel](...operands);
}

function outputShape({ batch, outputHeight, outputWidth, channels }: PoolShape): Shape {
  return [batch, outputHeight, outputWidth, channels];
}

/** The sizes of a pooling of checked options. */
export function prepare(op: string, x: Tensor, options: PoolOptions, withBorder: boolean): PoolShape {
  checkOperands(op, [x]);
  if (x.rank !== 4) throw new ShapeError(op, 'images [N, H, W, C]', formatShape(x.shape));
  const kernel = extents(op, 'kernel', options.kernel, 1);
  const stride = extents(op, 'stride', options.stride ?? kernel, 1);
  const padding = extents(op, 'padding', options.padding ?? 0, 0);
  if (padding.some((width, axis) => 2 * width > kernel[axis]))
    throw new ValueError(`[${op}] expected a padding of at most half the kernel, got ${padding} and ${kernel}`);
  const [batch, height, width, channels] = x.shape;
  const [outputHeight, outputWidth] = [height, width].map(
    (extent, axis) => Math.floor((extent + 2 * padding[axis] - kernel[axis]) / stride[axis]) + 1,
  );
  if (outputHeight < 1 || outputWidth < 1 || height * width === 0)
    throw new ShapeError(
      op,
      `images of at least ${formatShape(kernel)} pixels with padding ${formatShape(padding)}`,
      formatShape(x.shape),
    );
  const image = { batch, height, width, channels, outputHeight, outputWidth };
  return { ...image, kernel, stride, padding, withBorder, adaptive: false };
}

function prepareAdaptive(op: string, x: Tensor, size: Extent): PoolShape {
  checkOperands(op, [x]);
  checkArgument(op, 'size', size, extentKind);
  const [outputHeight, outputWidth] = extents(op, 'size', size, 1);
  const [batch, height, width, channels] = x.shape;
  if (x.rank !== 4 || height * width === 0)
    throw new ShapeError(op, 'non-empty images [N, H, W, C]', formatShape(x.shape));
  // Kernels multiply rows of both sides in 32 bits.
  if (Math.max(height * outputHeight, width * outputWidth) >= 2 ** 31)
    throw new ShapeError(op, "H H' and W W' below 2^31", `${formatShape(x.shape)} and ${outputHeight}, ${outputWidth}`);
  const image = { batch, height, width, channels, outputHeight, outputWidth };
  return { ...image, kernel: [1, 1], stride: [1, 1], padding: [0, 0], withBorder: false, adaptive: true };
}
