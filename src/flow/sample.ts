// Sampling: noise of (seed, sample number) carried along a velocity, logical batch by logical batch.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { noGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { defaultDevice } from '../device/open.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { sub } from '../kernels/elementwise.ts';
import { mse } from '../kernels/loss.ts';
import { randn } from '../kernels/random.ts';
import { tensor } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { sizeOf } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type FixedSolver, fixedSolvers, type Solution, type SolveOptions, solveFixed, solveRk45 } from './solvers.ts';
import { microBatched, type Velocity } from './velocity.ts';

export type SolverName = FixedSolver | 'rk45';
export const solverNames: readonly SolverName[] = [...fixedSolvers, 'rk45'];

export interface SampleOptions {
  /** Of one sample, e.g. [H, W, C]. */
  shape: readonly number[];
  count: number;
  /** The logical batch: RK45's error norm is over it. Default: count. */
  batch?: number;
  /** Samples evaluated at once; results do not depend on it. Default: batch. */
  microBatch?: number;
  seed: number;
  /** Stream of the noise; by default one apart from training's. */
  stream?: number;
  solver: SolverName;
  /** Of fixed-step solvers; default 100. */
  steps?: number;
  /** Of rk45; default 1e-5. */
  tolerance?: number;
  /** Start points [count, ...shape] in place of noise. */
  latents?: Float32Array;
  device?: Device;
  onProgress?: (progress: { done: number; count: number; t: number; nfe: number }) => void;
  signal?: AbortSignal;
}

export interface FlowSample {
  /** [count, ...shape]. */
  images: Float32Array;
  /** Evaluations of the velocity per sample: the mean over batches. */
  nfe: number;
}

/** @throws ValueError, ShapeError for wrong numbers; the signal's reason when aborted */
export async function sample(velocity: Velocity, options: SampleOptions): Promise<FlowSample> {
  const { shape, count, latents, device = defaultDevice(), onProgress, signal } = options;
  const { batch = count, microBatch = batch } = options;
  for (const [name, value] of Object.entries({ count, batch, microBatch }))
    if (!Number.isInteger(value) || value < 1)
      throw new ValueError(`${name} must be a whole number >= 1, got ${value}`);
  const width = sizeOf(shape);
  if (latents && latents.length !== count * width)
    throw new ShapeError('sample', `latents ${formatShape([count, ...shape])}`, `${latents.length} numbers`);
  const evaluate = microBatched(velocity, microBatch);
  const images = new Float32Array(count * width);
  let evaluations = 0;
  for (let done = 0; done < count; done += batch) {
    // Lets signals in between two batches, which block the event loop.
    await nextTurn();
    signal?.throwIfAborted();
    const n = Math.min(batch, count - done);
    const onStep: SolveOptions['onStep'] = ({ t, nfe }) => onProgress?.({ done, count, t, nfe });
    const result = scope(() =>
      noGrad(() => solve(evaluate, startPoints(options, device, done, n), { ...options, onStep })),
    );
    images.set((await result.x.data()) as Float32Array, done * width);
    result.x.dispose();
    evaluations += result.nfe * n;
    onProgress?.({ done: done + n, count, t: 1, nfe: result.nfe });
  }
  return { images, nfe: evaluations / count };
}

function startPoints(
  { shape, latents, seed, stream = streams.samples }: Pick<SampleOptions, 'shape' | 'latents' | 'seed' | 'stream'>,
  device: Device,
  first: number,
  n: number,
): Tensor {
  const width = sizeOf(shape);
  return latents
    ? tensor(latents.slice(first * width, (first + n) * width), { shape: [n, ...shape], device })
    : randn([n, ...shape], { device, seed, stream, sample: first });
}

/** From t = 0 to 1 by name. */
export function solve(
  velocity: Velocity,
  start: Tensor,
  options: Pick<SampleOptions, 'solver' | 'steps' | 'tolerance' | 'signal'> & Pick<SolveOptions, 'onStep'>,
): Solution {
  const { solver, steps = 100, tolerance = 1e-5, onStep, signal } = options;
  return solver === 'rk45'
    ? solveRk45(velocity, start, { tolerance, onStep, signal })
    : solveFixed(velocity, start, { solver, steps, onStep, signal });
}

/**
 * Straightness of the flow's paths (paper, section 2.2): E || (Z_1 - Z_0) - v(Z_t, t) ||^2, the mean over dimensions, over
 * `steps` Euler steps. 0: every path is a straight line, one step is exact.
 */
export async function straightness(
  velocity: Velocity,
  options: Pick<SampleOptions, 'shape' | 'count' | 'seed' | 'microBatch' | 'device' | 'signal'> & { steps: number },
): Promise<{ straightness: number; perStep: number[] }> {
  const { count, steps, device = defaultDevice(), microBatch = count, signal } = options;
  const evaluate = microBatched(velocity, microBatch);
  await nextTurn();
  signal?.throwIfAborted();
  const perStep = scope(() => {
    const start = startPoints(options, device, 0, count);
    const { x: end } = solveFixed(evaluate, start, { solver: 'euler', steps, signal });
    const chord = sub(end, start);
    const distances: number[] = [];
    const measured: Velocity = (x, t) => {
      const v = evaluate(x, t);
      distances.push(scope(() => mse(v, chord).item()));
      return v;
    };
    solveFixed(measured, start, { solver: 'euler', steps, signal });
    return distances;
  });
  return { straightness: perStep.reduce((a, b) => a + b, 0) / perStep.length, perStep };
}
