// Convolutions with groups or dilation on CUDA: direct sums, one thread or warp for each element of the result.
import { allocate } from '../../tensor/allocate.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { perElement, perWarp, runFlag, runsOf } from '../launch/grid.ts';
import { kernelsFor, storageModules } from '../launch/storage.ts';
import { type ConvEpilogue, type ConvShape, inputShape, outputShape, toTable, weightShape } from './shape.ts';

const modules = storageModules(
  'kernels/conv/grouped.cu',
  {
    conv_grouped_forward: 'ptr ptr ptr ptr ptr ptr ptr f32 i32',
    conv_grouped_input_gradient: 'ptr ptr ptr ptr f32 i32',
    conv_grouped_weight_gradient: 'ptr ptr ptr ptr i32',
  },
  { flags: [runFlag] },
);

/** @param weight of x's dtype */
export function groupedForward(x: Tensor, weight: Tensor, shape: ConvShape, epilogue: ConvEpilogue): Tensor {
  const { device, dtype } = x;
  const { bias, add, residual, scale } = epilogue;
  const y = allocate(outputShape(shape), { device, dtype });
  const addends = [bias, add, residual].map((t) => t?.address ?? 0);
  const operands = [x.address, weight.address, y.address, ...addends, device.table(toTable(shape)), scale, y.size];
  kernelsFor(modules, device, dtype).conv_grouped_forward(perElement(y.size), ...operands);
  return y;
}

/** @param weight of dy's dtype */
export function groupedInputGradient(dy: Tensor, weight: Tensor, shape: ConvShape, scale: number): Tensor {
  const { device, dtype } = dy;
  const dx = allocate(inputShape(shape), { device, dtype });
  const operands = [dy.address, weight.address, dx.address, device.table(toTable(shape)), scale, dx.size];
  kernelsFor(modules, device, dtype).conv_grouped_input_gradient(perElement(dx.size), ...operands);
  return dx;
}

/** Partial sums [parts, size of the weight] of the weight gradient, f32. */
export function groupedWeightPartials(x: Tensor, dy: Tensor, shape: ConvShape): Tensor {
  const { device, dtype } = x;
  const parts = runsOf(dy.size / shape.outputs);
  const partials = allocate([parts, sizeOf(weightShape(shape))], { device });
  const operands = [x.address, dy.address, partials.address, device.table(toTable(shape)), partials.size];
  kernelsFor(modules, device, dtype).conv_grouped_weight_gradient(perWarp(partials.size), ...operands);
  return partials;
}
