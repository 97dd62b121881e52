/// <reference types="node" preserve="true" />
// The public names of the engine. Importing this file loads no package and opens no device.

export { type Checkpointed, checkpoint } from './autograd/checkpoint.ts';
export { jvp, type LinearMap, linearize, type TensorFunction } from './autograd/forward.ts';
export { type GradientOptions, gradients, type Pullback, vjp } from './autograd/gradients.ts';
export { checkFinite, enableGrad, noGrad } from './autograd/mode.ts';
export type { CompileProgress, Device, HostArray, MemoryFigures, Precision } from './device/device.ts';
export { type OpenOptions, openDevice } from './device/open.ts';
export {
  ArgumentError,
  CompileError,
  ConfigError,
  DeviceError,
  DtypeError,
  FileError,
  LockLostError,
  NonFiniteError,
  NotDifferentiableError,
  OutOfMemoryError,
  RecordingError,
  RectiflowError,
  ShapeError,
  UsageError,
  UseAfterFreeError,
  ValueError,
} from './errors.ts';
export { cast } from './kernels/cast.ts';
export { type AttentionOptions, attention } from './kernels/composed/attention.ts';
export { type NllLossOptions, nllLoss } from './kernels/composed/class_losses.ts';
export { type Conv1dOptions, type ConvTranspose1dOptions, conv1d, convTranspose1d } from './kernels/composed/conv1d.ts';
export {
  type BinaryCrossEntropyOptions,
  binaryCrossEntropyWithLogits,
  type CosineEmbeddingLossOptions,
  type CosineSimilarityOptions,
  cosineEmbeddingLoss,
  cosineSimilarity,
  type HuberLossOptions,
  huberLoss,
  type KlDivergenceOptions,
  klDivergence,
  l1Loss,
  type SmoothL1LossOptions,
  smoothL1Loss,
} from './kernels/composed/losses.ts';
export {
  type AveragePool1dOptions,
  averagePool1d,
  globalAveragePool2d,
  maxPool1d,
  type Pool1dOptions,
} from './kernels/composed/pooling.ts';
export type { Reduction, ReductionOptions } from './kernels/composed/reduction.ts';
export { type Conv2dOptions, conv2d } from './kernels/conv/conv.ts';
export { type ConvTranspose2dOptions, convTranspose2d } from './kernels/conv/transpose.ts';
export {
  abs,
  add,
  clamp,
  cos,
  div,
  equal,
  exp,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  maximum,
  minimum,
  mul,
  neg,
  notEqual,
  type Operand,
  pow,
  relu,
  sigmoid,
  silu,
  sin,
  sqrt,
  square,
  sub,
  tanh,
  where,
} from './kernels/elementwise.ts';
export { type FirOptions, firDownsample, firResample, firUpsample } from './kernels/fir.ts';
export { type GroupNormOptions, groupNorm } from './kernels/group_norm.ts';
export { mse } from './kernels/loss.ts';
export { type MatmulOptions, matmul } from './kernels/matmul.ts';
export {
  broadcastTo,
  concat,
  gather,
  oneHot,
  pad,
  permute,
  reshape,
  slice,
  split,
  transpose,
} from './kernels/movement.ts';
export {
  type AveragePoolOptions,
  adaptiveAveragePool2d,
  adaptiveMaxPool2d,
  averagePool2d,
  maxPool2d,
  type PoolOptions,
} from './kernels/pooling.ts';
export { type DrawOptions, dropout, randn, uniform } from './kernels/random.ts';
export { type ArgmaxOptions, argmax, max, mean, type ReduceOptions, sum } from './kernels/reduce.ts';
export { downsampleMean, upsampleNearest } from './kernels/resample.ts';
export { resizeBicubic, resizeBilinear, resizeNearest } from './kernels/resize.ts';
export { type CrossEntropyOptions, crossEntropy, logSoftmax, softmax } from './kernels/softmax.ts';
export type { TensorOptions } from './tensor/allocate.ts';
export * from './tensor/create.ts';
export type { Dtype } from './tensor/dtype.ts';
export { keep, openScope, type Scope, scope } from './tensor/scope.ts';
export type { AxisOptions, Shape } from './tensor/shape.ts';
export { type BackwardOptions, Tensor } from './tensor/tensor.ts';
