/// <reference types="node" preserve="true" />
// The public names of the engine. Importing this file loads no package and opens no device.

export { type Checkpointed, checkpoint } from './autograd/checkpoint.ts';
export { type CompiledFunction, type CompileOptions, compile } from './autograd/compile.ts';
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
export {
  elu,
  hardSigmoid,
  hardSwish,
  hardTanh,
  leakyRelu,
  logSigmoid,
  mish,
  prelu,
  type SoftplusOptions,
  selu,
  softplus,
  softsign,
} from './kernels/activation.ts';
export { type BatchNormOptions, batchNorm } from './kernels/batch_norm.ts';
export { cast } from './kernels/cast.ts';
export { type AttentionOptions, attention } from './kernels/composed/attention.ts';
export { bernoulli } from './kernels/composed/bernoulli.ts';
export { categorical } from './kernels/composed/categorical.ts';
export { type NllLossOptions, nllLoss } from './kernels/composed/class_losses.ts';
export { clone, detach } from './kernels/composed/clone.ts';
export { type Conv1dOptions, type ConvTranspose1dOptions, conv1d, convTranspose1d } from './kernels/composed/conv1d.ts';
export {
  type CustomGradientContext,
  type CustomGradientOptions,
  customGradient,
} from './kernels/composed/custom_gradient.ts';
export {
  type DefinedOp,
  defineOp,
  type KernelArgument,
  type LaunchSize,
  type OpContext,
  type OpDefinition,
  type OpValues,
} from './kernels/composed/custom_op.ts';
export { type DiagonalOptions, diag, diagEmbed, diagonal, trace } from './kernels/composed/diagonal.ts';
export { einsum } from './kernels/composed/einsum.ts';
export { type InstanceNormOptions, instanceNorm } from './kernels/composed/instance_norm.ts';
export { fullLike, onesLike, randnLike, uniformLike, zerosLike } from './kernels/composed/like.ts';
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
export { booleanMask, maskedFill } from './kernels/composed/masks.ts';
export { type MedianOptions, median } from './kernels/composed/median.ts';
export { nonzero, where } from './kernels/composed/nonzero.ts';
export { pixelShuffle, pixelUnshuffle } from './kernels/composed/pixel_shuffle.ts';
export {
  type AveragePool1dOptions,
  averagePool1d,
  globalAveragePool2d,
  maxPool1d,
  type Pool1dOptions,
} from './kernels/composed/pooling.ts';
export { dot, outer, tensordot, vecdot } from './kernels/composed/products.ts';
export type { Reduction, ReductionOptions } from './kernels/composed/reduction.ts';
export { roll } from './kernels/composed/roll.ts';
export {
  type AxesOptions,
  chunk,
  type FlattenOptions,
  flatten,
  flip,
  type MeshgridOptions,
  meshgrid,
  moveAxis,
  repeatInterleave,
  select,
  squeeze,
  stack,
  swapAxes,
  tile,
  unflatten,
  unsqueeze,
} from './kernels/composed/shapes.ts';
export { type Unique, unique } from './kernels/composed/unique.ts';
export { std, type VarianceOptions, variance } from './kernels/composed/variance.ts';
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
} from './kernels/elementwise.ts';
export { type FirOptions, firDownsample, firResample, firUpsample } from './kernels/fir.ts';
export { all, any, countNonzero, logSumExp, type NormOptions, norm } from './kernels/fold.ts';
export { type GeluApproximation, type GeluOptions, geglu, gelu } from './kernels/gelu.ts';
export { type GroupNormOptions, groupNorm } from './kernels/group_norm.ts';
export { indexAdd, scatterAdd, scatterAlongAxis, take, takeAlongAxis } from './kernels/indexing.ts';
export { bitwiseAnd, bitwiseNot, bitwiseOr, bitwiseXor, leftShift, rightShift } from './kernels/integer.ts';
export { type LayerNormOptions, layerNorm, type RmsNormOptions, rmsNorm } from './kernels/layer_norm.ts';
export { isFinite, isInf, isNaN, logicalAnd, logicalNot, logicalOr, logicalXor } from './kernels/logic.ts';
export { mse } from './kernels/loss.ts';
export {
  acos,
  acosh,
  asin,
  asinh,
  atan,
  atan2,
  atanh,
  ceil,
  cosh,
  erf,
  erfc,
  exp2,
  expm1,
  floor,
  floorDiv,
  fmod,
  log1p,
  log2,
  log10,
  mod,
  reciprocal,
  round,
  rsqrt,
  sign,
  sinh,
  tan,
  trunc,
} from './kernels/math.ts';
export { type MatmulOptions, matmul } from './kernels/matmul.ts';
export {
  type Bounds,
  broadcastTo,
  concat,
  gather,
  oneHot,
  pad,
  permute,
  reshape,
  type SliceOptions,
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
export {
  type DrawOptions,
  dropout,
  type ExponentialOptions,
  exponential,
  type PermutationOptions,
  permutation,
  type RandomIntegerOptions,
  type RandomOptions,
  randint,
  randn,
  type TruncatedNormalOptions,
  truncatedNormal,
  uniform,
} from './kernels/random.ts';
export { type ArgmaxOptions, argmax, argmin, max, mean, min, type ReduceOptions, sum } from './kernels/reduce.ts';
export { downsampleMean, upsampleNearest } from './kernels/resample.ts';
export { resizeBicubic, resizeBilinear, resizeNearest } from './kernels/resize.ts';
export { cumprod, cumsum, linearRecurrence, prod, type ScanOptions } from './kernels/scan.ts';
export {
  type CrossEntropyOptions,
  crossEntropy,
  logSoftmax,
  softmax,
} from './kernels/softmax.ts';
export {
  argsort,
  type BinCountOptions,
  binCount,
  type SearchSortedOptions,
  type SortOptions,
  searchSorted,
  sort,
  type TopKOptions,
  topK,
  type ValuesAndIndices,
} from './kernels/sort.ts';
export { tril, triu } from './kernels/triangle.ts';
export { type UnfoldOptions, unfold } from './kernels/unfold.ts';
export type { TensorOptions } from './tensor/allocate.ts';
export * from './tensor/create.ts';
export type { Dtype } from './tensor/dtype.ts';
export { keep, openScope, type Scope, scope } from './tensor/scope.ts';
export type { AxisOptions, Shape } from './tensor/shape.ts';
export { type BackwardOptions, type GradientHook, type HookHandle, Tensor } from './tensor/tensor.ts';
