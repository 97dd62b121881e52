// Couplings of two clouds: which point of the source goes with which point of the target. A flow is trained on the lines between them.

import { shuffledIndex } from '../data/shuffle.ts';
import { ValueError } from '../errors.ts';
import { assignmentInPieces, MOST_ASSIGNED, optimalAssignment } from '../flow/assignment.ts';
import type { Pieces } from '../flow/pieces.ts';
import type { Cloud } from './sources.ts';

/**
 * How points are paired: 'random', independent pairs that are never used twice; 'fixed', one list of random pairs, as in the official
 * notebook; 'optimal', one list that is matched by the optimal assignment; 'minibatch', the optimal assignment within each batch;
 * 'classes', points of class k with points of class k.
 */
export const couplings = ['random', 'fixed', 'optimal', 'minibatch', 'classes'] as const;
export type CouplingName = (typeof couplings)[number];

/** Pairs of points in the plane: pair i begins at point i of x0 and ends at point i of x1. */
export interface PlanePairs {
  /** f64 [count, 2]. */
  x0: Float64Array;
  /** f64 [count, 2]. */
  x1: Float64Array;
}

/** Numbers of points: those of batches, of lists of pairs, of pairs for reflow, and of measurements never meet. */
export const firsts = { batches: 0, list: 2 ** 40, reflow: 2 ** 41, measure: 2 ** 42 };

/** Gives the pairs of each training step. */
export interface Batches {
  /** The pairs of a step, f32 [size, 2] each. */
  batch(step: number, size: number): { x0: Float32Array; x1: Float32Array };
}

export interface CouplingPlan {
  coupling: CouplingName;
  /** Power of the cost that assignments minimise. */
  power: number;
  /** How many pairs a list has. */
  pairs: number;
  batch: number;
}

/** @throws ValueError for sets that cannot be paired class by class, and for too many points to assign */
export function checkCoupling({ coupling, pairs, batch }: CouplingPlan, from: Cloud, to: Cloud): void {
  if (coupling === 'classes' && (from.classes !== to.classes || from.classes < 2))
    throw new ValueError(
      `[PlaneSession] the coupling "classes" needs sets with equally many classes, at least 2; "${from.name}" has ${from.classes} and "${to.name}" ${to.classes}`,
    );
  if (coupling === 'optimal' && pairs > MOST_ASSIGNED)
    throw new ValueError(
      `[PlaneSession] the coupling "optimal" takes at most ${MOST_ASSIGNED} pairs, got ${pairs}; lower pairs`,
    );
  if (coupling === 'minibatch' && batch > MOST_ASSIGNED)
    throw new ValueError(
      `[PlaneSession] the coupling "minibatch" takes batches of at most ${MOST_ASSIGNED}, got ${batch}; lower batch`,
    );
}

/** Fresh pairs for each step. */
export class FreshPairs implements Batches {
  private readonly plan: CouplingPlan;
  private readonly from: Cloud;
  private readonly to: Cloud;

  constructor(plan: CouplingPlan, from: Cloud, to: Cloud) {
    this.plan = plan;
    this.from = from;
    this.to = to;
  }

  batch(step: number, size: number): { x0: Float32Array; x1: Float32Array } {
    return this.pairsFrom(firsts.batches + step * size, size);
  }

  /** Pairs first, first + 1, ... */
  pairsFrom(first: number, count: number): { x0: Float32Array; x1: Float32Array } {
    const { coupling, power } = this.plan;
    const { points: x1, classes } = this.to.draw(first, count);
    const { points: x0 } = this.from.draw(first, count, coupling === 'classes' ? classes : undefined);
    if (coupling !== 'minibatch') return { x0, x1 };
    return { x0, x1: inOrder(x1, optimalAssignment(x0, x1, { power }).partner) };
  }
}

/** A list of pairs, in a new order in each epoch. */
export class ListedPairs implements Batches {
  private readonly pairs: PlanePairs;
  private readonly seed: number;

  constructor(pairs: PlanePairs, seed: number) {
    this.pairs = pairs;
    this.seed = seed;
  }

  batch(step: number, size: number): { x0: Float32Array; x1: Float32Array } {
    const count = this.pairs.x0.length / 2;
    const [x0, x1] = [new Float32Array(2 * size), new Float32Array(2 * size)];
    for (let k = 0; k < size; k++) {
      const position = step * size + k;
      const at = shuffledIndex(position % count, count, Math.floor(position / count), this.seed);
      for (const axis of [0, 1]) {
        x0[2 * k + axis] = this.pairs.x0[2 * at + axis];
        x1[2 * k + axis] = this.pairs.x1[2 * at + axis];
      }
    }
    return { x0, x1 };
  }
}

/** A list of pairs of a coupling. */
export function* listPairs(plan: CouplingPlan, from: Cloud, to: Cloud): Pieces<PlanePairs> {
  const { coupling, pairs, batch, power } = plan;
  const [x0, x1] = [new Float64Array(2 * pairs), new Float64Array(2 * pairs)];
  const fresh = new FreshPairs(plan, from, to);
  for (let first = 0; first < pairs; first += batch) {
    const drawn = fresh.pairsFrom(firsts.list + first, Math.min(batch, pairs - first));
    x0.set(drawn.x0, 2 * first);
    x1.set(drawn.x1, 2 * first);
    yield;
  }
  if (coupling !== 'optimal') return { x0, x1 };
  const { partner } = yield* assignmentInPieces(x0, x1, { power });
  return { x0, x1: inOrder(x1, partner) };
}

/** The points in the order of their numbers. */
function inOrder<Points extends Float32Array | Float64Array>(points: Points, numbers: Int32Array): Points {
  const ordered = points.slice() as Points;
  numbers.forEach((from, i) => {
    ordered[2 * i] = points[2 * from];
    ordered[2 * i + 1] = points[2 * from + 1];
  });
  return ordered;
}
