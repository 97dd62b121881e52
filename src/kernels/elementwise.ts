// Elementwise ops with NumPy's broadcasting. Forward kernels are one line each in elementwise.c; gradient rules are one
// line each in the tables below, reduced to the operand's shape by sumTo.

import { checkOptions, kinds, refuseExtra } from '../arguments.ts';
import { DtypeError, ValueError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { zeros } from '../tensor/create.ts';
import { type Shape, sameShape } from '../tensor/shape.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import {
  type Binary,
  binaryKernel,
  elementwiseCuda,
  elementwiseKernels,
  loopTable,
  type Operand,
  tensorOrNone,
  tensorsOf,
  type Unary,
  unaryKernel,
  whereKernel,
} from './inner/elementwise_kernels.ts';
import { sumTo } from './inner/reduction.ts';
import { perElement } from './launch/grid.ts';
import { kernelsFor } from './launch/storage.ts';
import { broadcastTo } from './movement.ts';
import { apply, checkActivations, checkOperands, checkSameDevice, defineOp, notDifferentiable, type Op } from './op.ts';

export type { Operand } from './inner/elementwise_kernels.ts';

// ---------------------------------------------------------------- one operand

interface UnaryRule {
  saves: 'x' | 'y' | 'none';
  /** Computes dx from dy and what was saved: the input, the output, or nothing. */
  dx: (dy: Tensor, saved: Tensor) => Tensor;
  /** The same derivative times the tangent t, written in ops. */
  tangent: (t: Tensor, x: Tensor, y: Tensor) => Tensor;
}

const product = (a: Operand, b: Operand) => binaryKernel('mul', 'elementwise_mul', a, b);
const quotient = (a: Operand, b: Operand) => binaryKernel('div', 'elementwise_div', a, b);
const slope = (name: Binary) => (dy: Tensor, saved: Tensor) => binaryKernel(name, name, dy, saved);

/** An op, and which tensor its forward pass saves for the rule. */
type Saving<O, Saves> = O & { readonly saves: Saves };

function unaryOp(name: string, { saves, dx, tangent }: UnaryRule): Saving<Op, UnaryRule['saves']> {
  const op = defineOp({
    name,
    cpu: elementwiseKernels,
    cuda: elementwiseCuda,
    backward: ({ grad, saved }) => [dx(grad, saved[0])],
    tangent: ({ tangents: [t], parents: [x], output }) => tangent(t as Tensor, x as Tensor, output),
  });
  return { ...op, saves };
}

function unary(op: Saving<Op, UnaryRule['saves']>): (x: Tensor) => Tensor {
  const kernel = `elementwise_${op.name}` as Unary;
  return (x, ...extra: unknown[]) => {
    refuseExtra(op.name, extra);
    checkActivations(op.name, [x]);
    const y = unaryKernel(kernel, x);
    return apply(op, y, { parents: [x], saved: op.saves === 'none' ? [] : [op.saves === 'x' ? x : y] });
  };
}

