// Weights whose dtype differs from that of the activations.
import { NotDifferentiableError } from '../../errors.ts';
import type { Dtype } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkOperands, checkSameDevice } from '../op.ts';
import { convertDtype } from './conversion.ts';

/**
 * Runs `f` with the weight in the dtype of the activations x: the copy that the optimiser keeps, or one made for this
 * call. A weight of f16 or bf16 on a device that computes in f32 is frozen: the graph keeps it as it is, and it has no gradient.
 * @param weight f32, of x's dtype, or on the CPU and in WebAssembly f16 or bf16
 * @param f gets the weight, and what the graph shall keep of it, for `withSavedWeight`
 */
export function withWeight<Result>(
  op: string,
  weight: Tensor,
  x: Tensor,
  f: (weight: Tensor, saved: Tensor) => Result,
): Result {
  const frozen = isFrozen(weight.dtype, x);
  checkOperands(op, [weight], frozen || weight.dtype === x.dtype ? weight.dtype : 'f32');
  checkSameDevice(op, x, weight);
  const source = (weight.dtype !== x.dtype && weight.bf16) || weight;
  return withDtype(source, x.dtype, (converted) => f(converted, frozen ? weight : converted));
}

/** Runs `f` with a weight that the graph kept, in the dtype of the gradient. */
export function withSavedWeight<Result>(saved: Tensor, grad: Tensor, f: (weight: Tensor) => Result): Result {
  return withDtype(saved, grad.dtype, f);
}

function withDtype<Result>(t: Tensor, dtype: Dtype, f: (t: Tensor) => Result): Result {
  if (t.dtype === dtype) return f(t);
  const copy = convertDtype(t, dtype);
  try {
    return f(copy);
  } finally {
    copy.dispose();
  }
}

/** @throws NotDifferentiableError for a weight that has no gradient: one of 16 bits with activations of f32 */
export function requireTrained(op: string, dtype: Dtype, grad: Tensor): void {
  if (isFrozen(dtype, grad))
    throw new NotDifferentiableError(`[${op}] a weight of ${dtype} is frozen; make it f32 to train it`);
}

function isFrozen(dtype: Dtype, x: Tensor): boolean {
  return x.device.kind !== 'cuda' && x.dtype === 'f32' && (dtype === 'f16' || dtype === 'bf16');
}
