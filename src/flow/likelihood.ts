// Likelihood of data under a flow, by the instantaneous change of variables (Chen et al., 2018; FFJORD, Grathwohl et
// al., ICLR 2019; official likelihood.py): with dx/dt = v(x, t) from the data at t = 1 back to z at t = eps,
//   log p(x) = log N(z; 0, a^2) + integral from 1 to eps of div v dt,
//   div v    = mean of e^T (dv/dx) e over probes e of +1 and -1 (Hutchinson), or its sum over all unit vectors.
// x and the integral are one state of RK45, whose error norm runs over both and over the logical batch.
import { checkArgument, checkOptions, kinds, type OptionKinds, oneOf, refuseInert } from '../arguments.ts';
import { gradients } from '../autograd/gradients.ts';
import { enableGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { deviceKind } from '../device/device.ts';
import { defaultDevice } from '../device/open.ts';
import { NonFiniteError, ShapeError, ValueError } from '../errors.ts';
import { add, less, mul, where } from '../kernels/elementwise.ts';
import { concat, reshape, slice } from '../kernels/movement.ts';
import { sum } from '../kernels/reduce.ts';
import { tensor } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { shapeKind, sizeOf } from '../tensor/shape.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { turn } from '../turn.ts';
import { countSamples, logicalBatches } from './batches.ts';
import { Draw } from './draw.ts';
import { inTurns } from './pieces.ts';
import { withReplay } from './replay.ts';
import { type TransportOptions, withOwnShape } from './sample.ts';
import { epsilonKind, rk45InPieces, type SolveOptions } from './solvers.ts';
import { fromPieces, inParts, rows, type Velocity } from './velocity.ts';

/** The time at which the official likelihood ends its integral. */
export const LIKELIHOOD_EPSILON = 1e-5;

export interface LikelihoodOptions
  extends Pick<TransportOptions, 'shape' | 'batch' | 'microBatch' | 'tolerance' | 'device' | 'onProgress' | 'signal'> {
  /**
   * 'hutchinson' (default): one random probe, the same along the path. 'exact': one gradient per dimension, for data of
   * few dimensions.
   */
  trace?: 'hutchinson' | 'exact';
  /** Seed of the probes. The probe of a sample depends on the seed and on its number. */
  seed?: number;
  /** Number of the first sample; default 0. */
  first?: number;
  /** How often to solve, each time with a new probe; default 1. */
  repeats?: number;
  /** [count, ...shape] in place of a drawn probe. */
  probe?: Float32Array;
  /** Time that the integral ends at, in [0, 1); default 1e-5. */
  epsilon?: number;
  /** Standard deviation of the noise; default 1. */
  noiseScale?: number;
  /**
   * The range of 8-bit images with uniform dequantisation: true for [-1, 1], which adds 7 bits to bpd, or false for
   * [0, 1], which adds 8. Default: nothing is added, and bpd is that of the data as they are.
   */
  centered?: boolean;
}

const likelihoodOptions: OptionKinds<LikelihoodOptions> = {
  shape: shapeKind,
  batch: kinds.count,
  microBatch: kinds.count,
  tolerance: kinds.number,
  device: deviceKind,
  onProgress: kinds.callback,
  signal: kinds.signal,
  trace: oneOf(['hutchinson', 'exact']),
  seed: kinds.whole,
  first: kinds.whole,
  repeats: kinds.count,
  probe: kinds.float32,
  epsilon: epsilonKind,
  noiseScale: kinds.positive,
  centered: kinds.boolean,
};

export interface Likelihood {
  /** Natural log of the density in the space the velocity lives in, [count]; the mean over repeats. */
  logLikelihood: Float64Array;
  /** Bits per dimension, [count]. */
  bpd: Float64Array;
  /**
   * The error of each bpd over the probes: deviation of the repeats / sqrt(repeats); NaN for one repeat, 0 for the
   * exact trace.
   */
  standardError: Float64Array;
  /** The noise that the data map to, [count, ...shape]; from the first repeat. */
  z: Float32Array;
  /** Evaluations of velocity and divergence per sample and repeat, the mean over batches. */
  nfe: number;
}

/**
 * Log-density of data under the flow, by the instantaneous change of variables (Chen et al. 2018; FFJORD, Grathwohl et al. 2019).
 * The results are arrays of the host, without gradients.
 * @param velocity differentiable in x
 * @param data [count, ...shape]
 * @throws ValueError, ShapeError for wrong numbers; NonFiniteError for data, a velocity or a likelihood that is not
 *   finite; NotDifferentiableError for a velocity without gradients; the signal's reason when aborted
 * @example
 * // A velocity of 0 leaves the noise as it is, so the density is that of the normal law.
 * const velocity = (x) => mul(x, 0);
 * const { logLikelihood } = await likelihood(velocity, Float32Array.of(0, 1), { shape: [1], trace: 'exact' });
 * logLikelihood; // [-0.9189, -1.419]
 */
export async function likelihood(
  velocity: Velocity,
  data: Float32Array,
  options: LikelihoodOptions,
): Promise<Likelihood> {
  checkArgument('likelihood', 'velocity', velocity, kinds.callback);
  const checked = withOwnShape('likelihood', checkOptions('likelihood', options, likelihoodOptions, ['shape']));
  const { shape, tolerance = 1e-5, epsilon = LIKELIHOOD_EPSILON, noiseScale = 1, device = defaultDevice() } = checked;
  const { trace = 'hutchinson', repeats = 1, probe, onProgress, signal, centered } = checked;
  const count = countSamples('likelihood', data, shape);
  const { batch = count, microBatch = batch } = checked;
  if (repeats > 1 && (probe || trace === 'exact'))
    throw new ValueError(`repeats ${repeats} would only do the same again: the probes are given, or all are taken`);
  const undrawn = trace === 'exact' ? 'with the exact trace' : 'with a given probe';
  if (trace === 'exact') refuseInert('likelihood', checked, ['probe'], undrawn);
  if (trace === 'exact' || probe) refuseInert('likelihood', checked, ['seed', 'first'], undrawn);
  if (probe && probe.length !== data.length)
    throw new ShapeError('likelihood', `a probe of ${data.length} numbers, as the data`, `${probe.length}`);
  const width = sizeOf(shape);
  const logs = Array.from({ length: repeats }, () => new Float64Array(count));
  const z = new Float32Array(data.length);
  let evaluations = 0;
  for await (const [done, n] of logicalBatches(count, batch, signal))
    for (const [repeat, log] of logs.entries()) {
      await turn(signal);
      const onStep: SolveOptions['onStep'] = ({ t, nfe }) => onProgress?.({ done, count, t, nfe });
      const { x: state, nfe } = await inTurns(function* () {
        checkArgument('likelihood', 'data, which must last until it returns,', data, kinds.float32);
        if (probe) checkArgument('likelihood', 'a probe, which must last until it returns,', probe, kinds.float32);
        const start = stateOf(data.subarray(done * width, (done + n) * width), n, device);
        const probes = probesOf(checked, { from: done, n, repeat, device });
        using joint = withReplay(withDivergence(velocity, shape, probes, microBatch), velocity.replayable === true);
        return yield* rk45InPieces(joint, start, { from: 1, to: epsilon, tolerance, onStep, signal });
      }, signal);
      const end = (await state.data()) as Float32Array;
      state.dispose();
      for (let i = 0; i < n; i++) {
        const latent = end.subarray(i * (width + 1), (i + 1) * (width + 1) - 1);
        if (repeat === 0) z.set(latent, (done + i) * width);
        log[done + i] = logNormal(latent, noiseScale) + end[(i + 1) * (width + 1) - 1];
      }
      evaluations += nfe * n;
      onProgress?.({ done: repeat + 1 < repeats ? done : done + n, count, t: epsilon, nfe });
    }
  const logLikelihood = mean(logs);
  const broken = [...logLikelihood.keys()].filter((i) => !Number.isFinite(logLikelihood[i]));
  if (broken.length > 0)
    throw new NonFiniteError(`the likelihood of ${broken.length} of ${count} samples is not finite`, {
      samples: broken,
    });
  const bits = (nats: number) => nats / (Math.LN2 * width);
  const offset = centered === undefined ? 0 : centered ? 7 : 8;
  return {
    logLikelihood,
    bpd: logLikelihood.map((log) => offset - bits(log)),
    standardError: trace === 'exact' ? new Float64Array(count) : standardErrors(logs, logLikelihood).map(bits),
    z,
    nfe: evaluations / (count * repeats),
  };
}

/** The initial state [n, width + 1]: each sample, then its integral, 0. */
function stateOf(samples: Float32Array, n: number, device: Device): Tensor {
  const width = samples.length / n;
  const values = new Float32Array(n * (width + 1));
  for (let i = 0; i < n; i++) values.set(samples.subarray(i * width, (i + 1) * width), i * (width + 1));
  return tensor(values, { shape: [n, width + 1], device });
}

/** The probes e, each [n, ...shape], over which e^T (dv/dx) e is summed. */
interface Probes {
  count: number;
  at(index: number): Tensor;
}

function probesOf(
  options: LikelihoodOptions,
  { from, n, repeat, device }: { from: number; n: number; repeat: number; device: Device },
): Probes {
  const { shape, trace, probe, seed = 0, first = 0 } = options;
  const width = sizeOf(shape);
  const full = [n, ...shape];
  if (trace === 'exact')
    return {
      count: width,
      at(index) {
        const unit = new Float32Array(n * width);
        for (let i = 0; i < n; i++) unit[i * width + index] = 1;
        return tensor(unit, { shape: full, device });
      },
    };
  const drawn = probe
    ? tensor(probe.slice(from * width, (from + n) * width), { shape: full, device })
    : randomSigns(new Draw({ seed, first, device }).skip(from), full, streams.probes + repeat);
  return { count: 1, at: () => drawn };
}

/** +1 or -1 with equal chances (a Rademacher variable). */
function randomSigns(draw: Draw, shape: readonly number[], stream: number): Tensor {
  return scope(() => where(less(draw.uniform(shape, stream), 0.5), 1, -1));
}

/** The velocity of the state, v and its divergence [n, width + 1], at most `size` samples at a time. */
function withDivergence(velocity: Velocity, shape: readonly number[], probes: Probes, size: number): Velocity {
  const width = sizeOf(shape);
  return fromPieces((state, t) =>
    inParts(state.shape[0], size, (from, to) => {
      const n = to - from;
      const x = reshape(slice(state, [from, 0], [to, width]), [n, ...shape]).requireGrad();
      const v = enableGrad(() => velocity(x, rows(t, from, to)));
      let divergence: Tensor | undefined;
      for (let index = 0; index < probes.count; index++) {
        const term = scope(() => {
          const e = rows(probes.at(index), from, to);
          const [product] = gradients(v, [x], { cotangent: e, retainGraph: index + 1 < probes.count });
          const along = sum(reshape(mul(product, e), [n, width]), { axes: 1, keepDims: true });
          return divergence ? add(divergence, along) : along;
        });
        divergence?.dispose();
        divergence = term;
      }
      return concat([reshape(v, [n, width]), divergence as Tensor], 1);
    }),
  );
}

/** log N(z; 0, a^2) of one sample. */
function logNormal(z: Float32Array, a: number): number {
  let square = 0;
  for (const value of z) square += value * value;
  return -0.5 * (z.length * Math.log(2 * Math.PI * a * a) + square / (a * a));
}

function mean(rows: readonly Float64Array[]): Float64Array {
  return rows[0].map((_, i) => rows.reduce((total, row) => total + row[i], 0) / rows.length);
}

function standardErrors(rows: readonly Float64Array[], means: Float64Array): Float64Array {
  const n = rows.length;
  return means.map((m, i) => Math.sqrt(rows.reduce((total, row) => total + (row[i] - m) ** 2, 0) / (n - 1) / n));
}
