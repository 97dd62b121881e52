// Solvers of dx/dt = v(x, t): functions of a velocity, a start and an interval. The state stays on the device.
// Fixed steps: Euler, Heun, midpoint, RK4. Adaptive: Dormand-Prince 5(4) with scipy's RK45 step control (Hairer,
// Norsett, Wanner, Solving ODEs I, II.4): local extrapolation, error norm over the whole batch.
//
// Gradients flow through the steps as through any op: to the start and to the tensors that the velocity uses. The graph
// of every step is kept until backward. Inside noGrad() there is no graph, and memory does not grow with the steps.
import { checkArgument, checkOptions, kind, kinds, type OptionKinds, oneOf } from '../arguments.ts';
import { noGrad } from '../autograd/mode.ts';
import { NonFiniteError } from '../errors.ts';
import { reshape } from '../kernels/movement.ts';
import { linearCombination, scaledErrorNorm } from '../kernels/ode.ts';
import { keep } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { atOnce, type Pieces, within, withScope } from './pieces.ts';
import { checkPath, type Velocity, velocityAt } from './velocity.ts';

export interface SolveOptions {
  /** Default 0. */
  from?: number;
  /** Default 1. */
  to?: number;
  /**
   * Called after each accepted step. The solver frees x after the next step, so read it or compute with it before
   * returning. Gradients flow through what is computed.
   */
  onStep?: (state: { x: Tensor; t: number; nfe: number }) => void;
  signal?: AbortSignal;
}

export interface Solution {
  /** The state at `to`, owned by the open scope. */
  x: Tensor;
  /** Evaluations of the velocity. */
  nfe: number;
}

/**
 * A Runge-Kutta method. Stage i is the slope k_i at t + nodes[i] h and x + h sum_j stages[i][j] k_j; the step is to
 * x + h sum_j weights[j] k_j.
 */
export interface Tableau {
  nodes: readonly number[];
  stages: readonly (readonly number[])[];
  weights: readonly number[];
}

/** The methods with equal steps. */
export const tableaus = {
  euler: { nodes: [0], stages: [[]], weights: [1] },
  heun: { nodes: [0, 1], stages: [[], [1]], weights: [1 / 2, 1 / 2] },
  midpoint: { nodes: [0, 1 / 2], stages: [[], [1 / 2]], weights: [0, 1] },
  rk4: {
    nodes: [0, 1 / 2, 1 / 2, 1],
    stages: [[], [1 / 2], [0, 1 / 2], [0, 0, 1]],
    weights: [1 / 6, 1 / 3, 1 / 3, 1 / 6],
  },
} satisfies Record<string, Tableau>;

export type FixedSolver = keyof typeof tableaus;
/** The names of the solvers with equal steps. */
export const fixedSolvers = Object.keys(tableaus) as FixedSolver[];

/**
 * Evaluations of the velocity in one step.
 * @throws ArgumentError for an unknown solver
 * @example
 * evaluationsAStep('euler'); // 1
 * evaluationsAStep('rk4'); // 4
 */
export function evaluationsAStep(solver: FixedSolver): number {
  checkArgument('evaluationsAStep', 'solver', solver, oneOf(fixedSolvers));
  return tableaus[solver].nodes.length;
}

