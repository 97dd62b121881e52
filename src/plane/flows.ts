// Flows in the plane, of a network or of a kernel: velocities at points of the host, and the paths that follow them. Points stay on the
// host in float64 between evaluations, so both kinds are followed by the same code.

import { noGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { NonFiniteError } from '../errors.ts';
import { type KernelOptions, kernelVelocity } from '../flow/kernel_velocity.ts';
import { atOnce, type Pieces } from '../flow/pieces.ts';
import { withReplay } from '../flow/replay.ts';
import { solve } from '../flow/sample.ts';
import { type FixedSolver, fixedSolvers, tableaus } from '../flow/solvers.ts';
import { solveStochastic } from '../flow/stochastic.ts';
import type { Velocity } from '../flow/velocity.ts';
import { mul } from '../kernels/elementwise.ts';
import { tensor } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { PlanePairs } from './couplings.ts';
import { followCurve, type InterpolantName, type SamplerName } from './interpolants.ts';
import type { PlaneNetwork } from './networks.ts';

/** Solvers of paths in the plane. */
export type PlaneSolver = FixedSolver | 'rk45';
export const planeSolvers: readonly PlaneSolver[] = [...fixedSolvers, 'rk45'];

/** Paths of points in the plane. */
export interface PlanePaths {
  /** Times of the kept points, the first and the last included. */
  times: number[];
  /** The points at each time, f32 [count, 2]. */
  points: Float32Array[];
  /** Evaluations of the velocity. */
  nfe: number;
}

/** A flow in the plane. */
export interface PlaneFlow {
  /** Such as "2-rectified flow". */
  readonly name: string;
  /** The velocity as a function of tensors (x [N, 2], t [N]), for the samplers of `rectiflow/flow`. */
  readonly velocity: Velocity;
  /** The velocities f64 [N, 2] of points of the host, [N, 2], at one time in [0, 1]. */
  at(points: Float64Array, t: number): Float64Array;
  /** Frees the memory of the flow. */
  dispose(): void;
}

/** A flow whose velocity is a network. */
export class NetworkFlow implements PlaneFlow {
  readonly name: string;
  readonly network: PlaneNetwork;
  readonly velocity: Velocity;
  private readonly device: Device;
  private readonly scale: number;
  private readonly replay: Velocity & Disposable;

  /** @param scale what one unit of the network is in the plane */
  constructor(name: string, network: PlaneNetwork, scale: number, device: Device) {
    this.name = name;
    this.network = network;
    this.scale = scale;
    this.device = device;
    this.replay = withReplay((x, t) => network.velocity(x, t), true);
    const velocity = (x: Tensor, t: Tensor) => mul(network.velocity(mul(x, 1 / scale), t), scale);
    this.velocity = Object.assign(velocity, { replayable: true });
  }

  at(points: Float64Array, t: number): Float64Array {
    const { device, scale } = this;
    const count = points.length / 2;
    return scope(() =>
      noGrad(() => {
        const x = tensor(
          Float32Array.from(points, (value) => value / scale),
          { shape: [count, 2], device },
        );
        const times = tensor(new Float32Array(count).fill(t), { device });
        return Float64Array.from(this.replay(x, times).dataSync(), (value) => value * scale);
      }),
    );
  }

  dispose(): void {
    this.replay[Symbol.dispose]();
    this.network.module.dispose();
  }
}

/** The last time that the kernel's form 'end' is asked for, because it divides by 1 - t. */
const LAST_TIME = 0.999;

/** The flow of a list of pairs, without a network. */
export class KernelFlow implements PlaneFlow {
  readonly name: string;
  readonly pairs: PlanePairs;
  readonly velocity: Velocity;
  private readonly kernel: ReturnType<typeof kernelVelocity>;
  private readonly last: number;

  constructor(name: string, pairs: PlanePairs, options: KernelOptions) {
    this.name = name;
    this.pairs = pairs;
    this.kernel = kernelVelocity(pairs, options);
    this.last = options.form === 'difference' ? 1 : LAST_TIME;
    this.velocity = (x, t) => {
      const times = Float32Array.from(t.dataSync(), (time) => Math.min(time, this.last));
      return this.kernel(x, tensor(times, { device: x.device }));
    };
  }

  at(points: Float64Array, t: number): Float64Array {
    return this.kernel.at(points, Math.min(t, this.last));
  }

  dispose(): void {}
}

/** How paths are followed. */
export interface PathOptions {
  /** Default 'euler'. */
  solver?: PlaneSolver;
  /** Steps of a solver with equal steps; default 100. */
  steps?: number;
  /** From t = 1 to 0; default false. */
  reverse?: boolean;
}

/** How `PlaneSession.paths` follows points. */
export interface SampledPathOptions extends PathOptions {
  /** Kept points of a path besides its start; default: all steps. */
  stops?: number;
  /** Default 'solver'. The others take Euler steps, from the start to the end. */
  sampler?: SamplerName;
  /** The interpolation whose paths are followed; default 'straight'. Others take the samplers 'natural', 'refresh', and 'solver' with Euler. */
  interpolant?: InterpolantName;
  /** For 'refresh' and 'sde': from 0 for none to 1, where all of the start is replaced in each step; default 0.5. */
  noise?: number;
}

/** What `followInPieces` calls after each step: the points and the velocity of its first stage. */
type OnStep = (step: { x: Float64Array; v: Float64Array; t: number }) => void;

/** Points that are evaluated in one piece. */
const PIECE = 1024;

/**
 * Follows points by equal steps. Yields after each evaluation of at most 1,024 points.
 * @returns the ends, f64 [count, 2]
 * @throws NonFiniteError for a velocity that is not finite
 */
export function* followInPieces(
  flow: PlaneFlow,
  start: Float64Array,
  { solver = 'euler', steps = 100, reverse = false }: PathOptions & { solver?: FixedSolver } = {},
  onStep?: OnStep,
): Pieces<Float64Array> {
  const { nodes, stages, weights } = tableaus[solver];
  const h = (reverse ? -1 : 1) / steps;
  let x: Float64Array = start.slice();
  for (let step = 0; step < steps; step++) {
    const t = reverse ? 1 + step * h : step * h;
    const slopes: Float64Array[] = [];
    for (const [stage, node] of nodes.entries()) {
      const at = moved(x, slopes, stages[stage], h);
      // Rounding may leave [0, 1].
      slopes.push(yield* evaluateInPieces(flow, at, Math.min(1, Math.max(0, t + node * h))));
    }
    x = moved(x, slopes, weights, h);
    onStep?.({ x, v: slopes[0], t: step + 1 === steps ? (reverse ? 0 : 1) : t + h });
  }
  if (!x.every(Number.isFinite))
    throw new NonFiniteError(`the paths of the ${flow.name} are not finite; lower the rate, or the L2 penalty`);
  return x;
}

function* evaluateInPieces(flow: PlaneFlow, points: Float64Array, t: number): Pieces<Float64Array> {
  if (points.length <= 2 * PIECE) {
    const v = flow.at(points, t);
    yield;
    return v;
  }
  const v = new Float64Array(points.length);
  for (let first = 0; first < points.length; first += 2 * PIECE) {
    v.set(flow.at(points.subarray(first, first + 2 * PIECE), t), first);
    yield;
  }
  return v;
}

/** x + h sum_j c_j k_j. */
function moved(
  x: Float64Array,
  slopes: readonly Float64Array[],
  coefficients: readonly number[],
  h: number,
): Float64Array {
  const result = x.slice();
  coefficients.forEach((c, j) => {
    if (c !== 0) for (let i = 0; i < x.length; i++) result[i] += h * c * slopes[j][i];
  });
  return result;
}

/** The paths of points, with the points at about `stops` + 1 times kept. @param deviation that of a source that is Gaussian */
export function pathsOf(
  flow: PlaneFlow,
  start: Float64Array,
  options: SampledPathOptions,
  { device, seed, deviation }: { device: Device; seed: number; deviation: number },
): PlanePaths {
  const { solver = 'euler', steps = 100, reverse = false, stops = steps } = options;
  const { sampler = 'solver', interpolant = 'straight', noise = 0.5 } = options;
  const paths: PlanePaths = { times: [reverse ? 1 : 0], points: [Float32Array.from(start)], nfe: 0 };
  const keep = (t: number, x: ArrayLike<number>) => {
    paths.times.push(t);
    paths.points.push(Float32Array.from(x));
  };
  let step = 0;
  /** Keeps evenly spaced points, the last one always. */
  const keepStop = (t: number, x: ArrayLike<number>) => {
    step++;
    if (Math.floor((step * stops) / steps) > Math.floor(((step - 1) * stops) / steps) || step === steps) keep(t, x);
  };
  if (sampler === 'sde') {
    scope(() => {
      const x = tensor(Float32Array.from(start), { shape: [start.length / 2, 2], device });
      const process = { steps, sigmaVariance: noise * deviation, noiseScale: deviation, epsilon: 0, seed };
      noGrad(() => solveStochastic(flow.velocity, x, { ...process, onStep: (at) => keepStop(at.t, at.x.dataSync()) }));
    });
    return { ...paths, nfe: steps };
  }
  if (sampler !== 'solver' || interpolant !== 'straight') {
    const fresh = sampler === 'refresh' ? { share: noise, deviation, seed } : undefined;
    const method = sampler === 'solver' ? 'euler' : 'natural';
    followCurve(flow, start, { interpolant, steps, method, fresh }, keepStop);
    return { ...paths, nfe: steps };
  }
  if (solver === 'rk45') {
    scope(() => {
      const x = tensor(Float32Array.from(start), { shape: [start.length / 2, 2], device });
      const { nfe } = noGrad(() => solve(flow.velocity, x, { solver, epsilon: 0, reverse, onStep: onState }));
      paths.nfe = nfe;
    });
    return paths;
  }
  atOnce(followInPieces(flow, start, { solver, steps, reverse }, ({ x, t }) => keepStop(t, x)));
  paths.nfe = steps * tableaus[solver].nodes.length;
  return paths;

  function onState({ x, t }: { x: Tensor; t: number }) {
    keep(t, x.dataSync() as Float32Array);
  }
}
