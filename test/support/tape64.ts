// Reverse-mode differentiation in float64 on the host, for random graphs. Every function is made of four primitives, each
// with a rule of one line: a function of one number, one of two, a choice of elements, and a sum of elements.
export type Shape = readonly number[];

export const sizeOf = (shape: Shape) => shape.reduce((a, b) => a * b, 1);

/** Thrown where a value is so near a kink, a tie or a pole that rounding could change the branch. */
export class TooNear extends Error {}

export class Value64 {
  readonly shape: Shape;
  readonly data: Float64Array;
  readonly grad: Float64Array;
  constructor(shape: Shape, data: Float64Array) {
    this.shape = shape;
    this.data = data;
    this.grad = new Float64Array(data.length);
  }
  get rank(): number {
    return this.shape.length;
  }
}

/** Calls `visit` with the coordinates of each element of a shape, in order. */
export function eachIndex(shape: Shape, visit: (at: readonly number[], flat: number) => void): void {
  const at = shape.map(() => 0);
  const size = sizeOf(shape);
  for (let flat = 0; flat < size; flat++) {
    visit(at, flat);
    for (let axis = shape.length - 1; axis >= 0 && ++at[axis] === shape[axis]; axis--) at[axis] = 0;
  }
}

export function flatOf(shape: Shape, at: readonly number[]): number {
  return at.reduce((flat, i, axis) => flat * shape[axis] + i, 0);
}

export class Tape {
  private readonly rules: (() => void)[] = [];
  private readonly round: (x: number) => number;
  private readonly slope: (x: number) => number;

  /**
   * @param options.round applied to every result and every gradient, such as Math.fround
   * @param options.absolute whether slopes lose their signs, so that gradients become the sums of the absolute values of
   * the terms that cancel in the true ones
   */
  constructor({ round = (x: number) => x, absolute = false } = {}) {
    this.round = round;
    this.slope = absolute ? Math.abs : (x) => x;
  }

  private made(shape: Shape, data: Float64Array, rule: (y: Value64) => void): Value64 {
    const y = new Value64(shape, data.map(this.round));
    this.rules.push(() => {
      y.grad.forEach((g, i) => {
        y.grad[i] = this.round(g);
      });
      rule(y);
    });
    return y;
  }

  /** f(x), with the slope f'(x, y). */
  unary(x: Value64, f: (x: number) => number, slope: (x: number, y: number) => number): Value64 {
    return this.made(x.shape, x.data.map(f), (y) => {
      y.grad.forEach((g, i) => {
        x.grad[i] += g * this.slope(slope(x.data[i], y.data[i]));
      });
    });
  }

  /** f(a, b) of equal shapes, with both slopes. */
  binary(
    a: Value64,
    b: Value64,
    f: (a: number, b: number) => number,
    slopes: (a: number, b: number, y: number) => readonly [number, number],
  ): Value64 {
    const data = a.data.map((x, i) => f(x, b.data[i]));
    return this.made(a.shape, data, (y) => {
      y.grad.forEach((g, i) => {
        const [da, db] = slopes(a.data[i], b.data[i], y.data[i]);
        a.grad[i] += g * this.slope(da);
        b.grad[i] += g * this.slope(db);
      });
    });
  }

  /** y[i] = x[from(i)], or `fill` where that is undefined. */
  choose(x: Value64, shape: Shape, from: (at: readonly number[]) => readonly number[] | undefined, fill = 0): Value64 {
    const source: number[] = [];
    eachIndex(shape, (at) => {
      const place = from(at);
      source.push(place ? flatOf(x.shape, place) : -1);
    });
    return this.pick(x, shape, source, fill);
  }

  /** y[i] = x[source[i]], or `fill` where that is -1. */
  pick(x: Value64, shape: Shape, source: readonly number[], fill = 0): Value64 {
    const data = Float64Array.from(source, (at) => (at < 0 ? fill : x.data[at]));
    return this.made(shape, data, (y) => {
      source.forEach((at, i) => {
        if (at >= 0) x.grad[at] += y.grad[i];
      });
    });
  }

  /** y[to(i)] += x[i]. */
  sumInto(x: Value64, shape: Shape, to: (at: readonly number[]) => readonly number[]): Value64 {
    const target: number[] = [];
    eachIndex(x.shape, (at) => target.push(flatOf(shape, to(at))));
    const data = new Float64Array(sizeOf(shape));
    target.forEach((at, i) => {
      data[at] += x.data[i];
    });
    return this.made(shape, data, (y) => {
      target.forEach((at, i) => {
        x.grad[i] += y.grad[at];
      });
    });
  }

  /** Adds the gradients of sum(weights * end) to every value. */
  backward(ends: readonly (readonly [Value64, ArrayLike<number>])[]): void {
    for (const [{ grad }, weights] of ends)
      grad.forEach((g, i) => {
        grad[i] = g + this.slope(weights[i]);
      });
    for (const rule of this.rules.toReversed()) rule();
  }

  // The functions below are made of those four.

  broadcast(x: Value64, shape: Shape): Value64 {
    const lead = shape.length - x.rank;
    return this.choose(x, shape, (at) => x.shape.map((extent, axis) => (extent === 1 ? 0 : at[axis + lead])));
  }

  reshape(x: Value64, shape: Shape): Value64 {
    return this.pick(x, shape, [...x.data.keys()]);
  }

  /** The sum over axes, which stay with extent 1. */
  sum(x: Value64, axes: readonly number[]): Value64 {
    const shape = x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
    return this.sumInto(x, shape, (at) => at.map((i, axis) => (axes.includes(axis) ? 0 : i)));
  }

