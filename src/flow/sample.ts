// Sampling and its inverse: solves dx/dt = v(x, t) for many points, one logical batch after the other.
// The grid is the official one (sampling.py): fixed steps of 1/N at t_i = i/N (1 - eps) + eps, so that Euler with N = 1
// is z_0 + v(z_0, eps); RK45 from eps to 1. A network with a Fourier embedding of log t has no value at t = 0.
import { checkArgument, checkOptions, kinds, type OptionKinds, oneOf, refuseInert, resultArray } from '../arguments.ts';
import type { Device } from '../device/device.ts';
import { deviceKind } from '../device/device.ts';
import { defaultDevice } from '../device/open.ts';
import { formatShape, NonFiniteError, ShapeError, ValueError } from '../errors.ts';
import { gather } from '../kernels/movement.ts';
import { tensor } from '../tensor/create.ts';
import { checkShape, shapeKind, sizeOf } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { countSamples, logicalBatches } from './batches.ts';
import { Draw } from './draw.ts';
import { atOnce, inTurns, type Pieces } from './pieces.ts';
import {
  epsilonKind,
  type FixedSolver,
  fixedInPieces,
  fixedSolvers,
  rk45InPieces,
  rowsNotFinite,
  type Solution,
  type SolveOptions,
} from './solvers.ts';
import { type SdeDrift, sdeDrifts, stochasticInPieces } from './stochastic.ts';
import { TIME_EPSILON } from './times.ts';
import { type Velocity, withMicroBatches } from './velocity.ts';

export type SolverName = FixedSolver | 'rk45';
/** The names of all solvers of the ODE. */
export const solverNames: readonly SolverName[] = [...fixedSolvers, 'rk45'];

const DEFAULT_STEPS = 100;
const DEFAULT_TOLERANCE = 1e-5;

/** How to solve the ODE, from noise to data or back. */
export interface TransportOptions {
  /** Shape of one sample, e.g. [H, W, C]. */
  shape: readonly number[];
  /** The logical batch: RK45's error norm is over it. Default: all. */
  batch?: number;
  /** Samples evaluated at once; results do not depend on it. Default: batch. */
  microBatch?: number;
  solver: SolverName;
  /** Steps of a solver with equal steps; default 100. */
  steps?: number;
  /** Tolerance of rk45; default 1e-5. */
  tolerance?: number;
  /**
   * Smallest time that the velocity is asked for; default 1e-3, the smallest that is trained on. 0: the plain grid over
   * [0, 1].
   */
  epsilon?: number;
  device?: Device;
  /** Called after each step of a solver. */
  onProgress?: (progress: { done: number; count: number; t: number; nfe: number }) => void;
  signal?: AbortSignal;
}

export interface SampleOptions extends TransportOptions {
  count: number;
  seed: number;
  /** Number of the first sample; default 0. What is drawn for a sample depends on the seed and its number alone. */
  first?: number;
  /** Stream of the noise; the default is not a stream of training. */
  stream?: number;
  /** Standard deviation of the noise (official init_noise_scale); default 1. */
  noiseScale?: number;
  /**
   * Above 0, selects the stochastic Euler sampler with sigma_t = (1 - t) sigmaVariance, for solver 'euler'. Default 0.
   */
  sigmaVariance?: number;
  /** Drift of the stochastic sampler; default 'exact'. */
  sdeDrift?: SdeDrift;
  /** Start points [count, ...shape], used as they are in place of noise. Options of the noise are then refused. */
  latents?: Float32Array;
  /**
   * What to do with samples that are not finite: 'refuse' (default) throws, 'leave out' drops them and lists them in
   * the result.
   */
  notFinite?: 'refuse' | 'leave out';
}

const transportOptions: OptionKinds<TransportOptions> = {
  shape: shapeKind,
  batch: kinds.count,
  microBatch: kinds.count,
  solver: oneOf(solverNames),
  steps: kinds.count,
  tolerance: kinds.positive,
  epsilon: epsilonKind,
  device: deviceKind,
  onProgress: kinds.callback,
  signal: kinds.signal,
};

/** The kinds of all options of `sample`, for functions that share them. */
export const sampleOptions: OptionKinds<SampleOptions> = {
  ...transportOptions,
  count: kinds.count,
  seed: kinds.whole,
  first: kinds.whole,
  stream: kinds.whole,
  noiseScale: kinds.notNegative,
  sigmaVariance: kinds.notNegative,
  sdeDrift: oneOf(sdeDrifts),
  latents: kinds.float32,
  notFinite: oneOf(['refuse', 'leave out']),
};

