// The ops of random graphs: for operands of given shapes an entry draws its attributes, or declines. It returns the call of
// the engine and the same function on a tape in float64.

import type { Tensor } from '../../src/index.ts';
import * as rf from '../../src/index.ts';
import type { Pick } from '../cases/case.ts';
import { erf } from './reference/math.ts';
import { type Shape, type Tape, TooNear, type Value64 } from './tape64.ts';

export interface Drawn {
  run(...xs: Tensor[]): Tensor;
  reference(tape: Tape, ...xs: Value64[]): Value64;
  /** Shapes of further operands, which become leaves of the graph. */
  weights?: Shape[];
}

export interface GraphOp {
  operands: number;
  draw(pick: Pick, ...shapes: Shape[]): Drawn | undefined;
}

/** @throws TooNear unless every value is farther than 1e-3 from every one of `points` */
function avoid(x: Value64, ...points: number[]): void {
  for (const value of x.data) for (const point of points) if (Math.abs(value - point) < 1e-3) throw new TooNear();
}

/** @throws TooNear unless all values are in (low, high) */
function within(x: Value64, low: number, high = Infinity): void {
  for (const value of x.data) if (!(value > low && value < high)) throw new TooNear();
}

const ops: Record<string, GraphOp> = {};

function unary(
  name: string,
  run: (x: Tensor) => Tensor,
  f: (x: number) => number,
  slope: (x: number, y: number) => number,
  check: (x: Value64) => void = (x) => within(x, -20, 20),
): void {
  ops[name] = {
    operands: 1,
    draw: () => ({
      run,
      reference: (tape, x) => {
        check(x);
        return tape.unary(x, f, slope);
      },
    }),
  };
}

const kinkAt =
  (...points: number[]) =>
  (x: Value64) => {
    within(x, -20, 20);
    avoid(x, ...points);
  };
const normalDensity = (x: number) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => Math.log1p(Math.exp(x));
const tanhSlope = (u: number) => 1 - Math.tanh(u) ** 2;

