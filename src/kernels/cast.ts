// Conversion between dtypes as an op.
import { refuseExtra } from '../arguments.ts';
import { gradientDtype } from '../autograd/cotangent.ts';
import { checkDtype, type Dtype, isFloating } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { castCuda, castKernels, convertDtype } from './inner/conversion.ts';
import { apply, checkSameDtype, declareOp, notDifferentiable } from './op.ts';

/** The gradient of rounding is taken as 1. It has the dtype of x if ops compute in that dtype, otherwise f32. */
export const castOp = declareOp<Dtype>({
  name: 'cast',
  cpu: castKernels,
  cuda: castCuda,
  backward: ({ grad, attributes: from }) => {
    const dx = convertDtype(grad, from === 'bf16' && grad.device.computesBf16 ? 'bf16' : 'f32');
    return [dx === grad ? view(grad, grad.shape) : dx];
  },
  tangent: ({ tangents: [t], output }) => cast(t as Tensor, gradientDtype(output)),
});

export const castToWholeOp = declareOp({
  name: 'cast',
  cpu: castKernels,
  cuda: castCuda,
  ...notDifferentiable('whole numbers have no gradient'),
});

/**
 * Converts x to another dtype. f32 to i32 or u8 truncates towards zero and clamps, and NaN becomes 0; to bool: x != 0.
 * @example cast(tensor([1.7, -1.7, NaN]), 'i32'); // [1, -1, 0]
 */
export function cast(x: Tensor, dtype: Dtype): Tensor;
export function cast(x: Tensor, dtype: Dtype, ...extra: unknown[]): Tensor {
  refuseExtra('cast', extra);
  checkSameDtype('cast', [x]);
  checkDtype('cast', dtype);
  const y = x.dtype === dtype ? view(x, x.shape) : convertDtype(x, dtype);
  if (!isFloating(dtype)) return apply(castToWholeOp, y, { parents: [x] });
  return apply(castOp, y, { parents: [x], attributes: x.dtype });
}
