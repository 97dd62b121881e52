// The sessions of the page: one whose velocity is a network, and for each bandwidth and number of neighbours one of the kernel. The work
// itself is the library's, which the command `rectiflow toy` also runs.
import type { Device, Tensor } from 'rectiflow';
import { countCrossings, energyDistance, optimalAssignment, transportCost } from 'rectiflow/flow';
import { encodeSafetensors } from 'rectiflow/io';
import type { Module } from 'rectiflow/nn';
import {
  PlaneSession,
  type PlaneSettings,
  type PlaneSource,
  type SampledPathOptions,
  type SessionFlow,
} from 'rectiflow/plane';
import { EXTENT, type Interpolant, interpolants, type Problem, type Source } from '../model/settings.ts';
import {
  type Clouds,
  type Compared,
  type Flow,
  type Follow,
  flows,
  type Measures,
  type PairNumbers,
  type Paths,
} from './messages.ts';

/** Points whose paths are shown, and points of a cloud that are shown. */
export const FOLLOWED = 300;
const SHOWN = 1500;
/** Pairs of the kernel, which looks at each of them for each point, and how many of a list it takes. */
const KERNEL_PAIRS = 600;
const KERNEL_LISTED = 1000;
/** Kernel sessions that are kept. */
const MOST_KERNELS = 4;
/** Cells of a side of the grid of arrows. */
export const GRID = 17;

export class Sessions {
  readonly trained: PlaneSession;
  private readonly problem: Problem;
  private readonly device: Device;
  private readonly kernels = new Map<string, PlaneSession>();

  constructor(problem: Problem, device: Device) {
    this.problem = problem;
    this.device = device;
    const { width, depth, rate, batch, l2, steps } = problem;
    const network = { width, depth, rate, batch, l2, steps };
    this.trained = new PlaneSession({ ...this.ends(), ...network, reflow: 0 }, { device });
  }

  /** What both kinds of session have in common. */
  private ends(): Partial<PlaneSettings> {
    const { from, to, coupling, seed, noise } = this.problem;
    if (coupling === 'listed') {
      if (!('points' in from && 'points' in to) || from.points.length !== to.points.length)
        throw new Error(
          'The coupling "As listed" needs two lists of points that are equally long. Paste points into both clouds.',
        );
      return { given: { x0: from.points, x1: to.points }, seed };
    }
    return { from: sourceOf(from, noise), to: sourceOf(to, noise), coupling, seed };
  }

  /** Frees everything. */
  dispose(): void {
    this.trained.dispose();
    for (const kernel of this.kernels.values()) kernel.dispose();
  }

  clouds(): { clouds: Clouds; pairs: PairNumbers } {
    const { x0, x1 } = this.trained.couplingPairs(FOLLOWED);
    const { given } = this.trained.settings;
    const cloud = (end: 'from' | 'to') =>
      given
        ? Float32Array.from(given[end === 'from' ? 'x0' : 'x1'].subarray(0, 2 * SHOWN))
        : this.trained.draw(end, SHOWN).points;
    const partners = new Float32Array(2 * x0.length);
    for (let i = 0; i < x0.length / 2; i++) partners.set([x0[2 * i], x0[2 * i + 1], x1[2 * i], x1[2 * i + 1]], 4 * i);
    const { crossings, compared } = countCrossings(x0, x1);
    const optimal = optimalAssignment(x0, x1).cost;
    return {
      clouds: { from: cloud('from'), to: cloud('to'), partners },
      pairs: { cost: transportCost(x0, x1), optimal, crossings, compared },
    };
  }

  /** The session that this kind of velocity is in. */
  of({ velocity, bandwidth, neighbours }: Follow): PlaneSession {
    if (velocity === 'mlp') return this.trained;
    const key = `${bandwidth} ${neighbours}`;
    let session = this.kernels.get(key);
    if (!session) {
      const ends = this.ends();
      const size = ends.given ? { given: thinned(ends.given) } : { pairs: KERNEL_PAIRS };
      const kernel = { velocity, bandwidth, neighbours, reflow: 2, points: FOLLOWED } as const;
      session = new PlaneSession({ ...ends, ...size, ...kernel }, { device: this.device });
      for (const [old, one] of this.kernels) {
        if (this.kernels.size < MOST_KERNELS) break;
        one.dispose();
        this.kernels.delete(old);
      }
      this.kernels.set(key, session);
    }
    return session;
  }

