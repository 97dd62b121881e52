// Sampling and its inverse: points carried along a velocity, logical batch by logical batch.
// The grid is the official one (sampling.py): fixed steps of 1/N at t_i = i/N (1 - eps) + eps, so that Euler with N = 1 is
// z_0 + v(z_0, eps); RK45 from eps to 1. A network with a Fourier embedding of log t has no value at t = 0.
import { noGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { defaultDevice } from '../device/open.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { mul } from '../kernels/elementwise.ts';
import { type DrawOptions, randn } from '../kernels/random.ts';
import { tensor } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { sizeOf } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkCounts, countSamples, logicalBatches } from './batches.ts';
import { type FixedSolver, fixedSolvers, type Solution, type SolveOptions, solveFixed, solveRk45 } from './solvers.ts';
import { type SdeDrift, solveStochastic } from './stochastic.ts';
import { TIME_EPSILON } from './times.ts';
import { microBatched, type Velocity } from './velocity.ts';

export type SolverName = FixedSolver | 'rk45';
export const solverNames: readonly SolverName[] = [...fixedSolvers, 'rk45'];

const DEFAULT_STEPS = 100;
const DEFAULT_TOLERANCE = 1e-5;

/** How points are carried, forwards or back. */
export interface TransportOptions {
  /** Of one sample, e.g. [H, W, C]. */
  shape: readonly number[];
  /** The logical batch: RK45's error norm is over it. Default: all. */
  batch?: number;
  /** Samples evaluated at once; results do not depend on it. Default: batch. */
  microBatch?: number;
  solver: SolverName;
  /** Of fixed-step solvers; default 100. */
  steps?: number;
  /** Of rk45; default 1e-5. */
  tolerance?: number;
  /** Time that noise is taken to be at; default 1e-3, as trained. 0: the plain grid over [0, 1]. */
  epsilon?: number;
  device?: Device;
  /** Told after each step of a solver. */
  onProgress?: (progress: { done: number; count: number; t: number; nfe: number }) => void;
  signal?: AbortSignal;
}

export interface SampleOptions extends TransportOptions {
  count: number;
  seed: number;
  /** Number of the first sample: what sample i draws depends on seed and i alone. Default 0. */
  first?: number;
  /** Stream of the noise; by default one apart from training's. */
  stream?: number;
  /** Standard deviation of the noise (official init_noise_scale); default 1. */
  noiseScale?: number;
  /** Above 0: the stochastic Euler sampler with sigma_t = (1 - t) sigmaVariance, for solver 'euler'. Default 0. */
  sigmaVariance?: number;
  /** Its drift; default 'exact'. */
  sdeDrift?: SdeDrift;
  /** Start points [count, ...shape] in place of noise, taken as they are. */
  latents?: Float32Array;
}

export interface FlowSample {
  /** [count, ...shape]. */
  images: Float32Array;
  /** Evaluations of the velocity per sample: the mean over batches. */
  nfe: number;
}

/**
 * From noise (or `latents`) to data, on the host: without gradients, whatever the velocity is made of.
 * @throws ValueError, ShapeError for wrong numbers; the signal's reason when aborted
 */
export async function sample(velocity: Velocity, options: SampleOptions): Promise<FlowSample> {
  const { shape, count, latents, seed, first = 0, stream, noiseScale, device, solver, steps = DEFAULT_STEPS } = options;
  const { sigmaVariance = 0, sdeDrift: drift, epsilon } = options;
  checkCounts({ count });
  if (latents && latents.length !== count * sizeOf(shape))
    throw new ShapeError('sample', `latents ${formatShape([count, ...shape])}`, `${latents.length} numbers`);
  if (sigmaVariance !== 0 && solver !== 'euler')
    throw new ValueError(`sigmaVariance ${sigmaVariance} is for the solver "euler", got "${solver}"`);
  const start = (from: number, n: number) =>
    latents
      ? batchOf(latents, from, n, options)
      : initialNoise([n, ...shape], { seed, first: first + from, stream, noiseScale, device });
  const along: Path =
    sigmaVariance === 0
      ? (v, x, watch) => solve(v, x, { ...options, ...watch })
      : (v, x, watch, from) =>
          solveStochastic(v, x, {
            steps,
            sigmaVariance,
            drift,
            noiseScale,
            epsilon,
            seed,
            first: first + from,
            ...watch,
          });
  const { points, nfe } = await transport(velocity, count, start, along, options);
  return { images: points, nfe };
}