export interface FlowSample {
  /** [count, ...shape], without the samples that are left out. */
  samples: Float32Array;
  /** Numbers within [0, count) of the samples that were not finite and are left out; see `notFinite`. */
  leftOut: number[];
  /** Evaluations of the velocity per sample, the mean over batches. */
  nfe: number;
}

/**
 * Carries noise, or `latents`, to data. The result is an array of the host, without gradients.
 * @throws ValueError, ShapeError for wrong numbers; NonFiniteError saying how many samples are not finite; the signal's
 * reason when aborted
 * @example
 * const velocity = (x) => add(mul(x, 0), 2);
 * const latents = Float32Array.of(3, 4);
 * const { samples, nfe } = await sample(velocity, { shape: [1], count: 2, seed: 1, solver: 'heun', steps: 5, latents });
 * samples; // [5, 6]
 * nfe; // 10
 */
export async function sample(velocity: Velocity, given: SampleOptions): Promise<FlowSample> {
  checkArgument('sample', 'velocity', velocity, kinds.callback);
  const options = withOwnShape(
    'sample',
    checkOptions('sample', given, sampleOptions, ['shape', 'count', 'seed', 'solver']),
  );
  const { shape, count, latents, seed, first, noiseScale, device, solver, steps = DEFAULT_STEPS } = options;
  const { stream = streams.samples, sigmaVariance = 0, sdeDrift: drift, epsilon } = options;
  if (latents && latents.length !== count * sizeOf(shape))
    throw new ShapeError('sample', `latents ${formatShape([count, ...shape])}`, `${latents.length} numbers`);
  if (sigmaVariance !== 0 && solver !== 'euler')
    throw new ValueError(`sigmaVariance ${sigmaVariance} is for the solver "euler", got "${solver}"`);
  refuseIneffective('sample', options);
  if (sigmaVariance === 0) refuseInert('sample', options, ['sdeDrift'], 'without a sigmaVariance above 0');
  if (sigmaVariance === 0 && latents)
    refuseInert('sample', options, ['first', 'noiseScale'], 'with latents, which replace the noise');
  if (latents) refuseInert('sample', options, ['stream'], 'with latents, which replace the noise of the starts');
  const draw = new Draw({ seed, first, device });
  const start = (from: number, n: number) =>
    latents ? batchOf(latents, from, n, options) : draw.skip(from).noise([n, ...shape], { scale: noiseScale, stream });
  const along: Path =
    sigmaVariance === 0
      ? (v, x, watch) => solveInPieces(v, x, { ...solveOptionsOf(options), ...watch })
      : (v, x, watch, from) =>
          stochasticInPieces(v, x, {
            steps,
            sigmaVariance,
            drift,
            noiseScale,
            epsilon,
            draw: draw.skip(from),
            ...watch,
          });
  const { points, leftOut, nfe } = await transport(velocity, count, start, along, options);
  return { samples: points, leftOut, nfe };
}

/**
 * Carries data back to noise: the ODE from t = 1 to epsilon (official ode(reverse=True)). Data and result are pairs
 * (z_1, z_0). Has no gradients, like `sample`.
 * @param data [count, ...shape]
 * @returns latents [count, ...shape], and the mean NFE per sample
 * @throws as `sample`
 * @example
 * const velocity = (x) => add(mul(x, 0), 2);
 * const { latents } = await encode(velocity, Float32Array.of(5, 6), { shape: [1], solver: 'euler', steps: 4 });
 * latents; // [3, 4]
 */
export async function encode(
  velocity: Velocity,
  data: Float32Array,
  given: TransportOptions,
): Promise<{ latents: Float32Array; nfe: number }> {
  checkArgument('encode', 'velocity', velocity, kinds.callback);
  const options = withOwnShape('encode', checkOptions('encode', given, transportOptions, ['shape', 'solver']));
  refuseIneffective('encode', options);
  const count = countSamples('encode', data, options.shape);
  const start = (from: number, n: number) => batchOf(data, from, n, options);
  const along: Path = (v, x, watch) => solveInPieces(v, x, { ...solveOptionsOf(options), ...watch, reverse: true });
  const { points, nfe } = await transport(velocity, count, start, along, options);
  return { latents: points, nfe };
}

