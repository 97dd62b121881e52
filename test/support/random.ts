// Deterministic inputs of the op tests. Every value is exact in f32, so that engine and reference start from the same
// numbers. Generators avoid kinks (relu at 0, ties of max), across which a central difference is meaningless.
import { type Array64, array64, count, type Shape } from './reference/array.ts';

/** Uniform numbers in [0, 1): mulberry32. */
export type Random = () => number;

export function random(seed: string | number): Random {
  let state = 0x811c9dc5;
  for (const character of String(seed)) state = Math.imul(state ^ character.charCodeAt(0), 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number in [low, high]. */
export const integer = (draw: Random, low: number, high: number): number => low + Math.floor(draw() * (high - low + 1));

/** An input of a case: its shape, how its values are drawn, and whether it requires a gradient. */
export interface Input {
  shape: Shape;
  dtype: 'f32' | 'i32' | 'bool';
  values: (draw: Random, size: number) => ArrayLike<number>;
  differentiable: boolean;
}

const each = (value: (draw: Random) => number) => (draw: Random, size: number) =>
  Array.from({ length: size }, () => Math.fround(value(draw)));

const float = (shape: Shape, values: Input['values']): Input => ({ shape, dtype: 'f32', values, differentiable: true });

/** Normal with mean 0 and the given deviation. */
export const normal = (shape: Shape, deviation = 1): Input =>
  float(
    shape,
    each((draw) => deviation * Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw())),
  );

export const uniform = (shape: Shape, low: number, high: number): Input =>
  float(
    shape,
    each((draw) => low + (high - low) * draw()),
  );

/** Either sign, magnitude in [low, high]: away from a kink or a pole at zero. */
export const awayFromZero = (shape: Shape, low = 0.05, high = 3): Input =>
  float(
    shape,
    each((draw) => (draw() < 0.5 ? -1 : 1) * (low + (high - low) * draw())),
  );

/** `offset` plus multiples of 1/4 in [-2, 2]: two lattices of different offset never tie. */
export const lattice = (shape: Shape, offset = 0): Input =>
  float(
    shape,
    each((draw) => integer(draw, -8, 8) / 4 + offset),
  );

/** Distinct values, 1/8 apart in shuffled order, so that max has no ties. */
export const distinct = (shape: Shape): Input =>
  float(shape, (draw, size) => {
    const values = Array.from({ length: size }, (_, i) => (i - size / 2) / 8);
    for (let i = size - 1; i > 0; i--) {
      const j = integer(draw, 0, i);
      [values[i], values[j]] = [values[j], values[i]];
    }
    return values;
  });

/** Given values, repeated to fill the shape. */
export const fixed = (values: readonly number[], shape: Shape = [values.length]): Input =>
  constant(float(shape, (_, size) => Array.from({ length: size }, (_, i) => Math.fround(values[i % values.length]))));

/** Whole numbers in [0, limit): labels, row numbers. */
export const indices = (shape: Shape, limit: number): Input => ({
  shape,
  dtype: 'i32',
  values: each((draw) => integer(draw, 0, limit - 1)),
  differentiable: false,
});

export const booleans = (shape: Shape): Input => ({ ...indices(shape, 2), dtype: 'bool' });

/** The same input without a gradient. */
export const constant = (input: Input): Input => ({ ...input, differentiable: false });

/** Draws the values of an input. */
export function fill(input: Input, draw: Random): Array64 {
  return array64(input.shape, input.values(draw, count(input.shape)));
}
