// Clouds in the plane that flows go from and to: the mixtures of the official notebook, the sets of samplePoints, and points
// that a user gives. All lie in the notebook's square [-15, 15]^2 and are drawn by number, so a point depends on set, seed and number alone.
import {
  checkArguments,
  checkOptions,
  kind,
  kinds,
  type OptionKinds,
  oneOf,
  refuseExtra,
  wholeFrom,
} from '../arguments.ts';
import { draw, type PointSetName, partOf, pointOf, pointParts, pointSetNames } from '../data/points.ts';
import { nearestName, ValueError } from '../errors.ts';
import { hostPoints } from '../flow/host_points.ts';

export type PlaneSetName = 'triangle' | PointSetName;

/**
 * The sets that `drawPlane` knows by name: 'triangle', the mixtures of three Gaussians of the official notebook, and the sets of
 * samplePoints, five times as large.
 */
export const planeSetNames: readonly PlaneSetName[] = ['triangle', ...pointSetNames];

/** The end of the flow that a set stands at: the triangle of `to` is that of `from` upside down, as in the official notebook. */
export const planeEnds = ['from', 'to'] as const;
export type PlaneEnd = (typeof planeEnds)[number];

/** Points that a user gives; each draw picks one of them at random and adds noise. */
export interface GivenPoints {
  /** At most 20,000 points [x, y], one after the other. */
  points: ArrayLike<number>;
  /** The class of each point, whole numbers from 0; default: all in one class. */
  classes?: ArrayLike<number>;
  /** Standard deviation of the noise that is added to a drawn point; default 0. */
  noise?: number;
  /** Default 'points'. */
  name?: string;
}

export type PlaneSource = PlaneSetName | GivenPoints;

/** Drawn points and their classes. */
export interface PlaneDraw {
  /** f32 [count, 2]. */
  points: Float32Array;
  /** The class of each point: the Gaussian, moon, ring or arm that it belongs to; 0 where a set has no parts. */
  classes: Int32Array;
}

/** The factor between the sets of samplePoints, which have a deviation of about 1, and those of the plane. */
const SIZE = 5;
/** The standard deviation of the set 'gaussian'. */
export const GAUSSIAN_DEVIATION = SIZE;
const RADIUS = 10;
const TRIANGLE_VARIANCE = 0.3;
export const MOST_GIVEN = 20_000;
const MOST_CLASSES = 1000;
/** Beyond this, squares of distances lose their digits in float32. */
const FARTHEST = 1e6;
export const SEEDS = 2 ** 31 - 1;

const givenOptions: OptionKinds<GivenPoints> = {
  points: kinds.object,
  classes: kinds.object,
  noise: kinds.notNegative,
  name: kinds.text,
};

export const seedKind = wholeFrom(0, SEEDS);
const countKind = wholeFrom(0, 2 ** 24);
export const sourceKind = kind(
  'the name of a set, or { points }',
  (value) => typeof value === 'string' || (kinds.object.accepts(value) && !Array.isArray(value)),
);

/**
 * Points of a set in the plane.
 * @param end the end of the flow that the set stands at; it matters for 'triangle'
 * @param seed a whole number below 2^31
 * @param first number of the first point; default 0
 * @throws ValueError for an unknown name, with the nearest known one, and for given points that are not finite, too many or too far away
 * @example
 * const { points, classes } = drawPlane('triangle', 'from', 1000, 1);
 * points.length; // 2000
 * Math.max(...classes); // 2
 */
export function drawPlane(source: PlaneSource, end: PlaneEnd, count: number, seed: number, first?: number): PlaneDraw;
export function drawPlane(
  source: PlaneSource,
  end: PlaneEnd,
  count: number,
  seed: number,
  first = 0,
  ...extra: unknown[]
): PlaneDraw {
  refuseExtra('drawPlane', extra);
  checkArguments('drawPlane', {
    source: [source, sourceKind],
    end: [end, oneOf(planeEnds)],
    count: [count, countKind],
    seed: [seed, seedKind],
    first: [first, kinds.whole],
  });
  return new Cloud('drawPlane', source, end, seed).draw(first, count);
}

/** How the points of a set are made from their numbers. */
interface Law {
  name: string;
  /** Number of classes. */
  classes: number;
  /** Point i, of the given class or of the one that is drawn for it. */
  point(i: number, part?: number): readonly [x: number, y: number];
  /** The class that is drawn for point i. */
  classOf(i: number): number;
}

/** A set at one end of a flow. */
export class Cloud {
  readonly name: string;
  /** Number of its classes. */
  readonly classes: number;
  private readonly law: Law;

