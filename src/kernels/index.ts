// The op table: every op of the engine, by the name of its function. A definition does not compile unless it has
// kernels for each device, and a backward rule or the reason why there is none.

import { activationOps } from './activation.ts';
import { batchNormOp } from './batch_norm.ts';
import { castOp, castToWholeOp } from './cast.ts';
import { attentionOp } from './composed/attention.ts';
import { bernoulliOp } from './composed/bernoulli.ts';
import { categoricalOp } from './composed/categorical.ts';
import { cloneOp } from './composed/clone.ts';
import { diagEmbedOp, diagonalOp } from './composed/diagonal.ts';
import { nonzeroOp } from './composed/nonzero.ts';
import { rollOp } from './composed/roll.ts';
import { uniqueOp } from './composed/unique.ts';
import { conv2dOp } from './conv/conv.ts';
import { convTranspose2dOp } from './conv/transpose.ts';
import * as elementwise from './elementwise.ts';
import { firResampleOp } from './fir.ts';
import { flashAttentionOp } from './flash_attention.ts';
import * as fold from './fold.ts';
import { gegluOp, geluOp } from './gelu.ts';
import { groupNormOp } from './group_norm.ts';
import * as indexing from './indexing.ts';
import { integerOps } from './integer.ts';
import { layerNormOp, rmsNormOp } from './layer_norm.ts';
import { logicOps } from './logic.ts';
import { mseOp } from './loss.ts';
import { mathOps } from './math.ts';
import { matmulOp } from './matmul.ts';
import * as movement from './movement.ts';
import { linearCombinationOp } from './ode.ts';
import type { Op } from './op.ts';
import { averagePool2dOp, maxPool2dOp } from './pooling.ts';
import { dropoutOp } from './random.ts';
import * as reduce from './reduce.ts';
import { downsampleMeanOp, upsampleNearestOp } from './resample.ts';
import { resizeBicubicOp, resizeBilinearOp, resizeNearestOp } from './resize.ts';
import * as scan from './scan.ts';
import { crossEntropyOp, logSoftmaxOp, softmaxOp } from './softmax.ts';
import * as sort from './sort.ts';
import { trilOp, triuOp } from './triangle.ts';
import { unfoldOp } from './unfold.ts';

type AnyOp = Op<never>;

export const ops = {
  ...activationOps,
  ...integerOps,
  ...logicOps,
  ...mathOps,
  abs: elementwise.absOp,
  add: elementwise.addOp,
  all: fold.allOp,
  any: fold.anyOp,
  argmax: reduce.argmaxOp,
  argmin: reduce.argminOp,
  argsort: sort.argsortOp,
  attention: attentionOp,
  averagePool2d: averagePool2dOp,
  binCount: sort.binCountOp,
  bernoulli: bernoulliOp,
  batchNorm: batchNormOp,
  broadcastTo: movement.broadcastToOp,
  cast: castOp,
  castToWhole: castToWholeOp,
  categorical: categoricalOp,
  clamp: elementwise.clampOp,
  clone: cloneOp,
  concat: movement.concatOp,
  conv2d: conv2dOp,
  convTranspose2d: convTranspose2dOp,
  cos: elementwise.cosOp,
  countNonzero: fold.countNonzeroOp,
  crossEntropy: crossEntropyOp,
  cumprod: scan.cumprodOp,
  cumsum: scan.cumsumOp,
  diagEmbed: diagEmbedOp,
  diagonal: diagonalOp,
  div: elementwise.divOp,
  downsampleMean: downsampleMeanOp,
  dropout: dropoutOp,
  equal: elementwise.equalOp,
  exp: elementwise.expOp,
  firResample: firResampleOp,
  flashAttention: flashAttentionOp,
  gather: movement.gatherOp,
  geglu: gegluOp,
  gelu: geluOp,
  greater: elementwise.greaterOp,
  greaterEqual: elementwise.greaterEqualOp,
  groupNorm: groupNormOp,
  indexAdd: indexing.indexAddOp,
  layerNorm: layerNormOp,
  less: elementwise.lessOp,
  lessEqual: elementwise.lessEqualOp,
  linearCombination: linearCombinationOp,
  linearRecurrence: scan.linearRecurrenceOp,
  log: elementwise.logOp,
  logSoftmax: logSoftmaxOp,
  logSumExp: fold.logSumExpOp,
  matmul: matmulOp,
  max: reduce.maxOp,
  maxPool2d: maxPool2dOp,
  maximum: elementwise.maximumOp,
  mean: reduce.meanOp,
  min: reduce.minOp,
  minimum: elementwise.minimumOp,
  mse: mseOp,
  mul: elementwise.mulOp,
  neg: elementwise.negOp,
  norm: fold.normOp,
  nonzero: nonzeroOp,
  notEqual: elementwise.notEqualOp,
  oneHot: movement.oneHotOp,
  pad: movement.padOp,
  permute: movement.permuteOp,
  pow: elementwise.powOp,
  prod: scan.prodOp,
  relu: elementwise.reluOp,
  reshape: movement.reshapeOp,
  resizeBicubic: resizeBicubicOp,
  resizeBilinear: resizeBilinearOp,
  searchSorted: sort.searchSortedOp,
  roll: rollOp,
  rmsNorm: rmsNormOp,
  scatterAdd: indexing.scatterAddOp,
  scatterAlongAxis: indexing.scatterAlongAxisOp,
  resizeNearest: resizeNearestOp,
  sigmoid: elementwise.sigmoidOp,
  silu: elementwise.siluOp,
  sin: elementwise.sinOp,
  slice: movement.sliceOp,
  softmax: softmaxOp,
  sort: sort.sortOp,
  sqrt: elementwise.sqrtOp,
  square: elementwise.squareOp,
  sub: elementwise.subOp,
  sum: reduce.sumOp,
  take: indexing.takeOp,
  takeAlongAxis: indexing.takeAlongAxisOp,
  tanh: elementwise.tanhOp,
  topK: sort.topKOp,
  unique: uniqueOp,
  tril: trilOp,
  triu: triuOp,
  unfold: unfoldOp,
  upsampleNearest: upsampleNearestOp,
  where: elementwise.whereOp,
} satisfies Record<string, AnyOp>;

/** Public functions that are written in ops, without kernels or rules of their own. Each has a case like an op. */
export const composed: readonly string[] = [
  'median',
  'std',
  'variance',
  'chunk',
  'detach',
  'diag',
  'flatten',
  'flip',
  'meshgrid',
  'moveAxis',
  'pixelShuffle',
  'pixelUnshuffle',
  'repeatInterleave',
  'select',
  'squeeze',
  'stack',
  'swapAxes',
  'tile',
  'trace',
  'unflatten',
  'unsqueeze',
  'booleanMask',
  'dot',
  'einsum',
  'instanceNorm',
  'maskedFill',
  'outer',
  'tensordot',
  'vecdot',
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
