// Interpolations other than the straight one, x_t = alpha(t) x_1 + beta(t) x_0, and the samplers that use them. No network is trained for
// them: where alpha / beta is equal, their points are those of the straight interpolation times alpha + beta, so a velocity of the straight
// one gives theirs (Liu et al., "Let us Flow Together", rectifiedflow.github.io; Pokle et al., arXiv 2309.04561):
//
//   tau = alpha / (alpha + beta),  z = x / (alpha + beta),  x_1 = z + (1 - tau) v(z, tau),  x_0 = z - tau v(z, tau)
//
// One Euler step adds h (alpha' x_1 + beta' x_0). One step of natural Euler goes to alpha x_1 + beta x_0 of the next time, which is the curve
// of the interpolation itself; at times of equal tau it takes the steps of straight Euler, whatever the interpolation.
import { draw } from '../data/points.ts';
import { NonFiniteError } from '../errors.ts';
import type { PlaneFlow } from './flows.ts';

/** Where an interpolation is at a time. */
interface Place {
  alpha: number;
  beta: number;
  /** Derivatives. */
  alphaRate: number;
  betaRate: number;
}

interface Interpolation {
  at(t: number): Place;
  /** The time at which alpha / (alpha + beta) is tau, above 0 and below 1. */
  timeOf(tau: number): number;
}

/** Constants of the variance preserving schedule: beta_max - beta_min and beta_min of Song et al., ICLR 2021. */
const [VP_A, VP_B] = [19.9, 0.1];

const interpolations = {
  straight: {
    at: (t) => ({ alpha: t, beta: 1 - t, alphaRate: 1, betaRate: -1 }),
    timeOf: (tau) => tau,
  },
  spherical: {
    at(t) {
      const angle = (Math.PI / 2) * t;
      const [alpha, beta] = [Math.sin(angle), Math.cos(angle)];
      return { alpha, beta, alphaRate: (Math.PI / 2) * beta, betaRate: (-Math.PI / 2) * alpha };
    },
    timeOf: (tau) => (2 / Math.PI) * Math.atan2(tau, 1 - tau),
  },
  vp: {
    at(t) {
      const s = 1 - t;
      const alpha = Math.exp((-VP_A / 4) * s * s - (VP_B / 2) * s);
      const beta = Math.sqrt(1 - alpha * alpha);
      const alphaRate = alpha * ((VP_A / 2) * s + VP_B / 2);
      return { alpha, beta, alphaRate, betaRate: (-alpha * alphaRate) / beta };
    },
    timeOf(tau) {
      const loss = -Math.log(tau / Math.hypot(tau, 1 - tau));
      const s = (-VP_B / 2 + Math.sqrt(VP_B ** 2 / 4 + VP_A * loss)) / (VP_A / 2);
      return 1 - s;
    },
  },
} satisfies Record<string, Interpolation>;

/**
 * Interpolations by name: 'straight', t x_1 + (1 - t) x_0; 'spherical', with the sine and cosine of pi t / 2; 'vp', the variance
 * preserving schedule of diffusion models (alpha(0) is 0.007, and taken as 0).
 */
export const interpolantNames = ['straight', 'spherical', 'vp'] as const;
export type InterpolantName = (typeof interpolantNames)[number];

/**
 * Samplers of the ODE or of a process with the same marginals: 'solver', by the option `solver`; 'natural', natural Euler; 'refresh', natural
 * Euler that replaces a part of the estimated start by new noise in each step; 'sde', the stochastic Euler sampler of `solveStochastic`.
 */
export const samplerNames = ['solver', 'natural', 'refresh', 'sde'] as const;
export type SamplerName = (typeof samplerNames)[number];

/** A path of points, by times and points. */
type Keep = (t: number, x: Float64Array) => void;

export interface CurvedOptions {
  interpolant: InterpolantName;
  steps: number;
  /** 'euler': equal steps of time; 'natural': steps of equal tau, as those of straight Euler. */
  method: 'euler' | 'natural';
  /** New noise in each step of natural Euler: share^2 of the variance of the start, whose deviation is given. */
  fresh?: { share: number; deviation: number; seed: number };
}

/**
 * Follows points of the host along an interpolation. Points are those of the interpolation; at t = 0 and t = 1 they are starts and ends.
 * @throws NonFiniteError for a velocity that is not finite
 */
export function followCurve(flow: PlaneFlow, start: Float64Array, options: CurvedOptions, keep: Keep): void {
  const { interpolant, steps, method, fresh } = options;
  const { at, timeOf } = interpolations[interpolant] as Interpolation;
  const natural = method === 'natural';
  const timeAt = (step: number) => {
    if (step === 0 || step === steps) return step / steps;
    return natural ? timeOf(step / steps) : step / steps;
  };
  // Natural Euler begins at the start itself, where alpha is 0 and beta is 1.
  const placeAt = (step: number): Place => {
    const place = at(timeAt(step));
    if (natural && step === 0) return { ...place, alpha: 0, beta: 1 };
    return step === steps ? { ...place, alpha: 1, beta: 0 } : place;
  };
  let x: Float64Array = start;
  for (let step = 0; step < steps; step++) {
    const { alpha, beta, alphaRate, betaRate } = placeAt(step);
    const size = alpha + beta;
    const tau = alpha / size;
    const z = x.map((value) => value / size);
    const v = flow.at(z, tau);
    const end = z.map((value, i) => value + (1 - tau) * v[i]);
    let begin: Float64Array = z.map((value, i) => value - tau * v[i]);
    if (fresh) begin = refreshed(begin, step, fresh);
    const next = placeAt(step + 1);
    const h = 1 / steps;
    x = natural
      ? end.map((value, i) => next.alpha * value + next.beta * begin[i])
      : x.map((value, i) => value + h * (alphaRate * end[i] + betaRate * begin[i]));
    keep(timeAt(step + 1), x);
  }
  if (!x.every(Number.isFinite))
    throw new NonFiniteError(`the paths of the ${flow.name} are not finite; lower the rate, or the L2 penalty`);
}

/** Numbers of points of the noise of a step: a step has fewer points. */
const STEP_POINTS = 2 ** 20;
/** Numbers that no cloud uses. */
const FRESH = 2 ** 44;

/** Starts with the same variance, of which a part is new. */
function refreshed(
  starts: Float64Array,
  step: number,
  { share, deviation, seed }: NonNullable<CurvedOptions['fresh']>,
): Float64Array {
  const kept = Math.sqrt(1 - share * share);
  const mixed = new Float64Array(starts.length);
  for (let i = 0; i < starts.length / 2; i++) {
    const { g0, g1 } = draw(FRESH + step * STEP_POINTS + i, seed);
    mixed[2 * i] = kept * starts[2 * i] + share * deviation * g0;
    mixed[2 * i + 1] = kept * starts[2 * i + 1] + share * deviation * g1;
  }
  return mixed;
}
