// Elementwise ops with NumPy's broadcasting. Forward kernels are one line each in elementwise.c; gradient rules are one
// line each in the tables below, reduced to the operand's shape by sumTo.

import { checkOptions, kinds, refuseExtra } from '../arguments.ts';
import { DtypeError, ValueError } from '../errors.ts';
import { zeros } from '../tensor/create.ts';
import type { Shape } from '../tensor/shape.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import {
  type Binary,
  binaryKernel,
  elementwise,
  gradientKernel,
  type Operand,
  tensorOrNone,
  tensorsOf,
  unaryKernel,
  whereKernel,
} from './inner/elementwise_kernels.ts';
import {
  type BinaryOp,
  type BinaryRule,
  binaryFunction,
  binaryOp as defineBinary,
  unaryOp as defineUnary,
  stretch,
  type UnaryOp,
  type UnaryRule,
  unaryFunction,
} from './inner/elementwise_ops.ts';
import { sumTo } from './inner/reduction.ts';
import {
  apply,
  checkActivations,
  checkOperands,
  checkSameDevice,
  declareOp,
  notDifferentiable,
  type Op,
} from './op.ts';

export type { Operand } from './inner/elementwise_kernels.ts';

// ---------------------------------------------------------------- one operand

const product = (a: Operand, b: Operand) => binaryKernel('mul', 'elementwise_mul', a, b);
const quotient = (a: Operand, b: Operand) => binaryKernel('div', 'elementwise_div', a, b);
const slope = (name: Parameters<typeof gradientKernel>[0]) => (dy: Tensor, saved: Tensor) =>
  gradientKernel(name, dy, saved);

const unaryOp = (name: string, rule: UnaryRule) => defineUnary(elementwise, name, rule);

/* @__NO_SIDE_EFFECTS__ */
function unary(op: UnaryOp): (x: Tensor) => Tensor {
  const kernel = `elementwise_${op.name}` as Parameters<typeof unaryKernel>[0];
  return unaryFunction(op, (x) => unaryKernel(kernel, x));
}

export const negOp = unaryOp('neg', {
  saves: 'none',
  dx: (dy) => unaryKernel('elementwise_neg', dy),
  tangent: (t) => neg(t),
});
/**
 * -x.
 * @example neg(tensor([1, -2, 3])); // [-1, 2, -3]
 */
export const neg = unary(negOp);
export const absOp = unaryOp('abs', {
  saves: 'x',
  dx: slope('elementwise_abs_backward'),
  tangent: (t, x) => where(greater(x, 0), t, where(less(x, 0), neg(t), 0)),
});
/**
 * |x|; the gradient at 0 and at NaN is 0.
 * @example abs(tensor([-2, 0, 3])); // [2, 0, 3]
 */
export const abs = unary(absOp);
export const expOp = unaryOp('exp', { saves: 'y', dx: product, tangent: (t, _, y) => mul(t, y) });
/**
 * e^x. Subnormal results are kept.
 * @example exp(tensor([0, 1, -1])); // [1, 2.718, 0.3679]
 */
export const exp = unary(expOp);
export const logOp = unaryOp('log', { saves: 'x', dx: quotient, tangent: (t, x) => div(t, x) });
/**
 * The natural logarithm.
 * @example log(tensor([1, Math.E, 10])); // [0, 1, 2.303]
 */
export const log = unary(logOp);
export const sqrtOp = unaryOp('sqrt', {
  saves: 'y',
  dx: slope('elementwise_sqrt_backward'),
  tangent: (t, _, y) => div(t, mul(y, 2)),
});
/**
 * The square root.
 * @example sqrt(tensor([1, 4, 9])); // [1, 2, 3]
 */
