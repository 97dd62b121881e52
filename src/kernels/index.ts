// The op table: every op of the engine, by the name of its function. A definition does not compile unless it has
// kernels for each device, and a backward rule or the reason why there is none.

import { castOp, castToWholeOp } from './cast.ts';
import { attentionOp } from './composed/attention.ts';
import { conv2dOp } from './conv/conv.ts';
import { convTranspose2dOp } from './conv/transpose.ts';
import * as elementwise from './elementwise.ts';
import { firResampleOp } from './fir.ts';
import { flashAttentionOp } from './flash_attention.ts';
import { groupNormOp } from './group_norm.ts';
import { mseOp } from './loss.ts';
import { matmulOp } from './matmul.ts';
import * as movement from './movement.ts';
import { linearCombinationOp } from './ode.ts';
import type { Op } from './op.ts';
import { averagePool2dOp, maxPool2dOp } from './pooling.ts';
import { dropoutOp } from './random.ts';
import * as reduce from './reduce.ts';
import { downsampleMeanOp, upsampleNearestOp } from './resample.ts';
import { resizeBicubicOp, resizeBilinearOp, resizeNearestOp } from './resize.ts';
import { crossEntropyOp, logSoftmaxOp, softmaxOp } from './softmax.ts';

type AnyOp = Op<never>;

export const ops = {
  abs: elementwise.absOp,
  add: elementwise.addOp,
  argmax: reduce.argmaxOp,
  attention: attentionOp,
  averagePool2d: averagePool2dOp,
  broadcastTo: movement.broadcastToOp,
  cast: castOp,
  castToWhole: castToWholeOp,
  clamp: elementwise.clampOp,
  concat: movement.concatOp,
  conv2d: conv2dOp,
  convTranspose2d: convTranspose2dOp,
  cos: elementwise.cosOp,
  crossEntropy: crossEntropyOp,
  div: elementwise.divOp,
  downsampleMean: downsampleMeanOp,
  dropout: dropoutOp,
  equal: elementwise.equalOp,
  exp: elementwise.expOp,
  firResample: firResampleOp,
  flashAttention: flashAttentionOp,
  gather: movement.gatherOp,
  greater: elementwise.greaterOp,
  greaterEqual: elementwise.greaterEqualOp,
  groupNorm: groupNormOp,
  less: elementwise.lessOp,
  lessEqual: elementwise.lessEqualOp,
  linearCombination: linearCombinationOp,
  log: elementwise.logOp,
  logSoftmax: logSoftmaxOp,
  matmul: matmulOp,
  max: reduce.maxOp,
  maxPool2d: maxPool2dOp,
  maximum: elementwise.maximumOp,
  mean: reduce.meanOp,
  minimum: elementwise.minimumOp,
  mse: mseOp,
  mul: elementwise.mulOp,
  neg: elementwise.negOp,
  notEqual: elementwise.notEqualOp,
  oneHot: movement.oneHotOp,
  pad: movement.padOp,
  permute: movement.permuteOp,
  pow: elementwise.powOp,
  relu: elementwise.reluOp,
  reshape: movement.reshapeOp,
  resizeBicubic: resizeBicubicOp,
  resizeBilinear: resizeBilinearOp,
  resizeNearest: resizeNearestOp,
  sigmoid: elementwise.sigmoidOp,
  silu: elementwise.siluOp,
  sin: elementwise.sinOp,
  slice: movement.sliceOp,
  softmax: softmaxOp,
  sqrt: elementwise.sqrtOp,
  square: elementwise.squareOp,
  sub: elementwise.subOp,
  sum: reduce.sumOp,
  tanh: elementwise.tanhOp,
  upsampleNearest: upsampleNearestOp,
  where: elementwise.whereOp,
} satisfies Record<string, AnyOp>;

/** Public functions that are written in ops, without kernels or rules of their own. Each has a case like an op. */
export const composed: readonly string[] = [
  'adaptiveAveragePool2d',
  'adaptiveMaxPool2d',
  'averagePool1d',
  'binaryCrossEntropyWithLogits',
  'conv1d',
  'convTranspose1d',
  'cosineEmbeddingLoss',
  'cosineSimilarity',
  'globalAveragePool2d',
  'huberLoss',
  'klDivergence',
  'l1Loss',
  'maxPool1d',
  'nllLoss',
  'smoothL1Loss',
];