export const negOp = unaryOp('neg', {
  saves: 'none',
  dx: (dy) => unaryKernel('elementwise_neg', dy),
  tangent: (t) => neg(t),
});
/** -x. */
export const neg = unary(negOp);
export const absOp = unaryOp('abs', {
  saves: 'x',
  dx: slope('elementwise_abs_backward'),
  tangent: (t, x) => mul(t, where(greater(x, 0), 1, where(less(x, 0), -1, 0))),
});
/** |x|; the gradient at 0 and at NaN is 0. */
export const abs = unary(absOp);
export const expOp = unaryOp('exp', { saves: 'y', dx: product, tangent: (t, _, y) => mul(t, y) });
/** e^x. Subnormal results are kept. */
export const exp = unary(expOp);
export const logOp = unaryOp('log', { saves: 'x', dx: quotient, tangent: (t, x) => div(t, x) });
/** The natural logarithm. */
export const log = unary(logOp);
export const sqrtOp = unaryOp('sqrt', {
  saves: 'y',
  dx: slope('elementwise_sqrt_backward'),
  tangent: (t, _, y) => div(t, mul(y, 2)),
});
/** The square root. */
export const sqrt = unary(sqrtOp);
export const sinOp = unaryOp('sin', {
  saves: 'x',
  dx: (dy, x) => product(dy, unaryKernel('elementwise_cos', x)),
  tangent: (t, x) => mul(t, cos(x)),
});
/** sin x, x in radians, of any size. */
export const sin = unary(sinOp);
export const cosOp = unaryOp('cos', {
  saves: 'x',
  dx: (dy, x) => product(dy, unaryKernel('elementwise_neg', unaryKernel('elementwise_sin', x))),
  tangent: (t, x) => neg(mul(t, sin(x))),
});
/** cos x, x in radians, of any size. */
export const cos = unary(cosOp);
export const tanhOp = unaryOp('tanh', {
  saves: 'y',
  dx: slope('elementwise_tanh_backward'),
  tangent: (t, _, y) => mul(t, sub(1, square(y))),
});
/** tanh x. */
export const tanh = unary(tanhOp);
export const sigmoidOp = unaryOp('sigmoid', {
  saves: 'y',
  dx: slope('elementwise_sigmoid_backward'),
  tangent: (t, _, y) => mul(t, mul(y, sub(1, y))),
});
/** 1 / (1 + e^-x). For x below -88.4, where the exact result is subnormal, it may be 0. */
export const sigmoid = unary(sigmoidOp);
export const siluOp = unaryOp('silu', {
  saves: 'x',
  dx: slope('elementwise_silu_backward'),
  tangent: (t, x) => mul(t, siluSlope(x)),
});
/** x sigmoid(x), also called swish. For x below -88.4 it may be -0. */
export const silu = unary(siluOp);
export const reluOp = unaryOp('relu', {
  saves: 'x',
  dx: slope('elementwise_relu_backward'),
  tangent: (t, x) => where(lessEqual(x, 0), 0, t),
});
/** max(x, 0); the gradient at 0 is 0. NaN stays NaN, and the gradient passes through it. */
export const relu = unary(reluOp);
export const squareOp = unaryOp('square', {
  saves: 'x',
  dx: (dy, x) => product(product(dy, x), 2),
  tangent: (t, x) => mul(t, mul(x, 2)),
});
/** x^2. */
export const square = unary(squareOp);

function siluSlope(x: Tensor): Tensor {
  const s = sigmoid(x);
  return mul(s, add(mul(x, sub(1, s)), 1));
}

export const clampOp = defineOp<{ low: number; high: number }>({
  name: 'clamp',
  cpu: elementwiseKernels,
  cuda: elementwiseCuda,
  backward({ grad, saved: [x], attributes: { low, high } }) {
    const { device, dtype, size } = x;
    const dx = allocate(x.shape, { device, dtype });
    if (size === 0) return [dx];
    const operands = [grad.address, x.address, dx.address];
    if (device.kind === 'cuda')
      kernelsFor(elementwiseCuda, device, dtype).elementwise_clamp_backward(
        perElement(size),
        ...operands,
        size,
        low,
        high,
      );
    else
      device
        .load(elementwiseKernels)
        .elementwise_clamp_backward(...operands, loopTable(x, x.shape, [grad, x]), low, high);
    return [dx];
  },
  tangent: ({ tangents: [t], parents: [x], attributes: { low, high } }) =>
    where(greaterEqual(x as Tensor, low), where(lessEqual(x as Tensor, high), t as Tensor, 0), 0),
});

