// A session: flows in the plane that are trained, reflowed, distilled and measured in small slices. A page calls `advance` between two frames,
// the command calls `run`; both get the same numbers, because nothing that is computed depends on how the work is sliced.
import { checkArguments, checkOptions, kind, kinds, type OptionKinds, oneOf, wholeFrom } from '../arguments.ts';
import type { Device } from '../device/device.ts';
import { deviceKind } from '../device/device.ts';
import { ValueError } from '../errors.ts';
import { EnergyReference } from '../flow/energy_distance.ts';
import { hostPoints } from '../flow/host_points.ts';
import { atOnce, type Pieces } from '../flow/pieces.ts';
import { turn } from '../turn.ts';
import {
  type Batches,
  checkCoupling,
  FreshPairs,
  firsts,
  ListedPairs,
  listPairs,
  type PlanePairs,
} from './couplings.ts';
import {
  followInPieces,
  KernelFlow,
  NetworkFlow,
  type PlaneFlow,
  type PlanePaths,
  pathsOf,
  planeSolvers,
  type SampledPathOptions,
} from './flows.ts';
import { interpolantNames, samplerNames } from './interpolants.ts';
import { type CouplingFigures, type FlowFigures, measureCoupling, measureFlow } from './measure.ts';
import { makeNetwork, type PlaneNetwork } from './networks.ts';
import { checkSampler } from './samplers.ts';
import { type CheckedSettings, type PlaneSettings, planeSettings } from './settings.ts';
import { Cloud, GAUSSIAN_DEVIATION, type PlaneDraw, type PlaneEnd, planeEnds } from './sources.ts';
import { Trainer } from './trainer.ts';

/** What a session is doing. */
export interface PlaneProgress {
  /** 'pairs': pairs are made; 'train': a network is trained; 'measure': figures are measured; 'idle': nothing is left to do. */
  task: 'pairs' | 'train' | 'measure' | 'idle';
  /** Number of the flow, from 0; the last one where idle. */
  flow: number;
  /** Updates made, for 'train'. */
  done: number;
  /** All updates, for 'train'; otherwise 0. */
  total: number;
  /** The last loss in the square of the plane's unit, the mean over both coordinates; NaN before the first. */
  loss: number;
}

/** One flow of a session. */
export interface SessionFlow {
  readonly name: string;
  /** What it was trained on. */
  readonly kind: 'coupling' | 'reflow' | 'distil';
  /** The flow as far as it is trained; undefined before its first update. */
  readonly flow: PlaneFlow | undefined;
  /** Whether its training is complete. */
  readonly complete: boolean;
  /** Every tenth loss. */
  readonly losses: readonly { step: number; loss: number }[];
  /** Undefined until it was measured. */
  readonly figures: FlowFigures | undefined;
  /** The pairs that it was trained on, where they are a list. */
  readonly pairs: PlanePairs | undefined;
}

type Own = { -readonly [Key in keyof SessionFlow]: SessionFlow[Key] } & { losses: { step: number; loss: number }[] };

/** Losses are kept at multiples of this number of steps. */
const LOSS_EVERY = 10;
/** Points from which the scale is computed, and sets whose distances are the floor. */
const [SCALE_POINTS, FLOOR_SETS] = [1000, 3];
/** Pairs of the first coupling that are compared with their optimal assignment. */
const COUPLING_PAIRS = 600;

const pathOptions: OptionKinds<SampledPathOptions> = {
  solver: oneOf(planeSolvers),
  steps: wholeFrom(1, 10_000),
  reverse: kinds.boolean,
  stops: wholeFrom(1, 10_000),
  sampler: oneOf(samplerNames),
  interpolant: oneOf(interpolantNames),
  noise: kind('a number from 0 to 1', (v) => typeof v === 'number' && v >= 0 && v <= 1),
};
const sliceKind = kind('a number of milliseconds above 0', (v) => typeof v === 'number' && v > 0);
const countKind = wholeFrom(1, 100_000);
const pointsKind = kind(
  'a list of numbers',
  (v) => Array.isArray(v) || v instanceof Float32Array || v instanceof Float64Array,
);

/**
 * Flows in the plane: trained, reflowed, distilled and measured in slices, the same work in a page and on the command line. The same
 * settings give the same numbers on one device, on `wasm` also in browsers.
 * @throws ArgumentError and ValueError for settings that are out of range or exclude each other
 * @example
 * const device = await openDevice('wasm');
 * const session = new PlaneSession({ velocity: 'kernel', pairs: 100, neighbours: 20, points: 20 }, { device });
 * await session.run();
 * session.flows.map(({ name }) => name); // ['1-rectified flow', '2-rectified flow']
 * const [first, second] = session.flows.map(({ figures }) => figures.straightness);
 * second < first / 10; // true
 * session.dispose();
 */