  mean(x: Value64, axes: readonly number[]): Value64 {
    const total = this.sum(x, axes);
    return this.scale(total, total.data.length / x.data.length);
  }

  scale(x: Value64, factor: number): Value64 {
    return this.unary(
      x,
      (v) => v * factor,
      () => factor,
    );
  }

  shift(x: Value64, by: number): Value64 {
    return this.unary(
      x,
      (v) => v + by,
      () => 1,
    );
  }

  /** Both operands in their common shape. */
  private aligned(a: Value64, b: Value64): [Value64, Value64] {
    const rank = Math.max(a.rank, b.rank);
    const shape = Array.from({ length: rank }, (_, axis) => {
      const [x, y] = [a, b].map((v) => v.shape[axis - rank + v.rank] ?? 1);
      return x === 1 ? y : x;
    });
    return [this.broadcast(a, shape), this.broadcast(b, shape)];
  }

  add(a: Value64, b: Value64): Value64 {
    return this.binary(
      ...this.aligned(a, b),
      (x, y) => x + y,
      () => [1, 1],
    );
  }

  sub(a: Value64, b: Value64): Value64 {
    return this.binary(
      ...this.aligned(a, b),
      (x, y) => x - y,
      () => [1, -1],
    );
  }

  mul(a: Value64, b: Value64): Value64 {
    return this.binary(
      ...this.aligned(a, b),
      (x, y) => x * y,
      (x, y) => [y, x],
    );
  }

  div(a: Value64, b: Value64): Value64 {
    return this.binary(
      ...this.aligned(a, b),
      (x, y) => x / y,
      (_, y, z) => [1 / y, -z / y],
    );
  }

  exp(x: Value64): Value64 {
    return this.unary(x, Math.exp, (_, y) => y);
  }

  log(x: Value64): Value64 {
    return this.unary(x, Math.log, (v) => 1 / v);
  }

  square(x: Value64): Value64 {
    return this.mul(x, x);
  }

  sqrt(x: Value64): Value64 {
    return this.unary(x, Math.sqrt, (_, y) => 0.5 / y);
  }

  /** The product over one axis, which stays with extent 1. */
  prod(x: Value64, axis: number): Value64 {
    const one = x.shape.map((extent, i) => (i === axis ? 1 : extent));
    const slices = Array.from({ length: x.shape[axis] }, (_, k) =>
      this.choose(x, one, (at) => at.map((i, a) => (a === axis ? k : i))),
    );
    return slices.reduce((a, b) => this.mul(a, b));
  }

  /** [..., n] to [..., n, n] along `axis`: row i holds the first i + 1 elements, and `fill` after them. */
  prefixes(x: Value64, axis: number, fill: number): Value64 {
    const n = x.shape[axis];
    const shape = x.shape.toSpliced(axis + 1, 0, n);
    const from = (at: readonly number[]) => (at[axis + 1] <= at[axis] ? at.toSpliced(axis, 1) : undefined);
    return this.choose(x, shape, from, fill);
  }

  softmax(x: Value64, axis: number): Value64 {
    const e = this.exp(x);
    return this.div(e, this.sum(e, [axis]));
  }

  logSumExp(x: Value64, axes: readonly number[]): Value64 {
    return this.log(this.sum(this.exp(x), axes));
  }

  variance(x: Value64, axes: readonly number[], correction = 0): Value64 {
    const centered = this.sub(x, this.mean(x, axes));
    const count = axes.reduce((n, axis) => n * x.shape[axis], 1);
    return this.scale(this.mean(this.square(centered), axes), count / (count - correction));
  }

  /** (x - mean) / sqrt(variance + epsilon). */
  normalize(x: Value64, axes: readonly number[], epsilon: number): Value64 {
    const centered = this.sub(x, this.mean(x, axes));
    const deviation = this.sqrt(this.shift(this.mean(this.square(centered), axes), epsilon));
    return this.div(centered, deviation);
  }

  /** [..., m, k] times [..., k, n], with equal leading axes. */
  matmul(a: Value64, b: Value64): Value64 {
    const lead = a.shape.slice(0, -2);
    const [m, k] = a.shape.slice(-2);
    const n = b.shape[b.rank - 1];
    const shape = [...lead, m, n, k];
    const at = lead.length;
    const left = this.choose(a, shape, (i) => [...i.slice(0, at), i[at], i[at + 2]]);
    const right = this.choose(b, shape, (i) => [...i.slice(0, at), i[at + 2], i[at + 1]]);
    return this.reshape(this.sum(this.mul(left, right), [at + 2]), [...lead, m, n]);
  }

  swapLast(x: Value64): Value64 {
    const shape = [...x.shape.slice(0, -2), x.shape[x.rank - 1], x.shape[x.rank - 2]];
    return this.choose(x, shape, (at) => [...at.slice(0, -2), at[at.length - 1], at[at.length - 2]]);
  }

  /** The places of x along `axis` in order of their values. @throws TooNear for ties */
  order(x: Value64, axis: number, descending = false): number[] {
    const source: number[] = new Array(x.data.length);
    const one = x.shape.map((extent, i) => (i === axis ? 1 : extent));
    eachIndex(one, (start) => {
      const flats = Array.from({ length: x.shape[axis] }, (_, k) =>
        flatOf(
          x.shape,
          start.map((i, a) => (a === axis ? k : i)),
        ),
      );
      const sorted = flats.toSorted((p, q) => (descending ? -1 : 1) * (x.data[p] - x.data[q]));
      sorted.forEach((flat, k) => {
        if (k > 0 && Math.abs(x.data[flat] - x.data[sorted[k - 1]]) < 1e-3) throw new TooNear();
        source[flats[k]] = flat;
      });
    });
    return source;
  }
}
