// Copies and views of a whole tensor: with its gradient, or without.
import { refuseExtra } from '../../arguments.ts';
import { allocate } from '../../tensor/allocate.ts';
import { dtypes } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { apply, checkSameDtype, declareOp } from '../op.ts';

export const cloneOp = declareOp({
  name: 'clone',
  cpu: 'none',
  cuda: 'none',
  backward: ({ grad }) => [view(grad, grad.shape)],
  tangent: ({ tangents: [t] }) => clone(t as Tensor),
});

/**
 * A copy in memory of its own. Gradients and tangents pass through it; `clone(detach(x))` is a copy without either.
 * @example clone(tensor([1, 2])); // [1, 2]
 */
export function clone(x: Tensor): Tensor;
export function clone(x: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('clone', extra);
  const device = checkSameDtype('clone', [x]);
  const y = allocate(x.shape, { device, dtype: x.dtype });
  if (y.size > 0) device.copy(y.address, x.address, y.size * dtypes[y.dtype].bytes);
  return apply(cloneOp, y, { parents: [x] });
}

/**
 * x as a constant: no gradient flows through the result and it has no tangent in forward mode, so it has the part of
 * `stopGradient` in JAX. It shares the memory of x: what is written to one is read from the other.
 * @example
 * const x = tensor([0.4, 1.6], { requiresGrad: true });
 * const y = add(x, detach(sub(round(x), x))); // straight through: the value of round, the gradient of x
 * y; // [0, 2]
 * gradients(sum(y), [x]); // [[1, 1]]
 */
export function detach(x: Tensor): Tensor;
export function detach(x: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('detach', extra);
  checkSameDtype('detach', [x]);
  return view(x, x.shape);
}
