// Energy distance between two sets of points (Szekely, Rizzo 2013): 2 E|X - Y| - E|X - X'| - E|Y - Y'|, 0 exactly when
// the laws are equal. It visits every pair of points, on the host in float64, so it suits thousands of points, not millions.
import { checkArguments, kinds, listOf, refuseExtra } from '../arguments.ts';
import { ValueError } from '../errors.ts';

const pointsKind = listOf(kinds.number, 'numbers');

/**
 * The energy distance between two sets of points, 2 E|X - Y| - E|X - X'| - E|Y - Y'|: 0 for equal laws, in the unit of the points.
 * Source: Szekely, Rizzo, Energy statistics (2013).
 * @param a points, one after the other
 * @param dim how many numbers a point has
 * @throws ValueError if a or b does not hold whole points, or holds none
 * @example
 * energyDistance([0, 0], [3, 4], 2); // 10
 * const [a, b] = [0, 1].map((seed) => samplePoints('two_moons', 500, seed));
 * energyDistance(a, b, 2) < 0.01; // true
 */
export function energyDistance(a: ArrayLike<number>, b: ArrayLike<number>, dim: number): number;
export function energyDistance(a: ArrayLike<number>, b: ArrayLike<number>, dim: number, ...extra: unknown[]): number {
  refuseExtra('energyDistance', extra);
  checkArguments('energyDistance', { a: [a, pointsKind], b: [b, pointsKind], dim: [dim, kinds.count] });
  for (const points of [a, b])
    if (points.length === 0 || points.length % dim)
      throw new ValueError(`energyDistance needs points of ${dim} numbers, got ${points.length} numbers`);
  return 2 * meanDistance(a, b, dim) - meanDistance(a, a, dim) - meanDistance(b, b, dim);
}

/** Energy distances to one set of points in the plane, whose distances among themselves are computed once. @internal */
export class EnergyReference {
  private readonly points: Float64Array;
  private readonly own: number;

  constructor(points: Float64Array) {
    this.points = points;
    this.own = withinPlane(points);
  }

  /** The energy distance between the set and `points`. */
  distanceTo(points: Float64Array): number {
    const { points: others } = this;
    let total = 0;
    for (let i = 0; i < points.length; i += 2)
      for (let j = 0; j < others.length; j += 2)
        total += planeDistance(points[i] - others[j], points[i + 1] - others[j + 1]);
    return (8 * total) / (points.length * others.length) - withinPlane(points) - this.own;
  }
}

function planeDistance(x: number, y: number): number {
  return Math.sqrt(x * x + y * y);
}

/** Mean distance of two points of a set in the plane, those of a point to itself included. */
function withinPlane(points: Float64Array): number {
  let total = 0;
  for (let i = 0; i < points.length; i += 2)
    for (let j = 0; j < i; j += 2) total += planeDistance(points[i] - points[j], points[i + 1] - points[j + 1]);
  return (8 * total) / points.length ** 2;
}

function meanDistance(a: ArrayLike<number>, b: ArrayLike<number>, dim: number): number {
  let total = 0;
  for (let i = 0; i < a.length; i += dim)
    for (let j = 0; j < b.length; j += dim) {
      let square = 0;
      for (let k = 0; k < dim; k++) square += (a[i + k] - b[j + k]) ** 2;
      total += Math.sqrt(square);
    }
  return total / ((a.length / dim) * (b.length / dim));
}
