// The cases in tf32 and bf16, on CUDA. Their inputs and cotangents are representable in bf16, and so in tf32, so that the
// products of both are exact, and the only errors are the roundings of stored results and, on tensor cores, truncated sums.
import type { Precision } from '../../src/device/device.ts';
import type { Tolerance } from '../support/compare.ts';
import type { Case, CaseTolerance } from './case.ts';

/** Ops that multiply on tensor cores; all others compute the same in tf32 as in fp32. */
export const products = ['conv1d', 'conv2d', 'convTranspose1d', 'convTranspose2d', 'matmul', 'attention'];

/** Functions that are one matrix product in these cases. */
const contractions = ['dot', 'einsum', 'outer', 'tensordot'];

/** Ops that may use Winograd's algorithm. */
const convolutions = ['conv2d', 'convTranspose2d'];

/** The most terms of a sum of products in these cases, those of gradients included: 3 x 3 x 128. */
export const MOST_TERMS = 1152;

/**
 * How tensor cores add, by measurements of Fasi et al. (peerj-cs.330) and arXiv:2512.07004: how many products at once, and how many
 * bits below those of f32 they keep while they do.
 */
export const tensorCores = [
  { name: 'tf32 of sm_80', products: 4, extra: 1 },
  { name: 'bf16 of sm_80', products: 8, extra: 1 },
  { name: 'tf32 of sm_90', products: 8, extra: 2 },
  { name: 'bf16 of sm_90', products: 16, extra: 2 },
];

/**
 * A bound of the error that truncation causes in a sum of `terms` products, over the largest product or partial sum M. The sum so far
 * and each of the next products lose less than 2^-(23 + extra) M when they are aligned, and their total less than 2^-23 M.
 */
export function truncationBound(terms: number, { products: count, extra }: (typeof tensorCores)[number]): number {
  return Math.ceil(terms / count) * ((count + 1) / 2 ** extra + 1) * 2 ** -23;
}

/**
 * The same over the largest result. Sums of terms of random signs grow like the root of their number, so no partial sum is much
 * larger than the largest of all results; it may be twice as large.
 */
const truncated: Tolerance = {
  ofLargest: 2 * Math.max(...tensorCores.map((cores) => truncationBound(MOST_TERMS, cores))),
};

/** One rounding to bf16 is at most 2^-9 of a value; the result may be a neighbouring bf16 number. */
const ROUNDED = 2 ** -8;

/** Ops that accept bf16, with the error of their gradients beyond fp32's tolerance; that of values is one rounding. */
const gradients: Record<string, Tolerance> = {
  ...Object.fromEntries(
    ['neg', 'abs', 'relu', 'clamp', 'permute', 'pad', 'slice', 'concat', 'reshape'].map((op) => [op, {}]),
  ),
  ...Object.fromEntries(
    ['clone', 'diagEmbed', 'diagonal', 'flip', 'pixelShuffle', 'roll', 'stack', 'tril', 'triu'].map((op) => [op, {}]),
  ),
  // A sum of bf16 numbers is rounded once.
  ...Object.fromEntries(
    [
      'add',
      'sub',
      'sum',
      'mean',
      'globalAveragePool2d',
      'broadcastTo',
      'upsampleNearest',
      'downsampleMean',
      'firResample',
      'dropout',
      'where',
      'tile',
      'booleanMask',
      'indexAdd',
      'maskedFill',
      'scatterAdd',
      'scatterAlongAxis',
      'take',
    ].map((op) => [op, { relative: ROUNDED }]),
  ),
  // The slope is f32, or rounded before it is multiplied by dy.
  ...Object.fromEntries(
    ['exp', 'log', 'sqrt', 'sin', 'cos', 'silu', 'square'].map((op) => [op, { relative: 2 * ROUNDED }]),
  ),
  // The slope is computed from the stored y: 1 - y^2, y (1 - y).
  ...Object.fromEntries(['tanh', 'sigmoid'].map((op) => [op, { relative: 2 * ROUNDED, absolute: ROUNDED }])),
  // There are up to five rounded factors, summed over broadcast axes.
  ...Object.fromEntries(
    ['mul', 'div', 'pow', 'maximum', 'minimum'].map((op) => [op, { relative: 3 * ROUNDED, ofLargest: 2 * ROUNDED }]),
  ),
  // Rounding, and functions of straight lines.
  ...Object.fromEntries(
    ['ceil', 'floor', 'round', 'sign', 'trunc', 'floorDiv', 'hardSigmoid', 'hardTanh', 'leakyRelu'].map((op) => [
      op,
      { relative: ROUNDED },
    ]),
  ),
  // The slope is computed from x in f32, or from the stored y as a product.
  ...Object.fromEntries(
    [
      ...['acos', 'acosh', 'asin', 'asinh', 'atan', 'atanh', 'cosh', 'erf', 'erfc', 'exp2', 'expm1', 'log10', 'log1p'],
      ...['log2', 'reciprocal', 'sinh', 'tan', 'elu', 'gelu', 'hardSwish', 'logSigmoid', 'mish', 'selu'],
      ...['softplus', 'softsign', 'geglu'],
    ].map((op) => [op, { relative: 3 * ROUNDED }]),
  ),
  // The slope is a cube of the stored y.
  rsqrt: { relative: 4 * ROUNDED },
  // Rounded slopes are multiplied by dy, rounded, and summed over broadcast axes.
  ...Object.fromEntries(
    ['atan2', 'fmod', 'mod', 'prelu'].map((op) => [op, { relative: 3 * ROUNDED, ofLargest: 2 * ROUNDED }]),
  ),
  // Statistics and sums are f32; dx is a difference of terms larger than itself.
  ...Object.fromEntries(
    ['groupNorm', 'layerNorm', 'rmsNorm', 'batchNorm', 'instanceNorm'].map((op) => [
      op,
      { relative: ROUNDED, ofLargest: 1e-4 },
    ]),
  ),
  // These are sums of exact products; the gradients of the weight and the bias stay f32.
  ...Object.fromEntries(
    ['conv1d', 'conv2d', 'convTranspose1d', 'convTranspose2d'].map((op) => [
      op,
      { relative: ROUNDED, ofLargest: 1e-4 },
    ]),
  ),
  // The gradient of an operand that is broadcast over a batch is rounded before it is summed.
  matmul: { relative: ROUNDED, ofLargest: ROUNDED },
  // These are one product each; einsum is checked where it is one.
  ...Object.fromEntries(contractions.map((op) => [op, { relative: ROUNDED, ofLargest: ROUNDED }])),
  takeAlongAxis: { relative: ROUNDED, ofLargest: ROUNDED },
  // The probabilities and their gradient are rounded between two products.
  attention: { ofLargest: 2 * ROUNDED, absolute: ROUNDED },
};

