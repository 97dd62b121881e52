// Elementwise functions of mathematics: rounding, exponentials, logarithms, trigonometry, the error function, remainders.
// A function is one line in math.c and in math.cu, which is its value and its gradient, and one in the tables below.
import { zeros } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { add, div, exp, mul, neg, sqrt, square, sub } from './elementwise.ts';
import { elementwiseFamily } from './inner/elementwise_family.ts';
import { binaryKernel } from './inner/elementwise_kernels.ts';
import {
  type BinaryRule,
  binaryFunction,
  binaryOp,
  type UnaryOp,
  type UnaryRule,
  unaryFunction,
  unaryOp,
} from './inner/elementwise_ops.ts';
import type { Operand } from './inner/operands.ts';

/** Functions with steps; their gradient is 0. */
const steps = ['ceil', 'floor', 'round', 'sign', 'trunc'] as const;

type Rule = Pick<UnaryRule, 'tangent'> & { saves: 'x' | 'y' };

/** Smooth functions: what the kernel of the gradient reads, and the derivative times the tangent t, in ops. */
const rules = {
  acos: of('x', (t, x) => neg(div(t, rootBelowOne(x)))),
  acosh: of('x', (t, x) => div(t, mul(sqrt(sub(x, 1)), sqrt(add(x, 1))))),
  asin: of('x', (t, x) => div(t, rootBelowOne(x))),
  asinh: of('x', (t, x) => div(t, sqrt(add(square(x), 1)))),
  atan: of('x', (t, x) => div(t, add(square(x), 1))),
  atanh: of('x', (t, x) => div(t, mul(sub(1, x), add(x, 1)))),
  cosh: of('x', (t, x) => mul(t, sinh(x))),
  erf: of('x', (t, x) => mul(t, mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI)))),
  erfc: of('x', (t, x) => mul(t, mul(exp(neg(square(x))), -2 / Math.sqrt(Math.PI)))),
  exp2: of('y', (t, _, y) => mul(t, mul(y, Math.LN2))),
  expm1: of('x', (t, x) => mul(t, exp(x))),
  log10: of('x', (t, x) => mul(div(t, x), Math.LOG10E)),
  log1p: of('x', (t, x) => div(t, add(x, 1))),
  log2: of('x', (t, x) => mul(div(t, x), Math.LOG2E)),
  reciprocal: of('y', (t, _, y) => neg(mul(mul(t, y), y))),
  rsqrt: of('y', (t, _, y) => mul(t, mul(mul(square(y), y), -0.5))),
  sinh: of('x', (t, x) => mul(t, cosh(x))),
  tan: of('y', (t, _, y) => mul(t, add(square(y), 1))),
};

function of(saves: Rule['saves'], tangent: Rule['tangent']): Rule {
  return { saves, tangent };
}

type Step = (typeof steps)[number];
type Smooth = keyof typeof rules;
const smooth = Object.keys(rules) as Smooth[];

const math = elementwiseFamily(['kernels/math.c', 'kernels/math.cu'], {
  unary: [...steps, ...smooth].map((name) => `math_${name}` as const),
  gradient: smooth.map((name) => `math_${name}_backward` as const),
  binary: ['math_atan2', 'math_atan2_slope', 'math_floor_div', 'math_fmod', 'math_mod'],
});

const zerosLike = ({ shape, device, dtype }: Tensor) => zeros(shape, { device, dtype });

function ruleOf(name: Step | Smooth): UnaryRule {
  if (name in rules) {
    const { saves, tangent } = rules[name as Smooth];
    return { saves, tangent, dx: (dy, saved) => math.gradient(`math_${name as Smooth}_backward`, dy, saved) };
  }
  return { saves: 'none', dx: zerosLike, tangent: zerosLike };
}

const unaryOps = Object.fromEntries(
  [...steps, ...smooth].map((name) => [name, unaryOp(math, name, ruleOf(name))]),
) as Record<Step | Smooth, UnaryOp>;

/* @__NO_SIDE_EFFECTS__ */
function unary(name: Step | Smooth): (x: Tensor) => Tensor {
  return unaryFunction(unaryOps[name], (x) => math.unary(`math_${name}`, x));
}

/** sqrt(1 - x^2) */
const rootBelowOne = (x: Tensor) => sqrt(mul(sub(1, x), add(x, 1)));

