// The rows of op_db/mapping.ts for elementwise maths, logic and activations.
import * as ops from '../../src/index.ts';
import { Tensor } from '../../src/index.ts';
import { argument, type Run, type Sample, Semantics } from './sample.ts';

const unary =
  (f: (x: Tensor) => Tensor): Run =>
  ({ input }) =>
    f(input as Tensor);

type Operand = Tensor | number;
type Binary = (a: Operand, b: Operand) => Tensor;

/** x (op) y; PyTorch's numbers may stand on either side. */
const binary =
  (f: (a: Operand, b: Operand) => Tensor): Run =>
  ({ input, args: [other] }) =>
    f(input as Operand, other as Operand);

/** x (op) alpha y */
const scaled =
  (f: (a: Operand, b: Operand) => Tensor): Run =>
  (sample) => {
    const other = sample.args[0] as Operand;
    const alpha = argument(sample, 1, 'alpha', 1);
    return f(sample.input as Operand, alpha === 1 ? other : Tensor.is(other) ? ops.mul(other, alpha) : other * alpha);
  };

/** The operands in the other order. */
const reversed = (f: (a: Operand, b: Operand) => Tensor) => (a: Operand, b: Operand) => f(b, a);

const comparisons: Record<string, Run> = {
  eq: binary(ops.equal),
  ge: binary(ops.greaterEqual),
  gt: binary(ops.greater),
  le: binary(ops.lessEqual),
  lt: binary(ops.less),
  ne: binary(ops.notEqual),
};

const isTrue = (x: Operand) => ops.cast(x as Tensor, 'bool');
/** A connective of numbers, where any but 0 is true. */
const connective = (f: (a: Tensor, b: Tensor) => Tensor) => binary((a, b) => f(isTrue(a), isTrue(b)));

const logic: Record<string, Run> = {
  isfinite: unary(ops.isFinite),
  isinf: unary(ops.isInf),
  isnan: unary(ops.isNaN),
  logical_and: connective(ops.logicalAnd),
  logical_not: unary((x) => ops.logicalNot(isTrue(x))),
  logical_or: connective(ops.logicalOr),
  logical_xor: connective(ops.logicalXor),
};

const bits: Record<string, Run> = {
  __rand__: binary(reversed(ops.bitwiseAnd as Binary)),
  __ror__: binary(reversed(ops.bitwiseOr as Binary)),
  __rxor__: binary(reversed(ops.bitwiseXor as Binary)),
  bitwise_and: binary(ops.bitwiseAnd as Binary),
  bitwise_left_shift: binary(ops.leftShift as Binary),
  bitwise_not: unary(ops.bitwiseNot),
  bitwise_or: binary(ops.bitwiseOr as Binary),
  bitwise_right_shift: binary(ops.rightShift as Binary),
  bitwise_xor: binary(ops.bitwiseXor as Binary),
};

const functions: Record<string, Run> = {
  abs: unary(ops.abs),
  acos: unary(ops.acos),
  acosh: unary(ops.acosh),
  asin: unary(ops.asin),
  asinh: unary(ops.asinh),
  atan: unary(ops.atan),
  atanh: unary(ops.atanh),
  ceil: unary(ops.ceil),
  cos: unary(ops.cos),
  cosh: unary(ops.cosh),
  erf: unary(ops.erf),
  erfc: unary(ops.erfc),
  exp: unary(ops.exp),
  exp2: unary(ops.exp2),
  expm1: unary(ops.expm1),
  floor: unary(ops.floor),
  log: unary(ops.log),
  log10: unary(ops.log10),
  log1p: unary(ops.log1p),
  log2: unary(ops.log2),
  neg: unary(ops.neg),
  reciprocal: unary(ops.reciprocal),
  round: unary(ops.round),
  'round:decimals_0': unary(ops.round),
  rsqrt: unary(ops.rsqrt),
  sgn: unary(ops.sign),
  sigmoid: unary(ops.sigmoid),
  sign: unary(ops.sign),
  sin: unary(ops.sin),
  sinh: unary(ops.sinh),
  sqrt: unary(ops.sqrt),
  square: unary(ops.square),
  tan: unary(ops.tan),
  tanh: unary(ops.tanh),
  trunc: unary(ops.trunc),
};