export const sqrt = unary(sqrtOp);
export const sinOp = unaryOp('sin', {
  saves: 'x',
  dx: (dy, x) => product(dy, unaryKernel('elementwise_cos', x)),
  tangent: (t, x) => mul(t, cos(x)),
});
/**
 * sin x, x in radians, of any size.
 * @example sin(tensor([0, Math.PI / 6, Math.PI / 2])); // [0, 0.5, 1]
 */
export const sin = unary(sinOp);
export const cosOp = unaryOp('cos', {
  saves: 'x',
  dx: (dy, x) => product(dy, unaryKernel('elementwise_neg', unaryKernel('elementwise_sin', x))),
  tangent: (t, x) => neg(mul(t, sin(x))),
});
/**
 * cos x, x in radians, of any size.
 * @example cos(tensor([0, Math.PI / 3, Math.PI])); // [1, 0.5, -1]
 */
export const cos = unary(cosOp);
export const tanhOp = unaryOp('tanh', {
  saves: 'y',
  dx: slope('elementwise_tanh_backward'),
  tangent: (t, _, y) => mul(t, sub(1, square(y))),
});
/**
 * tanh x.
 * @example tanh(tensor([-1, 0, 1])); // [-0.7616, 0, 0.7616]
 */
export const tanh = unary(tanhOp);
export const sigmoidOp = unaryOp('sigmoid', {
  saves: 'y',
  dx: slope('elementwise_sigmoid_backward'),
  tangent: (t, _, y) => mul(t, mul(y, sub(1, y))),
});
/**
 * 1 / (1 + e^-x). For x below -88.4, where the exact result is subnormal, it may be 0.
 * @example sigmoid(tensor([-1, 0, 1])); // [0.2689, 0.5, 0.7311]
 */
export const sigmoid = unary(sigmoidOp);
export const siluOp = unaryOp('silu', {
  saves: 'x',
  dx: slope('elementwise_silu_backward'),
  tangent: (t, x) => mul(t, siluSlope(x)),
});
/**
 * x sigmoid(x), also called swish. For x below -88.4 it may be -0.
 * @example silu(tensor([-1, 0, 1])); // [-0.2689, 0, 0.7311]
 */
export const silu = unary(siluOp);
export const reluOp = unaryOp('relu', {
  saves: 'x',
  dx: slope('elementwise_relu_backward'),
  tangent: (t, x) => where(lessEqual(x, 0), 0, t),
});
/**
 * max(x, 0); the gradient at 0 is 0. NaN stays NaN, and the gradient passes through it.
 * @example relu(tensor([-1, 0, 2])); // [0, 0, 2]
 */
export const relu = unary(reluOp);
export const squareOp = unaryOp('square', {
  saves: 'x',
  dx: (dy, x) => product(product(dy, x), 2),
  tangent: (t, x) => mul(t, mul(x, 2)),
});
/**
 * x^2.
 * @example square(tensor([1, -2, 3])); // [1, 4, 9]
 */
export const square = unary(squareOp);

function siluSlope(x: Tensor): Tensor {
  const s = sigmoid(x);
  return mul(s, add(mul(x, sub(1, s)), 1));
}

export const clampOp = declareOp<{ low: number; high: number }>({
  name: 'clamp',
  cpu: elementwise.cpu,
  cuda: elementwise.cuda,
  backward: ({ grad, saved: [x], attributes: { low, high } }) => [
    gradientKernel('elementwise_clamp_backward', grad, x, low, high),
  ],
  tangent: ({ tangents: [t], parents: [x], attributes: { low, high } }) =>
    where(greaterEqual(x as Tensor, low), where(lessEqual(x as Tensor, high), t as Tensor, 0), 0),
});

/**
 * Limits x to [min, max]. The gradient is 1 inside, bounds included, and 0 outside and at NaN. NaN stays NaN.
 * @example clamp(tensor([-2, 0.5, 3]), { min: 0, max: 1 }); // [0, 0.5, 1]
 */
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

const binaryOp = (name: string, rule: BinaryRule) => defineBinary(elementwise, (a, b) => add(a, b), name, rule);