// ---------------------------------------------------------------- rounding

/**
 * The smallest whole number >= x, as a float. The gradient is 0.
 * @example ceil(tensor([-1.5, 0.2, 2])); // [-1, 1, 2]
 */
export const ceil = unary('ceil');
/**
 * The largest whole number <= x, as a float. The gradient is 0.
 * @example floor(tensor([-1.5, 0.8, 2])); // [-2, 0, 2]
 */
export const floor = unary('floor');
/**
 * The nearest whole number, of two the even one, as a float. The gradient is 0.
 * @example round(tensor([0.5, 1.5, 2.4])); // [0, 2, 2]
 */
export const round = unary('round');
/**
 * x without its fraction, as a float. The gradient is 0.
 * @example trunc(tensor([-1.5, 0.8, 2])); // [-1, 0, 2]
 */
export const trunc = unary('trunc');
/**
 * 1, 0 or -1; NaN where x is NaN, as in NumPy (PyTorch: 0). The gradient is 0.
 * @example sign(tensor([-2, 0, 3])); // [-1, 0, 1]
 */
export const sign = unary('sign');

// ---------------------------------------------------------------- exponentials and logarithms

/**
 * 2^x, exact for whole x.
 * @example exp2(tensor([0, 3, -1])); // [1, 8, 0.5]
 */
export const exp2 = unary('exp2');
/**
 * e^x - 1, also accurate near 0.
 * @example expm1(tensor([0, 1e-5])); // [0, 0.00001]
 */
export const expm1 = unary('expm1');
/**
 * The logarithm to base 10.
 * @example log10(tensor([1, 100])); // [0, 2]
 */
export const log10 = unary('log10');
/**
 * log(1 + x), also accurate near 0.
 * @example log1p(tensor([0, 1e-5])); // [0, 0.00001]
 */
export const log1p = unary('log1p');
/**
 * The logarithm to base 2, exact for powers of 2.
 * @example log2(tensor([1, 8, 0.5])); // [0, 3, -1]
 */
export const log2 = unary('log2');
/**
 * 1 / x.
 * @example reciprocal(tensor([1, 2, -4])); // [1, 0.5, -0.25]
 */
export const reciprocal = unary('reciprocal');
/**
 * 1 / sqrt(x).
 * @example rsqrt(tensor([1, 4, 16])); // [1, 0.5, 0.25]
 */
export const rsqrt = unary('rsqrt');

// ---------------------------------------------------------------- trigonometry

/**
 * The arccosine in [0, pi]; NaN outside [-1, 1].
 * @example acos(tensor([1, 0, -1])); // [0, 1.571, 3.142]
 */
export const acos = unary('acos');
/**
 * The inverse of cosh, >= 0; NaN below 1.
 * @example acosh(tensor([1, 2])); // [0, 1.317]
 */
export const acosh = unary('acosh');
/**
 * The arcsine in [-pi / 2, pi / 2]; NaN outside [-1, 1].
 * @example asin(tensor([-1, 0, 1])); // [-1.571, 0, 1.571]
 */
export const asin = unary('asin');
/**
 * The inverse of sinh.
 * @example asinh(tensor([0, 1])); // [0, 0.8814]
 */
export const asinh = unary('asinh');
/**
 * The arctangent in [-pi / 2, pi / 2]; atan2 is that of a quotient.
 * @example atan(tensor([0, 1])); // [0, 0.7854]
 */
export const atan = unary('atan');
/**
 * The inverse of tanh; NaN outside [-1, 1].
 * @example atanh(tensor([0, 0.5])); // [0, 0.5493]
 */
export const atanh = unary('atanh');
/**
 * The hyperbolic cosine.
 * @example cosh(tensor([0, 1])); // [1, 1.543]
 */
export const cosh = unary('cosh');
/**
 * The hyperbolic sine.
 * @example sinh(tensor([0, 1])); // [0, 1.175]
 */
export const sinh = unary('sinh');
/**
 * tan x, x in radians, of any size.
 * @example tan(tensor([0, Math.PI / 4])); // [0, 1]
 */
export const tan = unary('tan');

// ---------------------------------------------------------------- the error function

/**
 * The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.
 * @example erf(tensor([0, 0.5, 2])); // [0, 0.5205, 0.9953]
 */