/** Elements limited by tensors; an i32 bound is converted, as by PyTorch. */
function clamped(sample: Sample): Tensor {
  const [low, high] = ['min', 'max'].map((name, i) => argument<Operand | undefined>(sample, i, name, undefined));
  const x = sample.input as Tensor;
  const bound = (value: Operand) => (Tensor.is(value) && value.dtype !== 'f32' ? ops.cast(value, 'f32') : value);
  if (!Tensor.is(low) && !Tensor.is(high)) return ops.clamp(x, { min: low, max: high });
  const raised = low === undefined ? x : ops.maximum(x, bound(low));
  return high === undefined ? raised : ops.minimum(raised, bound(high));
}

const arithmetic: Record<string, Run> = {
  __radd__: binary(reversed(ops.add)),
  __rdiv__: binary(reversed(ops.div)),
  __rmod__: binary(reversed(ops.mod)),
  __rmul__: binary(reversed(ops.mul)),
  __rpow__: ({ input, args: [base] }) => {
    const bases = Tensor.is(base) ? [...base.dataSync()] : [base as number];
    if (bases.some((value) => value <= 0))
      throw new Semantics('the gradient of a power by its exponent is 0 for bases up to 0');
    return ops.pow(base as Operand, input as Operand);
  },
  __rsub__: binary(reversed(ops.sub)),
  add: scaled(ops.add),
  atan2: binary(ops.atan2),
  clamp: clamped,
  clamp_max: binary(ops.minimum),
  clamp_min: binary(ops.maximum),
  'div:floor_rounding': binary(ops.floorDiv),
  'div:no_rounding_mode': binary(ops.div),
  'div:trunc_rounding': binary((a, b) => ops.trunc(ops.div(a, b))),
  floor_divide: binary(ops.floorDiv),
  fmod: binary(ops.fmod),
  'max:binary': binary(ops.maximum),
  maximum: binary(ops.maximum),
  'min:binary': binary(ops.minimum),
  minimum: binary(ops.minimum),
  mul: binary(ops.mul),
  pow: binary(ops.pow),
  remainder: binary(ops.mod),
  rsub: (sample) =>
    ops.sub(sample.args[0] as Operand, ops.mul(sample.input as Operand, argument(sample, 1, 'alpha', 1))),
  sub: scaled(ops.sub),
  true_divide: binary(ops.div),
  where: ({ input, args: [condition, other] }) => ops.where(condition as Tensor, input as Operand, other as Operand),
};

/** x and the slopes of its channels, which are the second axis there and the last one here. */
function prelu(sample: Sample): Tensor {
  const x = sample.input as Tensor;
  const weight = argument(sample, 0, 'weight', undefined as unknown as Tensor);
  const slopes = weight.rank === 1 && x.rank > 1 ? ops.reshape(weight, [-1, ...x.shape.slice(2).map(() => 1)]) : weight;
  return ops.prelu(x, x.rank === 0 ? ops.reshape(slopes, []) : slopes);
}

const functional: Record<string, Run> = {
  elu: (sample) => ops.elu(sample.input as Tensor, { alpha: argument(sample, 0, 'alpha', 1) }),
  gelu: (sample) =>
    ops.gelu(sample.input as Tensor, { approximate: argument<'none' | 'tanh'>(sample, 0, 'approximate', 'none') }),
  hardsigmoid: unary(ops.hardSigmoid),
  hardswish: unary(ops.hardSwish),
  hardtanh: (sample) => {
    const [min, max] = [argument(sample, 0, 'min_val', -1), argument(sample, 1, 'max_val', 1)];
    if (min === max) throw new Semantics('the bounds of hardTanh differ');
    return ops.hardTanh(sample.input as Tensor, { min, max });
  },
  leaky_relu: (sample) =>
    ops.leakyRelu(sample.input as Tensor, { negativeSlope: argument(sample, 0, 'negative_slope', 0.01) }),
  logsigmoid: unary(ops.logSigmoid),
  mish: unary(ops.mish),
  prelu,
  relu: unary(ops.relu),
  relu6: unary((x) => ops.hardTanh(x, { min: 0, max: 6 })),
  selu: unary(ops.selu),
  silu: unary(ops.silu),
  softplus: (sample) =>
    ops.softplus(sample.input as Tensor, {
      beta: argument(sample, 0, 'beta', 1),
      threshold: argument(sample, 1, 'threshold', 20),
    }),
  softsign: unary(ops.softsign),
};

export const elementwiseRows: Record<string, Run> = {
  ...comparisons,
  ...logic,
  ...bits,
  ...functions,
  ...arithmetic,
  ...Object.fromEntries(Object.entries(functional).map(([name, run]) => [`nn.functional.${name}`, run])),
};
