// The mean squared error.
import { checkOptions } from '../arguments.ts';
import { cudaModule, kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type Reduction, type ReductionOptions, reductionOptions } from './composed/reduction.ts';
import { mul, neg, sub } from './elementwise.ts';
import { oneWarp, perElement, perWarp, runFlag, runsOf } from './launch/grid.ts';
import { apply, checkOperands, declareOp } from './op.ts';
import { sum } from './reduce.ts';

const lossKernels = kernelModule('kernels/loss.c', {
  loss_squares_scratch: 'i32 -> count',
  loss_squares_sum: 'ptr ptr ptr ptr i32 f32',
  loss_squares: 'ptr ptr ptr i32',
  loss_squares_backward: 'ptr ptr ptr ptr i32 i32 f32',
});

const cudaKernels = cudaModule(
  'kernels/loss.cu',
  {
    loss_squares_runs: 'ptr ptr ptr i32 i32',
    loss_squares_sum: 'ptr ptr i32 f32',
    loss_squares: 'ptr ptr ptr i32',
    loss_squares_backward: 'ptr ptr ptr ptr i32 i32 f32',
  },
  { flags: [runFlag] },
);

export const mseOp = declareOp<{ reduction: Reduction; scale: number }>({
  name: 'mse',
  cpu: lossKernels,
  cuda: cudaKernels,
  backward({ grad, saved: [prediction, target], attributes: { reduction, scale }, needs }) {
    const { size, shape, device } = prediction;
    const d = allocate(shape, { device });
    const stride = reduction === 'none' ? 1 : 0;
    const operands = [prediction.address, target.address, grad.address, d.address, size, stride, scale];
    if (size > 0 && device.kind === 'cuda')
      device.load(cudaKernels).loss_squares_backward(perElement(size), ...operands);
    else if (size > 0) device.load(lossKernels).loss_squares_backward(...operands);
    return [needs[0] ? d : null, needs[1] ? neg(d) : null];
  },
  tangent({ parents: [prediction, target], tangents: [t, u], attributes: { reduction, scale } }) {
    const difference = mul(sub(prediction as Tensor, target as Tensor), 2 * scale);
    const terms = mul(difference, t && u ? sub(t, u) : (t ?? neg(u as Tensor)));
    return reduction === 'none' ? terms : sum(terms);
  },
});

/**
 * (prediction - target)^2 of two tensors of the same shape: the mean over all elements, the sum, or every element.
 * @example mse(tensor([1, 2]), tensor([2, 4])); // 2.5
 */
export function mse(prediction: Tensor, target: Tensor, options: ReductionOptions = {}): Tensor {
  const device = checkOperands('mse', [prediction, target]);
  if (!sameShape(prediction.shape, target.shape))
    throw new ShapeError(
      'mse',
      'tensors of the same shape',
      `${formatShape(prediction.shape)} and ${formatShape(target.shape)}`,
    );
  const { reduction = 'mean' } = checkOptions('mse', options, reductionOptions);
  const { size } = prediction;
  const scale = reduction === 'mean' ? 1 / size : 1;
  const y = allocate(reduction === 'none' ? prediction.shape : [], { device });
  if (reduction === 'none') squares(prediction, target, y);
  else squaresSum(prediction, target, y, scale);
  return apply(mseOp, y, {
    parents: [prediction, target],
    saved: [prediction, target],
    attributes: { reduction, scale },
  });
}

function squares(a: Tensor, b: Tensor, y: Tensor): void {
  const { device, size } = y;
  if (size === 0) return;
  const operands = [a.address, b.address, y.address, size];
  if (device.kind === 'cuda') device.load(cudaKernels).loss_squares(perElement(size), ...operands);
  else device.load(lossKernels).loss_squares(...operands);
}

/** y = scale sum (a - b)^2 */
function squaresSum(a: Tensor, b: Tensor, y: Tensor, scale: number): void {
  const { device, size } = a;
  if (device.kind === 'cuda') {
    const kernels = device.load(cudaKernels);
    const runs = runsOf(size);
    // Two 32-bit elements hold one double.
    using partial = allocate([2 * runs], { device });
    kernels.loss_squares_runs(perWarp(runs), a.address, b.address, partial.address, size, runs);
    kernels.loss_squares_sum(oneWarp, partial.address, y.address, runs, scale);
  } else {
    const kernels = device.load(lossKernels);
    using partial = allocate([kernels.loss_squares_scratch(size) / 4], { device });
    kernels.loss_squares_sum(a.address, b.address, y.address, partial.address, size, scale);
  }
}
