// The mean squared error.
import { kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { empty } from '../tensor/create.ts';
import { sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { neg } from './elementwise.ts';
import { apply, checkOperands, defineOp } from './op.ts';
import type { Reduction } from './softmax.ts';

export const lossKernels = kernelModule(import.meta.url, './loss.c', {
  loss_squares_scratch: 'i32 -> f64',
  loss_squares_sum: 'ptr ptr ptr ptr i32 f32',
  loss_squares: 'ptr ptr ptr i32',
  loss_squares_backward: 'ptr ptr ptr ptr i32 i32 f32',
});

export const mseOp = defineOp<{ reduction: Reduction; scale: number }>({
  name: 'mse',
  cpu: lossKernels,
  cuda: 'absent',
  backward({ grad, saved: [prediction, target], attributes: { reduction, scale }, needs }) {
    const { size, shape, device } = prediction;
    const d = empty(shape, { device });
    const stride = reduction === 'none' ? 1 : 0;
    if (size > 0)
      device
        .load(lossKernels)
        .loss_squares_backward(prediction.address, target.address, grad.address, d.address, size, stride, scale);
    return [needs[0] ? d : null, needs[1] ? neg(d) : null];
  },
});

/** (prediction - target)^2 of two tensors of one shape: the mean over all elements, the sum, or each. */
export function mse(prediction: Tensor, target: Tensor, options: { reduction?: Reduction } = {}): Tensor {
  const device = checkOperands('mse', [prediction, target]);
  if (!sameShape(prediction.shape, target.shape))
    throw new ShapeError(
      'mse',
      'tensors of one shape',
      `${formatShape(prediction.shape)} and ${formatShape(target.shape)}`,
    );
  const { reduction = 'mean' } = options;
  const { size } = prediction;
  const scale = reduction === 'mean' ? 1 / size : 1;
  const kernels = device.load(lossKernels);
  const y = empty(reduction === 'none' ? prediction.shape : [], { device });
  if (reduction === 'none') {
    if (size > 0) kernels.loss_squares(prediction.address, target.address, y.address, size);
  } else {
    using partial = empty([kernels.loss_squares_scratch(size) / 4], { device });
    kernels.loss_squares_sum(prediction.address, target.address, y.address, partial.address, size, scale);
  }
  return apply(mseOp, y, {
    parents: [prediction, target],
    saved: [prediction, target],
    attributes: { reduction, scale },
  });
}