const dormandPrince: Tableau & { error: readonly number[] } = {
  nodes: [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1],
  stages: [
    [],
    [1 / 5],
    [3 / 40, 9 / 40],
    [44 / 45, -56 / 15, 32 / 9],
    [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
    [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
  ],
  weights: [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
  error: [-71 / 57600, 0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40],
};

export interface FixedOptions extends SolveOptions {
  solver: FixedSolver;
  steps: number;
  /**
   * The velocity is evaluated at t = s (1 - epsilon) + epsilon when the solver is at s. With Euler this is the official
   * sampler, whose steps add up to 1 although its times begin at epsilon. Default 0: t = s.
   */
  epsilon?: number;
}

/** The kind of the option `epsilon`. */
export const epsilonKind = kind('in [0, 1)', (v) => typeof v === 'number' && v >= 0 && v < 1);

const solveOptions: OptionKinds<SolveOptions> = {
  from: kinds.finite,
  to: kinds.finite,
  onStep: kinds.callback,
  signal: kinds.signal,
};

const fixedOptions: OptionKinds<FixedOptions> = {
  ...solveOptions,
  solver: oneOf(fixedSolvers),
  steps: kinds.count,
  epsilon: epsilonKind,
};

/**
 * Solves by equal steps of an explicit method; NFE is the number of steps times that of stages. Values are not checked:
 * if the velocity is not finite, neither is x.
 * @throws ValueError for options outside their range; ShapeError for a velocity of another shape than x; the signal's
 * reason when aborted
 * @example
 * const start = ones([1, 1]);
 * solveFixed((x) => x, start, { solver: 'euler', steps: 2 }).x; // [[2.25]]
 * solveFixed((x) => x, start, { solver: 'rk4', steps: 10 }).x; // [[2.718]]
 */
export function solveFixed(velocity: Velocity, start: Tensor, options: FixedOptions): Solution {
  return atOnce(fixedInPieces(velocity, start, options));
}

/** `solveFixed` in pieces. */
export function* fixedInPieces(velocity: Velocity, start: Tensor, options: FixedOptions): Pieces<Solution> {
  checkPath('solveFixed', velocity, start);
  const checked = checkOptions('solveFixed', options, fixedOptions, ['solver', 'steps']);
  const { from = 0, to = 1, solver, steps, epsilon = 0, onStep, signal } = checked;
  const tableau: Tableau = tableaus[solver];
  const timeAt = (s: number) => s * (1 - epsilon) + epsilon;
  const slope: Slope = (x, s) => velocityAt(velocity, x, timeAt(s));
  const h = (to - from) / steps;
  let x = start;
  let nfe = 0;
  for (let step = 0; step < steps; step++) {
    signal?.throwIfAborted();
    const s = from + (step / steps) * (to - from);
    const before = x;
    const next = yield* withScope(function* () {
      return (yield* stepOf(tableau, slope, before, s, h)).x;
    });
    if (x !== start) x.dispose();
    x = next;
    nfe += tableau.nodes.length;
    onStep?.({ x, t: timeAt(step + 1 === steps ? to : s + h), nfe });
  }
  return { x, nfe };
}

/** dx/dt at one time for all samples. */
type Slope = (x: Tensor, t: number) => Pieces<Tensor>;

/** One step. @param first the first stage, if it is already known */
function* stepOf(
  tableau: Tableau,
  slope: Slope,
  x: Tensor,
  t: number,
  h: number,
  first?: Tensor,
): Pieces<{ x: Tensor; k: Tensor[] }> {
  const k: Tensor[] = [];
  for (const [i, node] of tableau.nodes.entries()) {
    if (i === 0 && first) k.push(first);
    else {
      const at =
        i === 0
          ? x
          : linearCombination(
              x,
              k,
              tableau.stages[i].map((a) => a * h),
            );
      k.push(yield* slope(at, t + node * h));
    }
  }
  return {
    x: linearCombination(
      x,
      k,
      tableau.weights.map((b) => b * h),
    ),
    k,
  };
}

export interface Rk45Options extends SolveOptions {
  /** Absolute and relative bound of a step's error. */
  tolerance: number;
}

const rk45Options: OptionKinds<Rk45Options> = { ...solveOptions, tolerance: kinds.positive };

const SAFETY = 0.9;
const LEAST_FACTOR = 0.2;
const LARGEST_FACTOR = 10;
const ORDER = 4;

/**
 * Dormand-Prince 5(4) with atol = rtol = tolerance and the step control of scipy.integrate.solve_ivp(method='RK45').
 * Gradients flow through the accepted steps, whose sizes are constants (as in torchdiffeq's odeint); rejected trials
 * leave no graph.
 * @throws ValueError for options outside their range; NonFiniteError, which names the samples, for a start or a
 * velocity that is not finite; ShapeError for a velocity of another shape than x; the signal's reason when aborted
 * @example
 * const velocity = (x, t) => mul(x, reshape(t, [-1, 1]));
 * const { x, nfe } = solveRk45(velocity, ones([1, 1]), { tolerance: 1e-5 });
 * x; // [[1.649]]
 */
export function solveRk45(velocity: Velocity, start: Tensor, options: Rk45Options): Solution {
  return atOnce(rk45InPieces(velocity, start, options));
}

/** `solveRk45` in pieces. */
export function* rk45InPieces(velocity: Velocity, start: Tensor, options: Rk45Options): Pieces<Solution> {
  checkPath('solveRk45', velocity, start);
  const {
    from = 0,
    to = 1,
    tolerance,
    onStep,
    signal,
  } = checkOptions('solveRk45', options, rk45Options, ['tolerance']);
  const bounds = { absolute: tolerance, relative: tolerance };
  const direction = Math.sign(to - from);
  if (direction === 0) return { x: linearCombination(start, [], []), nfe: 0 };
  // A new window: a velocity may return x, or a tensor that it keeps.
  const slope: Slope = function* (x, t) {
    return reshape(yield* velocityAt(velocity, x, t), x.shape);
  };
  let x = start;
  let t = from;
  let first = keep(yield* withScope(() => slope(x, t)));
  let nfe = 1;
  try {
    let size = yield* within(noGrad, () => withScope(() => initialStep(slope, { x, first, from: t, to, bounds })));
    nfe++;
    let rejected = false;
    while (direction * (to - t) > 0) {
      signal?.throwIfAborted();
      const least = 10 * Math.abs(spacing(t));
      if (!rejected) size = Math.max(size, least);
      if (!(size >= least)) throw new NonFiniteError(`RK45 needs a step below the spacing of numbers at t = ${t}`);
      const end = direction * (t + direction * size - to) > 0 ? to : t + direction * size;
      const { next, last, norm } = yield* withScope(() => tryStep(slope, { x, first, t, end, bounds }));
      nfe += 6;
      size = Math.abs(end - t) * sizeFactor(norm, rejected);
      rejected = norm >= 1;
      if (rejected) {
        next.dispose();
        last.dispose();
        continue;
      }
      first.dispose();
      first = keep(last);
      if (x !== start) x.dispose();
      x = next;
      t = end;
      onStep?.({ x, t, nfe });
    }
  } finally {
    first.dispose();
  }
  return { x, nfe };
}

/**
 * The size of the next trial relative to that of the last one, chosen so that the error norm of the trial would be a
 * little below 1. Right after a rejection it is at most 1.
 * @param norm error norm of the last trial, which is accepted below 1
 * @param rejected whether the trial before the last one was rejected
 */
function sizeFactor(norm: number, rejected: boolean): number {
  const factor = SAFETY * norm ** (-1 / (ORDER + 1));
  if (norm >= 1) return Math.max(LEAST_FACTOR, factor);
  return Math.min(rejected ? 1 : LARGEST_FACTOR, factor);
}

interface Bounds {
  absolute: number;
  relative: number;
}

/**
 * A step from t to `end`, the slope there, and the norm of its error.
 * @throws NonFiniteError for a norm that is not finite
 */
function* tryStep(
  slope: Slope,
  { x, first, t, end, bounds }: { x: Tensor; first: Tensor; t: number; end: number; bounds: Bounds },
): Pieces<{ next: Tensor; last: Tensor; norm: number }> {
  const h = end - t;
  const { x: next, k } = yield* stepOf(dormandPrince, slope, x, t, h, first);
  const last = yield* slope(next, end);
  const weights = dormandPrince.error.map((e) => e * h);
  const error = noGrad(() => linearCombination(null, [...k, last], weights));
  const norm = scaledErrorNorm(error, x, next, bounds);
  if (!Number.isFinite(norm)) throw notFinite(t, [next, error]);
  return { next, last, norm };
}

/** @param seen tensors [N, ...], at least one of which has values that are not finite */
function notFinite(t: number, seen: readonly Tensor[]): NonFiniteError {
  return brokenSamples(`RK45 met a velocity that is not finite near t = ${t}`, seen);
}

/** An error that also counts and lists the samples whose values are not finite. */
function brokenSamples(what: string, seen: readonly Tensor[]): NonFiniteError {
  const count = seen[0].shape[0];
  const samples = [...new Set(seen.flatMap((tensor) => rowsNotFinite(tensor.dataSync(), count)))].sort((a, b) => a - b);
  // The norm may overflow although every value is finite.
  const where = samples.length > 0 ? `, in ${samples.length} of ${count} samples` : '';
  return new NonFiniteError(what + where, { samples });
}

/** scipy's select_initial_step. @throws NonFiniteError for a start, or a velocity there, that is not finite */
function* initialStep(
  slope: Slope,
  { x, first, from, to, bounds }: { x: Tensor; first: Tensor; from: number; to: number; bounds: Bounds },
): Pieces<number> {
  const interval = Math.abs(to - from);
  const direction = Math.sign(to - from);
  const d0 = scaledErrorNorm(x, x, x, bounds);
  if (!Number.isFinite(d0)) throw brokenSamples('RK45 cannot begin at a state that is not finite', [x]);
  const d1 = scaledErrorNorm(first, x, x, bounds);
  if (!Number.isFinite(d1)) throw notFinite(from, [first]);
  const h0 = Math.min(interval, d0 < 1e-5 || d1 < 1e-5 ? 1e-6 : (0.01 * d0) / d1);
  const probe = linearCombination(x, [first], [direction * h0]);
  const change = linearCombination(yield* slope(probe, from + direction * h0), [first], [-1]);
  const d2 = scaledErrorNorm(change, x, x, bounds) / h0;
  if (!Number.isFinite(d2)) throw notFinite(from, [change]);
  const h1 = d1 <= 1e-15 && d2 <= 1e-15 ? Math.max(1e-6, h0 * 1e-3) : (0.01 / Math.max(d1, d2)) ** (1 / (ORDER + 1));
  return Math.min(100 * h0, h1, interval);
}

/** Distance from |t| to the next double. */
function spacing(t: number): number {
  return Math.max(Math.abs(t), 2 ** -1022) * Number.EPSILON;
}

/** The rows that contain a NaN or an infinity, of `count` rows of equal width. */
export function rowsNotFinite(values: ArrayLike<number>, count: number): number[] {
  const width = values.length / count;
  return Array.from({ length: count }, (_, row) => row).filter((row) => {
    for (let i = row * width; i < (row + 1) * width; i++) if (!Number.isFinite(values[i])) return true;
    return false;
  });
}
