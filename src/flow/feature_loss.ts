// The loss of domain transfer (Liu, Gong, Liu 2023, section 5.3): the velocity is compared in the tangent space of features h, so
// that what h does not see weighs less:
//   E |J_h(x_t) (x_1 - x_0 - v)|^2, x_t = t x_1 + (1 - t) x_0
// J_h has few rows and leaves most directions free, so the plain loss is mixed in:
//   w |J_h r|^2 / K + (1 - w) |r|^2 / D, r = x_1 - x_0 - v, K features, D dimensions
import { checkArguments, kind, kinds } from '../arguments.ts';
import { jvp } from '../autograd/forward.ts';
import { ShapeError } from '../errors.ts';
import { add, mul, square, sub } from '../kernels/elementwise.ts';
import { mse } from '../kernels/loss.ts';
import { checkOperands } from '../kernels/op.ts';
import { mean } from '../kernels/reduce.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type Distance, interpolate } from './loss.ts';

/** A map of points [N, ...] to features [N, K]. Its weights must not require gradients. */
export type FeatureMap = (x: Tensor) => Tensor;

const share = kind('a number from 0 to 1', (v) => typeof v === 'number' && v >= 0 && v <= 1);

/**
 * How the features of the points x_t change along the error x_1 - x_0 - v of a velocity: J_h(x_t) (x_1 - x_0 - v). A gradient flows
 * to v, x0 and x1.
 * @param v velocity [N, ...], as x0 and x1
 * @param t times [N]
 * @returns [N, K]
 * @throws ShapeError for points of different shapes, and for features that are not [N, K]
 * @example
 * // Features that see the first coordinate alone, twice as large.
 * const features = (x) => mul(slice(x, [0, 0], [1, 1]), 2);
 * const [x0, x1, v] = [zeros([1, 2]), tensor([[3, 4]]), tensor([[1, 1]])];
 * featureErrors(features, v, x0, x1, tensor([0.5])); // [[4]]
 */
export function featureErrors(features: FeatureMap, v: Tensor, x0: Tensor, x1: Tensor, t: Tensor): Tensor {
  checkArguments('featureErrors', { features: [features, kinds.callback] });
  checkOperands('featureErrors', [v, x0, x1, t]);
  const at = interpolate(x0, x1, t);
  const [, errors] = jvp(features, [at], [sub(sub(x1, x0), v)]);
  if (errors.rank !== 2 || errors.shape[0] !== x1.shape[0])
    throw new ShapeError('featureErrors', `features [${x1.shape[0]}, K]`, errors.describe());
  return errors;
}

/**
 * A `distance` of rectifiedFlowLoss that compares velocities in the tangent space of features: weight |J_h r|^2 / K +
 * (1 - weight) |r|^2 / D with r = x1 - x0 - v, the mean over samples (Liu, Gong, Liu 2023, section 5.3).
 * @param weight share of the term in features, from 0 to 1
 * @param onTerms receives both terms [] of a weight above 0, in features and plain, such as to log them
 * @example
 * const features = (x) => mul(slice(x, [0, 0], [1, 1]), 2);
 * const [x0, x1] = [zeros([1, 2]), tensor([[3, 4]])];
 * const distance = featureDistance(features, 0.5);
 * const loss = rectifiedFlowLoss((x) => mul(x, 0), x1, { x0, t: tensor([0.5]), distance });
 * loss; // 24.25
 */
export function featureDistance(
  features: FeatureMap,
  weight: number,
  onTerms?: (inFeatures: Tensor, plain: Tensor) => void,
): Distance {
  checkArguments('featureDistance', { features: [features, kinds.callback], weight: [weight, share] });
  if (onTerms !== undefined) checkArguments('featureDistance', { onTerms: [onTerms, kinds.callback] });
  return (v, x0, x1, t) => {
    const plain = mse(v, sub(x1, x0));
    if (weight === 0) return plain;
    const seen = mean(square(featureErrors(features, v, x0, x1, t)));
    onTerms?.(seen, plain);
    return weight === 1 ? seen : add(mul(seen, weight), mul(plain, 1 - weight));
  };
}
