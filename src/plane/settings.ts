// Settings of a session: what flows in the plane go from and to, how their points are paired, and how they are trained. They are plain
// data, so a page can keep them in an address and the command can take them as options.
import { checkOptions, describeValue, kind, kinds, type OptionKinds, oneOf, wholeFrom } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { hostPairs } from '../flow/host_points.ts';
import { type KernelForm, kernelForms } from '../flow/kernel_velocity.ts';
import { type CouplingName, couplings, type PlanePairs } from './couplings.ts';
import { MOST_GIVEN, type PlaneSource, seedKind, sourceKind } from './sources.ts';

/** A network that is trained ('mlp'), or the non-parametric velocity of a list of pairs ('kernel'). */
export const velocityKinds = ['mlp', 'kernel'] as const;
export type VelocityKind = (typeof velocityKinds)[number];

/** What a session does. */
export interface PlaneSettings {
  /** The set that flows start from; default 'triangle'. */
  from: PlaneSource;
  /** The set that flows lead to; default 'triangle', the mirror image of the one to start from. */
  to: PlaneSource;
  /** How points of the two sets are paired for the first flow; default 'random'. */
  coupling: CouplingName;
  /** Pairs in place of `from`, `to` and `coupling`: point i of x0 goes with point i of x1. */
  given?: { x0: ArrayLike<number>; x1: ArrayLike<number> };
  /** Default 'mlp'. */
  velocity: VelocityKind;
  /** How many flows follow the first, each from the pairs of the one before it; default 1. */
  reflow: number;
  /** Whether a network that takes one step is trained on the pairs of the last flow; default false. */
  distil: boolean;
  /**
   * p of the cost |x1 - x0|^p that is measured, at least 1; with a network and above 1 also that of the c-rectified flow, if `potential`
   * is set. Default 2.
   */
  power: number;
  /**
   * Trains c-rectified flows (Liu 2022, arXiv 2209.14577): velocities of the form grad c*(grad f(x, t)), c = |.|^power / power, with a
   * network for the potential f. Default false.
   */
  potential: boolean;
  /** Features of each hidden layer; default 64. */
  width: number;
  /** Hidden layers; default 3. */
  depth: number;
  /** Learning rate of Adam, which falls to 0 along a cosine; default 0.01. */
  rate: number;
  /** Pairs of an update; default 256. */
  batch: number;
  /** L2 penalty of the weights; default 0. */
  l2: number;
  /** Updates of each flow; default 2,000. */
  steps: number;
  /**
   * Pairs of a list: those of the couplings 'fixed' (default 10,000) and 'optimal' (2,000, the most), and those of the kernel
   * (1,000).
   */
  pairs: number;
  /** Pairs of a flow that the next one is trained on; default 10,000. The kernel's flows keep the start points of their list. */
  reflowPairs: number;
  /** Standard deviation of the kernel; default 1. */
  bandwidth: number;
  /** Nearest pairs that the kernel averages; default 100. */
  neighbours: number;
  /** What the kernel averages; default 'end', the paper's. */
  form: KernelForm;
  /** Euler steps that make the pairs of reflow and along which straightness and cost are measured; default 100. */
  eulerSteps: number;
  /** Fresh start points that figures are measured from; default 2,000, with the kernel 500. */
  points: number;
  /** How many of these are compared with their optimal assignment, at most 2,000; default 300, or all where there are fewer. */
  assigned: number;
  /** Default 0. */
  seed: number;
}

const MOST_STEPS = 1_000_000;
const MOST_PAIRS = 100_000;