/**
 * From data back to noise: the ODE from t = 1 to epsilon (official ode(reverse=True)); with the data, pairs (z_0, z_1). Without
 * gradients, as `sample`.
 * @param images [count, ...shape]
 * @returns latents [count, ...shape], and the mean NFE per sample
 * @throws as `sample`
 */
export async function encode(
  velocity: Velocity,
  images: Float32Array,
  options: TransportOptions,
): Promise<{ latents: Float32Array; nfe: number }> {
  const count = countSamples('encode', images, options.shape);
  const start = (from: number, n: number) => batchOf(images, from, n, options);
  const along: Path = (v, x, watch) => solve(v, x, { ...options, ...watch, reverse: true });
  const { points, nfe } = await transport(velocity, count, start, along, options);
  return { latents: points, nfe };
}

/** z_0 of samples first, first + 1, ...: noise of (seed, sample number), whatever the batch. @param shape [N, ...] */
export function initialNoise(
  shape: readonly number[],
  options: Pick<SampleOptions, 'seed' | 'first' | 'stream' | 'noiseScale' | 'device'> & Pick<DrawOptions, 'origin'>,
): Tensor {
  const { seed, first = 0, origin, stream = streams.samples, noiseScale = 1, device } = options;
  return scope(() => {
    const noise = randn(shape, { seed, sample: first, origin, stream, device });
    return noiseScale === 1 ? noise : mul(noise, noiseScale);
  });
}

/**
 * From noise to data, or back, by a solver's name. Euler with 20 steps is the official online teacher of reflow. Gradients flow
 * through the steps to `start` and to what the velocity is made of; run it inside noGrad() where none are needed.
 * @throws ValueError for options outside their range; NonFiniteError by rk45 for a start or a velocity that is not finite; the
 * signal's reason when aborted
 */
export function solve(
  velocity: Velocity,
  start: Tensor,
  options: Pick<SampleOptions, 'solver' | 'steps' | 'tolerance' | 'epsilon' | 'signal'> &
    Pick<SolveOptions, 'onStep'> & { reverse?: boolean },
): Solution {
  const { solver, steps = DEFAULT_STEPS, tolerance = DEFAULT_TOLERANCE, reverse, onStep, signal } = options;
  const { epsilon = TIME_EPSILON } = options;
  if (!(epsilon >= 0 && epsilon < 1)) throw new ValueError(`epsilon must be in [0, 1), got ${epsilon}`);
  const between = (start: number) => (reverse ? { from: 1, to: start } : { from: start, to: 1 });
  return solver === 'rk45'
    ? solveRk45(velocity, start, { ...between(epsilon), tolerance, onStep, signal })
    : solveFixed(velocity, start, { ...between(0), epsilon, solver, steps, onStep, signal });
}

/** Solves one batch whose first sample is number `from` of this call. */
type Path = (velocity: Velocity, start: Tensor, watch: Pick<SolveOptions, 'onStep'>, from: number) => Solution;

async function transport(
  velocity: Velocity,
  count: number,
  start: (from: number, n: number) => Tensor,
  along: Path,
  options: TransportOptions,
): Promise<{ points: Float32Array; nfe: number }> {
  const { batch = count, microBatch = batch, onProgress, signal } = options;
  checkCounts({ batch, microBatch });
  using evaluate = microBatched(velocity, microBatch);
  const width = sizeOf(options.shape);
  const points = new Float32Array(count * width);
  let evaluations = 0;
  for await (const [done, n] of logicalBatches(count, batch, signal)) {
    let reached = 0;
    const onStep: SolveOptions['onStep'] = ({ t, nfe }) => {
      reached = t;
      onProgress?.({ done, count, t, nfe });
    };
    const { x, nfe } = scope(() => noGrad(() => along(evaluate, start(done, n), { onStep }, done)));
    points.set((await x.data()) as Float32Array, done * width);
    x.dispose();
    evaluations += nfe * n;
    onProgress?.({ done: done + n, count, t: reached, nfe });
  }
  return { points, nfe: evaluations / count };
}

/** Samples [from, from + n) of host values [count, ...shape]. */
function batchOf(
  values: Float32Array,
  from: number,
  n: number,
  { shape, device = defaultDevice() }: Pick<TransportOptions, 'shape' | 'device'>,
): Tensor {
  const width = sizeOf(shape);
  return tensor(values.slice(from * width, (from + n) * width), { shape: [n, ...shape], device });
}
