// Launching the convolution kernels of CUDA.
import { empty, zeros } from '../../tensor/create.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { inChunks, launchOf, productModules } from '../product.ts';
import { sumAxes } from '../reduction.ts';
import type { Epilogue, Geometry } from './geometry.ts';

export const convKernels = productModules(import.meta.url, './conv.cu', {
  conv_forward: 'ptr ptr ptr ptr ptr ptr ptr f32 i32',
  conv_input_gradient: 'ptr ptr ptr ptr f32 i32',
  conv_weight_gradient: 'ptr ptr ptr ptr i32 i32',
});

/** Bits of the kernels' argument `chunked`: 1 for the left operand, 2 for the right. */
const bits = (left: boolean, right: boolean) => (left ? 1 : 0) + (right ? 2 : 0);

/** @param weight of x's dtype */
export function convForward(
  x: Tensor,
  weight: Tensor,
  { out, table }: Geometry,
  { bias, add, residual, scale }: Epilogue,
): Tensor {
  const { device, dtype } = x;
  const y = empty(out, { device, dtype });
  if (y.size === 0) return y;
  const [columns, ...window] = weight.shape;
  const { kernels, geometry } = launchOf(convKernels, x, { rows: y.size / columns, columns, terms: sizeOf(window) });
  const addends = [bias, add, residual].map((t) => t?.address ?? 0);
  const operands = [x.address, weight.address, y.address, ...addends, device.table(table), scale];
  const channels = x.shape[3];
  kernels.conv_forward(geometry, ...operands, bits(inChunks(x, channels), inChunks(weight, channels)));
  return y;
}

/** @param weight of dy's dtype */
export function convInputGradient(
  dy: Tensor,
  weight: Tensor,
  shape: Shape,
  { table }: Geometry,
  scale: number,
): Tensor {
  const { device, dtype } = dy;
  const dx = empty(shape, { device, dtype });
  if (dx.size === 0) return dx;
  const [outputs, height, width, inputs] = weight.shape;
  const product = { rows: dx.size / inputs, columns: inputs, terms: height * width * outputs };
  const { kernels, geometry } = launchOf(convKernels, dy, product);
  const operands = [dy.address, weight.address, dx.address, device.table(table), scale];
  kernels.conv_input_gradient(geometry, ...operands, bits(inChunks(dy, outputs), inChunks(weight, inputs)));
  return dx;
}

/** f32, whatever the dtype of x and dy. */
export function convWeightGradient(x: Tensor, dy: Tensor, shape: Shape, { table }: Geometry, scale: number): Tensor {
  const { device } = x;
  if (x.size === 0 || dy.size === 0) return zeros(shape, { device });
  const [outputs, , , inputs] = shape;
  const product = { rows: outputs, columns: sizeOf(shape) / outputs, terms: dy.size / outputs };
  const { kernels, geometry, parts, run } = launchOf(convKernels, x, product, true);
  const partials = empty([parts, sizeOf(shape)], { device });
  const operands = [x.address, dy.address, partials.address, device.table(table), run];
  kernels.conv_weight_gradient(geometry, ...operands, bits(inChunks(dy, outputs), inChunks(x, inputs)));
  if (parts === 1 && scale === 1) return view(partials, shape);
  const sum = sumAxes(partials, [0], scale);
  partials.dispose();
  return view(sum, shape);
}