  /** The flows that have begun. */
  begun(how: Follow): Flow[] {
    const session = this.of(how);
    return flows.filter((flow) => numberOf(session, flow) >= 0);
  }

  /** Whether the numbers of the flow are there. */
  complete(flow: Flow, how: Follow): boolean {
    const session = this.of(how);
    return session.flows[numberOf(session, flow)]?.figures !== undefined;
  }

  paths(flow: Flow, how: Follow): Paths {
    const session = this.of(how);
    const number = numberOf(session, flow);
    const start = session.starts(FOLLOWED);
    const { times, points, nfe } = session.paths(number, start, optionsOf(how));
    const count = start.length / 2;
    return {
      ...{ flow, how, count, times: Float32Array.from(times), points: joined(points), evaluations: nfe },
      first: Float32Array.from(session.velocities(number, start, 0)),
    };
  }

  /** How far the ends of Euler and of natural Euler along each interpolation are from those of straight Euler. */
  compare(flow: Flow, how: Follow): Compared[] {
    const session = this.of(how);
    const number = numberOf(session, flow);
    const start = session.starts(FOLLOWED);
    const { steps } = how;
    const endOf = (options: SampledPathOptions) =>
      session.paths(number, start, { steps, stops: 1, ...options }).points.at(-1) as Float32Array;
    const straight = endOf({});
    return (Object.keys(interpolants) as Interpolant[]).map((interpolant) => ({
      interpolant,
      euler: farthest(endOf({ interpolant }), straight),
      natural: farthest(endOf({ interpolant, sampler: 'natural' }), straight),
    }));
  }

  /** What was measured of a complete flow; of one that is in training, a rough measure on few points. */
  measures(flow: Flow, how: Follow): Measures {
    const session = this.of(how);
    const number = numberOf(session, flow);
    const { figures } = session.flows[number];
    if (!figures) return this.rough(flow, session, number);
    const { straightness, cost, coupling, oneStepError, energy } = figures;
    const byStepCount = Object.entries(energy).map(([steps, distance]) => ({ steps: Number(steps), distance }));
    const { excess, crossings, compared } = coupling;
    return { flow, straightness, cost, excess, oneStepError, byStepCount, crossings, compared, rough: false };
  }

  private rough(flow: Flow, session: PlaneSession, number: number): Measures {
    const start = session.starts(FOLLOWED);
    const steps = 25;
    const { points } = session.paths(number, start, { steps });
    const end = points[steps];
    const count = start.length / 2;
    let straightness = 0;
    for (let k = 0; k < steps; k++)
      for (let i = 0; i < end.length; i++)
        straightness += (steps * (points[k + 1][i] - points[k][i]) - (end[i] - start[i])) ** 2 / (steps * count);
    let miss = 0;
    const first = session.velocities(number, start, 0);
    for (let i = 0; i < end.length; i++) miss += (start[i] + first[i] - end[i]) ** 2 / count;
    const { crossings, compared } = countCrossings(start, end);
    const cost = transportCost(start, end);
    const byStepCount: Measures['byStepCount'] = [];
    if (!session.settings.given) {
      const [target, other] = [0, 1].map((part) =>
        session.draw('to', 2 * count).points.subarray(2 * count * part, 2 * count * (part + 1)),
      );
      const floor = energyDistance(other, target, 2);
      for (const n of [1, 5]) {
        const reached = session.paths(number, start, { steps: n, stops: 1 }).points.at(-1) as Float32Array;
        byStepCount.push({ steps: n, distance: energyDistance(reached, target, 2) - floor });
      }
      byStepCount.push({ steps, distance: energyDistance(end, target, 2) - floor });
    }
    const excess = cost - optimalAssignment(start, end).cost;
    return {
      flow,
      straightness,
      cost,
      excess,
      oneStepError: Math.sqrt(miss),
      byStepCount,
      crossings,
      compared,
      rough: true,
    };
  }