export class PlaneSession {
  readonly settings: CheckedSettings;
  readonly device: Device;
  /** The flows in the order of their training. */
  readonly flows: readonly SessionFlow[];
  /** Figures of the pairs that the first flow is trained on; undefined until they were measured. */
  coupling: CouplingFigures | undefined;
  /** What one unit of the networks is in the plane: the root mean square of the coordinates of both sets. */
  readonly scale: number;
  private readonly own: Own[] = [];
  private readonly from: Cloud | undefined;
  private readonly to: Cloud | undefined;
  private readonly power: number;
  private readonly waiting: (() => Pieces<void>)[] = [];
  private now: Pieces<void> | undefined;
  private state: PlaneProgress = { task: 'idle', flow: 0, done: 0, total: 0, loss: Number.NaN };
  private trainer: Trainer | undefined;
  private target: { reference: EnergyReference; floor: number } | undefined;
  private disposed = false;

  constructor(settings: Partial<PlaneSettings>, options: { device: Device }) {
    this.settings = planeSettings(settings);
    this.device = checkOptions('PlaneSession', options, { device: deviceKind }, ['device']).device;
    this.flows = this.own;
    const { from, to, seed, given, reflow, distil, power } = this.settings;
    this.power = power;
    if (!given) {
      this.from = new Cloud('PlaneSession', from, 'from', seed);
      this.to = new Cloud('PlaneSession', to, 'to', seed);
      checkCoupling(this.settings, this.from, this.to);
    }
    this.scale = this.scaleOf();
    this.waiting.push(() => this.begin());
    for (let k = 0; k < reflow; k++) this.reflow();
    if (distil) this.distil();
  }

  /** What is being done, and how far it is. */
  get progress(): PlaneProgress {
    return { ...this.state };
  }

  /** Whether nothing is left to do. */
  get idle(): boolean {
    return this.now === undefined && this.waiting.length === 0;
  }

  /**
   * Adds a flow that is trained on pairs of the last one.
   * @throws ValueError after `distil`, whose pairs are not those of a flow
   */
  reflow(): void {
    this.assertUsable('reflow');
    if (this.distils > 0) throw new ValueError('[PlaneSession] expected reflow before distil, got it after');
    const number = ++this.reflows;
    this.waiting.push(() => this.follow(`${number + 1}-rectified flow`, 'reflow'));
  }

  /**
   * Adds a network that is trained on pairs of the last flow at t = 0 alone, for one step.
   * @throws ValueError for kernels, which are not trained, and if it was added before
   */
  distil(): void {
    this.assertUsable('distil');
    if (this.settings.velocity === 'kernel')
      throw new ValueError('[PlaneSession] expected a network to distil, got the velocity "kernel"');
    if (this.distils++ > 0) throw new ValueError('[PlaneSession] the last flow is distilled already');
    this.waiting.push(() => this.follow('distilled to 1 step', 'distil'));
  }

  private reflows = 0;
  private distils = 0;

  /**
   * Works for about that long, or until nothing is left to do. One piece of work, such as an update or one evaluation, is never
   * interrupted.
   * @throws NonFiniteError for a training that diverges
   */
  advance(milliseconds: number): PlaneProgress {
    checkArguments('PlaneSession.advance', { milliseconds: [milliseconds, sliceKind] });
    this.assertUsable('advance');
    const end = performance.now() + milliseconds;
    while (!this.idle) {
      this.piece();
      if (performance.now() >= end) break;
    }
    return this.progress;
  }

  /**
   * Does all the work.
   * @throws the signal's reason when aborted; the same call then continues
   */
  async run(options: { signal?: AbortSignal; onProgress?: (progress: PlaneProgress) => void } = {}): Promise<void> {
    const { signal, onProgress } = checkOptions('PlaneSession.run', options, {
      signal: kinds.signal,
      onProgress: kinds.callback,
    });
    while (!this.idle) {
      const progress = this.advance(SLICE_MS);
      onProgress?.(progress);
      await turn(signal);
    }
  }

  /** Does the next piece of work. */
  private piece(): void {
    this.now ??= this.waiting.shift()?.();
    if (!this.now?.next().done) return;
    this.now = undefined;
    if (this.idle) this.state = { ...this.state, task: 'idle' };
  }

  private task(task: PlaneProgress['task'], flow: number): void {
    this.state = { task, flow, done: 0, total: 0, loss: Number.NaN };
  }

