/// <reference types="node" preserve="true" />
// Adds the ops to Tensor as methods: `x.mul(2).sum()`. Optional: importing this file is the opt-in.
import { cast } from './kernels/cast.ts';
import { attention } from './kernels/composed/attention.ts';
import { nllLoss } from './kernels/composed/class_losses.ts';
import { conv1d, convTranspose1d } from './kernels/composed/conv1d.ts';
import * as losses from './kernels/composed/losses.ts';
import { averagePool1d, globalAveragePool2d, maxPool1d } from './kernels/composed/pooling.ts';
import { conv2d } from './kernels/conv/conv.ts';
import { convTranspose2d } from './kernels/conv/transpose.ts';
import * as elementwise from './kernels/elementwise.ts';
import * as fir from './kernels/fir.ts';
import { groupNorm } from './kernels/group_norm.ts';
import { mse } from './kernels/loss.ts';
import { matmul } from './kernels/matmul.ts';
import * as movement from './kernels/movement.ts';
import { adaptiveAveragePool2d, adaptiveMaxPool2d, averagePool2d, maxPool2d } from './kernels/pooling.ts';
import { dropout } from './kernels/random.ts';
import * as reduce from './kernels/reduce.ts';
import { downsampleMean, upsampleNearest } from './kernels/resample.ts';
import { resizeBicubic, resizeBilinear, resizeNearest } from './kernels/resize.ts';
import { crossEntropy, logSoftmax, softmax } from './kernels/softmax.ts';
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
  where: elementwise.where,
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
  /** f32 [..., depth] with 1 at each index; this is i32. */
  oneHot: movement.oneHot,
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