/** The options with a copy of the shape, since the caller may change it between two batches. @throws ShapeError */
export function withOwnShape<Options extends { shape: readonly number[] }>(op: string, options: Options): Options {
  return { ...options, shape: checkShape(op, options.shape) };
}

/** Refuses options that the solver does not read. */
function refuseIneffective(op: string, options: Pick<TransportOptions, 'solver' | 'steps' | 'tolerance'>) {
  const { solver } = options;
  if (solver === 'rk45') refuseInert(op, options, ['steps'], 'with the solver "rk45", which chooses its own');
  else refuseInert(op, options, ['tolerance'], `with the solver "${solver}", whose steps are equal`);
}

function solveOptionsOf({ solver, steps, tolerance, epsilon, signal }: TransportOptions) {
  return { solver, steps, tolerance, epsilon, signal };
}

type InitialNoiseOptions = Pick<SampleOptions, 'seed' | 'first' | 'stream' | 'noiseScale' | 'device'>;

const initialNoiseOptions: OptionKinds<InitialNoiseOptions> = {
  seed: sampleOptions.seed,
  first: sampleOptions.first,
  stream: sampleOptions.stream,
  noiseScale: sampleOptions.noiseScale,
  device: sampleOptions.device,
};

/**
 * The noise that `sample` starts from with the same options.
 * @param shape [N, ...] for samples first, first + 1, ...
 * @example
 * const noise = initialNoise([3, 2], { seed: 1 });
 * const { samples } = await sample((x) => mul(x, 0), { shape: [2], count: 3, seed: 1, solver: 'euler', steps: 1 });
 * sub(noise, tensor(samples, { shape: [3, 2] })); // [[0, 0], [0, 0], [0, 0]]
 */
export function initialNoise(shape: readonly number[], options: InitialNoiseOptions): Tensor {
  const checked = checkOptions('initialNoise', options, initialNoiseOptions, ['seed']);
  const { seed, first, stream = streams.samples, noiseScale, device } = checked;
  return new Draw({ seed, first, device }).noise(shape, { scale: noiseScale, stream });
}

/**
 * The starts of paths: latents as they are, or noise.
 * @throws ShapeError for latents of another number; ArgumentError for options of noise next to them
 */
export function startsOf(
  op: string,
  shape: readonly number[],
  { latents, ...noise }: InitialNoiseOptions & Pick<SampleOptions, 'latents'>,
): Tensor {
  if (!latents) return initialNoise(shape, noise);
  refuseInert(op, noise, ['first', 'noiseScale'], 'with latents, which replace the noise');
  if (latents.length !== sizeOf(shape))
    throw new ShapeError(op, `latents ${formatShape(shape)}`, `${latents.length} numbers`);
  return tensor(latents.slice(), { shape, device: noise.device ?? defaultDevice() });
}

interface NamedSolveOptions
  extends Pick<SampleOptions, 'solver' | 'steps' | 'tolerance' | 'epsilon' | 'signal'>,
    Pick<SolveOptions, 'onStep'> {
  /** From data to noise. */
  reverse?: boolean;
}

const namedSolveOptions: OptionKinds<NamedSolveOptions> = {
  solver: transportOptions.solver,
  steps: transportOptions.steps,
  tolerance: transportOptions.tolerance,
  epsilon: transportOptions.epsilon,
  signal: kinds.signal,
  onStep: kinds.callback,
  reverse: kinds.boolean,
};

/**
 * Solves from noise to data, or back, by the solver of that name. Gradients flow through the steps to `start` and to
 * the tensors that the velocity uses; call it inside noGrad() if you need none.
 * @throws ValueError for options outside their range; NonFiniteError by rk45 for a start or a velocity that is not
 * finite; the signal's reason when aborted
 * @example
 * const { x, nfe } = noGrad(() => solve((x) => x, ones([1, 1]), { solver: 'rk45', tolerance: 1e-5, epsilon: 0 }));
 * x; // [[2.718]]
 */
export function solve(velocity: Velocity, start: Tensor, options: NamedSolveOptions): Solution {
  return atOnce(solveInPieces(velocity, start, options));
}

