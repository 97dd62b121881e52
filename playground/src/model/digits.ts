// The digits of the page: images of 8 x 8 pixels and their noise, as numbers in one array, and the way between two noises.

/** The flow, its reflow, and the generator that is distilled from it to one step. */
export const digitFlows = [1, 2, 'distilled'] as const;
export type DigitFlow = (typeof digitFlows)[number];
/** Those that can be followed back: a generator of one step has learned no other. */
export const invertible: readonly DigitFlow[] = [1, 2];

/** Pixels of a side, and of an image. */
export const SIDE = 8;
export const PIXELS = SIDE * SIDE;
/** A three, with which the drawing begins. */
export const EXAMPLE = [
  '........',
  '..####..',
  '.....#..',
  '...##...',
  '.....#..',
  '.#...#..',
  '..###...',
  '........',
].join('');

/** A drawing as text: # for a full pixel, + for a part of one, . for none. */
export const textOfDigit = (image: Float32Array): string =>
  Array.from(image, (value) => (value === 1 ? '#' : value > 0 ? '+' : '.')).join('');

export const isDigitText = (value: unknown): value is string => typeof value === 'string' && /^[#+.]{64}$/.test(value);

export const digitOfText = (text: string): Float32Array =>
  Float32Array.from(text, (letter) => (letter === '#' ? 1 : letter === '+' ? PART : 0));

/** What a touch of the brush leaves on a neighbouring pixel. */
export const PART = 0.25;

/** Images of the grid, and of the walk between two noises. */
export const GRID_COUNT = 16;
export const WALK_COUNT = 25;

export const imageAt = (images: Float32Array, number: number): Float32Array =>
  images.subarray(number * PIXELS, (number + 1) * PIXELS);

/**
 * The point at t in [0, 1] on the great circle from a to b, for directions and lengths apart: noise of many dimensions lies near a sphere,
 * and a straight line between two noises would pass through its inside, where no training noise was.
 */
export function slerp(a: ArrayLike<number>, b: ArrayLike<number>, t: number): Float32Array {
  if (t <= 0 || t >= 1) return Float32Array.from(t <= 0 ? a : b);
  const result = new Float32Array(a.length);
  const [p, q] = [lengthOf(a), lengthOf(b)];
  let cosine = 0;
  for (let i = 0; i < a.length; i++) cosine += (a[i] * b[i]) / (p * q || 1);
  const angle = Math.acos(Math.max(-1, Math.min(1, cosine)));
  const length = p + t * (q - p);
  const sine = Math.sin(angle);
  // Almost the same direction, or opposite ones, which have no one circle through them.
  const straight = sine < 1e-4 || p === 0 || q === 0;
  const [u, v] = straight ? [1 - t, t] : [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
  for (let i = 0; i < a.length; i++)
    result[i] = straight ? u * a[i] + v * b[i] : length * ((u * a[i]) / p + (v * b[i]) / q);
  return result;
}

/** `count` noises from a to b, both included, one after the other. */
export function walkBetween(a: ArrayLike<number>, b: ArrayLike<number>, count = WALK_COUNT): Float32Array {
  const walk = new Float32Array(count * a.length);
  for (let k = 0; k < count; k++) walk.set(slerp(a, b, k / (count - 1)), k * a.length);
  return walk;
}

/** Root of the mean squared difference of two lists of pixels. */
export function differenceOf(a: Float32Array, b: Float32Array): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i] - b[i]) ** 2;
  return Math.sqrt(total / a.length);
}

const lengthOf = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));
