// What the page and its worker say to each other. Every answer carries the number of the training that it belongs to, so that the page can
// leave out what came late.
import type { DigitFlow } from '../model/digits.ts';
import type { Interpolant, Problem, Sampler, Solver, VelocityKind } from '../model/settings.ts';

/** A flow: 1, 2 or 3 times rectified, or distilled. */
export type Flow = 1 | 2 | 3 | 'distilled';
export const flows: readonly Flow[] = [1, 2, 3, 'distilled'];

/** How a flow is followed. */
export interface Follow {
  velocity: VelocityKind;
  bandwidth: number;
  neighbours: number;
  steps: number;
  solver: Solver;
  interpolant: Interpolant;
  sampler: Sampler;
  /** The share of noise that 'refresh' and 'sde' replace. */
  fresh: number;
}

export type Request =
  | { kind: 'open'; threads: number }
  | { kind: 'begin'; run: number; problem: Problem }
  | { kind: 'train'; run: number }
  | { kind: 'step'; run: number }
  | { kind: 'pause' }
  | { kind: 'reflow'; run: number }
  | { kind: 'distil'; run: number }
  | { kind: 'follow'; run: number; ask: number; how: Follow }
  | { kind: 'field'; run: number; ask: number; flow: Flow; how: Follow; time: number; difference: boolean }
  | { kind: 'probe'; run: number; ask: number; flow: Flow; how: Follow; points: Float32Array; backward: boolean }
  | { kind: 'compare'; run: number; ask: number; flow: Flow; how: Follow }
  | { kind: 'weights'; run: number; ask: number; flow: Flow }
  | DigitRequest;

/** How far the ends of N Euler steps along an interpolation are from those of straight Euler: the largest distance of 300 points. */
export interface Compared {
  interpolant: Interpolant;
  euler: number;
  natural: number;
}

/** What is asked of the generators of digits. The last request of a place is the only one that is answered in full. */
export type DigitRequest =
  /** The file of weights, packed by gzip, in base64. */
  | { kind: 'digits open'; text: string }
  | { kind: 'digits noise'; seed: number; first: number; count: number }
  | { kind: 'digits carry'; ask: number; place: 'grid' | 'walk'; latents: Float32Array; steps: number }
  | { kind: 'digits invert'; ask: number; image: Float32Array };

export type DigitAnswer =
  | { kind: 'digits opened' }
  | { kind: 'digits noise'; first: number; noise: Float32Array }
  | {
      kind: 'digits images';
      ask: number;
      place: 'grid' | 'walk';
      flow: DigitFlow;
      images: Float32Array;
      steps: number;
      milliseconds: number;
    }
  | { kind: 'digits inverse'; ask: number; flow: DigitFlow; noise: Float32Array; again: Float32Array };

export interface Clouds {
  /** Points to look at, x and y in turn. */
  from: Float32Array;
  to: Float32Array;
  /** Pairs of the coupling: x0, y0, x1, y1 in turn. */
  partners: Float32Array;
}

/** Costs of the pairs of the coupling. */
export interface PairNumbers {
  cost: number;
  optimal: number;
  crossings: number;
  compared: number;
}

/** Paths from the same points for every flow. */
export interface Paths {
  flow: Flow;
  how: Follow;
  count: number;
  /** Times of the points, the first 0 and the last 1. */
  times: Float32Array;
  /** [times, count, 2] */
  points: Float32Array;
  /** v at the starts, [count, 2]: one step ends at z0 + v. */
  first: Float32Array;
  /** Evaluations of the velocity. */
  evaluations: number;
}

/** Numbers of a flow; lengths are in the unit of the plane. */
export interface Measures {
  flow: Flow;
  straightness: number;
  cost: number;
  /** The cost above that of the optimal assignment of the same starts and ends. */
  excess: number;
  /** Root mean square of z0 + v(z0, 0) - Z1. */
  oneStepError: number;
  /** Energy distance to fresh points of the target after N Euler steps, less that of two fresh draws; empty for listed pairs. */
  byStepCount: { steps: number; distance: number }[];
  /** Lines from starts to ends that cross, of those that were compared. */
  crossings: number;
  compared: number;
  /** Measured on few points while the flow trains. */
  rough: boolean;
}

export interface Progress {
  flow: Flow;
  task: 'pairs' | 'train' | 'measure' | 'idle';
  step: number;
  /** Losses since the last report. */
  losses: { step: number; loss: number }[];
  stepsPerSecond: number;
}

export type Answer =
  | { kind: 'opened'; description: string }
  | { kind: 'began'; run: number; clouds: Clouds; pairs: PairNumbers }
  | { kind: 'progress'; run: number; progress: Progress }
  | { kind: 'stopped'; run: number }
  | { kind: 'paths'; run: number; paths: Paths }
  | { kind: 'measures'; run: number; how: Follow; measures: Measures }
  | { kind: 'field'; run: number; ask: number; time: number; side: number; arrows: Float32Array }
  | { kind: 'probed'; run: number; ask: number; backward: boolean; times: Float32Array; points: Float32Array }
  | { kind: 'weights'; run: number; ask: number; flow: Flow; bytes: Uint8Array; unit: number }
  | { kind: 'compared'; run: number; ask: number; steps: number; rows: Compared[] }
  | DigitAnswer
  | { kind: 'failed'; message: string };