/** Limits x to [min, max]. The gradient is 1 inside, bounds included, and 0 outside and at NaN. NaN stays NaN. */
export function clamp(x: Tensor, bounds: { min?: number; max?: number }): Tensor {
  checkActivations('clamp', [x]);
  const { min: low = Number.NEGATIVE_INFINITY, max: high = Number.POSITIVE_INFINITY } = checkOptions('clamp', bounds, {
    min: kinds.number,
    max: kinds.number,
  });
  if (!(low <= high)) throw new ValueError(`[clamp] expected min <= max, got ${low} and ${high}`);
  return apply(clampOp, unaryKernel('elementwise_clamp', x, low, high), {
    parents: [x],
    saved: [x],
    attributes: { low, high },
  });
}

// ---------------------------------------------------------------- two operands

/** Gradients of both operands, in the shape of the output; called only for operands that need one. */
interface BinaryRule {
  saves: 'operands' | 'none';
  da: (dy: Tensor, a: Operand, b: Operand) => Tensor;
  db: (dy: Tensor, a: Operand, b: Operand) => Tensor;
  /** What the tangent of one operand adds to that of the output, written in ops, in a shape that broadcasts to it. */
  tangentA: (t: Tensor, a: Operand, b: Operand, y: Tensor) => Tensor;
  tangentB: (t: Tensor, a: Operand, b: Operand, y: Tensor) => Tensor;
}

export interface BinaryAttributes {
  /** The operands that are numbers; those that are tensors are in `saved`, in order. */
  numbers: (number | undefined)[];
  shapes: (Shape | undefined)[];
}

type BinaryOp = Saving<Op<BinaryAttributes>, BinaryRule['saves']>;

function binaryOp(name: string, rule: BinaryRule): BinaryOp {
  const op = defineOp<BinaryAttributes>({
    name,
    cpu: elementwiseKernels,
    cuda: elementwiseCuda,
    backward({ grad, saved, attributes: { numbers, shapes }, needs }) {
      const rest = [...saved];
      const [a, b] = numbers.map((number) => number ?? (rest.shift() as Tensor));
      return [rule.da, rule.db].map((derivative, i) =>
        needs[i] ? sumTo(derivative(grad, a, b), shapes[i] as Shape) : null,
      );
    },
    tangent({ parents, tangents: [ta, tb], output, attributes: { numbers } }) {
      const [a, b] = numbers.map((number, i) => number ?? (parents[i] as Tensor));
      const fromA = ta && rule.tangentA(ta, a, b, output);
      const fromB = tb && rule.tangentB(tb, a, b, output);
      return stretch(fromA && fromB ? add(fromA, fromB) : ((fromA ?? fromB) as Tensor), output.shape);
    },
  });
  return { ...op, saves: rule.saves };
}

function binary(op: BinaryOp): (a: Operand, b: Operand) => Tensor {
  const kernel = `elementwise_${op.name}` as Binary;
  return (a, b, ...extra: unknown[]) => {
    refuseExtra(op.name, extra);
    const y = binaryKernel(op.name, kernel, a, b);
    const parents = [a, b].map(tensorOrNone);
    return apply(op, y, {
      parents,
      saved: op.saves === 'operands' ? parents.filter((t) => t !== undefined) : [],
      attributes: {
        numbers: [a, b].map((operand) => (typeof operand === 'number' ? operand : undefined)),
        shapes: parents.map((t) => t?.shape),
      },
    });
  };
}

/** x in a shape that it broadcasts to. */
function stretch(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : broadcastTo(x, shape);
}

const pass = (dy: Tensor) => dy;
const subtractOne = (b: Operand) => (typeof b === 'number' ? b - 1 : binaryKernel('sub', 'elementwise_sub', b, 1));
const power = (a: Operand, b: Operand) => binaryKernel('pow', 'elementwise_pow', a, b);

