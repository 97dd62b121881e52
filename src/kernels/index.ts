// The op table: every op of the engine, by the name of its function. A definition does not compile unless it has
// kernels for each device, and a backward rule or the reason why there is none.

import { batchNormOp } from './batch_norm.ts';
import { castOp, castToWholeOp } from './cast.ts';
import { attentionOp } from './composed/attention.ts';
import { nonzeroOp } from './composed/nonzero.ts';
import { conv2dOp } from './conv/conv.ts';
import * as elementwise from './elementwise.ts';
import { firResampleOp } from './fir.ts';
import { groupNormOp } from './group_norm.ts';
import * as indexing from './indexing.ts';
import { layerNormOp, rmsNormOp } from './layer_norm.ts';
import { mseOp } from './loss.ts';
import { matmulOp } from './matmul.ts';
import * as movement from './movement.ts';
import { linearCombinationOp } from './ode.ts';
import type { Op } from './op.ts';
import { averagePool2dOp, maxPool2dOp } from './pooling.ts';
import { dropoutOp } from './random.ts';
import * as reduce from './reduce.ts';
import { downsampleMeanOp, upsampleNearestOp } from './resample.ts';
import { resizeBilinearOp } from './resize.ts';
import { crossEntropyOp, logSoftmaxOp, softmaxOp } from './softmax.ts';

type AnyOp = Op<never>;

export const ops = {
  abs: elementwise.absOp,
  add: elementwise.addOp,
  argmax: reduce.argmaxOp,
  attention: attentionOp,
  averagePool2d: averagePool2dOp,
  batchNorm: batchNormOp,
  broadcastTo: movement.broadcastToOp,
  cast: castOp,
  castToWhole: castToWholeOp,
  clamp: elementwise.clampOp,
  concat: movement.concatOp,
  conv2d: conv2dOp,
  cos: elementwise.cosOp,
  crossEntropy: crossEntropyOp,
  div: elementwise.divOp,
  downsampleMean: downsampleMeanOp,
  dropout: dropoutOp,
  equal: elementwise.equalOp,
  exp: elementwise.expOp,
  firResample: firResampleOp,
  gather: movement.gatherOp,
  greater: elementwise.greaterOp,
  greaterEqual: elementwise.greaterEqualOp,
  groupNorm: groupNormOp,
  indexAdd: indexing.indexAddOp,
  layerNorm: layerNormOp,
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
  nonzero: nonzeroOp,
  notEqual: elementwise.notEqualOp,
  oneHot: movement.oneHotOp,
  pad: movement.padOp,
  permute: movement.permuteOp,
  pow: elementwise.powOp,
  relu: elementwise.reluOp,
  reshape: movement.reshapeOp,
  resizeBilinear: resizeBilinearOp,
  rmsNorm: rmsNormOp,
  scatterAdd: indexing.scatterAddOp,
  scatterAlongAxis: indexing.scatterAlongAxisOp,
  sigmoid: elementwise.sigmoidOp,
  silu: elementwise.siluOp,
  sin: elementwise.sinOp,
  slice: movement.sliceOp,
  softmax: softmaxOp,
  sqrt: elementwise.sqrtOp,
  square: elementwise.squareOp,
  sub: elementwise.subOp,
  sum: reduce.sumOp,
  take: indexing.takeOp,
  takeAlongAxis: indexing.takeAlongAxisOp,
  tanh: elementwise.tanhOp,
  upsampleNearest: upsampleNearestOp,
  where: elementwise.whereOp,
} satisfies Record<string, AnyOp>;

/** Public functions that are written in ops, without kernels or rules of their own. Each has a case like an op. */
export const composed: readonly string[] = [
  'booleanMask',
  'dot',
  'einsum',
  'instanceNorm',
  'maskedFill',
  'outer',
  'tensordot',
  'vecdot',
];
