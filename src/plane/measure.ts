// Figures of a flow in the plane: how straight its paths are, what its coupling costs and how far that is from the optimal assignment,
// and how well N steps reach the target.
import { assignmentInPieces, type Crossings, countCrossings, transportCost } from '../flow/assignment.ts';
import type { EnergyReference } from '../flow/energy_distance.ts';
import type { Pieces } from '../flow/pieces.ts';
import type { PlanePairs } from './couplings.ts';
import { followInPieces, type PlaneFlow } from './flows.ts';

/** Euler steps whose error is measured. */
export const ERROR_STEPS = [1, 2, 5, 10, 25, 100] as const;

/** Costs of a coupling. */
export interface CouplingFigures extends Crossings {
  /** Mean of |x1 - x0|^p over the pairs that are compared with the assignment. */
  cost: number;
  /** The least cost that any pairing of the same points has. */
  optimalCost: number;
  /** cost - optimalCost. */
  excess: number;
  /** How many pairs were compared. */
  pairs: number;
}

/** What was measured of a flow. */
export interface FlowFigures {
  /**
   * E |v(Z_t, t) - (Z_1 - Z_0)|^2, the sum over both coordinates, the mean over paths and Euler steps (paper, section 2.2); 0 if every
   * path is a straight line at constant speed.
   */
  straightness: number;
  /** Mean of |Z_1 - Z_0|^p over all paths. */
  cost: number;
  /** Cost, least cost and crossings of the first of these paths, as a coupling of their ends. */
  coupling: CouplingFigures;
  /** Root mean square of (Z_0 + v(Z_0, 0)) - Z_1: how far one step misses the end of the path. */
  oneStepError: number;
  /**
   * Energy distance to fresh target points by the number of Euler steps, less `floor`; about 0 for samples that are as near as
   * the target's own. Empty for given pairs, which have no fresh target.
   */
  energy: Record<number, number>;
  /** Energy distance of fresh target points to as many others. */
  floor?: number;
}

export interface MeasurePlan {
  power: number;
  steps: number;
  assigned: number;
  /** f64 [count, 2]. */
  starts: Float64Array;
  /** Fresh target points, and their own distance to other fresh points. */
  target?: { reference: EnergyReference; floor: number };
}

/** Cost, least cost and crossings of the first pairs. */
export function* measureCoupling({ x0, x1 }: PlanePairs, most: number, power: number): Pieces<CouplingFigures> {
  const [from, to] = [x0.subarray(0, 2 * most), x1.subarray(0, 2 * most)];
  const cost = transportCost(from, to, { power });
  const { cost: optimalCost } = yield* assignmentInPieces(from, to, { power });
  return { cost, optimalCost, excess: cost - optimalCost, pairs: from.length / 2, ...countCrossings(from, to) };
}

/** Measures a flow. */
export function* measureFlow(flow: PlaneFlow, plan: MeasurePlan): Pieces<FlowFigures> {
  const { power, steps, starts, assigned, target } = plan;
  let squares = 0;
  let first: Float64Array | undefined;
  const end = yield* followInPieces(flow, starts, { steps }, ({ v }) => {
    first ??= v;
    squares += meanSquare(v);
  });
  const chord = end.map((value, i) => value - starts[i]);
  const miss = (first as Float64Array).map((value, i) => value - chord[i]);
  const coupling = yield* measureCoupling({ x0: starts, x1: end }, assigned, power);
  const energy: Record<number, number> = {};
  if (target)
    for (const N of ERROR_STEPS) {
      const reached = N === steps ? end : yield* followInPieces(flow, starts, { steps: N });
      energy[N] = target.reference.distanceTo(reached) - target.floor;
      yield;
    }
  return {
    // Z_1 - Z_0 is the mean of the velocities, so the mean square of the difference is a difference of mean squares.
    straightness: Math.max(0, squares / steps - meanSquare(chord)),
    cost: transportCost(starts, end, { power }),
    coupling,
    oneStepError: Math.sqrt(meanSquare(miss)),
    energy,
    ...(target && { floor: target.floor }),
  };
}

/** Mean of |v|^2 over points. */
function meanSquare(v: Float64Array): number {
  let total = 0;
  for (const value of v) total += value * value;
  return (2 * total) / v.length;
}
