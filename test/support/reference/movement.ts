// Reference of the ops that move elements without arithmetic, and of casts (rounding to nearest, ties to even).
import { type Array64, array64, at, count, generate, map } from './array.ts';

/** The same elements under another shape; one extent may be -1. */
export function reshape(x: Array64, shape: readonly number[]): Array64 {
  const known = count(shape.filter((extent) => extent !== -1));
  return array64(
    shape.map((extent) => (extent === -1 ? x.data.length / known : extent)),
    x.data,
  );
}

/** y[i_axes[0], i_axes[1], ...] = x[i_0, i_1, ...] */
export function permute(x: Array64, axes: readonly number[]): Array64 {
  return generate(
    axes.map((axis) => x.shape[axis]),
    (index) => {
      const source: number[] = [];
      axes.forEach((axis, i) => {
        source[axis] = index[i];
      });
      return at(x, source);
    },
  );
}

/** Swaps the last two axes. */
export function transpose(x: Array64): Array64 {
  const rank = x.shape.length;
  return permute(x, [...Array(rank - 2).keys(), rank - 1, rank - 2]);
}

export function pad(x: Array64, widths: readonly (readonly [number, number])[], value = 0): Array64 {
  const shape = x.shape.map((extent, axis) => extent + widths[axis][0] + widths[axis][1]);
  return generate(shape, (index) => {
    const source = index.map((i, axis) => i - widths[axis][0]);
    return source.every((i, axis) => i >= 0 && i < x.shape[axis]) ? at(x, source) : value;
  });
}

export function slice(x: Array64, starts: readonly number[], ends: readonly number[]): Array64 {
  return generate(
    starts.map((start, axis) => ends[axis] - start),
    (index) =>
      at(
        x,
        index.map((i, axis) => i + starts[axis]),
      ),
  );
}

export function concat(xs: readonly Array64[], axis: number): Array64 {
  const along = axis < 0 ? axis + xs[0].shape.length : axis;
  const shape = [...xs[0].shape];
  shape[along] = xs.reduce((total, x) => total + x.shape[along], 0);
  return generate(shape, (index) => {
    let part = 0;
    let offset = index[along];
    while (offset >= xs[part].shape[along]) offset -= xs[part++].shape[along];
    return at(
      xs[part],
      index.map((i, a) => (a === along ? offset : i)),
    );
  });
}

export function split(x: Array64, sizes: readonly number[], axis: number): Array64[] {
  const along = axis < 0 ? axis + x.shape.length : axis;
  let start = 0;
  return sizes.map((size) => {
    const starts = x.shape.map((_, a) => (a === along ? start : 0));
    start += size;
    return slice(
      x,
      starts,
      x.shape.map((extent, a) => (a === along ? start : extent)),
    );
  });
}

/** Rows of x by index: y[i, ...] = x[index[i], ...] */
export function gather(x: Array64, index: Array64): Array64 {
  return generate([...index.shape, ...x.shape.slice(1)], ([i, ...rest]) => at(x, [index.data[i], ...rest]));
}

export function oneHot(index: Array64, depth: number): Array64 {
  return generate([...index.shape, depth], (position) => {
    return Number(at(index, position.slice(0, -1)) === position[position.length - 1]);
  });
}

/** Rounds to a binary float of `precision` significant bits and smallest normal exponent `minimum`. */
function roundBinary(value: number, precision: number, minimum: number, largest: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), minimum);
  const unit = 2 ** (exponent - precision + 1);
  const quotient = value / unit;
  const floor = Math.floor(quotient);
  const remainder = quotient - floor;
  const up = remainder > 0.5 || (remainder === 0.5 && floor % 2 !== 0);
  const rounded = (up ? floor + 1 : floor) * unit;
  return Math.abs(rounded) > largest ? Math.sign(value) * Number.POSITIVE_INFINITY : rounded;
}

const conversions = {
  f32: Math.fround,
  bf16: (value: number) => roundBinary(value, 8, -126, (2 - 2 ** -7) * 2 ** 127),
  f16: (value: number) => roundBinary(value, 11, -14, 65504),
  i32: Math.trunc,
  u8: Math.trunc,
  bool: (value: number) => Number(value !== 0),
};

export function cast(x: Array64, dtype: keyof typeof conversions): Array64 {
  return map(x, conversions[dtype]);
}