/* @__NO_SIDE_EFFECTS__ */
function binary(op: BinaryOp): (a: Operand, b: Operand) => Tensor {
  const kernel = `elementwise_${op.name}` as Binary;
  return binaryFunction(op, (a, b) => binaryKernel(op.name, kernel, a, b));
}

const pass = (dy: Tensor) => dy;
const subtractOne = (b: Operand) => (typeof b === 'number' ? b - 1 : binaryKernel('sub', 'elementwise_sub', b, 1));
const power = (a: Operand, b: Operand) => binaryKernel('pow', 'elementwise_pow', a, b);

export const addOp = binaryOp('add', { saves: 'none', da: pass, db: pass, tangentA: pass, tangentB: pass });
/**
 * a + b, broadcast; of two i32 tensors, or one and a whole number, i32 that wraps around.
 * @example add(tensor([1, 2, 3]), 10); // [11, 12, 13]
 */
export const add = binary(addOp);
export const subOp = binaryOp('sub', {
  saves: 'none',
  da: pass,
  db: (dy) => unaryKernel('elementwise_neg', dy),
  tangentA: pass,
  tangentB: (t) => neg(t),
});
/**
 * a - b, broadcast; i32 as in add.
 * @example sub(10, tensor([1, 2, 3])); // [9, 8, 7]
 */
export const sub = binary(subOp);
export const mulOp = binaryOp('mul', {
  saves: 'operands',
  da: (dy, _, b) => product(dy, b),
  db: (dy, a) => product(dy, a),
  tangentA: (t, _, b) => mul(t, b),
  tangentB: (t, a) => mul(t, a),
});
/**
 * a b, element by element, broadcast; i32 as in add.
 * @example mul(tensor([1, 2, 3]), tensor([4, 5, 6])); // [4, 10, 18]
 */
export const mul = binary(mulOp);
export const divOp = binaryOp('div', {
  saves: 'operands',
  da: (dy, _, b) => quotient(dy, b),
  // b^2 can overflow or underflow where -a / b^2 does not.
  db: (dy, a, b) => unaryKernel('elementwise_neg', product(dy, quotient(quotient(a, b), b))),
  tangentA: (t, _, b) => div(t, b),
  tangentB: (t, _, b, y) => neg(mul(t, div(y, b))),
});
/**
 * a / b, broadcast. Whole numbers are divided by floorDiv.
 * @example div(tensor([1, 2, 3]), 4); // [0.25, 0.5, 0.75]
 */
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
 * @example pow(tensor([1, 2, 3]), 2); // [1, 4, 9]
 */
export const pow = binary(powOp);
export const maximumOp = binaryOp('maximum', winner('elementwise_first_wins_maximum'));
/**
 * The larger of a and b, broadcast, f32 or i32; a tie shares the gradient. If either is NaN, so is the result, and both get the
 * gradient.
 * @example maximum(tensor([1, 5, 3]), 3); // [3, 5, 3]
 */
export const maximum = binary(maximumOp);
export const minimumOp = binaryOp('minimum', winner('elementwise_first_wins_minimum'));
/**
 * The smaller of a and b, broadcast, f32 or i32; a tie shares the gradient. If either is NaN, so is the result, and both get the
 * gradient.
 * @example minimum(tensor([1, 5, 3]), 3); // [1, 3, 3]
 */
export const minimum = binary(minimumOp);