  /** The first flow. */
  private *begin(): Pieces<void> {
    const { settings } = this;
    const { velocity, coupling, given, seed } = settings;
    this.task('pairs', 0);
    const own = this.add('1-rectified flow', 'coupling');
    const listed = velocity === 'kernel' || coupling === 'fixed' || coupling === 'optimal';
    const plan = { ...settings, power: this.power };
    if (given) own.pairs = given;
    else if (listed) own.pairs = yield* listPairs(plan, this.from as Cloud, this.to as Cloud);
    const measured =
      own.pairs ?? (yield* listPairs({ ...plan, pairs: COUPLING_PAIRS }, this.from as Cloud, this.to as Cloud));
    this.coupling = yield* measureCoupling(measured, COUPLING_PAIRS, this.power);
    if (velocity === 'kernel') yield* this.kernelFlow(own);
    else {
      const batches = own.pairs
        ? new ListedPairs(own.pairs, seed)
        : new FreshPairs(plan, this.from as Cloud, this.to as Cloud);
      const { width, depth, potential } = settings;
      const network = makeNetwork({
        width,
        depth,
        seed,
        device: this.device,
        potential: potential ? this.power : undefined,
      });
      yield* this.train(own, network, batches);
    }
    yield* this.measure(own);
  }

  /** A flow of the pairs of the last one. */
  private *follow(name: string, of: 'reflow' | 'distil'): Pieces<void> {
    const teacher = this.own[this.own.length - 1];
    const { flow, pairs } = teacher as { flow: PlaneFlow; pairs?: PlanePairs };
    this.task('pairs', this.own.length);
    const own = this.add(name, of);
    const { velocity, given, reflowPairs, eulerSteps, seed } = this.settings;
    const number = this.own.length;
    const x0 =
      pairs && (velocity === 'kernel' || given)
        ? pairs.x0
        : Float64Array.from((this.from as Cloud).draw(firsts.reflow + number * 2 ** 24, reflowPairs).points);
    own.pairs = { x0, x1: yield* followInPieces(flow, x0, { steps: eulerSteps }) };
    if (velocity === 'kernel') yield* this.kernelFlow(own);
    else yield* this.train(own, (flow as NetworkFlow).network.copy(), new ListedPairs(own.pairs, seed + number));
    yield* this.measure(own);
  }

  private add(name: string, kind: SessionFlow['kind']): Own {
    const own: Own = { name, kind, flow: undefined, complete: false, losses: [], figures: undefined, pairs: undefined };
    this.own.push(own);
    return own;
  }

  private *kernelFlow(own: Own): Pieces<void> {
    const { bandwidth, neighbours, form } = this.settings;
    own.flow = new KernelFlow(own.name, own.pairs as PlanePairs, { bandwidth, neighbours, form });
    own.complete = true;
    yield;
  }

  private *train(own: Own, network: PlaneNetwork, batches: Batches): Pieces<void> {
    const { scale, device, settings } = this;
    const { steps, seed } = settings;
    this.task('train', this.own.length - 1);
    const atStart = own.kind === 'distil';
    const trainer = new Trainer(network, batches, {
      ...settings,
      seed: 2 * seed + this.own.length,
      scale,
      device,
      atStart,
    });
    this.trainer = trainer;
    own.flow = new NetworkFlow(own.name, network, scale, device);
    while (trainer.step < steps) {
      trainer.update();
      const loss = trainer.loss * scale ** 2;
      this.state = { task: 'train', flow: this.own.length - 1, done: trainer.step, total: steps, loss };
      if (trainer.step % LOSS_EVERY === 0 || trainer.step === steps) own.losses.push({ step: trainer.step, loss });
      yield;
    }
    const trained = trainer.dispose();
    this.trainer = undefined;
    own.flow.dispose();
    own.flow = new NetworkFlow(own.name, trained, scale, device);
    own.complete = true;
  }

  private *measure(own: Own): Pieces<void> {
    const { eulerSteps, assigned, given, points } = this.settings;
    this.task('measure', this.own.length - 1);
    if (!given) this.target ??= yield* this.targetOf(points);
    const plan = { power: this.power, steps: eulerSteps, starts: this.starts(points), assigned, target: this.target };
    own.figures = yield* measureFlow(own.flow as PlaneFlow, plan);
  }

  /** Fresh target points, and how far other fresh points are from them. */
  private *targetOf(count: number): Pieces<{ reference: EnergyReference; floor: number }> {
    const drawn = (k: number) => Float64Array.from((this.to as Cloud).draw(firsts.measure + k * 2 ** 24, count).points);
    const reference = new EnergyReference(drawn(0));
    let floor = 0;
    for (let k = 1; k <= FLOOR_SETS; k++) {
      floor += reference.distanceTo(drawn(k)) / FLOOR_SETS;
      yield;
    }
    return { reference, floor };
  }