/** `solve` in pieces. */
export function solveInPieces(velocity: Velocity, start: Tensor, options: NamedSolveOptions): Pieces<Solution> {
  const checked = checkOptions('solve', options, namedSolveOptions, ['solver']);
  refuseIneffective('solve', checked);
  const { solver, steps = DEFAULT_STEPS, tolerance = DEFAULT_TOLERANCE, reverse, onStep, signal } = checked;
  const { epsilon = TIME_EPSILON } = checked;
  const between = (start: number) => (reverse ? { from: 1, to: start } : { from: start, to: 1 });
  return solver === 'rk45'
    ? rk45InPieces(velocity, start, { ...between(epsilon), tolerance, onStep, signal })
    : fixedInPieces(velocity, start, { ...between(0), epsilon, solver, steps, onStep, signal });
}

/** Solves one batch whose first sample is number `from` of this call. */
type Path = (velocity: Velocity, start: Tensor, watch: Pick<SolveOptions, 'onStep'>, from: number) => Pieces<Solution>;

async function transport(
  velocity: Velocity,
  count: number,
  start: (from: number, n: number) => Tensor,
  along: Path,
  options: TransportOptions & Pick<SampleOptions, 'notFinite'>,
): Promise<{ points: Float32Array; leftOut: number[]; nfe: number }> {
  const { batch = count, microBatch = batch, notFinite = 'refuse', onProgress, signal } = options;
  using evaluate = withMicroBatches(velocity, microBatch);
  const width = sizeOf(options.shape);
  const points = resultArray('sample', count * width);
  const leftOut: number[] = [];
  let written = 0;
  let evaluations = 0;
  for await (const [done, n] of logicalBatches(count, batch, signal)) {
    let reached = 0;
    const onStep: SolveOptions['onStep'] = ({ t, nfe }) => {
      reached = t;
      onProgress?.({ done, count, t, nfe });
    };
    const solveRows = (rows: readonly number[]) =>
      inTurns(() => along(evaluate, rowsOf(start(done, n), rows), { onStep }, done), signal);
    const { rows, values, nfe } = await solveSound(n, solveRows, notFinite === 'leave out');
    const broken = new Set(rowsNotFinite(values, rows.length));
    const kept = new Set(rows.filter((_, i) => !broken.has(i)));
    for (const [i, row] of rows.entries())
      if (kept.has(row)) points.set(values.subarray(i * width, (i + 1) * width), written++ * width);
    for (let row = 0; row < n; row++) if (!kept.has(row)) leftOut.push(done + row);
    evaluations += nfe * n;
    onProgress?.({ done: done + n, count, t: reached, nfe });
  }
  if (leftOut.length > 0 && (notFinite === 'refuse' || leftOut.length === count))
    throw new NonFiniteError(
      `${leftOut.length} of ${count} samples are not finite: the velocity gives NaN or infinity on their way`,
      { samples: leftOut },
    );
  return { points: points.subarray(0, written * width), leftOut, nfe: evaluations / count };
}

/** Solves the rows of a batch. If rows may be left out, solves again without those that the solver refuses. */
async function solveSound(
  n: number,
  solveRows: (rows: readonly number[]) => Promise<Solution>,
  leaveOut: boolean,
): Promise<{ rows: readonly number[]; values: Float32Array; nfe: number }> {
  let rows: readonly number[] = Array.from({ length: n }, (_, row) => row);
  while (rows.length > 0)
    try {
      const { x, nfe } = await solveRows(rows);
      try {
        return { rows, values: (await x.data()) as Float32Array, nfe };
      } finally {
        x.dispose();
      }
    } catch (error) {
      if (!leaveOut || !(error instanceof NonFiniteError) || error.samples.length === 0) throw error;
      const broken = new Set(error.samples);
      rows = rows.filter((_, i) => !broken.has(i));
    }
  return { rows, values: new Float32Array(0), nfe: 0 };
}

function rowsOf(batch: Tensor, rows: readonly number[]): Tensor {
  return rows.length === batch.shape[0]
    ? batch
    : gather(batch, tensor([...rows], { dtype: 'i32', device: batch.device }));
}

/** Samples [from, from + n) of host values [count, ...shape]. */
function batchOf(
  values: Float32Array,
  from: number,
  n: number,
  { shape, device = defaultDevice() }: Pick<TransportOptions, 'shape' | 'device'>,
): Tensor {
  const width = sizeOf(shape);
  checkArgument('sample', 'its points, which must last until it returns,', values, kinds.float32);
  return tensor(values.slice(from * width, (from + n) * width), { shape: [n, ...shape], device });
}