export const erf = unary('erf');
/**
 * 1 - erf(x), also accurate where erf(x) is near 1.
 * @example erfc(tensor([0, 2, 5])); // [1, 0.004678, 1.537e-12]
 */
export const erfc = unary('erfc');

// ---------------------------------------------------------------- two operands

const product = (a: Operand, b: Operand) => binaryKernel('mul', 'elementwise_mul', a, b);
const pass = (dy: Tensor) => dy;
const binary = (name: string, rule: BinaryRule) => binaryOp(math, add, name, rule);

/** A remainder a - b n, whose whole number n is that of `quotient`. */
const remainder = (quotient: (a: Operand, b: Operand) => Tensor, inOps: (a: Operand, b: Operand) => Tensor) => ({
  saves: 'operands' as const,
  da: pass,
  db: (dy: Tensor, a: Operand, b: Operand) => product(dy, product(quotient(a, b), -1)),
  tangentA: pass,
  tangentB: (t: Tensor, a: Operand, b: Operand) => neg(mul(t, inOps(a, b))),
});

const atan2Slope = (a: Operand, b: Operand) => math.binary('atan2', 'math_atan2_slope', a, b);
const atan2Op = binary('atan2', {
  saves: 'operands',
  da: (dy, a, b) => product(dy, atan2Slope(a, b)),
  db: (dy, a, b) => product(dy, product(atan2Slope(b, a), -1)),
  tangentA: (t, a, b) => div(mul(t, b), squaredRadius(a, b)),
  tangentB: (t, a, b) => neg(div(mul(t, a), squaredRadius(a, b))),
});
/**
 * The angle of the point (b, a) in [-pi, pi], broadcast: the arctangent of a / b in the right quadrant. At (0, 0) the
 * gradient is NaN (PyTorch 2.13: 0).
 * @example atan2(tensor([1, -1]), tensor([-1, -1])); // [2.356, -2.356]
 */
export const atan2 = binaryFunction(atan2Op, (a, b) => math.binary('atan2', 'math_atan2', a, b));

const floorDivOp = binary('floorDiv', {
  saves: 'none',
  da: zerosLike,
  db: zerosLike,
  tangentA: zerosLike,
  tangentB: zerosLike,
});
/**
 * a / b rounded down, broadcast: floats from floats, i32 from i32. The gradient is 0. A float divided by 0 is infinite or
 * NaN; an i32 divided by 0 is 0, as in NumPy (PyTorch throws).
 * @example floorDiv(tensor([7, -7]), 2); // [3, -4]
 */
export const floorDiv = binaryFunction(floorDivOp, (a, b) => math.binary('floorDiv', 'math_floor_div', a, b));

const modOp = binary(
  'mod',
  remainder(
    (a, b) => math.binary('mod', 'math_floor_div', a, b),
    (a, b) => floorDiv(a, b),
  ),
);
/**
 * a - b floor(a / b), broadcast: the remainder with the sign of b, exact before it is rounded, as Python's %, NumPy's mod
 * and `torch.remainder`. Floats from floats, i32 from i32. The remainder by 0 is NaN; of i32 it is 0.
 * @example mod(tensor([7, -7]), 3); // [1, 2]
 */
export const mod = binaryFunction(modOp, (a, b) => math.binary('mod', 'math_mod', a, b));

const fmodOp = binary(
  'fmod',
  remainder(
    (a, b) => math.unary('math_trunc', binaryKernel('fmod', 'elementwise_div', a, b)),
    (a, b) => trunc(div(a, b)),
  ),
);
/**
 * a - b trunc(a / b), broadcast: the exact remainder with the sign of a, as C's fmod and JavaScript's %. The remainder by
 * 0 is NaN.
 * @example fmod(tensor([7, -7]), 3); // [1, -1]
 */
export const fmod = binaryFunction(fmodOp, (a, b) => math.binary('fmod', 'math_fmod', a, b));

function squaredRadius(a: Operand, b: Operand): Tensor | number {
  const [x, y] = [a, b].map((operand) => (typeof operand === 'number' ? operand ** 2 : square(operand)));
  return typeof x === 'number' && typeof y === 'number' ? x + y : add(x, y);
}

/** The ops of this family, by name. */
export const mathOps = { ...unaryOps, atan2: atan2Op, floorDiv: floorDivOp, fmod: fmodOp, mod: modOp };
