// Bilinear, bicubic and nearest-neighbour resizing to any size, without antialiasing: PyTorch's interpolate with
// align_corners=False.
import { copyOfList, describeValue, kinds, listOf, refuseExtra } from '../arguments.ts';
import { cudaModule, kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { perElement } from './launch/grid.ts';
import { apply, checkOperands, declareOp } from './op.ts';

const resizeKernels = kernelModule('kernels/resize.c', {
  resize_bilinear: 'ptr ptr ptr',
  resize_bilinear_gradient: 'ptr ptr ptr',
  resize_taps: 'ptr ptr ptr',
  resize_taps_gradient: 'ptr ptr ptr',
});

const cudaKernels = cudaModule('kernels/resize.cu', {
  resize_bilinear: 'ptr ptr ptr i32',
  resize_bilinear_gradient: 'ptr ptr ptr i32',
  resize_taps: 'ptr ptr ptr i32',
  resize_taps_gradient: 'ptr ptr ptr i32',
});

const sizeKind = listOf(kinds.int32Count, 'whole numbers >= 1', 2);

/** The shapes of both images, [N, H, W, C] and [N, H', W', C]. */
export interface ResizeShape {
  from: Shape;
  to: Shape;
}

/** Inputs along an axis that an output of the kernels for any number of taps reads. */
type Taps = 1 | 4;

/** N, H, W, C, H', W', and the number of taps, in the order in which the kernels read them. */
function toTable({ from, to }: ResizeShape, taps: Taps | undefined): number[] {
  return [...from, to[1], to[2], ...(taps ? [taps] : [])];
}

export const resizeBilinearOp = declareOp<ResizeShape>({
  name: 'resizeBilinear',
  cpu: resizeKernels,
  cuda: cudaKernels,
  backward({ grad, attributes: shape }) {
    const dx = allocate(shape.from, { device: grad.device });
    launch('resize_bilinear_gradient', grad, dx, shape);
    return [dx];
  },
  tangent: ({ tangents: [t], output }) => resizeBilinear(t as Tensor, [output.shape[1], output.shape[2]]),
});

/**
 * Resizes x by interpolation between the nearest pixels, as PyTorch's interpolate(size=..., align_corners=False): corners
 * are not aligned, and positions follow from the ratio of the sizes. When it shrinks, only the pixels nearest to the new
 * centres are used.
 * @param x [N, H, W, C], H and W at least 1
 * @param size [H', W'], at least 1
 * @returns [N, H', W', C]
 * @example resizeBilinear(tensor([[[[0], [1]]]]), [1, 4]); // [[[[0], [0.25], [0.75], [1]]]]
 */
export function resizeBilinear(x: Tensor, size: readonly [number, number]): Tensor;
export function resizeBilinear(x: Tensor, size: readonly [number, number], ...extra: unknown[]): Tensor {
  refuseExtra('resizeBilinear', extra);
  const y = resized('resizeBilinear', x, size);
  const shape = { from: x.shape, to: y.shape };
  launch('resize_bilinear', x, y, shape);
  return apply(resizeBilinearOp, y, { parents: [x], attributes: shape });
}

/** An op whose outputs read that many inputs along each axis. */
function tapsOp(name: string, taps: Taps, resize: (x: Tensor, size: readonly [number, number]) => Tensor) {
  return declareOp<ResizeShape>({
    name,
    cpu: resizeKernels,
    cuda: cudaKernels,
    backward({ grad, attributes: shape }) {
      const dx = allocate(shape.from, { device: grad.device });
      launch('resize_taps_gradient', grad, dx, shape, taps);
      return [dx];
    },
    tangent: ({ tangents: [t], output }) => resize(t as Tensor, [output.shape[1], output.shape[2]]),
  });
}

export const resizeBicubicOp = tapsOp('resizeBicubic', 4, resizeBicubic);

/**
 * Resizes x by cubic convolution with a = -0.75, as PyTorch's interpolate(mode='bicubic'), at the positions of resizeBilinear: every output reads 4 x 4
 * inputs, those at the border repeated. Results may exceed the range of the inputs. When it shrinks, only the pixels
 * nearest to the new centres are used.
 *
 * Source: Keys, Cubic convolution interpolation for digital image processing (1981).
 * @param x [N, H, W, C], H and W at least 1
 * @param size [H', W'], at least 1
 * @returns [N, H', W', C]
 * @example resizeBicubic(ones([1, 4, 4, 3]), [8, 8]).shape; // [1, 8, 8, 3]
 */
export function resizeBicubic(x: Tensor, size: readonly [number, number]): Tensor;
export function resizeBicubic(x: Tensor, size: readonly [number, number], ...extra: unknown[]): Tensor {
  refuseExtra('resizeBicubic', extra);
  return resizeByTaps('resizeBicubic', x, size, 4);
}

export const resizeNearestOp = tapsOp('resizeNearest', 1, resizeNearest);

/**
 * Resizes x by repeating or leaving out pixels: output i reads input floor(i H / H'), computed in whole numbers
 * (PyTorch's mode='nearest' computes it in f32, which may round to the pixel next to it in large images).
 * @param x [N, H, W, C], H and W at least 1
 * @param size [H', W'], at least 1
 * @returns [N, H', W', C]
 * @example resizeNearest(tensor([[[[0], [1]]]]), [1, 4]); // [[[[0], [0], [1], [1]]]]
 */
export function resizeNearest(x: Tensor, size: readonly [number, number]): Tensor;
export function resizeNearest(x: Tensor, size: readonly [number, number], ...extra: unknown[]): Tensor {
  refuseExtra('resizeNearest', extra);
  return resizeByTaps('resizeNearest', x, size, 1);
}

function resizeByTaps(op: string, x: Tensor, size: readonly [number, number], taps: Taps): Tensor {
  const y = resized(op, x, size);
  const shape = { from: x.shape, to: y.shape };
  launch('resize_taps', x, y, shape, taps);
  return apply(taps === 4 ? resizeBicubicOp : resizeNearestOp, y, { parents: [x], attributes: shape });
}

/** A tensor for x in another size. */
function resized(op: string, x: Tensor, size: readonly [number, number]): Tensor {
  const device = checkOperands(op, [x]);
  const target = copyOfList(size) as number[] | undefined;
  const valid = x.rank === 4 && x.shape[1] > 0 && x.shape[2] > 0 && sizeKind.accepts(target);
  if (!valid || !target)
    throw new ShapeError(
      op,
      'non-empty images [N, H, W, C] and a size [height, width] of whole numbers >= 1',
      `${formatShape(x.shape)} and ${describeValue(size)}`,
    );
  const [n, , , c] = x.shape;
  return allocate([n, ...target, c], { device });
}

function launch(kernel: keyof typeof cudaKernels.kernels, x: Tensor, y: Tensor, shape: ResizeShape, taps?: Taps): void {
  const { device, size } = y;
  if (size === 0) return;
  const operands = [x.address, y.address, device.table(toTable(shape, taps))];
  if (device.kind === 'cuda') device.load(cudaKernels)[kernel](perElement(size), ...operands, size);
  else device.load(resizeKernels)[kernel](...operands);
}