const settingKinds: OptionKinds<PlaneSettings> = {
  from: sourceKind,
  to: sourceKind,
  coupling: oneOf(couplings),
  given: kinds.object,
  velocity: oneOf(velocityKinds),
  reflow: wholeFrom(0, 20),
  distil: kinds.boolean,
  power: kind('a number from 1 to 10', (v) => typeof v === 'number' && v >= 1 && v <= 10),
  potential: kinds.boolean,
  width: wholeFrom(1, 1024),
  depth: wholeFrom(1, 8),
  rate: kind('a number above 0, at most 1', (v) => typeof v === 'number' && v > 0 && v <= 1),
  batch: wholeFrom(1, 65_536),
  l2: kind('a number from 0 to 1', (v) => typeof v === 'number' && v >= 0 && v <= 1),
  steps: wholeFrom(1, MOST_STEPS),
  pairs: wholeFrom(1, MOST_PAIRS),
  reflowPairs: wholeFrom(1, MOST_PAIRS),
  bandwidth: kind('a number from 1e-3 to 1e6', (v) => typeof v === 'number' && v >= 1e-3 && v <= 1e6),
  neighbours: wholeFrom(1, MOST_PAIRS),
  form: oneOf(kernelForms),
  eulerSteps: wholeFrom(1, 10_000),
  points: wholeFrom(2, 20_000),
  assigned: wholeFrom(2, 2000),
  seed: seedKind,
};

/** Settings with every default filled in, and given pairs copied. */
export interface CheckedSettings extends Omit<PlaneSettings, 'given'> {
  given?: PlanePairs;
}

/** Least power of a c-rectified flow: the conjugate of |.|^p has the power p / (p - 1), which must stay finite. */
const LEAST_POWER = 1.1;

/**
 * Settings with all defaults.
 * @throws ArgumentError for an unknown setting, with the nearest known one, or a value out of range; ValueError for settings that exclude
 * each other
 * @example
 * const settings = planeSettings({ velocity: 'kernel', reflow: 2 });
 * settings.pairs; // 1000
 * settings.bandwidth; // 1
 */
export function planeSettings(settings: Partial<PlaneSettings> = {}): CheckedSettings {
  const given = checkOptions<Partial<PlaneSettings>>('planeSettings', settings, settingKinds);
  const { velocity = 'mlp', coupling = 'random', potential = false, power = 2 } = given;
  const refuse = (name: keyof PlaneSettings, why: string) => {
    if (given[name] !== undefined && given[name] !== false)
      throw new ValueError(
        `[planeSettings] expected no ${name} ${why}, got ${describeValue(given[name])}; leave it out`,
      );
  };
  if (given.given) for (const name of ['from', 'to', 'coupling', 'pairs'] as const) refuse(name, 'with given pairs');
  const ofNetworks = ['width', 'depth', 'rate', 'l2', 'steps', 'distil', 'potential', 'reflowPairs'] as const;
  const ofKernels = ['bandwidth', 'neighbours', 'form'] as const;
  if (velocity === 'kernel')
    for (const name of ofNetworks) refuse(name, 'with the velocity "kernel", which is not trained');
  else for (const name of ofKernels) refuse(name, 'with the velocity "mlp"');
  if (potential && power < LEAST_POWER)
    throw new ValueError(
      `[planeSettings] expected a power of at least ${LEAST_POWER} for c-rectified flows, got ${power}`,
    );
  const list = velocity === 'kernel' ? 1000 : coupling === 'optimal' ? 2000 : 10_000;
  const points = given.points ?? (velocity === 'kernel' ? 500 : 2000);
  return {
    from: 'triangle',
    to: 'triangle',
    velocity,
    coupling,
    potential,
    power,
    reflow: 1,
    distil: false,
    width: 64,
    depth: 3,
    rate: 0.01,
    batch: 256,
    l2: 0,
    steps: 2000,
    pairs: list,
    reflowPairs: 10_000,
    bandwidth: 1,
    neighbours: 100,
    form: 'end',
    eulerSteps: 100,
    seed: 0,
    ...given,
    points,
    assigned: Math.min(given.assigned ?? 300, points),
    given: given.given && givenPairs(given.given),
  };
}

/** @throws ArgumentError, ValueError unless both are lists of as many points */
function givenPairs(pairs: { x0: ArrayLike<number>; x1: ArrayLike<number> }): PlanePairs {
  const [x0, x1] = hostPairs('planeSettings', pairs.x0, pairs.x1, 2);
  if (x0.length / 2 > MOST_GIVEN)
    throw new ValueError(`[planeSettings] expected at most ${MOST_GIVEN} given pairs, got ${x0.length / 2}`);
  return { x0, x1 };
}
