// Launching the convolution kernels of CUDA.
import { allocate } from '../../tensor/allocate.ts';
import { zeros } from '../../tensor/create.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { sumAxes } from '../inner/reduction.ts';
import { inChunks, launchOf, productModules } from '../launch/product.ts';
import { hopperForward, hopperInputGradient, hopperMaps } from './hopper.ts';
import { hopperWeightPartials } from './hopper_weight_gradients.ts';
import type { Epilogue, Geometry } from './shape.ts';

export const convKernels = productModules('kernels/conv/conv.cu', {
  conv_forward: 'ptr ptr ptr ptr ptr ptr ptr f32 i32',
  conv_input_gradient: 'ptr ptr ptr ptr f32 i32',
  conv_weight_gradient: 'ptr ptr ptr ptr i32 i32',
});

/** Bits of the kernels' argument `chunked`: 1 for the left operand, 2 for the right. */
const bits = (left: boolean, right: boolean) => (left ? 1 : 0) + (right ? 2 : 0);

/** @param weight of x's dtype */
export function convForward(x: Tensor, weight: Tensor, geometry: Geometry, epilogue: Epilogue): Tensor {
  const { device, dtype } = x;
  const { out, table } = geometry;
  const { bias, add, residual, scale } = epilogue;
  if (sizeOf(out) === 0) return allocate(out, { device, dtype });
  const maps = hopperMaps(geometry.table, [x, weight, add, residual], bias);
  if (maps) return hopperForward(maps, x, weight, geometry.table, epilogue);
  const y = allocate(out, { device, dtype });
  const [columns, ...window] = weight.shape;
  const product = { rows: y.size / columns, columns, terms: sizeOf(window) };
  const { kernels, geometry: launch } = launchOf(convKernels, x, product);
  const addends = [bias, add, residual].map((t) => t?.address ?? 0);
  const operands = [x.address, weight.address, y.address, ...addends, device.table(table), scale];
  const channels = x.shape[3];
  kernels.conv_forward(launch, ...operands, bits(inChunks(x, channels), inChunks(weight, channels)));
  return y;
}

/** @param weight of dy's dtype */
export function convInputGradient(dy: Tensor, weight: Tensor, shape: Shape, geometry: Geometry, scale: number): Tensor {
  const { device, dtype } = dy;
  if (sizeOf(shape) === 0) return allocate(shape, { device, dtype });
  const maps = hopperMaps(geometry.table, [dy, weight]);
  if (maps) return hopperInputGradient(maps, dy, weight, geometry.table, scale);
  const dx = allocate(shape, { device, dtype });
  const [outputs, height, width, inputs] = weight.shape;
  const product = { rows: dx.size / inputs, columns: inputs, terms: height * width * outputs };
  const { kernels, geometry: launch } = launchOf(convKernels, dy, product);
  const operands = [dy.address, weight.address, dx.address, device.table(geometry.table), scale];
  kernels.conv_input_gradient(launch, ...operands, bits(inChunks(dy, outputs), inChunks(weight, inputs)));
  return dx;
}

/** f32, whatever the dtype of x and dy. */
export function convWeightGradient(x: Tensor, dy: Tensor, shape: Shape, geometry: Geometry, scale: number): Tensor {
  const { device } = x;
  if (x.size === 0 || dy.size === 0) return zeros(shape, { device });
  const maps = hopperMaps(geometry.table, [x, dy]);
  if (maps) return summed(hopperWeightPartials(maps, [{ x, dy, table: geometry.table }])[0], shape, scale);
  const [outputs, , , inputs] = shape;
  const product = { rows: outputs, columns: sizeOf(shape) / outputs, terms: dy.size / outputs };
  const { kernels, geometry: launch, parts, run } = launchOf(convKernels, x, product, true);
  const partials = allocate([parts, sizeOf(shape)], { device });
  const operands = [x.address, dy.address, partials.address, device.table(geometry.table), run];
  kernels.conv_weight_gradient(launch, ...operands, bits(inChunks(dy, outputs), inChunks(x, inputs)));
  return summed(partials, shape, scale);
}

/** scale times the sum of partial sums [parts, size], which it disposes of. */
function summed(partials: Tensor, shape: Shape, scale: number): Tensor {
  if (partials.shape[0] === 1 && scale === 1) return view(partials, shape);
  const sum = sumAxes(partials, [0], scale);
  partials.dispose();
  return view(sum, shape);
}
