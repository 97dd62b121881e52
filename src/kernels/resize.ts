// Bilinear resizing to any size, half-pixel centres, no antialiasing: PyTorch's interpolate with align_corners=False.
import { kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { empty } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { apply, checkOperands, defineOp } from './op.ts';

export const resizeKernels = kernelModule(import.meta.url, './resize.c', {
  resize_bilinear: 'ptr ptr ptr',
  resize_bilinear_gradient: 'ptr ptr ptr',
});

/** N, H, W, C, H', W' */
type Table = readonly number[];

export const resizeBilinearOp = defineOp<Table>({
  name: 'resize_bilinear',
  cpu: resizeKernels,
  cuda: 'absent',
  backward({ grad, attributes: values }) {
    const { device } = grad;
    const dx = empty(values.slice(0, 4), { device });
    if (dx.size > 0)
      device.load(resizeKernels).resize_bilinear_gradient(grad.address, dx.address, device.table(values));
    return [dx];
  },
});

/**
 * x in another size; made smaller, it keeps the pixels near the new centres and drops the others.
 * @param x [N, H, W, C], H and W at least 1
 * @param size [H', W'], at least 1
 * @returns [N, H', W', C]
 */
export function resizeBilinear(x: Tensor, size: readonly [number, number]): Tensor {
  const device = checkOperands('resize_bilinear', [x]);
  const valid = x.rank === 4 && x.shape[1] > 0 && x.shape[2] > 0 && size.every((v) => Number.isInteger(v) && v > 0);
  if (!valid)
    throw new ShapeError(
      'resize_bilinear',
      'images [N, H, W, C] with pixels and a size [height, width] of whole numbers >= 1',
      `${formatShape(x.shape)} and ${formatShape(size)}`,
    );
  const [n, , , c] = x.shape;
  const table = [...x.shape, ...size];
  const y = empty([n, ...size, c], { device });
  if (y.size > 0) device.load(resizeKernels).resize_bilinear(x.address, y.address, device.table(table));
  return apply(resizeBilinearOp, y, { parents: [x], attributes: table });
}