export const addOp = binaryOp('add', { saves: 'none', da: pass, db: pass, tangentA: pass, tangentB: pass });
/** a + b, broadcast. */
export const add = binary(addOp);
export const subOp = binaryOp('sub', {
  saves: 'none',
  da: pass,
  db: (dy) => unaryKernel('elementwise_neg', dy),
  tangentA: pass,
  tangentB: (t) => neg(t),
});
/** a - b, broadcast. */
export const sub = binary(subOp);
export const mulOp = binaryOp('mul', {
  saves: 'operands',
  da: (dy, _, b) => product(dy, b),
  db: (dy, a) => product(dy, a),
  tangentA: (t, _, b) => mul(t, b),
  tangentB: (t, a) => mul(t, a),
});
/** a b, element by element, broadcast. */
export const mul = binary(mulOp);
export const divOp = binaryOp('div', {
  saves: 'operands',
  da: (dy, _, b) => quotient(dy, b),
  // b^2 can overflow or underflow where -a / b^2 does not.
  db: (dy, a, b) => unaryKernel('elementwise_neg', product(dy, quotient(quotient(a, b), b))),
  tangentA: (t, _, b) => div(t, b),
  tangentB: (t, _, b, y) => neg(mul(t, div(y, b))),
});
/** a / b, broadcast. */
export const div = binary(divOp);
export const powOp = binaryOp('pow', {
  saves: 'operands',
  // b a^(b-1), but 0 where b is 0, for any a
  da: (dy, a, b) => zeroWhere(b, product(dy, product(b, power(a, subtractOne(b))))),
  // a^b ln a, but 0 where ln a is undefined, even if a^b is infinite or NaN
  db: (dy, a, b) => wherePositive(a, product(dy, product(power(a, b), logOf(a)))),
  tangentA: (t, a, b) =>
    typeof b === 'number'
      ? mul(t, b === 0 ? 0 : mul(pow(a, b - 1), b))
      : where(equal(b, 0), 0, mul(t, mul(b, pow(a, sub(b, 1))))),
  tangentB: (t, a, _, y) =>
    typeof a === 'number'
      ? mul(t, a <= 0 ? 0 : mul(y, Math.log(a)))
      : where(lessEqual(a, 0), 0, mul(t, mul(y, log(a)))),
});
/**
 * a^b, broadcast, with the rules of C's pow: 0^0 = 1, a negative base needs an integer exponent, and (-0)^0.5 is +0.
 * The gradient with respect to b is 0 where a <= 0 (PyTorch: NaN where a < 0, -Infinity where a is 0 and b < 0); the
 * one with respect to a is 0 where b is 0.
 */
export const pow = binary(powOp);
export const maximumOp = binaryOp('maximum', winner('elementwise_first_wins_maximum'));
/**
 * The larger of a and b, broadcast; a tie shares the gradient. If either is NaN, so is the result, and both get the
 * gradient.
 */
export const maximum = binary(maximumOp);
export const minimumOp = binaryOp('minimum', winner('elementwise_first_wins_minimum'));
/**
 * The smaller of a and b, broadcast; a tie shares the gradient. If either is NaN, so is the result, and both get the
 * gradient.
 */
export const minimum = binary(minimumOp);

/** The selected operand gets the gradient; on a tie each gets half, at NaN each gets all of it. */
function winner(name: Binary): BinaryRule {
  const loses = (own: Operand, other: Operand) =>
    name === 'elementwise_first_wins_maximum' ? less(own, other) : greater(own, other);
  const shareOf = (own: Operand, other: Operand) => where(loses(own, other), 0, where(equal(own, other), 0.5, 1));
  return {
    saves: 'operands',
    da: (dy, a, b) => product(dy, binaryKernel(name, name, a, b)),
    db: (dy, a, b) => product(dy, binaryKernel(name, name, b, a)),
    tangentA: (t, a, b) => mul(t, shareOf(a, b)),
    tangentB: (t, a, b) => mul(t, shareOf(b, a)),
  };
}

/** x, but 0 where `operand` is 0. */
function zeroWhere(operand: Operand, x: Tensor): Tensor {
  if (typeof operand === 'number') return operand === 0 ? zeros(x.shape, { device: x.device, dtype: x.dtype }) : x;
  return whereKernel(binaryKernel('pow', 'elementwise_equal', operand, 0, 'bool'), 0, x);
}

