// Point sets in the plane, for experiments that can be plotted. Each has a standard deviation of about 1 in both
// coordinates.
//
// u, v uniform in [0, 1), g = (g0, g1) standard normal, k uniform in 0..K-1; see each formula below
//
// Point i depends only on name, seed and i, so a longer set begins with the shorter one.
// Source: the toy densities of Grathwohl et al., FFJORD, 2018 (two_moons, swiss_roll and s_curve: scikit-learn),
// rescaled.
import { checkArguments, kinds, refuseExtra, wholeFrom } from '../arguments.ts';
import { nearestName, ValueError } from '../errors.ts';
import { streams } from '../tensor/streams.ts';
import { randomBlock } from './random.ts';

type Point = [x: number, y: number];

/** Two uniforms and two normals, from which a point is made. */
export interface Draw {
  u: number;
  v: number;
  g0: number;
  g1: number;
}

const { PI, cos, sin, exp, floor, sqrt } = Math;

const pointSets = {
  /** g */
  gaussian: ({ g0, g1 }: Draw): Point => [g0, g1],

  /** sqrt(2) (cos(k pi/4), sin(k pi/4)) + 0.1 g, K = 8 */
  eight_gaussians: ({ u, g0, g1 }: Draw): Point => {
    const angle = (floor(8 * u) * PI) / 4;
    return [Math.SQRT2 * cos(angle) + 0.1 * g0, Math.SQRT2 * sin(angle) + 0.1 * g1];
  },

  /** 1.5 ((cos pi v, sin pi v) or (1 - cos pi v, 1/2 - sin pi v) - (1/2, 1/4)) + 0.08 g */
  two_moons: ({ u, v, g0, g1 }: Draw): Point => {
    const [c, s] = [cos(PI * v), sin(PI * v)];
    const [x, y] = u < 0.5 ? [c, s] : [1 - c, 0.5 - s];
    return [1.5 * (x - 0.5) + 0.08 * g0, 1.5 * (y - 0.25) + 0.08 * g1];
  },

  /** uniform on the 8 squares of side 1 in [-2, 2)^2 whose column and row (counted from 0) sum to an even number */
  checkerboard: ({ u, v }: Draw): Point => {
    const x = 4 * u - 2;
    const evenRow = 2 * floor(2 * v) + ((2 * v) % 1) - 2;
    return [x, evenRow + (floor(4 * u) % 2)];
  },

  /** +-2 r (-cos a, sin a) + 0.05 g, r = sqrt(v), a = 3 pi r: two arms of one and a half turns */
  spiral: ({ u, v, g0, g1 }: Draw): Point => {
    const r = sqrt(v);
    const side = u < 0.5 ? -2 : 2;
    return [-side * r * cos(3 * PI * r) + 0.05 * g0, side * r * sin(3 * PI * r) + 0.05 * g1];
  },

  /** sqrt(2) R(2 pi k/5 + e^r/4) (r, 0.1 g1), r = 1 + 0.3 g0, R a rotation, K = 5 */
  pinwheel: ({ u, g0, g1 }: Draw): Point => {
    const r = 1 + 0.3 * g0;
    const angle = (2 * PI * floor(5 * u)) / 5 + 0.25 * exp(r);
    const [a, b] = [Math.SQRT2 * r, Math.SQRT2 * 0.1 * g1];
    return [a * cos(angle) - b * sin(angle), a * sin(angle) + b * cos(angle)];
  },

  /** (k + 1)/2 (cos 2 pi v, sin 2 pi v) + 0.05 g, K = 4 */
  rings: ({ u, v, g0, g1 }: Draw): Point => {
    const radius = (floor(4 * u) + 1) / 2;
    return [radius * cos(2 * PI * v) + 0.05 * g0, radius * sin(2 * PI * v) + 0.05 * g1];
  },

  /** t/7 (cos t, sin t) + 0.05 g, t = 3/2 pi (1 + 2 v) */
  swiss_roll: ({ v, g0, g1 }: Draw): Point => {
    const t = 1.5 * PI * (1 + 2 * v);
    return [(t / 7) * cos(t) + 0.05 * g0, (t / 7) * sin(t) + 0.05 * g1];
  },

  /** (sin t, sign(t) (cos t - 1)) + 0.05 g, t = 3 pi (v - 1/2) */
  s_curve: ({ v, g0, g1 }: Draw): Point => {
    const t = 3 * PI * (v - 0.5);
    return [sin(t) + 0.05 * g0, Math.sign(t) * (cos(t) - 1) + 0.05 * g1];
  },
};

export type PointSetName = keyof typeof pointSets;

/** The names of the point sets that samplePoints supports. */
export const pointSetNames = Object.keys(pointSets) as PointSetName[];

/** How many equally likely parts a set has: its first uniform u chooses part floor(K u). 1: it has no parts. */
export const pointParts: Readonly<Record<PointSetName, number>> = {
  gaussian: 1,
  eight_gaussians: 8,
  two_moons: 2,
  checkerboard: 4,
  spiral: 2,
  pinwheel: 5,
  rings: 4,
  swiss_roll: 1,
  s_curve: 1,
};

/** Point i of a set. @param part of the set, from 0, that it shall be drawn from; default: one that is drawn */
export function pointOf(name: PointSetName, i: number, seed: number, part?: number): Point {
  const drawn = draw(i, seed);
  return pointSets[name](part === undefined ? drawn : { ...drawn, u: (part + drawn.u) / pointParts[name] });
}

/** The part of a set that point i belongs to. */
export function partOf(name: PointSetName, i: number, seed: number): number {
  return floor(pointParts[name] * draw(i, seed).u);
}

const MOST_POINTS = 2 ** 30;
const pointCount = wholeFrom(0, MOST_POINTS);

/**
 * Draws `count` points of a set.
 * @param seed a whole number >= 0
 * @returns f32 [count, 2]
 * @throws ValueError for an unknown name, with the nearest known one
 * @example
 * const points = samplePoints('two_moons', 256, 1);
 * points.length; // 512
 * tensor(points, { shape: [256, 2] }).shape; // [256, 2]
 */
export function samplePoints(name: PointSetName, count: number, seed: number): Float32Array;
export function samplePoints(name: PointSetName, count: number, seed: number, ...extra: unknown[]): Float32Array {
  refuseExtra('samplePoints', extra);
  checkArguments('samplePoints', { name: [name, kinds.text], count: [count, pointCount], seed: [seed, kinds.whole] });
  if (!Object.hasOwn(pointSets, name)) {
    const near = nearestName(name, pointSetNames);
    const hint = near ? `did you mean ${near}? ` : '';
    throw new ValueError(`unknown point set "${name}"; ${hint}known names: ${pointSetNames.join(', ')}`);
  }
  const points = new Float32Array(2 * count);
  for (let i = 0; i < count; i++) points.set(pointOf(name, i, seed), 2 * i);
  return points;
}

// Two blocks per point: two uniforms of 32 bits, and two normals by Box-Muller, whose argument of the logarithm is
// never 0.
export function draw(i: number, seed: number): Draw {
  const [a, b] = randomBlock(0, i, streams.points, seed);
  const [c, d] = randomBlock(1, i, streams.points, seed);
  const radius = sqrt(-2 * Math.log((c + 1) / 2 ** 32));
  const angle = (2 * PI * d) / 2 ** 32;
  return { u: a / 2 ** 32, v: b / 2 ** 32, g0: radius * cos(angle), g1: radius * sin(angle) };
}
