// unfold(): the windows of images as rows, also known as im2col.
//   H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1
import { checkOptions, type OptionKinds, refuseExtra } from '../arguments.ts';
import { cudaModule, kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { checkShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type Extent, extentKind, extents } from './inner/window.ts';
import { perElement } from './launch/grid.ts';
import { apply, checkOperands, declareOp } from './op.ts';

const kernels = kernelModule('kernels/unfold.c', { unfold_windows: 'ptr ptr ptr', unfold_gradient: 'ptr ptr ptr' });
const cudaKernels = cudaModule('kernels/unfold.cu', {
  unfold_windows: 'ptr ptr ptr i32',
  unfold_gradient: 'ptr ptr ptr i32',
});

export interface UnfoldOptions {
  /** Size of the window. */
  kernel: Extent;
  /** Distance between windows; default 1. */
  stride?: Extent;
  /** Zeros on each side of the image; default 0. */
  padding?: Extent;
  /** Distance between the pixels of a window; default 1. */
  dilation?: Extent;
}

const unfoldOptions: OptionKinds<UnfoldOptions> = {
  kernel: extentKind,
  stride: extentKind,
  padding: extentKind,
  dilation: extentKind,
};

export interface Windows {
  image: readonly number[];
  /** The image, H', W', then kernel, stride, padding and dilation, vertical first: see unfold.c. */
  table: readonly number[];
}

/** Launches a kernel that reads `from` and writes `to`. */
function launch(kernel: keyof typeof cudaKernels.kernels, from: Tensor, to: Tensor, { table }: Windows): Tensor {
  const { device, size } = to;
  if (size === 0) return to;
  const operands = [from.address, to.address, device.table(table)];
  if (device.kind === 'cuda') device.load(cudaKernels)[kernel](perElement(size), ...operands, size);
  else device.load(kernels)[kernel](...operands);
  return to;
}

export const unfoldOp = declareOp<Windows>({
  name: 'unfold',
  cpu: kernels,
  cuda: cudaKernels,
  backward: ({ grad, attributes: windows }) => [
    launch('unfold_gradient', grad, allocate(windows.image, { device: grad.device }), windows),
  ],
  tangent: ({ tangents: [t], output, attributes: windows }) => unfolded(t as Tensor, output.shape, windows),
});

function unfolded(x: Tensor, shape: readonly number[], windows: Windows): Tensor {
  const y = launch('unfold_windows', x, allocate(shape, { device: x.device }), windows);
  return apply(unfoldOp, y, { parents: [x], attributes: windows });
}

/**
 * The windows of images, one row for each: a convolution is the product of these rows with its weights. Elements of a row
 * are in the order of conv2d's weights: row of the window, column, channel. PyTorch's `unfold` has the channel first and
 * the windows last.
 * @param x [N, H, W, C], f32
 * @returns [N, H', W', kernel height * kernel width * C]
 * @throws ShapeError for a window larger than the padded image; ValueError for sizes that are not whole numbers
 * @example
 * const x = randn([1, 8, 8, 3], { seed: 1 });
 * const weight = randn([16, 3, 3, 3], { seed: 2 });
 * const rows = unfold(x, { kernel: 3 });
 * rows.shape; // [1, 6, 6, 27]
 * const y = matmul(rows, reshape(weight, [16, 27]), { transposeB: true });
 * less(max(abs(sub(y, conv2d(x, weight)))), 1e-4); // true
 */
export function unfold(x: Tensor, options: UnfoldOptions): Tensor;
export function unfold(x: Tensor, given: UnfoldOptions, ...extra: unknown[]): Tensor {
  refuseExtra('unfold', extra);
  checkOperands('unfold', [x]);
  const options = checkOptions('unfold', given, unfoldOptions, ['kernel']);
  if (x.rank !== 4) throw new ShapeError('unfold', 'images [N, H, W, C]', formatShape(x.shape));
  const kernel = extents('unfold', 'kernel', options.kernel, 1);
  const stride = extents('unfold', 'stride', options.stride ?? 1, 1);
  const padding = extents('unfold', 'padding', options.padding ?? 0, 0);
  const dilation = extents('unfold', 'dilation', options.dilation ?? 1, 1);
  const [batch, height, width, channels] = x.shape;
  const spans = kernel.map((size, axis) => dilation[axis] * (size - 1) + 1);
  const sizes = [height, width].map(
    (extent, axis) => Math.floor((extent + 2 * padding[axis] - spans[axis]) / stride[axis]) + 1,
  );
  if (sizes.some((size) => size < 1))
    throw new ShapeError(
      'unfold',
      `images of at least ${formatShape(spans)} pixels with padding ${formatShape(padding)}`,
      formatShape(x.shape),
    );
  const shape = checkShape('unfold', [batch, ...sizes, kernel[0] * kernel[1] * channels]);
  const table = [...x.shape, ...sizes, ...kernel, ...stride, ...padding, ...dilation];
  return unfolded(x, shape, { image: x.shape, table });
}
