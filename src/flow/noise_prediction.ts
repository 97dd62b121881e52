// A network that predicts the noise of a diffusion, taken as the velocity of a flow (Liu, Gong, Liu 2023, section 3.5). The diffusion's state at
// step tau is x' = a X_1 + s X_0 with a^2 = abar(tau), s^2 = 1 - abar(tau). On the straight path it is x_t = x' / (a + s) at
// t = a / (a + s), so that
//   a = t / sqrt(t^2 + (1 - t)^2),  x' = (a + s) x_t,  X_0 = eps(x', tau),  X_1 = (x' - s X_0) / a,  v = X_1 - X_0
import { checkArgument, kind, kinds } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { cast } from '../kernels/cast.ts';
import { add, clamp, div, mul, sqrt, square, sub } from '../kernels/elementwise.ts';
import { gather, reshape } from '../kernels/movement.ts';
import { checkOperands } from '../kernels/op.ts';
import { searchSorted } from '../kernels/sort.ts';
import { constant } from '../tensor/constant.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Velocity } from './velocity.ts';

/**
 * The betas of Stable Diffusion ("scaled_linear"), 1000 steps.
 * @example stableDiffusionBetas()[0]; // 0.00085
 */
export function stableDiffusionBetas(): Float64Array {
  const [first, last] = [Math.sqrt(0.00085), Math.sqrt(0.012)];
  return Float64Array.from({ length: 1000 }, (_, i) => (first + (i * (last - first)) / 999) ** 2);
}

const betasKind = kind(
  'a Float64Array of at least three numbers in (0, 1)',
  (v) => v instanceof Float64Array && v.length >= 3 && v.every((beta) => beta > 0 && beta < 1),
);

/**
 * The velocity of a network that predicts the noise of a diffusion with these betas. A diffusion ends before pure noise: below
 * the time of its last step (0.064 for Stable Diffusion) the velocity is that of the last step.
 * @param predict the noise of the diffusion's states [N, ...] at steps [N], which are between the whole numbers where t asks for it
 * @throws ArgumentError, ValueError
 * @example
 * const velocity = noisePredictionVelocity((x, tau) => mul(x, 0));
 * velocity(tensor([[1]]), tensor([0.5])); // [[2]]
 */
export function noisePredictionVelocity(
  predict: (x: Tensor, tau: Tensor) => Tensor,
  betas: Float64Array = stableDiffusionBetas(),
): Velocity {
  checkArgument('noisePredictionVelocity', 'predict', predict, kinds.callback);
  checkArgument('noisePredictionVelocity', 'betas', betas, betasKind);
  const times = timesOfSteps(betas);
  if (times.some((t, tau) => tau > 0 && t >= times[tau - 1]))
    throw new ValueError('[noisePredictionVelocity] expected betas whose times fall, got others');
  const rising = Float32Array.from(times).reverse();
  const key = `times of the betas ${betas.join()}`;
  return (x, t) => {
    checkOperands('noisePredictionVelocity', [x, t]);
    return scope(() => {
      const each = (values: Tensor) => reshape(values, [x.shape[0], ...new Array<number>(x.rank - 1).fill(1)]);
      const at = clamp(t, { min: times[times.length - 1], max: times[0] });
      const tau = stepsAt(rising, key, at);
      const norm = sqrt(add(square(at), square(sub(1, at))));
      const a = each(div(at, norm));
      const s = each(div(sub(1, at), norm));
      const state = mul(x, add(a, s));
      const noise = predict(state, tau);
      return sub(div(sub(state, mul(noise, s)), a), noise);
    });
  };
}

/** The time t = a / (a + s) of each step, which falls with the step. */
function timesOfSteps(betas: Float64Array): Float64Array {
  let product = 1;
  return betas.map((beta) => {
    product *= 1 - beta;
    const a = Math.sqrt(product);
    return a / (a + Math.sqrt(1 - product));
  });
}

/**
 * The steps at times, between two steps by a straight line.
 * @param rising the times of the steps, the last step first
 * @param at [N], between the first and the last of them
 */
function stepsAt(rising: Float32Array, key: string, at: Tensor): Tensor {
  const last = rising.length - 1;
  const part = (from: number, to: number) =>
    constant(`${key} ${from} ${to}`, [to - from], at.device, () => rising.slice(from, to));
  const low = searchSorted(part(1, last), at);
  const before = gather(part(0, last), low);
  const after = gather(part(1, last + 1), low);
  const between = div(sub(at, before), sub(after, before));
  return sub(last, add(cast(low, 'f32'), between));
}
