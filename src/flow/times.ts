// Laws of training times. A law maps random numbers to times in [0, 1], which are then laid over [eps, 1):
//   uniform       t = u                                             (paper, equation 1)
//   logit_normal  t = sigmoid(m + s n), n normal                    (Esser et al. 2024, section 3.1)
//   u_shaped      density a (e^(a t) + e^(a (1 - t))) / (2 (e^a - 1))  (Lee, Lin, Fanti 2024, section 3.2; a = 4)
//   cosmap        t = 1 - 1 / (tan(pi u / 2) + 1)                   (Esser et al. 2024, section 3.1)
import { kinds, type OptionKinds, oneOf, refuseInert } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { add, cos, div, equal, less, log, minimum, mul, sigmoid, sin, sub, where } from '../kernels/elementwise.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Smallest time that is trained on (official sde_lib.py, eps). */
export const TIME_EPSILON = 1e-3;

/** The names of the laws of training times. */
export const timeLaws = ['uniform', 'logit_normal', 'u_shaped', 'cosmap'] as const;

/** A law of times; the defaults of its parameters are the published ones. */
export interface TimeLaw {
  law: (typeof timeLaws)[number];
  /** Mean and deviation of the logit, for logit_normal alone; default 0 and 1. */
  mean?: number;
  deviation?: number;
  /** How strongly u_shaped favours the ends; default 4. */
  steepness?: number;
}

/** The kinds of a law's options, for functions that take one. */
export const lawKinds: OptionKinds<TimeLaw> = {
  law: oneOf(timeLaws),
  mean: kinds.number,
  deviation: kinds.number,
  steepness: kinds.number,
};

/** The parameters of each law. */
const parameters = {
  logit_normal: ['mean', 'deviation'],
  u_shaped: ['steepness'],
} as const satisfies { readonly [Law in TimeLaw['law']]?: readonly (keyof TimeLaw)[] };

/** The random numbers [n] from which a law computes its times. Each call returns the same ones. */
interface RandomNumbers {
  /** In [0, 1). */
  uniform(): Tensor;
  normal(): Tensor;
}

/**
 * Times [n] of a law, in [eps, 1].
 * @throws ValueError for parameters out of range; ArgumentError for those of another law
 */
export function timesByLaw(law: TimeLaw, numbers: RandomNumbers): Tensor {
  for (const [owner, names] of Object.entries(parameters))
    if (owner !== law.law) refuseInert('Draw.times', law, names, `with the law "${law.law}"`);
  return overInterval(laws[law.law](law, numbers));
}

const laws: Record<TimeLaw['law'], (law: TimeLaw, numbers: RandomNumbers) => Tensor> = {
  uniform: (_, { uniform }) => uniform(),
  logit_normal({ mean = 0, deviation = 1 }, { normal }) {
    if (!(deviation > 0 && Number.isFinite(mean)))
      throw new ValueError(`logit_normal needs a finite mean and a deviation > 0, got ${mean} and ${deviation}`);
    return sigmoid(add(mul(normal(), deviation), mean));
  },
  u_shaped({ steepness: a = 4 }, { uniform }) {
    if (!(a > 0 && a < 80)) throw new ValueError(`u_shaped needs a steepness in (0, 80), got ${a}`);
    // Half of the numbers are drawn with density e^(a t), the other half with its mirror image.
    const u = uniform();
    const first = less(u, 0.5);
    const spread = where(first, mul(u, 2), sub(mul(u, 2), 1));
    // ln(1 + x) / a, x = spread (e^a - 1), as x / a times ln(w) / (w - 1), w = 1 + x rounded: exact for small x too
    // (Kahan).
    const w = add(mul(spread, Math.expm1(a)), 1);
    const bend = where(equal(w, 1), 1, div(log(w), sub(w, 1)));
    const rising = minimum(mul(mul(spread, Math.expm1(a) / a), bend), 1);
    return where(first, rising, sub(1, rising));
  },
  cosmap(_, { uniform }) {
    const angle = mul(uniform(), Math.PI / 2);
    // tan / (tan + 1), without the division by a cosine near 0.
    return div(sin(angle), add(sin(angle), cos(angle)));
  },
};

/** Times in [0, 1] laid over [eps, 1]. */
export function overInterval(t: Tensor): Tensor {
  return add(mul(t, 1 - TIME_EPSILON), TIME_EPSILON);
}
