// The stochastic Euler sampler: dx = (v + sigma_t^2 / 2 score) dt + sigma_t dw, sigma_t = (1 - t) sigmaVariance
// (official sampling.py and sde_lib.py), on the grid t_i = i/N (1 - eps) + eps with steps of 1/N.
//
// Its marginals are those of the ODE for any sigma_t when the drift holds the score of p_t (Song et al., ICLR 2021,
// section 4.3). With x_t = t x_1 + (1 - t) x_0, v = E[x_1 - x_0 | x_t] and x_0 ~ N(0, a^2) independent of x_1:
//   x_t = t v + E[x_0 | x_t],  score(x_t) = -E[x_0 | x_t] / (a^2 (1 - t)) = (t v - x_t) / (a^2 (1 - t)),
// so the drift is v + sigmaVariance^2 (1 - t) / (2 a^2) (t v - x). In place of (1 - t) (t v - x), the official code has
// (t (1 - t) v - (2 - t) x) / 2, which does not keep the marginals: 'legacy'.
import { checkOptions, kinds, type OptionKinds, oneOf } from '../arguments.ts';
import { linearCombination } from '../kernels/ode.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type DrawnBy, drawnByKinds, drawOf } from './draw.ts';
import { atOnce, type Pieces, withScope } from './pieces.ts';
import { epsilonKind, type Solution, type SolveOptions } from './solvers.ts';
import { TIME_EPSILON } from './times.ts';
import { checkPath, type Velocity, velocityAt } from './velocity.ts';

/** 'exact' keeps the marginals of the flow; 'legacy' is the formula of the official code, which does not. */
export type SdeDrift = 'exact' | 'legacy';
/** The names of the drifts of the stochastic sampler. */
export const sdeDrifts: readonly SdeDrift[] = ['exact', 'legacy'];

interface StochasticSettings extends Pick<SolveOptions, 'onStep' | 'signal'> {
  steps: number;
  /** At least 0; with 0, the bits are those of Euler. */
  sigmaVariance: number;
  /** Default 'exact'. */
  drift?: SdeDrift;
  /** Standard deviation of x_0; default 1. */
  noiseScale?: number;
  /** Default 1e-3. */
  epsilon?: number;
}

/** The noise of a step depends on the seed, the number of the sample and the step alone. */
export type StochasticOptions = DrawnBy & StochasticSettings;

const stochasticOptions: OptionKinds<StochasticOptions> = {
  onStep: kinds.callback,
  signal: kinds.signal,
  steps: kinds.count,
  sigmaVariance: kinds.notNegative,
  drift: oneOf(sdeDrifts),
  noiseScale: kinds.positive,
  epsilon: epsilonKind,
  ...drawnByKinds,
};

/**
 * Solves from noise to data by the stochastic Euler sampler, sigma_t = (1 - t) sigmaVariance. The velocity must be that of a 1-rectified flow, whose noise is independent of its data.
 * Gradients flow through the steps to the start and to the tensors that the velocity uses; the noise is a constant.
 * @param start [N, ...]
 * @throws ValueError for options outside their range; ShapeError for a velocity of another shape than x; the signal's
 * reason when aborted
 * @example
 * const velocity = (x) => mul(x, 0);
 * const start = initialNoise([4, 2], { seed: 1 });
 * const { x, nfe } = solveStochastic(velocity, start, { steps: 10, sigmaVariance: 1, seed: 2 });
 * x.shape; // [4, 2]
 * nfe; // 10
 */
export function solveStochastic(velocity: Velocity, start: Tensor, options: StochasticOptions): Solution {
  return atOnce(stochasticInPieces(velocity, start, options));
}

/** `solveStochastic` in pieces. */
export function* stochasticInPieces(velocity: Velocity, start: Tensor, options: StochasticOptions): Pieces<Solution> {
  checkPath('solveStochastic', velocity, start);
  const checked = checkOptions('solveStochastic', options, stochasticOptions, ['steps', 'sigmaVariance']);
  const { steps, sigmaVariance, drift = 'exact', noiseScale = 1, epsilon = TIME_EPSILON } = checked;
  const { onStep, signal } = checked;
  const draw = drawOf('solveStochastic', checked, start.device);
  const dt = 1 / steps;
  const gain = sigmaVariance ** 2 / (2 * noiseScale ** 2);
  let x = start;
  for (let step = 0; step < steps; step++) {
    signal?.throwIfAborted();
    const t = (step / steps) * (1 - epsilon) + epsilon;
    const [alongV, alongX] = drift === 'exact' ? [(1 - t) * t, -(1 - t)] : [(t * (1 - t)) / 2, -(2 - t) / 2];
    const before = x;
    const next = yield* withScope(function* () {
      const v = yield* velocityAt(velocity, before, t);
      const moved = linearCombination(before, [v, before], [dt * (1 + gain * alongV), dt * gain * alongX]);
      if (sigmaVariance === 0) return moved;
      const noise = draw.normal(start.shape, streams.diffusion + step);
      return linearCombination(moved, [noise], [(1 - t) * sigmaVariance * Math.sqrt(dt)]);
    });
    if (x !== start) x.dispose();
    x = next;
    onStep?.({ x, t: step + 1 === steps ? 1 : t + dt * (1 - epsilon), nfe: step + 1 });
  }
  return { x, nfe: steps };
}
