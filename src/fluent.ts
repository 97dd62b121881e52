/// <reference types="node" preserve="true" />
// Adds the ops to Tensor as methods: `x.mul(2).sum()`. Optional: importing this file is the opt-in.
import { batchNorm } from './kernels/batch_norm.ts';
import { cast } from './kernels/cast.ts';
import { attention } from './kernels/composed/attention.ts';
import { instanceNorm } from './kernels/composed/instance_norm.ts';
import { booleanMask, maskedFill } from './kernels/composed/masks.ts';
import { nonzero, where } from './kernels/composed/nonzero.ts';
import * as products from './kernels/composed/products.ts';
import { conv2d } from './kernels/conv/conv.ts';
import * as elementwise from './kernels/elementwise.ts';
import * as fir from './kernels/fir.ts';
import { groupNorm } from './kernels/group_norm.ts';
import * as indexing from './kernels/indexing.ts';
import { layerNorm, rmsNorm } from './kernels/layer_norm.ts';
import { mse } from './kernels/loss.ts';
import { matmul } from './kernels/matmul.ts';
import * as movement from './kernels/movement.ts';
import { averagePool2d, maxPool2d } from './kernels/pooling.ts';
import { dropout } from './kernels/random.ts';
import * as reduce from './kernels/reduce.ts';
import { downsampleMean, upsampleNearest } from './kernels/resample.ts';
import { resizeBilinear } from './kernels/resize.ts';
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
  conv2d,
  /** Single-head attention of queries [N, queries, C] over keys [N, keys, C] and values [N, keys, D]. */
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
  /** [N, H, W, C] to [N, H factor, W factor, C], each pixel repeated. */
  upsampleNearest,
  /** [N, H, W, C] to [N, H / factor, W / factor, C], the mean of factor x factor pixels. */
  downsampleMean,
  /** Images [N, H, W, C] in another size [height, width], by bilinear interpolation. */
  resizeBilinear,
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
