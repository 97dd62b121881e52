// Weights whose dtype differs from that of the activations.
import type { Tensor } from '../../tensor/tensor.ts';
import { checkOperands, checkSameDevice } from '../op.ts';
import { convertDtype } from './conversion.ts';

/**
 * Runs `f` with the weight in the dtype of the activations x: the copy that the optimiser keeps, or one made for this
 * call.
 * @param weight f32, or of x's dtype
 */
export function withWeight<Result>(op: string, weight: Tensor, x: Tensor, f: (weight: Tensor) => Result): Result {
  checkOperands(op, [weight], weight.dtype === x.dtype ? x.dtype : 'f32');
  checkSameDevice(op, x, weight);
  if (weight.dtype === x.dtype) return f(weight);
  if (weight.bf16) return f(weight.bf16);
  const copy = convertDtype(weight, x.dtype);
  try {
    return f(copy);
  } finally {
    copy.dispose();
  }
}
