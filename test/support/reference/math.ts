/**
 * Reference of the mathematical, logical, integer and activation functions of one or two numbers, in float64. Booleans are 0 and 1.
 */
import { sigmoid } from './elementwise.ts';

/** The nearest whole number, of two the even one. */
export function roundToEven(x: number): number {
  const nearest = Math.round(x);
  return Math.abs(nearest - x) === 0.5 ? 2 * Math.round(x / 2) : nearest;
}

/** erf(x) = 2 / sqrt(pi) exp(-x^2) (x + 2 x^3 / 3 + 4 x^5 / 15 + ...), a series of terms of one sign. */
export function erf(x: number): number {
  if (Math.abs(x) > 6 || x === 0) return Math.sign(x);
  let [term, total] = [x, 0];
  for (let n = 0; Math.abs(term) > 1e-18 * Math.abs(total); n++) {
    total += term;
    term *= (2 * x * x) / (2 * n + 3);
  }
  return Number.isNaN(x) ? x : (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

/** erfc(x) for x > 2 by its continued fraction exp(-x^2) / sqrt(pi) / (x + (1/2) / (x + (2/2) / (x + (3/2) / ...))). */
export function erfc(x: number): number {
  if (!(x > 2)) return 1 - erf(x);
  let fraction = x;
  for (let k = 200; k > 0; k--) fraction = x + k / 2 / fraction;
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / fraction;
}

export const mathFunctions = {
  acos: Math.acos,
  acosh: Math.acosh,
  asin: Math.asin,
  asinh: Math.asinh,
  atan: Math.atan,
  atanh: Math.atanh,
  ceil: Math.ceil,
  cosh: Math.cosh,
  erf,
  erfc,
  exp2: (x: number) => 2 ** x,
  expm1: Math.expm1,
  floor: Math.floor,
  log10: Math.log10,
  log1p: Math.log1p,
  log2: Math.log2,
  reciprocal: (x: number) => 1 / x,
  round: roundToEven,
  rsqrt: (x: number) => 1 / Math.sqrt(x),
  /** +0 for both zeros. */
  sign: (x: number) => Math.sign(x) + 0,
  sinh: Math.sinh,
  tan: Math.tan,
  trunc: Math.trunc,
};

/** The remainder with the sign of b. */
export function modulo(a: number, b: number): number {
  const r = a % b;
  return r !== 0 && r < 0 !== b < 0 ? r + b : r;
}

export const quotientFunctions = {
  atan2: Math.atan2,
  floorDiv: (a: number, b: number) => Math.floor(a / b),
  fmod: (a: number, b: number) => a % b,
  mod: modulo,
};

export const testFunctions = {
  isFinite: (x: number) => Number(Number.isFinite(x)),
  isInf: (x: number) => Number(Math.abs(x) === Number.POSITIVE_INFINITY),
  isNaN: (x: number) => Number(Number.isNaN(x)),
};

export const logicFunctions = {
  logicalAnd: (a: number, b: number) => a & b,
  logicalOr: (a: number, b: number) => a | b,
  logicalXor: (a: number, b: number) => a ^ b,
};

/** Functions of 32-bit whole numbers whose results are 32-bit whole numbers. */
export const integerFunctions = {
  add: (a: number, b: number) => (a + b) | 0,
  sub: (a: number, b: number) => (a - b) | 0,
  mul: Math.imul,
  floorDiv: (a: number, b: number) => (b === 0 ? 0 : Math.floor(a / b) | 0),
  mod: (a: number, b: number) => (b === 0 ? 0 : modulo(a, b) | 0),
  maximum: Math.max,
  minimum: Math.min,
  bitwiseAnd: (a: number, b: number) => a & b,
  bitwiseOr: (a: number, b: number) => a | b,
  bitwiseXor: (a: number, b: number) => a ^ b,
  leftShift: (a: number, b: number) => (b < 0 || b > 31 ? 0 : a << b),
  rightShift: (a: number, b: number) => a >> (b < 0 || b > 31 ? 31 : b),
};

const relu6 = (x: number) => Math.min(Math.max(x, 0), 6);
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const eluOf = (x: number, alpha: number) => (x > 0 ? x : alpha * Math.expm1(x));

/** Activations, with their constants. */
export const activationFunctions = {
  elu: (x: number, alpha = 1) => eluOf(x, alpha),
  gelu: (x: number) => (x * erfc(-x / Math.SQRT2)) / 2,
  geluTanh: (x: number) => x * sigmoid(Math.sqrt(8 / Math.PI) * (x + 0.044715 * x ** 3)),
  hardSigmoid: (x: number) => relu6(x + 3) / 6,
  hardSwish: (x: number) => (x * relu6(x + 3)) / 6,
  hardTanh: (x: number, min = -1, max = 1) => Math.min(Math.max(x, min), max),
  leakyRelu: (x: number, negativeSlope = 0.01) => (x > 0 ? x : negativeSlope * x),
  logSigmoid: (x: number) => -softplus(-x),
  mish: (x: number) => x * Math.tanh(softplus(x)),
  prelu: (x: number, weight = 0.25) => (x > 0 ? x : weight * x),
  selu: (x: number) => 1.0507009873554805 * eluOf(x, 1.6732632423543772),
  softplus: (x: number, beta = 1, threshold = 20) => (x * beta > threshold ? x : softplus(x * beta) / beta),
  softsign: (x: number) => x / (1 + Math.abs(x)),
};
