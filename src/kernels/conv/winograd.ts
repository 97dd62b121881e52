// 3 x 3 convolutions at stride 1 by Winograd's algorithm, with channels in whole panels: see winograd.c. Scratch memory
// is allocated for each call and freed after it: keeping the transformed weights would take four times the memory of
// the weights.
import { kernelModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type ConvEpilogue, type ConvShape, inputShape, outputShape, toHostTable, weightShape } from './shape.ts';

export const winogradKernels = kernelModule('kernels/conv/winograd.c', {
  winograd_panel: '-> count',
  winograd_scratch: 'ptr i32 i32 i32 -> count',
  winograd_forward: 'ptr ptr ptr ptr ptr ptr ptr ptr i32 i32 f32',
  winograd_input_gradient: 'ptr ptr ptr ptr ptr i32 i32 f32',
  winograd_gradient_scratch: 'ptr i32 i32 -> count',
  winograd_weight_gradient: 'ptr ptr ptr ptr ptr i32 i32 f32',
});

/** @param tile height and width of an output tile, 2 or 4 */
export function winogradForward(
  x: Tensor,
  weight: Tensor,
  shape: ConvShape,
  { bias, add, residual, scale }: ConvEpilogue,
  tile: number,
): Tensor {
  const { device } = x;
  const kernels = device.load(winogradKernels);
  const table = device.table(toHostTable(shape));
  const y = allocate(outputShape(shape), { device });
  using scratch = allocate([kernels.winograd_scratch(table, tile, 0, device.workers)], { device });
  const [biasAt, addAt, residualAt] = [bias, add, residual].map((t) => t?.address ?? 0);
  const operands = [x.address, weight.address, y.address, biasAt, addAt, residualAt, scratch.address];
  kernels.winograd_forward(...operands, table, tile, device.workers, scale);
  return y;
}

export function winogradInputGradient(
  dy: Tensor,
  weight: Tensor,
  shape: ConvShape,
  scale: number,
  tile: number,
): Tensor {
  const { device } = dy;
  const kernels = device.load(winogradKernels);
  const table = device.table(toHostTable(shape));
  const dx = allocate(inputShape(shape), { device });
  using scratch = allocate([kernels.winograd_scratch(table, tile, 1, device.workers)], { device });
  const operands = [dy.address, weight.address, dx.address, scratch.address];
  kernels.winograd_input_gradient(...operands, table, tile, device.workers, scale);
  return dx;
}

export function winogradWeightGradient(x: Tensor, dy: Tensor, shape: ConvShape, scale: number, tile: number): Tensor {
  const { device } = x;
  const kernels = device.load(winogradKernels);
  const table = device.table(toHostTable(shape));
  const dw = allocate(weightShape(shape), { device });
  using scratch = allocate([kernels.winograd_gradient_scratch(table, tile, device.workers)], { device });
  const operands = [x.address, dy.address, dw.address, scratch.address];
  kernels.winograd_weight_gradient(...operands, table, tile, device.workers, scale);
  return dw;
}
