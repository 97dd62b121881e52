// Reference of the elementwise ops: y[i] = f(a[i], b[i], ...) with NumPy broadcasting, in float64.
// Booleans are 0 and 1.
import { type Array64, array64, broadcastShape, broadcastTo } from './array.ts';

/** Applies a scalar function to arrays broadcast against each other; a number stands for a scalar array. */
export function elementwise(f: (...values: number[]) => number, ...operands: (Array64 | number)[]): Array64 {
  const arrays = operands.map((operand) => (typeof operand === 'number' ? array64([], [operand]) : operand));
  const shape = broadcastShape(...arrays.map((array) => array.shape));
  const stretched = arrays.map((array) => broadcastTo(array, shape).data);
  return array64(
    shape,
    Array.from(stretched[0], (_, i) => f(...stretched.map((data) => data[i]))),
  );
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
export const silu = (x: number): number => x * sigmoid(x);

export const unaryFunctions = {
  neg: (x: number) => -x,
  abs: Math.abs,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sigmoid,
  silu,
  relu: (x: number) => Math.max(x, 0),
  square: (x: number) => x * x,
};

export const binaryFunctions = {
  add: (a: number, b: number) => a + b,
  sub: (a: number, b: number) => a - b,
  mul: (a: number, b: number) => a * b,
  div: (a: number, b: number) => a / b,
  pow: Math.pow,
  maximum: Math.max,
  minimum: Math.min,
};

export const comparisonFunctions = {
  equal: (a: number, b: number) => Number(a === b),
  notEqual: (a: number, b: number) => Number(a !== b),
  less: (a: number, b: number) => Number(a < b),
  lessEqual: (a: number, b: number) => Number(a <= b),
  greater: (a: number, b: number) => Number(a > b),
  greaterEqual: (a: number, b: number) => Number(a >= b),
};

export function clamp(x: Array64, { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY }): Array64 {
  return elementwise((value) => Math.min(Math.max(value, min), max), x);
}

export function where(condition: Array64, a: Array64 | number, b: Array64 | number): Array64 {
  return elementwise((flag, yes, no) => (flag !== 0 ? yes : no), condition, a, b);
}
