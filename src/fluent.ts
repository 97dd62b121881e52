/// <reference types="node" preserve="true" />
// Adds the ops to Tensor as methods: `x.mul(2).sum()`. Optional: importing this file is the opt-in.
import * as activation from './kernels/activation.ts';
import { batchNorm } from './kernels/batch_norm.ts';
import { cast } from './kernels/cast.ts';
import { attention } from './kernels/composed/attention.ts';
import { categorical } from './kernels/composed/categorical.ts';
import { nllLoss } from './kernels/composed/class_losses.ts';
import { clone, detach } from './kernels/composed/clone.ts';
import { conv1d, convTranspose1d } from './kernels/composed/conv1d.ts';
import { diag, diagEmbed, diagonal, trace } from './kernels/composed/diagonal.ts';
import { instanceNorm } from './kernels/composed/instance_norm.ts';
import { fullLike, onesLike, randnLike, uniformLike, zerosLike } from './kernels/composed/like.ts';
import * as losses from './kernels/composed/losses.ts';
import { booleanMask, maskedFill } from './kernels/composed/masks.ts';
import { median } from './kernels/composed/median.ts';
import { nonzero, where } from './kernels/composed/nonzero.ts';
import { pixelShuffle, pixelUnshuffle } from './kernels/composed/pixel_shuffle.ts';
import { averagePool1d, globalAveragePool2d, maxPool1d } from './kernels/composed/pooling.ts';
import * as products from './kernels/composed/products.ts';
import { roll } from './kernels/composed/roll.ts';
import * as shapes from './kernels/composed/shapes.ts';
import { unique } from './kernels/composed/unique.ts';
import { std, variance } from './kernels/composed/variance.ts';
import { conv2d } from './kernels/conv/conv.ts';
import { convTranspose2d } from './kernels/conv/transpose.ts';
import * as elementwise from './kernels/elementwise.ts';
import * as fir from './kernels/fir.ts';
import * as fold from './kernels/fold.ts';
import { geglu, gelu } from './kernels/gelu.ts';
import { groupNorm } from './kernels/group_norm.ts';
import * as indexing from './kernels/indexing.ts';
import * as integer from './kernels/integer.ts';
import { layerNorm, rmsNorm } from './kernels/layer_norm.ts';
import * as logic from './kernels/logic.ts';
import { mse } from './kernels/loss.ts';
import * as math from './kernels/math.ts';
import { matmul } from './kernels/matmul.ts';
import * as movement from './kernels/movement.ts';
import { adaptiveAveragePool2d, adaptiveMaxPool2d, averagePool2d, maxPool2d } from './kernels/pooling.ts';
import { dropout } from './kernels/random.ts';
import * as reduce from './kernels/reduce.ts';
import { downsampleMean, upsampleNearest } from './kernels/resample.ts';
import { resizeBicubic, resizeBilinear, resizeNearest } from './kernels/resize.ts';
import * as scan from './kernels/scan.ts';
import { crossEntropy, logSoftmax, softmax } from './kernels/softmax.ts';
import * as sorting from './kernels/sort.ts';
import { tril, triu } from './kernels/triangle.ts';
import { unfold } from './kernels/unfold.ts';
import { Tensor } from './tensor/tensor.ts';

