// Launching the convolution kernels of the CPU. The weights are packed into panels for each call: a copy of the weights
// against N H W times as many multiplications.
import { kernelModule } from '../../device/module.ts';
import { empty, zeros } from '../../tensor/create.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { sumAxes } from '../reduction.ts';
import type { Conv2dOptions } from './conv.ts';

export const convKernels = kernelModule(import.meta.url, './conv.c', {
  conv_packed_size: 'ptr i32 -> f64',
  conv_pack: 'ptr ptr ptr i32',
  conv_forward: 'ptr ptr ptr ptr ptr ptr ptr f32',
  conv_input_gradient: 'ptr ptr ptr ptr f32',
  conv_weight_partials: 'ptr -> f64',
  conv_weight_gradient: 'ptr ptr ptr ptr',
});

export interface Geometry {
  /** [N, H', W', Cout] */
  out: Shape;
  /** N, H, W, Cin, H', W', Cout, kh, kw, and stride and padding, vertical first: as conv.c reads it. */
  table: readonly number[];
}

/** The weights in panels; a temporary of the caller. */
function pack(weight: Tensor, table: number, transposed: boolean): Tensor {
  const { device } = weight;
  const kernels = device.load(convKernels);
  const packed = empty([kernels.conv_packed_size(table, transposed ? 1 : 0)], { device });
  kernels.conv_pack(weight.address, packed.address, table, transposed ? 1 : 0);
  return packed;
}

export function convForward(
  x: Tensor,
  weight: Tensor,
  { out, table: values }: Geometry,
  { bias, add, residual, scale = 1 }: Conv2dOptions,
): Tensor {
  const { device } = x;
  const y = empty(out, { device });
  if (y.size === 0) return y;
  const table = device.table(values);
  using packed = pack(weight, table, false);
  const [biasAt, addAt, residualAt] = [bias, add, residual].map((t) => t?.address ?? 0);
  device.load(convKernels).conv_forward(x.address, packed.address, y.address, biasAt, addAt, residualAt, table, scale);
  return y;
}

export function convInputGradient(
  dy: Tensor,
  weight: Tensor,
  shape: Shape,
  { table: values }: Geometry,
  scale: number,
): Tensor {
  const { device } = dy;
  const dx = empty(shape, { device });
  if (dx.size === 0) return dx;
  const table = device.table(values);
  using packed = pack(weight, table, true);
  device.load(convKernels).conv_input_gradient(dy.address, packed.address, dx.address, table, scale);
  return dx;
}

export function convWeightGradient(
  x: Tensor,
  dy: Tensor,
  shape: Shape,
  { table: values }: Geometry,
  scale: number,
): Tensor {
  const { device } = x;
  if (x.size === 0 || dy.size === 0) return zeros(shape, { device });
  const table = device.table(values);
  const kernels = device.load(convKernels);
  const count = kernels.conv_weight_partials(table);
  const partials = empty([count, sizeOf(shape)], { device });
  kernels.conv_weight_gradient(x.address, dy.address, partials.address, table);
  if (count === 1 && scale === 1) return view(partials, shape);
  const sum = sumAxes(partials, [0], scale);
  partials.dispose();
  return view(sum, shape);
}