  /** The velocity at the centres of a grid over the plane: x, y and v in turn. */
  field(flow: Flow, how: Follow, time: number): Float32Array {
    const session = this.of(how);
    const centres = new Float64Array(2 * GRID * GRID);
    for (let i = 0; i < GRID * GRID; i++) {
      centres[2 * i] = EXTENT * ((2 * (i % GRID) + 1) / GRID - 1);
      centres[2 * i + 1] = EXTENT * ((2 * Math.floor(i / GRID) + 1) / GRID - 1);
    }
    const v = session.velocities(numberOf(session, flow), centres, time);
    const arrows = new Float32Array(4 * GRID * GRID);
    for (let i = 0; i < GRID * GRID; i++)
      arrows.set([centres[2 * i], centres[2 * i + 1], v[2 * i], v[2 * i + 1]], 4 * i);
    return arrows;
  }

  /** The path of points of the reader. @param backward from t = 1 to 0 */
  probe(
    flow: Flow,
    how: Follow,
    points: Float32Array,
    backward: boolean,
  ): { times: Float32Array; points: Float32Array } {
    const session = this.of(how);
    const options = how.solver === 'rk45' ? { solver: how.solver } : { solver: how.solver, steps: how.steps };
    const paths = session.paths(numberOf(session, flow), points, { ...options, reverse: backward });
    return { times: Float32Array.from(paths.times), points: joined(paths.points) };
  }

  /** The weights of a trained flow as a safetensors file. */
  async weights(flow: Flow): Promise<{ bytes: Uint8Array; unit: number }> {
    const number = numberOf(this.trained, flow);
    // The network is not part of the public type of a flow, which may be a kernel.
    const { network } = this.trained.flows[number].flow as unknown as { network: { module: Module } };
    const tensors: Record<string, { shape: number[]; dtype: 'f32'; data: Float32Array }> = {};
    for (const [name, t] of network.module.stateDict())
      tensors[name] = { shape: [...t.shape], dtype: 'f32', data: (await (t as Tensor).data()) as Float32Array };
    const unit = this.trained.scale;
    const metadata = {
      flow: this.trained.flows[number].name,
      unit: String(unit),
      velocity: 'unit * mlp([x / unit, t])',
    };
    return { bytes: encodeSafetensors(tensors, metadata), unit };
  }
}

/** The list of pairs, or evenly spaced ones of it. */
function thinned({ x0, x1 }: NonNullable<PlaneSettings['given']>): NonNullable<PlaneSettings['given']> {
  const count = x0.length / 2;
  if (count <= KERNEL_LISTED) return { x0, x1 };
  const some = (points: ArrayLike<number>) =>
    Float32Array.from(
      { length: 2 * KERNEL_LISTED },
      (_, i) => points[2 * Math.floor(((i >> 1) * count) / KERNEL_LISTED) + (i % 2)],
    );
  return { x0: some(x0), x1: some(x1) };
}

/** The largest distance of two points with the same number. */
function farthest(a: Float32Array, b: Float32Array): number {
  let most = 0;
  for (let i = 0; i < a.length; i += 2) most = Math.max(most, Math.hypot(a[i] - b[i], a[i + 1] - b[i + 1]));
  return most;
}

/** How the library follows points. */
function optionsOf({ solver, steps, interpolant, sampler, fresh }: Follow): SampledPathOptions {
  if (sampler === 'sde') return { steps, sampler, noise: fresh };
  if (sampler === 'refresh') return { steps, sampler, interpolant, noise: fresh };
  if (sampler === 'natural') return { steps, sampler, interpolant };
  if (interpolant !== 'straight') return { steps, interpolant };
  return solver === 'rk45' ? { solver } : { solver, steps };
}

/** The number of a flow in its session, or -1 while it has not begun. */
export function numberOf(session: PlaneSession, flow: Flow): number {
  const number = session.flows.findIndex((one, i) => flowOf(one, i) === flow);
  return session.flows[number]?.flow ? number : -1;
}

/** The page's name of a flow of a session. */
export function flowOf({ kind }: SessionFlow, number: number): Flow {
  return kind === 'distil' ? 'distilled' : ((number + 1) as Flow);
}

function sourceOf(source: Source, noise: number): PlaneSource {
  return 'preset' in source ? source.preset : { points: source.points, noise, name: 'drawn' };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.length * (parts[0]?.length ?? 0));
  for (const [i, part] of parts.entries()) all.set(part, i * part.length);
  return all;
}
