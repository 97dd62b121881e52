// The bounds of slice(): which elements of each axis it takes.
import { copyOfList, describeValue, kinds, wholeNumbers } from '../../arguments.ts';
import { ArgumentError, formatShape, ShapeError, ValueError } from '../../errors.ts';
import type { Shape } from '../../tensor/shape.ts';

/** One bound for each axis; null or undefined for the end of the axis. */
export type Bounds = readonly (number | null | undefined)[];

/** Elements starts[i] + k steps[i] of each axis i, k < shape[i]. */
export interface Elements {
  starts: number[];
  /** Undefined where every step is 1. */
  steps: number[] | undefined;
  shape: number[];
}

function boundsOf(op: string, name: string, value: unknown): (number | undefined)[] {
  const list = copyOfList(value)?.map((item) => item ?? undefined);
  if (!list?.every((item) => item === undefined || Number.isSafeInteger(item)))
    throw new ArgumentError(op, `${name} to be a list of whole numbers or null`, describeValue(value));
  return list as (number | undefined)[];
}

/** @throws ArgumentError, ShapeError, ValueError for bounds that do not fit the shape */
export function cutOf(op: string, shape: Shape, starts: unknown, ends: unknown, steps: unknown): Elements {
  const [from, to] = [boundsOf(op, 'starts', starts), boundsOf(op, 'ends', ends)];
  const by = steps === undefined ? shape.map(() => 1) : wholeNumbers(op, 'steps', steps);
  if (by.includes(0)) throw new ValueError(`[${op}] expected steps other than 0, got ${formatShape(by)}`);
  const axes =
    [from, to, by].every((list) => list.length === shape.length) &&
    shape.map((dim, axis) => elementsOf(dim, from[axis], to[axis], by[axis]));
  if (!axes || axes.includes(undefined)) {
    const reverse = by.some((step) => step < 0) ? ', ends <= starts for negative steps' : '';
    const format = (list: Bounds) => `[${list.map((bound) => bound ?? 'null').join(', ')}]`;
    throw new ShapeError(
      op,
      `starts <= ends within ${formatShape(shape)}${reverse}`,
      `${format(from)} to ${format(to)}${steps === undefined ? '' : ` in steps of ${formatShape(by)}`}`,
    );
  }
  const taken = axes as { start: number; count: number }[];
  // The step of an axis with one element does not matter, and a step of 1 can be cheaper.
  const used = by.map((step, axis) => (taken[axis].count <= 1 ? 1 : step));
  return {
    starts: taken.map(({ start }) => start),
    steps: used.some((step) => step !== 1) ? used : undefined,
    shape: taken.map(({ count }) => count),
  };
}

/** The elements of one axis; undefined if the bounds lie outside it or in the wrong order. */
function elementsOf(dim: number, from: number | undefined, to: number | undefined, step: number) {
  const place = (bound: number) => (bound < 0 ? bound + dim : bound);
  // With a negative step the elements are from, from - 1, ..., to + 1, so both bounds are one place lower.
  const [least, most] = step > 0 ? [0, dim] : [-1, dim - 1];
  const start = from === undefined ? (step > 0 ? least : most) : place(from);
  const end = to === undefined ? (step > 0 ? most : least) : place(to);
  const length = (end - start) * Math.sign(step);
  const inside = [from, to].every((bound) => bound === undefined || (bound >= -dim && bound <= most));
  return inside && length >= 0
    ? { start: length > 0 ? start : 0, count: Math.ceil(Math.abs((end - start) / step)) }
    : undefined;
}

/** An axis of extent 0 can be cut into any number of parts; this is the most. */
const MOST_PARTS = 2 ** 20;
/** The sizes of `count` equal parts; undefined if the extent is not divisible by the count. */
export function equalParts(extent: number, count: number): number[] | undefined {
  const whole = kinds.count.accepts(count) && count <= Math.max(extent, MOST_PARTS) && extent % count === 0;
  return whole ? Array.from({ length: count }, () => extent / count) : undefined;
}
