// Resampling of images by a whole factor: nearest neighbour up, mean down.
import { describeValue, kinds, refuseExtra } from '../arguments.ts';
import { ScaledGradient } from '../autograd/gradient_parts.ts';
import { kernelModule } from '../device/module.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { perElement } from './launch/grid.ts';
import { kernelsFor, storageModules } from './launch/storage.ts';
import { apply, checkActivations, declareOp } from './op.ts';

const resampleKernels = kernelModule('kernels/resample.c', {
  resample_repeat: 'ptr ptr i32 i32 i32 i32 f32',
  resample_sum: 'ptr ptr i32 i32 i32 i32 f32',
});

/** The first count is the number of threads, not of rows. */
const cudaKernels = storageModules('kernels/resample.cu', {
  resample_repeat: 'ptr ptr i32 i32 i32 i32 f32',
  resample_repeat_eights: 'ptr ptr i32 i32 i32 i32 f32',
  resample_sum: 'ptr ptr i32 i32 i32 i32 f32',
  resample_sum_eights: 'ptr ptr i32 i32 i32 i32 f32',
});

/** Repeats every pixel factor x factor times and scales it. */
export function repeatPixels(x: Tensor, factor: number, scale: number): Tensor {
  const [n, h, w, c] = x.shape;
  const y = allocate([n, h * factor, w * factor, c], { device: x.device, dtype: x.dtype });
  launch('resample_repeat', x, y, n * h, [w, c, factor, scale]);
  return y;
}

/** Sums factor x factor pixels and scales the sum. */
export function sumPixels(x: Tensor, factor: number, scale: number): Tensor {
  const [n, h, w, c] = x.shape;
  const y = allocate([n, h / factor, w / factor, c], { device: x.device, dtype: x.dtype });
  launch('resample_sum', x, y, (n * h) / factor, [w / factor, c, factor, scale]);
  return y;
}

/** @param rows the rows of the smaller image, over the batch */
function launch(
  kernel: keyof typeof resampleKernels.kernels,
  x: Tensor,
  y: Tensor,
  rows: number,
  rest: readonly number[],
): void {
  const { device, dtype, size } = y;
  if (size === 0) return;
  if (device.kind !== 'cuda') {
    device.load(resampleKernels)[kernel](x.address, y.address, rows, ...rest);
    return;
  }
  const inEights = [x, y].every(({ address }) => address % 16 === 0) && x.shape[3] % 8 === 0;
  const threads = Math.min(size, x.size) / (inEights ? 8 : 1);
  const kernels = kernelsFor(cudaKernels, device, dtype);
  kernels[inEights ? (`${kernel}_eights` as const) : kernel](
    perElement(threads),
    x.address,
    y.address,
    threads,
    ...rest,
  );
}

export const upsampleNearestOp = declareOp<number>({
  name: 'upsampleNearest',
  cpu: resampleKernels,
  cuda: cudaKernels,
  takesScaled: true,
  backward({ grad, scaled, attributes: factor }) {
    const { factor: rest, pixelSums } = scaled[0] as ScaledGradient;
    // The sums over all pixels stay as they are.
    return [new ScaledGradient(sumPixels(grad, factor, 1), { factor: rest, pixelSums })];
  },
  tangent: ({ tangents: [t], attributes: factor }) => upsampleNearest(t as Tensor, factor),
});

/**
 * [N, H, W, C] -> [N, H factor, W factor, C], each pixel repeated.
 * @example upsampleNearest(tensor([[[[1], [2]]]]), 2); // [[[[1], [1], [2], [2]], [[1], [1], [2], [2]]]]
 */
export function upsampleNearest(x: Tensor, factor: number): Tensor;
export function upsampleNearest(x: Tensor, factor: number, ...extra: unknown[]): Tensor {
  refuseExtra('upsampleNearest', extra);
  checkImages('upsampleNearest', x, factor);
  return apply(upsampleNearestOp, repeatPixels(x, factor, 1), { parents: [x], attributes: factor });
}

export const downsampleMeanOp = declareOp<number>({
  name: 'downsampleMean',
  cpu: resampleKernels,
  cuda: cudaKernels,
  backward: ({ grad, attributes: factor }) => [repeatPixels(grad, factor, 1 / factor ** 2)],
  tangent: ({ tangents: [t], attributes: factor }) => downsampleMean(t as Tensor, factor),
});

/**
 * [N, H, W, C] -> [N, H / factor, W / factor, C], the mean of factor x factor pixels.
 * @example
 * const x = reshape(arange(0, 16), [1, 4, 4, 1]);
 * downsampleMean(x, 2); // [[[[2.5], [4.5]], [[10.5], [12.5]]]]
 */
export function downsampleMean(x: Tensor, factor: number): Tensor;
export function downsampleMean(x: Tensor, factor: number, ...extra: unknown[]): Tensor {
  refuseExtra('downsampleMean', extra);
  checkImages('downsampleMean', x, factor);
  if (x.shape[1] % factor || x.shape[2] % factor)
    throw new ShapeError('downsampleMean', `height and width divisible by ${factor}`, formatShape(x.shape));
  return apply(downsampleMeanOp, sumPixels(x, factor, 1 / factor ** 2), { parents: [x], attributes: factor });
}

/**
 * Whether to upsample after a convolution of single pixels instead of before: the same values for a quarter of the products,
 * and gradients that are rounded in another order. On other devices than cards results keep their bits.
 */
export function upsamplesLate({ device }: Tensor): boolean {
  return device.kind === 'cuda';
}

function checkImages(op: string, x: Tensor, factor: number): void {
  checkActivations(op, [x]);
  if (!kinds.int32Count.accepts(factor))
    throw new ValueError(`[${op}] expected a whole factor >= 1, got ${describeValue(factor)}`);
  if (x.rank !== 4) throw new ShapeError(op, 'images [N, H, W, C]', formatShape(x.shape));
}