const methods = {
  /** this + b, broadcast. */
  add: elementwise.add,
  /** this - b, broadcast. */
  sub: elementwise.sub,
  /** this times b, element by element, broadcast. */
  mul: elementwise.mul,
  /** this / b, broadcast. */
  div: elementwise.div,
  /** this^b, broadcast. */
  pow: elementwise.pow,
  /** The larger of this and b, broadcast. */
  maximum: elementwise.maximum,
  /** The smaller of this and b, broadcast. */
  minimum: elementwise.minimum,
  /** this = b as bool, broadcast. */
  equal: elementwise.equal,
  /** this != b as bool, broadcast. */
  notEqual: elementwise.notEqual,
  /** this < b as bool, broadcast. */
  less: elementwise.less,
  /** this <= b as bool, broadcast. */
  lessEqual: elementwise.lessEqual,
  /** this > b as bool, broadcast. */
  greater: elementwise.greater,
  /** this >= b as bool, broadcast. */
  greaterEqual: elementwise.greaterEqual,
  /** Elements of a where this is true, else of b, broadcast; this is bool. */
  where,
  /** -this. */
  neg: elementwise.neg,
  /** |this|. */
  abs: elementwise.abs,
  /** e^this. */
  exp: elementwise.exp,
  /** The natural logarithm. */
  log: elementwise.log,
  /** The square root. */
  sqrt: elementwise.sqrt,
  /** The sine, in radians. */
  sin: elementwise.sin,
  /** The cosine, in radians. */
  cos: elementwise.cos,
  /** The hyperbolic tangent. */
  tanh: elementwise.tanh,
  /** 1 / (1 + e^-this). */
  sigmoid: elementwise.sigmoid,
  /** this sigmoid(this). */
  silu: elementwise.silu,
  /** max(this, 0). */
  relu: elementwise.relu,
  /** this^2. */
  square: elementwise.square,
  /** Limits to [min, max]. */
  clamp: elementwise.clamp,
  /** The smallest whole number >= this. */
  ceil: math.ceil,
  /** The largest whole number <= this. */
  floor: math.floor,
  /** The nearest whole number, of two the even one. */
  round: math.round,
  /** This without its fraction. */
  trunc: math.trunc,
  /** 1, 0 or -1. */
  sign: math.sign,
  /** 2^this. */
  exp2: math.exp2,
  /** e^this - 1. */
  expm1: math.expm1,
  /** The logarithm to base 10. */
  log10: math.log10,
  /** log(1 + this). */
  log1p: math.log1p,
  /** The logarithm to base 2. */
  log2: math.log2,
  /** 1 / this. */
  reciprocal: math.reciprocal,
  /** 1 / sqrt(this). */
  rsqrt: math.rsqrt,
  /** The arccosine. */
  acos: math.acos,
  /** The inverse of cosh. */
  acosh: math.acosh,
  /** The arcsine. */
  asin: math.asin,
  /** The inverse of sinh. */
  asinh: math.asinh,
  /** The arctangent. */
  atan: math.atan,
  /** The angle of the point (b, this), broadcast. */
  atan2: math.atan2,
  /** The inverse of tanh. */
  atanh: math.atanh,
  /** The hyperbolic cosine. */
  cosh: math.cosh,
  /** The hyperbolic sine. */
  sinh: math.sinh,
  /** The tangent, in radians. */
  tan: math.tan,
  /** The error function. */
  erf: math.erf,
  /** 1 - erf(this). */
  erfc: math.erfc,
  /** this / b rounded down, broadcast. */
  floorDiv: math.floorDiv,
  /** The remainder of this / b with the sign of this, broadcast. */
  fmod: math.fmod,
  /** The remainder of this / b with the sign of b, broadcast. */
  mod: math.mod,
  /** Where this is neither infinite nor NaN, as bool. */
  isFinite: logic.isFinite,
  /** Where this is infinite, as bool. */
  isInf: logic.isInf,
  /** Where this is NaN, as bool. */
  isNaN: logic.isNaN,
  /** This and b, both bool, broadcast. */
  logicalAnd: logic.logicalAnd,
  /** The opposite of bool. */
  logicalNot: logic.logicalNot,
  /** This or b, both bool, broadcast. */
  logicalOr: logic.logicalOr,
  /** Either this or b, both bool, broadcast. */
  logicalXor: logic.logicalXor,
  /** The bits set in both, i32, broadcast. */
  bitwiseAnd: integer.bitwiseAnd,
  /** The opposite bits, i32. */
  bitwiseNot: integer.bitwiseNot,
  /** The bits set in one or both, i32, broadcast. */
  bitwiseOr: integer.bitwiseOr,
  /** The bits set in one of both, i32, broadcast. */
  bitwiseXor: integer.bitwiseXor,
  /** The bits moved b places up, i32, broadcast. */
  leftShift: integer.leftShift,
  /** The bits moved b places down, i32, broadcast. */
  rightShift: integer.rightShift,
  /** this above 0, else alpha (e^this - 1). */
  elu: activation.elu,
  /** The first half of the last axis times the GELU of the second. */
  geglu,
  /** this times its normal distribution function. */
  gelu,
  /** A sigmoid of straight lines. */
  hardSigmoid: activation.hardSigmoid,
  /** this hardSigmoid(this). */
  hardSwish: activation.hardSwish,
  /** Limits to [-1, 1], or other bounds. */
  hardTanh: activation.hardTanh,
  /** this above 0, else 0.01 this, or another slope. */
  leakyRelu: activation.leakyRelu,
  /** log(sigmoid(this)). */
  logSigmoid: activation.logSigmoid,
  /** this tanh(softplus(this)). */
  mish: activation.mish,
  /** this above 0, else weight this. */
  prelu: activation.prelu,
  /** A scaled ELU that keeps mean 0 and variance 1. */
  selu: activation.selu,
  /** log(1 + e^this), a smooth ReLU. */
  softplus: activation.softplus,
  /** this / (1 + |this|). */
  softsign: activation.softsign,
  /** The same values in another dtype. */
  cast,
  /** The sum over all axes, or those given. */
  sum: reduce.sum,
  /** The mean over all axes, or those given. */
  mean: reduce.mean,
  /** The largest element over all axes, or those given. */
  max: reduce.max,
  /** The index of the largest element along an axis, as i32. */
  argmax: reduce.argmax,
  /** The smallest element over all axes, or those given. */
  min: reduce.min,
  /** The index of the smallest element along an axis, as i32. */
  argmin: reduce.argmin,
  /** The product over all axes, or those given. */
  prod: scan.prod,
  /** The variance over all axes, or those given, with the divisor n - 1. */
  variance,
  /** The standard deviation over all axes, or those given, with the divisor n - 1. */
  std,
  /** The lower median along an axis, or of all elements. */
  median,
  /** The vector norm over all axes, or those given; the Euclidean one unless `ord` is given. */
  norm: fold.norm,
  /** The logarithm of the sum of e^this over all axes, or those given. */
  logSumExp: fold.logSumExp,
  /** Whether any element is not 0, as bool. */
  any: fold.any,
  /** Whether all elements are not 0, as bool. */
  all: fold.all,
  /** The number of elements that are not 0, as i32. */
  countNonzero: fold.countNonzero,
  /** The sum of the elements up to each one along an axis. */
  cumsum: scan.cumsum,
  /** The product of the elements up to each one along an axis. */
  cumprod: scan.cumprod,
  /** y[j] = this[j] y[j - 1] + b[j] along an axis. */
  linearRecurrence: scan.linearRecurrence,
  /** The elements in order along the last axis, or the one given, and their indices. */
  sort: sorting.sort,
  /** The indices that sort the last axis, or the one given. */
  argsort: sorting.argsort,
  /** The k largest elements along the last axis, or the one given, and their indices. */
  topK: sorting.topK,
  /** Where values belong in this, whose last axis is sorted. */
  searchSorted: sorting.searchSorted,
  /** How often each whole number occurs; this is i32. */
  binCount: sorting.binCount,
  /** The distinct elements, the position of each element among them, and how often each occurs. */
  unique,
  /** Softmax along the last axis, or the one given. */
  softmax,
  /** The logarithm of the softmax along the last axis, or the one given. */
  logSoftmax,
  /** (this - target)^2: the mean over all elements, the sum, or each. */
  mse,
  /** -log softmax(this)[label] of logits [N, classes] and labels [N], averaged, summed, or one for each sample. */
  crossEntropy,
  /** |this - target|: the mean over all elements, the sum, or each. */
  l1Loss: losses.l1Loss,
  /** The Huber loss of this and a target: the mean over all elements, the sum, or each. */
  huberLoss: losses.huberLoss,
  /** The Huber loss divided by its bound: the mean over all elements, the sum, or each. */
  smoothL1Loss: losses.smoothL1Loss,
  /** The cross entropy of logits with probabilities of two classes: the mean over all elements, the sum, or each. */
  binaryCrossEntropyWithLogits: losses.binaryCrossEntropyWithLogits,
  /** target (log target - this) of log-probabilities and probabilities: the mean, the sum, or each. */
  klDivergence: losses.klDivergence,
  /** -this[n][labels[n]] of log-probabilities [N, classes], averaged, summed, or one for each sample. */
  nllLoss,
  /** The cosine of the angle to other vectors along the last axis, or the one given. */
  cosineSimilarity: losses.cosineSimilarity,
  /** 1 - cosine for pairs of target 1, max(0, cosine - margin) for others, averaged, summed, or one for each pair. */
  cosineEmbeddingLoss: losses.cosineEmbeddingLoss,
  /** The product of matrices. */
  matmul,
  /** Every product of an element of this [M] and one of b [N]. */
  outer: products.outer,
  /** The sum of the products of two vectors. */
  dot: products.dot,
  /** The sum of the products along one axis, by default the last. */
  vecdot: products.vecdot,
  /** The sum of the products over some axes of this and as many of b. */
  tensordot: products.tensordot,
  /** The convolution of images [N, H, W, Cin] with a weight [Cout, kh, kw, Cin]. */
  /** The convolution of images [N, H, W, Cin] with a weight [Cout, kh, kw, Cin / groups]. */
  conv2d,
  /** The convolution of sequences [N, L, Cin] with a weight [Cout, k, Cin / groups]. */
  conv1d,
  /** The transposed convolution of images [N, H, W, Cin] with a weight [Cin, kh, kw, Cout / groups]. */
  convTranspose2d,
  /** The transposed convolution of sequences [N, L, Cin] with a weight [Cin, k, Cout / groups]. */
  convTranspose1d,
  /** Attention of queries [N, queries, heads C] over keys [N, keys, heads C] and values [N, keys, heads D]. */
  attention,
  /** Normalises groups of channels of [N, ..., C] to mean 0 and variance 1, then applies weight and bias. */
  groupNorm,
  /** Normalises along the last axis, or those named, to mean 0 and variance 1, then applies weight and bias. */
  layerNorm,
  /** This / sqrt(mean of this^2 + eps) along the last axis, times a weight. */
  rmsNorm,
  /** Normalises each channel of [N, ..., C] to mean 0 and variance 1 over all samples and positions. */
  batchNorm,
  /** Normalises each channel of each sample of [N, ..., C] to mean 0 and variance 1 over its positions. */
  instanceNorm,
  /** Zeroes elements with probability p and scales the others by 1 / (1 - p). */
  dropout,
  /** The largest of every window of images [N, H, W, C]. */
  maxPool2d,
  /** The mean of every window of images [N, H, W, C]. */
  averagePool2d,
  /** The largest of every window of sequences [N, L, C]. */
  maxPool1d,
  /** The mean of every window of sequences [N, L, C]. */
  averagePool1d,
  /** The largest of each of some windows that divide images [N, H, W, C]. */
  adaptiveMaxPool2d,
  /** The mean of each of some windows that divide images [N, H, W, C]. */
  adaptiveAveragePool2d,
  /** The mean over all pixels of images [N, H, W, C]: [N, C]. */
  globalAveragePool2d,
  /** [N, H, W, C] to [N, H factor, W factor, C], each pixel repeated. */
  upsampleNearest,
  /** [N, H, W, C] to [N, H / factor, W / factor, C], the mean of factor x factor pixels. */
  downsampleMean,
  /** Images [N, H, W, C] in another size [height, width], by bilinear interpolation. */
  resizeBilinear,
  /** Images [N, H, W, C] in another size [height, width], by cubic convolution. */
  resizeBicubic,
  /** Images [N, H, W, C] in another size [height, width], by repeating or leaving out pixels. */
  resizeNearest,
  /** Filters images [N, H, W, C] and changes their size by whole factors. */
  firResample: fir.firResample,
  /** [N, H, W, C] to [N, 2 H, 2 W, C], filtered. */
  firUpsample: fir.firUpsample,
  /** [N, H, W, C] to [N, H / 2, W / 2, C], filtered. */
  firDownsample: fir.firDownsample,
  /** The same elements in another shape. */
  reshape: movement.reshape,
  /** The axes in another order. */
  permute: movement.permute,
  /** The last two axes exchanged. */
  transpose: movement.transpose,
  /** Repeats axes of extent 1, and missing leading ones, up to a shape. */
  broadcastTo: movement.broadcastTo,
  /** The elements from `starts` to before `ends`, one of each per axis. */
  slice: movement.slice,
  /** Cuts an axis into pieces: a number of equal ones, or one for each size. */
  split: movement.split,
  /** Adds [before, after] elements to each axis. */
  pad: movement.pad,
  /** Row index[k] of [R, ...] at row k; index is i32 [K]. */
  gather: movement.gather,
  /** The elements at an index along an axis, or of all elements. */
  take: indexing.take,
  /** The element at each index along an axis; the index has this rank. */
  takeAlongAxis: indexing.takeAlongAxis,
  /** This with values at each index along an axis. */
  scatterAlongAxis: indexing.scatterAlongAxis,
  /** This plus values at each index along an axis. */
  scatterAdd: indexing.scatterAdd,
  /** This plus slices of values at an index along an axis. */
  indexAdd: indexing.indexAdd,
  /** This with a value where a mask is true. */
  maskedFill,
  /** The elements where a mask is true, in one axis. */
  booleanMask,
  /** The coordinates of the elements that are not zero, i32 [count, rank]. */
  nonzero,
  /** f32 [..., depth] with 1 at each index; this is i32. */
  oneHot: movement.oneHot,
  /** Without axes of extent 1. */
  squeeze: shapes.squeeze,
  /** With new axes of extent 1. */
  unsqueeze: shapes.unsqueeze,
  /** Neighbouring axes joined to one. */
  flatten: shapes.flatten,
  /** One axis split into several. */
  unflatten: shapes.unflatten,
  /** Axes moved to other places. */
  moveAxis: shapes.moveAxis,
  /** Two axes exchanged. */
  swapAxes: shapes.swapAxes,
  /** The elements in reverse order along axes. */
  flip: shapes.flip,
  /** The elements moved along axes, in a circle. */
  roll,
  /** One position of an axis, without that axis. */
  select: shapes.select,
  /** Cuts an axis into at most a number of parts. */
  chunk: shapes.chunk,
  /** Each axis repeated, with all its elements in order. */
  tile: shapes.tile,
  /** Each element repeated in place. */
  repeatInterleave: shapes.repeatInterleave,
  /** A copy, with its gradient. */
  clone,
  /** The same memory, as a constant without a gradient. */
  detach,
  /** [N, H, W, C f^2] to [N, H f, W f, C]: channels become pixels. */
  pixelShuffle,
  /** [N, H f, W f, C] to [N, H, W, C f^2]: pixels become channels. */
  pixelUnshuffle,
  /** The windows of images [N, H, W, C] as rows. */
  unfold,
  /** The lower triangle of each matrix; 0 elsewhere. */
  tril,
  /** The upper triangle of each matrix; 0 elsewhere. */
  triu,
  /** The matrix with this vector on its diagonal, or the diagonal of this matrix. */
  diag,
  /** A diagonal of each matrix. */
  diagonal,
  /** Matrices with each vector on a diagonal. */
  diagEmbed,
  /** The sum of a diagonal of each matrix. */
  trace,
  /** Zeros in the shape and dtype of this. */
  zerosLike,
  /** Ones in the shape and dtype of this. */
  onesLike,
  /** A value in the shape and dtype of this. */
  fullLike,
  /** Standard normal numbers in the shape and dtype of this. */
  randnLike,
  /** Uniform numbers in the shape and dtype of this. */
  uniformLike,
  /** A random class for each row of logits, as i32. */
  categorical,
};

type Methods = typeof methods;
// Tensor must be named in a type here: methods is without annotations, and the compiler drops an import that only
// inferred types need from the declarations when the import's type is also augmented below.
type Method<F> = F extends (first: Tensor, ...rest: infer Rest) => infer Result ? (...rest: Rest) => Result : never;
type Fluent = { [Name in keyof Methods]: Method<Methods[Name]> };

declare module './tensor/tensor.ts' {
  interface Tensor extends Fluent {}
}

for (const [name, method] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: unknown[]) {
      return (method as (...values: unknown[]) => unknown)(this, ...rest);
    },
    writable: true,
    configurable: true,
  });
}