/** The selected operand gets the gradient; on a tie each gets half, at NaN each gets all of it. */
function winner(name: Binary): BinaryRule {
  const loses = (own: Operand, other: Operand) =>
    name === 'elementwise_first_wins_maximum' ? less(own, other) : greater(own, other);
  const share = (t: Tensor, own: Operand, other: Operand) =>
    where(loses(own, other), 0, where(equal(own, other), mul(t, 0.5), t));
  return {
    saves: 'operands',
    da: (dy, a, b) => product(dy, binaryKernel(name, name, a, b)),
    db: (dy, a, b) => product(dy, binaryKernel(name, name, b, a)),
    tangentA: (t, a, b) => share(t, a, b),
    tangentB: (t, a, b) => share(t, b, a),
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

/* @__NO_SIDE_EFFECTS__ */
function comparisonOp(name: string): Op {
  return declareOp({
    name,
    cpu: elementwise.cpu,
    cuda: elementwise.cuda,
    ...notDifferentiable('a comparison is piecewise constant'),
  });
}

/* @__NO_SIDE_EFFECTS__ */
function comparison(op: Op, kernel: Binary): (a: Operand, b: Operand) => Tensor {
  return (a, b, ...extra: unknown[]) => {
    refuseExtra(op.name, extra);
    return apply(op, binaryKernel(op.name, kernel, a, b, 'bool'), { parents: [a, b].map(tensorOrNone) });
  };
}

export const equalOp = comparisonOp('equal');
/**
 * a == b as bool, broadcast, of f32 or i32.
 * @example equal(tensor([1, 2, 3]), tensor([1, 0, 3])); // [true, false, true]
 */
export const equal = comparison(equalOp, 'elementwise_equal');
export const notEqualOp = comparisonOp('notEqual');
/**
 * a != b as bool, broadcast, of f32 or i32.
 * @example notEqual(tensor([1, 2, 3]), tensor([1, 0, 3])); // [false, true, false]
 */
export const notEqual = comparison(notEqualOp, 'elementwise_not_equal');
export const lessOp = comparisonOp('less');
/**
 * a < b as bool, broadcast, of f32 or i32.
 * @example less(tensor([1, 2, 3]), 2); // [true, false, false]
 */
export const less = comparison(lessOp, 'elementwise_less');
export const lessEqualOp = comparisonOp('lessEqual');
/**
 * a <= b as bool, broadcast, of f32 or i32.
 * @example lessEqual(tensor([1, 2, 3]), 2); // [true, true, false]
 */
export const lessEqual = comparison(lessEqualOp, 'elementwise_less_equal');
export const greaterOp = comparisonOp('greater');
/**
 * a > b as bool, broadcast, of f32 or i32.
 * @example greater(tensor([1, 2, 3]), 2); // [false, false, true]
 */
export const greater = comparison(greaterOp, 'elementwise_greater');
export const greaterEqualOp = comparisonOp('greaterEqual');
/**
 * a >= b as bool, broadcast, of f32 or i32.
 * @example greaterEqual(tensor([1, 2, 3]), 2); // [false, true, true]
 */
export const greaterEqual = comparison(greaterEqualOp, 'elementwise_greater_equal');

// ---------------------------------------------------------------- where

export const whereOp = declareOp<{ shapes: (Shape | undefined)[] }>({
  name: 'where',
  cpu: elementwise.cpu,
  cuda: elementwise.cuda,
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

/** condition ? a : b, broadcast together. `condition` is bool; a and b are numbers, f32 or i32. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor;
export function where(condition: Tensor, a: Operand, b: Operand, ...extra: unknown[]): Tensor {
  refuseExtra('where', extra);
  requireTensor('where', condition, 'a condition of dtype bool');
  if (condition.dtype !== 'bool') throw new DtypeError('where', 'a condition of dtype bool', condition.describe());
  checkOperands('where', [condition], 'bool');
  const tensors = tensorsOf('where', [a, b]);
  if (tensors[0]?.dtype === 'i32') checkOperands('where', tensors, 'i32');
  else if (tensors.length > 0) checkActivations('where', tensors);
  for (const t of tensors) checkSameDevice('where', condition, t);
  const parents = [a, b].map(tensorOrNone);
  return apply(whereOp, whereKernel(condition, a, b), {
    parents: [undefined, ...parents],
    saved: [condition],
    attributes: { shapes: parents.map((t) => t?.shape) },
  });
}