  /** @throws ArgumentError, ValueError for a source that is neither a set nor points */
  constructor(op: string, source: PlaneSource, end: PlaneEnd, seed: number) {
    // The ends of a flow from a set to itself are independent.
    const own = 2 * seed + (end === 'to' ? 1 : 0);
    this.law = typeof source === 'string' ? namedLaw(op, source, end, own) : givenLaw(op, source, own);
    this.name = this.law.name;
    this.classes = this.law.classes;
  }

  /** Points first, first + 1, ... @param parts the class that each point shall be drawn from; default: drawn classes */
  draw(first: number, count: number, parts?: Int32Array): PlaneDraw {
    const points = new Float32Array(2 * count);
    const classes = new Int32Array(count);
    for (let k = 0; k < count; k++) {
      points.set(this.law.point(first + k, parts?.[k]), 2 * k);
      classes[k] = parts?.[k] ?? this.law.classOf(first + k);
    }
    return { points, classes };
  }
}

const half = (RADIUS * Math.sqrt(3)) / 2;
const corners = [
  [half, RADIUS / 2],
  [-half, RADIUS / 2],
  [0, -half],
] as const;

function namedLaw(op: string, name: PlaneSetName, end: PlaneEnd, seed: number): Law {
  if (!planeSetNames.includes(name)) {
    const near = nearestName(name, planeSetNames);
    const hint = near ? `did you mean ${near}? ` : '';
    throw new ValueError(`[${op}] unknown set "${name}"; ${hint}known sets: ${planeSetNames.join(', ')}`);
  }
  if (name !== 'triangle')
    return {
      name,
      classes: pointParts[name],
      point(i, part) {
        const [x, y] = pointOf(name, i, seed, part);
        return [SIZE * x, SIZE * y];
      },
      classOf: (i) => partOf(name, i, seed),
    };
  const [up, deviation] = [end === 'from' ? 1 : -1, Math.sqrt(TRIANGLE_VARIANCE)];
  return {
    name,
    classes: 3,
    point(i, part) {
      const { u, g0, g1 } = draw(i, seed);
      const [x, y] = corners[part ?? Math.floor(3 * u)];
      return [x + deviation * g0, up * y + deviation * g1];
    },
    classOf: (i) => Math.floor(3 * draw(i, seed).u),
  };
}

function givenLaw(op: string, source: GivenPoints, seed: number): Law {
  const { name, points, classOf, members, noise } = checkGiven(op, source);
  const pick = (i: number, part?: number) => {
    const { u, v, g0, g1 } = draw(i, seed);
    const at =
      part === undefined ? Math.floor(u * classOf.length) : members[part][Math.floor(v * members[part].length)];
    return { at, dx: noise * g0, dy: noise * g1 };
  };
  return {
    name,
    classes: members.length,
    point(i, part) {
      const { at, dx, dy } = pick(i, part);
      return [points[2 * at] + dx, points[2 * at + 1] + dy];
    },
    classOf: (i) => classOf[pick(i).at],
  };
}

/** Given points, checked, with the numbers of the points of each class. */
function checkGiven(op: string, source: GivenPoints) {
  const { points, classes, noise = 0, name = 'points' } = checkOptions(op, source, givenOptions, ['points']);
  const copy = hostPoints(op, `points of "${name}"`, points, 2);
  const count = copy.length / 2;
  if (count > MOST_GIVEN)
    throw new ValueError(
      `[${op}] expected at most ${MOST_GIVEN} points of "${name}", got ${count}; give a part of them`,
    );
  const far = copy.findIndex((value) => Math.abs(value) > FARTHEST);
  if (far >= 0)
    throw new ValueError(
      `[${op}] expected coordinates of "${name}" between -${FARTHEST} and ${FARTHEST}, got ${copy[far]} at point ${far >> 1}; rescale them`,
    );
  const members: number[][] = [];
  const classOf = new Int32Array(count);
  if (classes !== undefined && classes.length !== count)
    throw new ValueError(`[${op}] expected a class for each of ${count} points of "${name}", got ${classes.length}`);
  for (let i = 0; i < count; i++) {
    const one = classes?.[i] ?? 0;
    if (!Number.isInteger(one) || one < 0 || one >= MOST_CLASSES)
      throw new ValueError(
        `[${op}] expected classes of "${name}" to be whole numbers from 0 to ${MOST_CLASSES - 1}, got ${one} for point ${i}`,
      );
    classOf[i] = one;
    while (members.length <= one) members.push([]);
    members[one].push(i);
  }
  const empty = members.findIndex((some) => some.length === 0);
  if (empty >= 0)
    throw new ValueError(
      `[${op}] expected points of every class of "${name}", got none of class ${empty}; number classes from 0`,
    );
  return { name, points: copy, classOf, members, noise };
}
