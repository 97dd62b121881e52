// Bilinear resizing to any size, half-pixel centres, no antialiasing: PyTorch's interpolate with align_corners=False.
import { copyOfList, describeValue, kinds, listOf, refuseExtra } from '../arguments.ts';
import { cudaModule, kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { perElement } from './launch/grid.ts';
import { apply, checkOperands, defineOp } from './op.ts';

const resizeKernels = kernelModule('kernels/resize.c', {
  resize_bilinear: 'ptr ptr ptr',
  resize_bilinear_gradient: 'ptr ptr ptr',
});

const cudaKernels = cudaModule('kernels/resize.cu', {
  resize_bilinear: 'ptr ptr ptr i32',
  resize_bilinear_gradient: 'ptr ptr ptr i32',
});

const sizeKind = listOf(kinds.int32Count, 'whole numbers >= 1', 2);

/** The shapes of both images, [N, H, W, C] and [N, H', W', C]. */
export interface ResizeShape {
  from: Shape;
  to: Shape;
}

/** N, H, W, C, H', W', in the order in which the kernels read them. */
function toTable({ from, to }: ResizeShape): number[] {
  return [...from, to[1], to[2]];
}

export const resizeBilinearOp = defineOp<ResizeShape>({
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
 * Resizes x. When it shrinks, only the pixels nearest to the new centres are used.
 * @param x [N, H, W, C], H and W at least 1
 * @param size [H', W'], at least 1
 * @returns [N, H', W', C]
 */
export function resizeBilinear(x: Tensor, size: readonly [number, number]): Tensor;
export function resizeBilinear(x: Tensor, size: readonly [number, number], ...extra: unknown[]): Tensor {
  refuseExtra('resizeBilinear', extra);
  const device = checkOperands('resizeBilinear', [x]);
  const target = copyOfList(size) as number[] | undefined;
  const valid = x.rank === 4 && x.shape[1] > 0 && x.shape[2] > 0 && sizeKind.accepts(target);
  if (!valid || !target)
    throw new ShapeError(
      'resizeBilinear',
      'non-empty images [N, H, W, C] and a size [height, width] of whole numbers >= 1',
      `${formatShape(x.shape)} and ${describeValue(size)}`,
    );
  const [n, , , c] = x.shape;
  const y = allocate([n, ...target, c], { device });
  const shape = { from: x.shape, to: y.shape };
  launch('resize_bilinear', x, y, shape);
  return apply(resizeBilinearOp, y, { parents: [x], attributes: shape });
}

function launch(kernel: keyof typeof cudaKernels.kernels, x: Tensor, y: Tensor, shape: ResizeShape): void {
  const { device, size } = y;
  if (size === 0) return;
  const operands = [x.address, y.address, device.table(toTable(shape))];
  if (device.kind === 'cuda') device.load(cudaKernels)[kernel](perElement(size), ...operands, size);
  else device.load(resizeKernels)[kernel](...operands);
}