/** x where `operand` is above 0 or NaN, else 0. */
function wherePositive(operand: Operand, x: Tensor): Tensor {
  if (typeof operand === 'number') return operand <= 0 ? zeros(x.shape, { device: x.device, dtype: x.dtype }) : x;
  return whereKernel(binaryKernel('pow', 'elementwise_less_equal', operand, 0, 'bool'), 0, x);
}

function logOf(a: Operand): Operand {
  return typeof a === 'number' ? Math.log(a) : unaryKernel('elementwise_log', a);
}

// ---------------------------------------------------------------- comparisons

function comparisonOp(name: string): Op {
  return defineOp({
    name,
    cpu: elementwiseKernels,
    cuda: elementwiseCuda,
    ...notDifferentiable('a comparison is piecewise constant'),
  });
}

function comparison(op: Op, kernel: Binary): (a: Operand, b: Operand) => Tensor {
  return (a, b, ...extra: unknown[]) => {
    refuseExtra(op.name, extra);
    return apply(op, binaryKernel(op.name, kernel, a, b, 'bool'), { parents: [a, b].map(tensorOrNone) });
  };
}

export const equalOp = comparisonOp('equal');
/** a == b as bool, broadcast. */
export const equal = comparison(equalOp, 'elementwise_equal');
export const notEqualOp = comparisonOp('notEqual');
/** a != b as bool, broadcast. */
export const notEqual = comparison(notEqualOp, 'elementwise_not_equal');
export const lessOp = comparisonOp('less');
/** a < b as bool, broadcast. */
export const less = comparison(lessOp, 'elementwise_less');
export const lessEqualOp = comparisonOp('lessEqual');
/** a <= b as bool, broadcast. */
export const lessEqual = comparison(lessEqualOp, 'elementwise_less_equal');
export const greaterOp = comparisonOp('greater');
/** a > b as bool, broadcast. */
export const greater = comparison(greaterOp, 'elementwise_greater');
export const greaterEqualOp = comparisonOp('greaterEqual');
/** a >= b as bool, broadcast. */
export const greaterEqual = comparison(greaterEqualOp, 'elementwise_greater_equal');

// ---------------------------------------------------------------- where

export const whereOp = defineOp<{ shapes: (Shape | undefined)[] }>({
  name: 'where',
  cpu: elementwiseKernels,
  cuda: elementwiseCuda,
  backward({ grad, saved: [condition], attributes: { shapes }, needs }) {
    return [
      null,
      needs[1] ? sumTo(whereKernel(condition, grad, 0), shapes[0] as Shape) : null,
      needs[2] ? sumTo(whereKernel(condition, 0, grad), shapes[1] as Shape) : null,
    ];
  },
  tangent: ({ saved: [condition], tangents: [, ta, tb], output }) =>
    stretch(where(condition, ta ?? 0, tb ?? 0), output.shape),
});

/** condition ? a : b, broadcast together. `condition` is bool. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor;
export function where(condition: Tensor, a: Operand, b: Operand, ...extra: unknown[]): Tensor {
  refuseExtra('where', extra);
  requireTensor('where', condition, 'a condition of dtype bool');
  if (condition.dtype !== 'bool') throw new DtypeError('where', 'a condition of dtype bool', condition.describe());
  checkOperands('where', [condition], 'bool');
  const tensors = tensorsOf('where', [a, b]);
  if (tensors.length > 0) checkActivations('where', tensors);
  for (const t of tensors) checkSameDevice('where', condition, t);
  const parents = [a, b].map(tensorOrNone);
  return apply(whereOp, whereKernel(condition, a, b), {
    parents: [undefined, ...parents],
    saved: [condition],
    attributes: { shapes: parents.map((t) => t?.shape) },
  });
}
