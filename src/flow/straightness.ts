// Straightness of a flow's paths (paper, section 2.2): S = E || (Z_1 - Z_0) - v(Z_t, t) ||^2, the mean over dimensions.
// It is 0 if every path is a straight line, and one step is then exact.
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { NonFiniteError } from '../errors.ts';
import { sub } from '../kernels/elementwise.ts';
import { mse } from '../kernels/loss.ts';
import { scope } from '../tensor/scope.ts';
import { inTurns } from './pieces.ts';
import { type SampleOptions, sampleOptions, solveInPieces, startsOf, withOwnShape } from './sample.ts';
import { type Velocity, withMicroBatches, withObserver } from './velocity.ts';

export interface StraightnessOptions
  extends Pick<
    SampleOptions,
    'shape' | 'count' | 'seed' | 'first' | 'noiseScale' | 'epsilon' | 'microBatch' | 'device' | 'signal' | 'latents'
  > {
  /** Euler steps. */
  steps: number;
}

const { shape, count, seed, first, noiseScale, epsilon, microBatch, device, signal, latents } = sampleOptions;

const straightnessOptions: OptionKinds<StraightnessOptions> = {
  ...{ shape, count, seed, first, noiseScale, epsilon, microBatch, device, signal, latents },
  steps: kinds.count,
};

/**
 * Straightness of paths, S = E || (Z_1 - Z_0) - v(Z_t, t) ||^2, the mean over dimensions (Liu, Gong, Liu 2023, section 2.2); 0 if every
 * path is a straight line. It measures v at the times of the sampler's `steps` Euler steps, so that Z_1 - Z_0 is the mean of the measured
 * velocities. The results are numbers of the host, without gradients.
 * @throws ValueError, ShapeError for wrong numbers; NonFiniteError for paths that are not finite; the signal's reason
 * when aborted
 * @example
 * const shift = (x) => add(mul(x, 0), 2);
 * const bent = (x, t) => add(mul(x, 0), mul(reshape(t, [-1, 1]), 2));
 * const options = { shape: [2], count: 8, seed: 1, steps: 10, epsilon: 0 };
 * (await straightness(shift, options)).straightness < 1e-6; // true
 * (await straightness(bent, options)).straightness; // 0.33
 */
export async function straightness(
  velocity: Velocity,
  options: StraightnessOptions,
): Promise<{ straightness: number; perStep: number[] }> {
  const checked = withOwnShape(
    'straightness',
    checkOptions('straightness', options, straightnessOptions, ['shape', 'count', 'seed', 'steps']),
  );
  const {
    shape,
    count,
    seed,
    first,
    noiseScale,
    device,
    steps,
    epsilon,
    microBatch = count,
    signal,
    latents,
  } = checked;
  using evaluate = withMicroBatches(velocity, microBatch);
  const perStep = await inTurns(function* () {
    const euler = { solver: 'euler', steps, epsilon, signal } as const;
    const start = startsOf('straightness', [count, ...shape], { seed, first, noiseScale, device, latents });
    const { x: end } = yield* solveInPieces(evaluate, start, euler);
    const chord = sub(end, start);
    const distances: number[] = [];
    const measured = withObserver(evaluate, (_x, _t, v) => {
      distances.push(scope(() => mse(v, chord).item()));
    });
    yield* solveInPieces(measured, start, euler);
    return distances;
  }, signal);
  if (!perStep.every(Number.isFinite))
    throw new NonFiniteError(`the velocity of at least one of ${count} paths is not finite: there is no straightness`);
  return { straightness: perStep.reduce((a, b) => a + b, 0) / perStep.length, perStep };
}