  /** The start points that figures are measured from: fresh ones, or the first of given pairs. f64 [count, 2] */
  starts(count: number): Float64Array {
    checkArguments('PlaneSession.starts', { count: [count, countKind] });
    const { given } = this.settings;
    if (given) return given.x0.slice(0, 2 * count);
    return Float64Array.from((this.from as Cloud).draw(firsts.measure, count).points);
  }

  /**
   * Points of one of the two sets, drawn as for the figures.
   * @throws ValueError with given pairs, which have no sets
   */
  draw(end: PlaneEnd, count: number): PlaneDraw {
    checkArguments('PlaneSession.draw', { end: [end, oneOf(planeEnds)], count: [count, countKind] });
    const cloud = end === 'from' ? this.from : this.to;
    if (!cloud) throw new ValueError('[PlaneSession] given pairs have no sets to draw from');
    return cloud.draw(firsts.measure, count);
  }

  /**
   * The first pairs of the coupling that the first flow is trained on, as it draws them.
   * @throws ValueError for too many points to assign
   */
  couplingPairs(count: number): PlanePairs {
    checkArguments('PlaneSession.couplingPairs', { count: [count, countKind] });
    const pairs =
      this.settings.given ??
      this.own[0]?.pairs ??
      atOnce(listPairs({ ...this.settings, pairs: count }, this.from as Cloud, this.to as Cloud));
    return { x0: pairs.x0.slice(0, 2 * count), x1: pairs.x1.slice(0, 2 * count) };
  }

  /**
   * The paths of points under a flow.
   * @param flow its number, from 0
   * @param start points [x, y] on the host, one after the other
   * @throws ValueError for a flow that has not begun, points that are not finite, and samplers that do not go together with other options or
   * with the source: 'refresh' and 'sde' draw from it, so it must be 'gaussian'
   */
  paths(flow: number, start: ArrayLike<number>, options: SampledPathOptions = {}): PlanePaths {
    checkArguments('PlaneSession.paths', { start: [start, pointsKind] });
    const checked = checkOptions('PlaneSession.paths', options, pathOptions);
    checkSampler(checked, this.settings);
    const context = { device: this.device, seed: this.settings.seed, deviation: GAUSSIAN_DEVIATION };
    return pathsOf(this.flowOf('paths', flow), hostPoints('PlaneSession.paths', 'start', start, 2), checked, context);
  }

  /**
   * The velocities of a flow at points of the host, f64 [count, 2].
   * @param flow its number, from 0
   * @throws ValueError for a flow that has not begun, a time outside [0, 1], or points that are not finite
   */
  velocities(flow: number, points: ArrayLike<number>, t: number): Float64Array {
    checkArguments('PlaneSession.velocities', { points: [points, pointsKind], t: [t, timeKind] });
    return this.flowOf('velocities', flow).at(hostPoints('PlaneSession.velocities', 'points', points, 2), t);
  }

  /** Frees the networks. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.now = undefined;
    this.waiting.length = 0;
    for (const { flow } of this.own) if (flow && !(this.trainer && flow === this.own.at(-1)?.flow)) flow.dispose();
    this.trainer?.dispose().module.dispose();
  }

  private flowOf(op: string, flow: number): PlaneFlow {
    this.assertUsable(op);
    const found = Number.isInteger(flow) ? this.own[flow]?.flow : undefined;
    if (!found)
      throw new ValueError(`[PlaneSession.${op}] expected a flow that has begun, of ${this.own.length}, got ${flow}`);
    return found;
  }

  private assertUsable(op: string): void {
    if (this.disposed) throw new ValueError(`[PlaneSession.${op}] the session was disposed`);
  }

  /** The root mean square of the coordinates of both ends. */
  private scaleOf(): number {
    const { given } = this.settings;
    const clouds = given
      ? [given.x0, given.x1]
      : [this.from, this.to].map((cloud) => (cloud as Cloud).draw(firsts.measure, SCALE_POINTS).points);
    let [total, count] = [0, 0];
    for (const points of clouds) for (const value of points) [total, count] = [total + value * value, count + 1];
    // All points at the origin.
    return Math.sqrt(total / count) || 1;
  }
}

const SLICE_MS = 20;
const timeKind = kind('a number from 0 to 1', (v) => typeof v === 'number' && v >= 0 && v <= 1);