unary(
  'neg',
  rf.neg,
  (x) => -x,
  () => -1,
);
unary('abs', rf.abs, Math.abs, (x) => Math.sign(x), kinkAt(0));
unary(
  'exp',
  rf.exp,
  Math.exp,
  (_, y) => y,
  (x) => within(x, -20, 3),
);
unary(
  'log',
  rf.log,
  Math.log,
  (x) => 1 / x,
  (x) => within(x, 0.1),
);
unary(
  'sqrt',
  rf.sqrt,
  Math.sqrt,
  (_, y) => 0.5 / y,
  (x) => within(x, 0.1),
);
unary(
  'rsqrt',
  rf.rsqrt,
  (x) => x ** -0.5,
  (x, y) => (-0.5 * y) / x,
  (x) => within(x, 0.1),
);
unary(
  'square',
  rf.square,
  (x) => x * x,
  (x) => 2 * x,
  (x) => within(x, -5, 5),
);
unary(
  'reciprocal',
  rf.reciprocal,
  (x) => 1 / x,
  (_, y) => -y * y,
  kinkAt(0, 0.2, -0.2),
);
unary('sin', rf.sin, Math.sin, Math.cos);
unary('cos', rf.cos, Math.cos, (x) => -Math.sin(x));
unary(
  'tan',
  rf.tan,
  Math.tan,
  (_, y) => 1 + y * y,
  (x) => within(x, -1.2, 1.2),
);
unary(
  'asin',
  rf.asin,
  Math.asin,
  (x) => 1 / Math.sqrt(1 - x * x),
  (x) => within(x, -0.9, 0.9),
);
unary('atan', rf.atan, Math.atan, (x) => 1 / (1 + x * x));
unary('sinh', rf.sinh, Math.sinh, Math.cosh, (x) => within(x, -3, 3));
unary('asinh', rf.asinh, Math.asinh, (x) => 1 / Math.sqrt(x * x + 1));
unary('tanh', rf.tanh, Math.tanh, (_, y) => 1 - y * y);
unary(
  'log1p',
  rf.log1p,
  Math.log1p,
  (x) => 1 / (1 + x),
  (x) => within(x, -0.8),
);
unary(
  'expm1',
  rf.expm1,
  Math.expm1,
  (_, y) => y + 1,
  (x) => within(x, -20, 3),
);
unary('erf', rf.erf, erf, (x) => 2 * Math.SQRT2 * normalDensity(Math.SQRT2 * x));
unary(
  'relu',
  rf.relu,
  (x) => Math.max(x, 0),
  (x) => (x > 0 ? 1 : 0),
  kinkAt(0),
);
unary(
  'leakyRelu',
  (x) => rf.leakyRelu(x, { negativeSlope: 0.2 }),
  (x) => (x > 0 ? x : 0.2 * x),
  (x) => (x > 0 ? 1 : 0.2),
  kinkAt(0),
);
unary(
  'elu',
  rf.elu,
  (x) => (x > 0 ? x : Math.expm1(x)),
  (x) => (x > 0 ? 1 : Math.exp(x)),
  kinkAt(0),
);
unary('sigmoid', rf.sigmoid, sigmoid, (_, y) => y * (1 - y));
unary(
  'silu',
  rf.silu,
  (x) => x * sigmoid(x),
  (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
);
unary('softplus', rf.softplus, softplus, sigmoid, (x) => within(x, -15, 15));
unary(
  'mish',
  rf.mish,
  (x) => x * Math.tanh(softplus(x)),
  (x) => Math.tanh(softplus(x)) + x * tanhSlope(softplus(x)) * sigmoid(x),
);
unary(
  'gelu',
  rf.gelu,
  (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  (x) => 0.5 * (1 + erf(x * Math.SQRT1_2)) + x * normalDensity(x),
);
unary(
  'hardSwish',
  rf.hardSwish,
  (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6,
  (x) => (x < -3 ? 0 : x > 3 ? 1 : (2 * x + 3) / 6),
  kinkAt(-3, 3),
);
unary(
  'clamp',
  (x) => rf.clamp(x, { min: -0.5, max: 1 }),
  (x) => Math.min(Math.max(x, -0.5), 1),
  (x) => (x > -0.5 && x < 1 ? 1 : 0),
  kinkAt(-0.5, 1),
);
unary(
  'scaled',
  (x) => rf.mul(x, -1.5),
  (x) => -1.5 * x,
  () => -1.5,
);
unary(
  'shifted',
  (x) => rf.sub(2, x),
  (x) => 2 - x,
  () => -1,
);
unary(
  'cubed',
  (x) => rf.pow(x, 3),
  (x) => x ** 3,
  (x) => 3 * x * x,
  (x) => within(x, -3, 3),
);

/** Two operands whose shapes broadcast. */
function binary(
  name: string,
  run: (a: Tensor, b: Tensor) => Tensor,
  reference: (tape: Tape, a: Value64, b: Value64) => Value64,
): void {
  ops[name] = {
    operands: 2,
    draw: (_, a, b) => (broadcasts(a, b) ? { run, reference } : undefined),
  };
}

function broadcasts(a: Shape, b: Shape): boolean {
  const [p, q] = [a.toReversed(), b.toReversed()];
  return p.every((extent, i) => q[i] === undefined || q[i] === extent || q[i] === 1 || extent === 1);
}

/** The larger or the smaller of two, by a choice that a tie could change. */
const chosen = (sign: number) => (tape: Tape, a: Value64, b: Value64) => {
  const difference = tape.sub(a, b);
  avoid(difference, 0);
  const share = tape.unary(
    difference,
    (d) => (sign * d > 0 ? 1 : 0),
    () => 0,
  );
  return tape.add(tape.mul(share, a), tape.mul(tape.shift(tape.scale(share, -1), 1), b));
};

binary('add', rf.add, (tape, a, b) => tape.add(a, b));
binary('sub', rf.sub, (tape, a, b) => tape.sub(a, b));
binary('mul', rf.mul, (tape, a, b) => tape.mul(a, b));
binary('div', rf.div, (tape, a, b) => {
  avoid(b, 0);
  for (const value of b.data) if (Math.abs(value) < 0.2) throw new TooNear();
  return tape.div(a, b);
});
binary('maximum', rf.maximum, chosen(1));
binary('minimum', rf.minimum, chosen(-1));
binary('where', (a, b) => rf.where(rf.less(a, b), b, a), chosen(1));
binary('atan2', rf.atan2, (tape, a, b) => {
  within(a, 0.05, 20);
  within(b, 0.05, 20);
  const ratio = tape.div(a, b);
  return tape.unary(ratio, Math.atan, (x) => 1 / (1 + x * x));
});

/** One axis of the operand, at times counted from the end. */
export const someAxis = (pick: Pick, shape: Shape) => {
  const axis = pick(0, shape.length - 1);
  return { axis, named: pick(0, 1) === 1 ? axis : axis - shape.length };
};

function alongAxis(
  name: string,
  run: (x: Tensor, axis: number, keepDims: boolean) => Tensor,
  reference: (tape: Tape, x: Value64, axis: number) => Value64,
  { reduces = false, least = 1 } = {},
): void {
  ops[name] = {
    operands: 1,
    draw: (pick, shape) => {
      if (shape.length === 0) return undefined;
      const { axis, named } = someAxis(pick, shape);
      if (shape[axis] < least) return undefined;
      const keeps = !reduces || shape.length === 1 || pick(0, 1) === 1;
      return {
        run: (x) => run(x, named, keeps),
        reference: (tape, x) => {
          const y = reference(tape, x, axis);
          return keeps ? y : tape.reshape(y, y.shape.toSpliced(axis, 1));
        },
      };
    },
  };
}

const reduced = { reduces: true };
const options = (axes: number, keepDims: boolean) => ({ axes, keepDims });
alongAxis(
  'sum',
  (x, axis, keep) => rf.sum(x, options(axis, keep)),
  (tape, x, axis) => tape.sum(x, [axis]),
  reduced,
);
alongAxis(
  'mean',
  (x, axis, keep) => rf.mean(x, options(axis, keep)),
  (tape, x, axis) => tape.mean(x, [axis]),
  reduced,
);
alongAxis(
  'prod',
  (x, axis, keep) => rf.prod(x, options(axis, keep)),
  (tape, x, axis) => tape.prod(x, axis),
  reduced,
);
alongAxis(
  'logSumExp',
  (x, axis, keep) => rf.logSumExp(x, options(axis, keep)),
  (tape, x, axis) => tape.logSumExp(x, [axis]),
  reduced,
);
const spread = { reduces: true, least: 2 };
alongAxis(
  'variance',
  (x, axis, keep) => rf.variance(x, options(axis, keep)),
  (tape, x, axis) => tape.variance(x, [axis], 1),
  spread,
);
alongAxis(
  'std',
  (x, axis, keep) => rf.std(x, { ...options(axis, keep), correction: 0 }),
  (tape, x, axis) => {
    const variance = tape.variance(x, [axis]);
    within(variance, 0.05);
    return tape.sqrt(variance);
  },
  spread,
);
alongAxis(
  'norm',
  (x, axis, keep) => rf.norm(x, options(axis, keep)),
  (tape, x, axis) => {
    const squares = tape.sum(tape.square(x), [axis]);
    within(squares, 0.05);
    return tape.sqrt(squares);
  },
  reduced,
);
const extreme = (largest: boolean) => (tape: Tape, x: Value64, axis: number) => {
  const sorted = tape.pick(x, x.shape, tape.order(x, axis, largest));
  const one = x.shape.map((extent, a) => (a === axis ? 1 : extent));
  return tape.choose(sorted, one, (at) => at);
};
alongAxis('max', (x, axis, keep) => rf.max(x, options(axis, keep)), extreme(true), reduced);
alongAxis('min', (x, axis, keep) => rf.min(x, options(axis, keep)), extreme(false), reduced);
alongAxis(
  'softmax',
  (x, axis) => rf.softmax(x, { axis }),
  (tape, x, axis) => tape.softmax(x, axis),
);
alongAxis(
  'logSoftmax',
  (x, axis) => rf.logSoftmax(x, { axis }),
  (tape, x, axis) => tape.sub(x, tape.logSumExp(x, [axis])),
);
const total = (tape: Tape, y: Value64, axis: number, shape: Shape) => tape.reshape(tape.sum(y, [axis + 1]), shape);
alongAxis(
  'cumsum',
  (x, axis) => rf.cumsum(x, { axis }),
  (tape, x, axis) => total(tape, tape.prefixes(x, axis, 0), axis, x.shape),
);
alongAxis(
  'cumprod',
  (x, axis) => rf.cumprod(x, { axis }),
  (tape, x, axis) => tape.reshape(tape.prod(tape.prefixes(x, axis, 1), axis + 1), x.shape),
);
alongAxis(
  'sort',
  (x, axis) => rf.sort(x, { axis, descending: true }).values,
  (tape, x, axis) => tape.pick(x, x.shape, tape.order(x, axis, true)),
);
alongAxis(
  'takeAlongAxis',
  (x, axis) => rf.takeAlongAxis(x, rf.argsort(x, { axis }), { axis }),
  (tape, x, axis) => tape.pick(x, x.shape, tape.order(x, axis)),
);
alongAxis('topK', (x, axis) => rf.topK(x, 1, { axis }).values, extreme(true));
alongAxis(
  'layerNorm',
  (x) => rf.layerNorm(x, { eps: 0.01 }),
  (tape, x) => tape.normalize(x, [x.rank - 1], 0.01),
);

export { ops };
