// Random booleans.
import { checkOptions, type OptionKinds } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { deviceKind } from '../../device/device.ts';
import { ArgumentError, DeviceError, formatShape, ShapeError } from '../../errors.ts';
import { broadcastShapes, checkShape, type Shape, sameShape } from '../../tensor/shape.ts';
import { describeOperand, Tensor } from '../../tensor/tensor.ts';
import { less } from '../elementwise.ts';
import { apply, checkOperands, declareOp, notDifferentiable } from '../op.ts';
import { drawOptions, type RandomIntegerOptions, uniform } from '../random.ts';

export const bernoulliOp = declareOp({
  name: 'bernoulli',
  cpu: 'none',
  cuda: 'none',
  ...notDifferentiable('its result is a random choice'),
});

const choiceOptions: OptionKinds<RandomIntegerOptions> = { ...drawOptions, device: deviceKind };

/**
 * Random booleans: true with probability p, with the same bits on every device and in every version. An element is true
 * where `uniform` with the same options is below p, so p counts in steps of 2^-24.
 * @param p a number from 0 to 1, or an f32 tensor of probabilities that broadcasts to the shape; where it is NaN the
 * result is false
 * @returns bool; cast it to f32 for a mask of 0 and 1
 * @throws ArgumentError for a number outside [0, 1]
 * @example
 * bernoulli(0.5, [5], { seed: 3 }); // [false, true, true, true, false]
 * where(bernoulli(0.5, [5], { seed: 3 }), ones([5]), 0); // [0, 1, 1, 1, 0]
 */
export function bernoulli(p: number | Tensor, shape: Shape, options: RandomIntegerOptions): Tensor {
  if (!Tensor.is(p) && !(typeof p === 'number' && p >= 0 && p <= 1))
    throw new ArgumentError('bernoulli', 'p to be a number from 0 to 1 or a tensor', describeOperand(p));
  const own = Tensor.is(p) ? checkOperands('bernoulli', [p]) : undefined;
  const dims = checkShape('bernoulli', shape);
  if (Tensor.is(p) && !sameShape(broadcastShapes('bernoulli', p.shape, dims), dims))
    throw new ShapeError('bernoulli', `p to broadcast to ${formatShape(dims)}`, formatShape(p.shape));
  const { device = own, ...draw } = checkOptions('bernoulli', options, choiceOptions, ['seed']);
  if (own && device !== own)
    throw new DeviceError(`[bernoulli] expected p on ${device?.name}, got a tensor on ${own.name}`);
  const chosen = noGrad(() => {
    using numbers = uniform(dims, { ...draw, device });
    return less(numbers, p);
  });
  return apply(bernoulliOp, chosen, { parents: Tensor.is(p) ? [p] : [] });
}
