// The settings of the page: what is transported, by which network, and how it is shown. Everything that a link restores is here, with the
// range of each number, so that a link that was edited cannot bring in anything else.

import { EXAMPLE } from './digits.ts';

/** Names of point sets that both clouds can be. */
export const presets = {
  triangle: 'Triangle',
  gaussian: 'Gaussian',
  two_moons: 'Two moons',
  eight_gaussians: 'Eight blobs',
  rings: 'Rings',
  spiral: 'Spiral',
  checkerboard: 'Checkerboard',
  pinwheel: 'Pinwheel',
  swiss_roll: 'Swiss roll',
  s_curve: 'S-curve',
} as const;
export type Preset = keyof typeof presets;

/** A cloud: a preset by name, or points that were drawn or pasted, x and y in turn. */
export type Source = { preset: Preset } | { points: Float32Array };

export const couplings = {
  random: 'Random in each step',
  fixed: 'Random, fixed once',
  minibatch: 'Optimal in each batch',
  optimal: 'Optimal, fixed once',
  classes: 'Part by part',
  listed: 'As listed',
} as const;
export type Coupling = keyof typeof couplings;

export const solvers = { euler: 'Euler', heun: 'Heun', rk45: 'RK45' } as const;
export type Solver = keyof typeof solvers;

/** Interpolations whose paths are followed, and samplers that follow them; see `PlaneSession.paths`. */
export const interpolants = {
  straight: 'Straight',
  spherical: 'Spherical',
  vp: 'Variance preserving',
} as const;
export type Interpolant = keyof typeof interpolants;
export const samplers = {
  solver: 'As above',
  natural: 'Natural Euler',
  refresh: 'Noise refresh',
  sde: 'SDE',
} as const;
export type Sampler = keyof typeof samplers;

export const velocities = { mlp: 'Neural network', kernel: 'Kernel, no training' } as const;
export type VelocityKind = keyof typeof velocities;

/** What is transported and how it is learned; a change begins a new training. */
export interface Problem {
  from: Source;
  to: Source;
  /** Standard deviation of the noise that is added to points that were drawn or pasted. */
  noise: number;
  coupling: Coupling;
  width: number;
  depth: number;
  batch: number;
  rate: number;
  l2: number;
  seed: number;
  /** Training steps of each flow. */
  steps: number;
}

export const pages = { plane: 'Plane', digits: 'Digits' } as const;
export type PageName = keyof typeof pages;

/** What the picture shows of a flow that exists. */
export interface View {
  page: PageName;
  /** The seed of the noise of the digits, and their Euler steps. */
  digitSeed: number;
  digitSteps: number;
  /** The cells between which the walk goes, and where on it the reader is. */
  digitFrom: number;
  digitTo: number;
  digitPlace: number;
  /** The digit that the reader draws; see `textOfDigit`. */
  digitOwn: string;
  velocity: VelocityKind;
  /** The bandwidth and the number of neighbours of the kernel velocity. */
  bandwidth: number;
  neighbours: number;
  /** Steps of the sampler. */
  steps: number;
  solver: Solver;
  /** The drawer of interpolations and samplers, and the share of noise that is new in each step. */
  drawer: boolean;
  interpolant: Interpolant;
  sampler: Sampler;
  fresh: number;
  paths: boolean;
  arrows: boolean;
  target: boolean;
  field: boolean;
  /** Arrows of the network's velocity less that of the kernel. */
  difference: boolean;
  density: boolean;
  pairs: boolean;
  /** The time that is shown. */
  time: number;
  /** 0 is the pairs, 1 to 3 the rectified flows, 4 the distilled one. */
  tab: number;
}

export interface Settings {
  problem: Problem;
  view: View;
}

export interface Range {
  least: number;
  most: number;
  whole?: boolean;
}

export const ranges = {
  noise: { least: 0, most: 3 },
  width: { least: 8, most: 128, whole: true },
  depth: { least: 1, most: 4, whole: true },
  batch: { least: 32, most: 2048, whole: true },
  rate: { least: 1e-4, most: 5e-2 },
  l2: { least: 0, most: 0.1 },
  seed: { least: 0, most: 999_999, whole: true },
  trainingSteps: { least: 100, most: 20_000, whole: true },
  bandwidth: { least: 0.05, most: 5 },
  neighbours: { least: 1, most: 600, whole: true },
  steps: { least: 1, most: 100, whole: true },
  time: { least: 0, most: 1 },
  fresh: { least: 0, most: 1 },
  tab: { least: 0, most: 4, whole: true },
  digitSeed: { least: 0, most: 999_999, whole: true },
  digitSteps: { least: 1, most: 25, whole: true },
  digitCell: { least: 0, most: 15, whole: true },
} satisfies Record<string, Range>;

/** The half-width of the plane that is drawn on. */
export const EXTENT = 15;
/** Points of a cloud that are kept. */
export const MOST_POINTS = 10_000;

/**
 * The official notebook: two mixtures of three Gaussians, one the mirror image of the other. The network and its training are the defaults
 * of `PlaneSession` and of the command `toy`, so both compute the same numbers.
 */
export const defaults: Settings = {
  problem: {
    from: { preset: 'triangle' },
    to: { preset: 'triangle' },
    noise: 0.15,
    coupling: 'random',
    width: 64,
    depth: 3,
    batch: 256,
    rate: 0.01,
    l2: 0,
    seed: 0,
    steps: 2000,
  },
  view: {
    page: 'plane',
    digitSeed: 1,
    digitSteps: 1,
    digitFrom: 0,
    digitTo: 5,
    digitPlace: 0.5,
    digitOwn: EXAMPLE,
    velocity: 'mlp',
    bandwidth: 1,
    neighbours: 100,
    steps: 100,
    solver: 'euler',
    drawer: false,
    interpolant: 'straight',
    sampler: 'solver',
    fresh: 0.5,
    paths: true,
    arrows: false,
    target: true,
    field: false,
    difference: false,
    density: false,
    pairs: true,
    time: 1,
    tab: 1,
  },
};

/** The value in its range, rounded if it is a whole number; undefined for anything but a finite number. */
export function within(value: unknown, { least, most, whole }: Range): number | undefined {
  if (typeof value !== 'number' || !Number.isFinite(value)) return undefined;
  const clamped = Math.min(most, Math.max(least, value));
  return whole ? Math.round(clamped) : clamped;
}

export const isPreset = (value: unknown): value is Preset => typeof value === 'string' && Object.hasOwn(presets, value);
