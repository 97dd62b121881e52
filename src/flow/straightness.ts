// Straightness of a flow's paths (paper, section 2.2): S = E || (Z_1 - Z_0) - v(Z_t, t) ||^2, the mean over dimensions. 0:
// every path is a straight line and one step is exact.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { noGrad } from '../autograd/mode.ts';
import { sub } from '../kernels/elementwise.ts';
import { mse } from '../kernels/loss.ts';
import { scope } from '../tensor/scope.ts';
import { initialNoise, type SampleOptions, sampleOptions, solve, withOwnShape } from './sample.ts';
import { microBatched, type Velocity } from './velocity.ts';

export interface StraightnessOptions
  extends Pick<
    SampleOptions,
    'shape' | 'count' | 'seed' | 'first' | 'noiseScale' | 'epsilon' | 'microBatch' | 'device' | 'signal'
  > {
  /** Euler steps. */
  steps: number;
}

const { shape, count, seed, first, noiseScale, epsilon, microBatch, device, signal } = sampleOptions;

const straightnessOptions: OptionKinds<StraightnessOptions> = {
  ...{ shape, count, seed, first, noiseScale, epsilon, microBatch, device, signal },
  steps: kinds.count,
};

/**
 * Over `steps` Euler steps of the sampler's own grid: v is measured where the sampler asks for it, so that Z_1 - Z_0 is the
 * mean of what is measured. Numbers of the host, without gradients.
 * @throws ValueError, ShapeError for wrong numbers; the signal's reason when aborted
 */
export async function straightness(
  velocity: Velocity,
  options: StraightnessOptions,
): Promise<{ straightness: number; perStep: number[] }> {
  const checked = withOwnShape(
    'straightness',
    checkOptions('straightness', options, straightnessOptions, ['shape', 'count', 'seed', 'steps']),
  );
  const { shape, count, seed, first, noiseScale, device, steps, epsilon, microBatch = count, signal } = checked;
  using evaluate = microBatched(velocity, microBatch);
  await nextTurn();
  signal?.throwIfAborted();
  const perStep = scope(() =>
    noGrad(() => {
      const euler = { solver: 'euler', steps, epsilon, signal } as const;
      const start = initialNoise([count, ...shape], { seed, first, noiseScale, device });
      const { x: end } = solve(evaluate, start, euler);
      const chord = sub(end, start);
      const distances: number[] = [];
      const measured: Velocity = (x, t) => {
        const v = evaluate(x, t);
        distances.push(scope(() => mse(v, chord).item()));
        return v;
      };
      solve(measured, start, euler);
      return distances;
    }),
  );
  return { straightness: perStep.reduce((a, b) => a + b, 0) / perStep.length, perStep };
}
