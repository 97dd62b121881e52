// Paths of a flow: the points Z_t, and for each point the end of its tangent, Z_t + (1 - t) v(Z_t, t), where the path
// would end if it were straight from there on. On a straight path the end of the tangent never moves (paper, section
// 2.2).
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { NonFiniteError, ValueError } from '../errors.ts';
import { linearCombination } from '../kernels/ode.ts';
import { scope } from '../tensor/scope.ts';
import { inTurns } from './pieces.ts';
import { type SampleOptions, sampleOptions, solveInPieces, startsOf, withOwnShape } from './sample.ts';
import { rowsNotFinite } from './solvers.ts';
import { type Velocity, withMicroBatches, withObserver } from './velocity.ts';

export interface Trajectory {
  /** Times of the points, the last one 1. */
  times: number[];
  /** Z_t at each time, [count, ...shape]. */
  points: Float32Array[];
  /** The ends of the tangents, [count, ...shape] each; at the last time the points themselves. */
  ends: Float32Array[];
}

export interface TrajectoryOptions
  extends Pick<
    SampleOptions,
    'shape' | 'count' | 'seed' | 'noiseScale' | 'epsilon' | 'microBatch' | 'device' | 'signal' | 'latents'
  > {
  /** Euler steps; a multiple of `stops`. */
  steps: number;
  /** Points kept before the end. */
  stops: number;
}

const { shape, count, seed, noiseScale, epsilon, microBatch, device, signal, latents } = sampleOptions;

const trajectoryOptions: OptionKinds<TrajectoryOptions> = {
  ...{ shape, count, seed, noiseScale, epsilon, microBatch, device, signal, latents },
  steps: kinds.count,
  stops: kinds.count,
};

/**
 * Follows paths along Euler steps of the sampler's grid. The results are arrays of the host, without gradients.
 * @param options.steps a multiple of `stops`, the points kept before the end
 * @throws ValueError, ShapeError for wrong numbers; NonFiniteError for paths that are not finite; the signal's reason
 * when aborted
 * @example
 * const shift = (x) => add(mul(x, 0), 2);
 * const { times, points } = await trajectory(shift, { shape: [2], count: 3, seed: 1, steps: 10, stops: 2, epsilon: 0 });
 * times; // [0, 0.5, 1]
 * points.map(({ length }) => length); // [6, 6, 6]
 * points[2][0] - points[0][0]; // 2
 */
export async function trajectory(velocity: Velocity, options: TrajectoryOptions): Promise<Trajectory> {
  const required = ['shape', 'count', 'seed', 'steps', 'stops'] as const;
  const checked = withOwnShape('trajectory', checkOptions('trajectory', options, trajectoryOptions, required));
  const {
    shape,
    count,
    seed,
    noiseScale,
    device,
    steps,
    stops,
    epsilon,
    microBatch = count,
    signal,
    latents,
  } = checked;
  if (steps % stops !== 0) throw new ValueError(`trajectory: steps ${steps} must be a multiple of stops ${stops}`);
  using evaluate = withMicroBatches(velocity, microBatch);
  const path: Trajectory = { times: [], points: [], ends: [] };
  const keep = (t: number, point: Float32Array, end: Float32Array) => {
    path.times.push(t);
    path.points.push(point);
    path.ends.push(end);
  };
  await inTurns(function* () {
    let step = 0;
    const followed = withObserver(evaluate, (x, times, v) => {
      if (step++ % (steps / stops) !== 0) return;
      const t = (times.dataSync() as Float32Array)[0];
      const end = scope(() => linearCombination(x, [v], [1 - t]).dataSync());
      keep(t, x.dataSync() as Float32Array, end as Float32Array);
    });
    const start = startsOf('trajectory', [count, ...shape], { seed, noiseScale, device, latents });
    const { x } = yield* solveInPieces(followed, start, { solver: 'euler', steps, epsilon, signal });
    const end = x.dataSync() as Float32Array;
    keep(1, end, end);
  }, signal);
  const broken = new Set(path.points.flatMap((point) => rowsNotFinite(point, count)));
  if (broken.size > 0)
    throw new NonFiniteError(`${broken.size} of ${count} paths are not finite`, { samples: [...broken] });
  return path;
}
