// CPU convolutions as direct sums, for any kernel, stride, padding, dilation and groups. Each call packs the weights into panels; the
// copy is cheap, because there are N H W times as many multiplications.
import { kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { sumAxes } from '../inner/reduction.ts';
import { product } from '../matmul.ts';
import {
  type ConvEpilogue,
  type ConvShape,
  inputShape,
  isPointwise,
  outputShape,
  toHostTable,
  weightShape,
} from './shape.ts';

export const convKernels = kernelModule('kernels/conv/conv.c', {
  conv_packed_size: 'ptr i32 -> count',
  conv_pack: 'ptr ptr ptr i32',
  conv_forward: 'ptr ptr ptr ptr ptr ptr ptr f32',
  conv_input_gradient: 'ptr ptr ptr ptr f32',
  conv_weight_partials: 'ptr -> count',
  conv_weight_gradient: 'ptr ptr ptr ptr',
  conv_unfold: 'ptr ptr ptr',
});

/** Packs the weights into panels. The caller disposes the result. */
function pack(weight: Tensor, table: number, transposed: boolean): Tensor {
  const { device } = weight;
  const kernels = device.load(convKernels);
  const packed = allocate([kernels.conv_packed_size(table, transposed ? 1 : 0)], { device });
  kernels.conv_pack(weight.address, packed.address, table, transposed ? 1 : 0);
  return packed;
}

export function directForward(
  x: Tensor,
  weight: Tensor,
  shape: ConvShape,
  { bias, add, residual, scale }: ConvEpilogue,
): Tensor {
  const { device } = x;
  const y = allocate(outputShape(shape), { device });
  const table = device.table(toHostTable(shape));
  using packed = pack(weight, table, false);
  const [biasAt, addAt, residualAt] = [bias, add, residual].map((t) => t?.address ?? 0);
  device.load(convKernels).conv_forward(x.address, packed.address, y.address, biasAt, addAt, residualAt, table, scale);
  return y;
}

export function directInputGradient(dy: Tensor, weight: Tensor, shape: ConvShape, scale: number): Tensor {
  const { device } = dy;
  const dx = allocate(inputShape(shape), { device });
  const table = device.table(toHostTable(shape));
  using packed = pack(weight, table, true);
  device.load(convKernels).conv_input_gradient(dy.address, packed.address, dx.address, table, scale);
  return dx;
}

/** With fewer input channels than this, most lanes of a vector would be unused. */
const FEW_CHANNELS = 8;

export function directWeightGradient(x: Tensor, dy: Tensor, shape: ConvShape, scale: number): Tensor {
  const { device } = x;
  const { channels, kernelHeight, kernelWidth } = shape;
  const weight = weightShape(shape);
  const table = device.table(toHostTable(shape));
  const kernels = device.load(convKernels);
  const pixels = dy.size / shape.outputs;
  // The gradient is a plain matrix product if the patch of each pixel is contiguous in memory.
  if (isPointwise(shape)) {
    const plain = pixelProduct(dy, view(x, [pixels, channels]));
    if (scale === 1) return view(plain, weight);
    const scaled = sumAxes(view(plain, [1, sizeOf(weight)]), [0], scale);
    plain.dispose();
    return view(scaled, weight);
  }
  if (scale === 1 && shape.groups === 1 && channels < FEW_CHANNELS && kernelHeight * kernelWidth > 1) {
    using patches = allocate([pixels, kernelHeight * kernelWidth * channels], { device });
    kernels.conv_unfold(x.address, patches.address, table);
    return view(pixelProduct(dy, patches), weight);
  }
  const count = kernels.conv_weight_partials(table);
  const partials = allocate([count, sizeOf(weight)], { device });
  kernels.conv_weight_gradient(x.address, dy.address, partials.address, table);
  if (count === 1 && scale === 1) return view(partials, weight);
  const sum = sumAxes(partials, [0], scale);
  partials.dispose();
  return view(sum, weight);
}

/** dy^T times `pixels` [N H W, columns]: [Cout, columns]. */
function pixelProduct(dy: Tensor, pixels: Tensor): Tensor {
  const left = view(dy, [pixels.shape[0], dy.shape[3]]);
  return product({ tensor: left, transposed: true }, { tensor: pixels });
}