/** On cards, the gradient of the enlarged image is rounded before it is summed. */
const upsampled: Tolerance = { relative: ROUNDED, ofLargest: ROUNDED };

/** Ops with bool results. */
const tests = [
  ...['equal', 'notEqual', 'less', 'lessEqual', 'greater', 'greaterEqual', 'isFinite', 'isInf', 'isNaN'],
  ...['logicalAnd', 'logicalNot', 'logicalOr', 'logicalXor'],
];

function wider(tolerance: Tolerance, by: Tolerance): Tolerance {
  const { absolute = 0, relative = 0, ofLargest = 0 } = tolerance;
  return {
    absolute: absolute + (by.absolute ?? 0),
    relative: relative + (by.relative ?? 0),
    ofLargest: ofLargest + (by.ofLargest ?? 0),
  };
}

/** The error in addition to that of a direct sum: 4 x 4 tiles are about ten times less accurate (test/ops/winograd.test.ts). */
const winograd: CaseTolerance = {
  value: { ofLargest: 2e-5 },
  gradient: { ofLargest: 2e-5 },
  reason: "Winograd's transforms take differences of terms larger than their result",
};

/**
 * The tolerance of a case; undefined if the op computes the same as in fp32, or does not support the precision.
 * @param exact whether convolutions are direct sums
 */
export function toleranceIn(
  precision: Precision,
  { op, name, tolerance }: Case,
  exact = true,
): CaseTolerance | undefined {
  if (precision === 'fp32' && convolutions.includes(op) && !exact)
    return {
      value: wider(tolerance.value, winograd.value),
      gradient: wider(tolerance.gradient, winograd.gradient),
      reason: `${tolerance.reason}; ${winograd.reason}`,
    };
  if (precision === 'fp32') return tolerance;
  if (precision === 'tf32') {
    if (!products.includes(op)) return undefined;
    if (op !== 'attention')
      return {
        value: wider(tolerance.value, truncated),
        gradient: wider(tolerance.gradient, truncated),
        reason: `fp32: ${tolerance.reason}; and tensor cores truncate sums`,
      };
    const by = { ofLargest: 2 ** -10, absolute: 2 ** -11 };
    return {
      value: wider(tolerance.value, by),
      gradient: wider(tolerance.gradient, { ofLargest: 2 ** -9, absolute: 2 ** -9 }),
      reason: 'the probabilities, and the scaled queries, are rounded to 10 bits between two products',
    };
  }
  // These test the ends of f32's range, where polynomials break first, or whole numbers, and have no bf16 variant.
  if (name === 'extreme values' || name.startsWith('i32')) return undefined;
  if (tests.includes(op)) return tolerance;
  const gradient = name === 'upsample' ? upsampled : gradients[op];
  if (!gradient) return undefined;
  const value =
    op === 'attention'
      ? gradient
      : // The bias of a transposed convolution is rounded, and added to a rounded sum.
        op.startsWith('convTranspose')
        ? { relative: 2 * ROUNDED, ofLargest: ROUNDED }
        : { relative: ROUNDED };
  const summed = products.includes(op) || contractions.includes(op) ? truncated : {};
  return {
    value: wider(wider(tolerance.value, value), summed),
    gradient: wider(wider(tolerance.gradient, gradient), summed),
    reason: `fp32: ${tolerance.reason}; and what is stored is rounded to bf16`,
  };
}
