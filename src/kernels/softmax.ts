// Softmax, log-softmax and cross entropy.

import { checkOptions, kind, type OptionKinds } from '../arguments.ts';
import type { Device } from '../device/device.ts';
import { kernelModule } from '../device/module.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { scope } from '../tensor/scope.ts';
import { type AxisOptions, axisOf, axisOptions } from '../tensor/shape.ts';
import { type Tensor, tensorKind } from '../tensor/tensor.ts';
import { checkClasses, labelLoss } from './composed/class_losses.ts';
import { applyReduction, type ReductionOptions, reductionOptions } from './composed/reduction.ts';
import { exp, mul, sub } from './elementwise.ts';
import { firstOutside } from './inner/indices.ts';
import { INDICES_CHECKED, readBack } from './inner/read_back.ts';
import { perWarp } from './launch/grid.ts';
import { type Activation, kernelsFor, storageModules } from './launch/storage.ts';
import { oneHot, permute } from './movement.ts';
import { apply, checkOperands, declareOp } from './op.ts';
import { sum } from './reduce.ts';

export const softmaxKernels = kernelModule('kernels/softmax.c', {
  softmax_forward: 'ptr ptr i32 i32',
  softmax_backward: 'ptr ptr ptr i32 i32 f32',
  softmax_log_forward: 'ptr ptr i32 i32',
  softmax_log_backward: 'ptr ptr ptr i32 i32',
  softmax_cross_entropy: 'ptr ptr ptr i32 i32 -> f64',
  softmax_cross_entropy_backward: 'ptr ptr ptr ptr i32 i32 i32 f32',
});

/** Attention uses forward and backward from the bf16 builds: their results are bf16, and so is y. */
export const softmaxCuda = storageModules('kernels/softmax.cu', {
  softmax_forward: 'ptr ptr i32 i32 f32',
  softmax_forward_short: 'ptr ptr i32 i32 f32',
  softmax_backward: 'ptr ptr ptr i32 i32 f32',
  softmax_backward_short: 'ptr ptr ptr i32 i32 f32',
  softmax_log_forward: 'ptr ptr i32 i32',
  softmax_log_backward: 'ptr ptr ptr i32 i32',
  softmax_cross_entropy: 'ptr ptr ptr i32 i32',
  softmax_cross_entropy_backward: 'ptr ptr ptr ptr i32 i32 i32 f32',
});

type RowKernel = Exclude<keyof typeof softmaxKernels.kernels, 'softmax_cross_entropy' | 'softmax_forward'>;

/** Launches a kernel that processes each of `rows` rows independently. @param dtype the dtype of its result */
export function onRows(
  device: Device,
  kernel: RowKernel,
  rows: number,
  operands: readonly number[],
  dtype: Activation = 'f32',
): void {
  if (device.kind === 'cuda') {
    const short = kernel === 'softmax_backward' && isShort(operands[4], operands.slice(0, 3));
    kernelsFor(softmaxCuda, device, dtype)[short ? 'softmax_backward_short' : kernel](perWarp(rows), ...operands);
  } else device.load(softmaxKernels)[kernel](...operands);
}

/** Whether a lane of a warp can have eight neighbours of a row of n: see softmax.cu. */
function isShort(n: number, addresses: readonly number[]): boolean {
  return n <= 256 && n % 8 === 0 && addresses.every((address) => address % 16 === 0);
}

/** y = softmax(factor x) for each row; the CPU supports only factor 1. */
export function softmaxOfRows(x: Tensor, y: Tensor, factor = 1): void {
  const { device } = x;
  if (x.size === 0) return;
  const [rows, n] = rowsOf(x);
  const operands = [x.address, y.address, rows, n];
  if (device.kind === 'cuda') {
    const kernel = isShort(n, [x.address, y.address]) ? 'softmax_forward_short' : 'softmax_forward';
    kernelsFor(softmaxCuda, device, y.dtype)[kernel](perWarp(rows), ...operands, factor);
  } else device.load(softmaxKernels).softmax_forward(...operands);
}

/** The number and the length of the rows of x along its last axis. */
function rowsOf(x: Tensor): [number, number] {
  const n = x.shape[x.rank - 1];
  return [x.size / n, n];
}

/** Applies `last`, which works along the last axis, along any axis. */
function along(op: string, x: Tensor, options: AxisOptions, last: (x: Tensor) => Tensor): Tensor {
  checkOperands(op, [x]);
  const given = checkOptions(op, options, axisOptions);
  if (x.rank === 0) throw new ShapeError(op, 'at least one axis', formatShape(x.shape));
  const normal = axisOf(op, x.shape, given, -1);
  if (normal === x.rank - 1) return last(x);
  const swapped = [...x.shape.keys()];
  [swapped[normal], swapped[x.rank - 1]] = [x.rank - 1, normal];
  using rows = permute(x, swapped);
  using y = last(rows);
  return permute(y, swapped);
}

export const softmaxOp = declareOp({
  name: 'softmax',
  cpu: softmaxKernels,
  cuda: softmaxCuda,
  backward({ grad, saved: [y] }) {
    const dx = allocate(y.shape, { device: y.device });
    const [rows, n] = rowsOf(y);
    if (y.size > 0) onRows(y.device, 'softmax_backward', rows, [y.address, grad.address, dx.address, rows, n, 1]);
    return [dx];
  },
  tangent({ tangents: [t], output: y }) {
    const weighted = mul(y, t as Tensor);
    return sub(weighted, mul(y, sum(weighted, { axes: -1, keepDims: true })));
  },
});

/**
 * exp(x) / sum exp(x) along an axis, by default the last. x has at least one axis.
 * @example softmax(tensor([1, 2, 3])); // [0.09003, 0.2447, 0.6652]
 */
export function softmax(x: Tensor, options: AxisOptions = {}): Tensor {
  return along('softmax', x, options, (last) => {
    const y = allocate(last.shape, { device: last.device });
    softmaxOfRows(last, y);
    return apply(softmaxOp, y, { parents: [last], saved: [y] });
  });
}

export const logSoftmaxOp = declareOp({
  name: 'logSoftmax',
  cpu: softmaxKernels,
  cuda: softmaxCuda,
  backward({ grad, saved: [y] }) {
    const dx = allocate(y.shape, { device: y.device });
    const [rows, n] = rowsOf(y);
    if (y.size > 0) onRows(y.device, 'softmax_log_backward', rows, [y.address, grad.address, dx.address, rows, n]);
    return [dx];
  },
  tangent: ({ tangents: [t], output: y }) =>
    sub(t as Tensor, sum(mul(exp(y), t as Tensor), { axes: -1, keepDims: true })),
});

/**
 * x - log sum exp(x) along an axis, by default the last. x has at least one axis.
 * @example logSoftmax(tensor([1, 2, 3])); // [-2.408, -1.408, -0.4076]
 */
export function logSoftmax(x: Tensor, options: AxisOptions = {}): Tensor {
  return along('logSoftmax', x, options, (last) => {
    const y = allocate(last.shape, { device: last.device });
    const [rows, n] = rowsOf(last);
    if (y.size > 0) onRows(y.device, 'softmax_log_forward', rows, [last.address, y.address, rows, n]);
    return apply(logSoftmaxOp, y, { parents: [last], saved: [y] });
  });
}

export const crossEntropyOp = declareOp({
  name: 'crossEntropy',
  cpu: softmaxKernels,
  cuda: softmaxCuda,
  backward({ grad, saved: [logits, labels] }) {
    const dx = allocate(logits.shape, { device: logits.device });
    const [rows, n] = rowsOf(logits);
    const operands = [logits.address, labels.address, grad.address, dx.address, rows, n, 1, 1];
    if (dx.size > 0) onRows(logits.device, 'softmax_cross_entropy_backward', rows, operands);
    return [dx];
  },
  tangent({ parents: [logits], tangents: [t], saved: [, labels] }) {
    const x = logits as Tensor;
    return sum(mul(sub(softmax(x), oneHot(labels, x.shape[1])), t as Tensor), { axes: 1 });
  },
});

export interface CrossEntropyOptions extends ReductionOptions {
  /** From 0 to 1: the share of each label that is spread equally over all classes; default 0. */
  labelSmoothing?: number;
  /** [classes] f32: a factor for the losses of each class. The mean divides by the sum of the factors of the labels. */
  weight?: Tensor;
}

const crossEntropyOptions: OptionKinds<CrossEntropyOptions> = {
  ...reductionOptions,
  labelSmoothing: kind('a number from 0 to 1', (v) => typeof v === 'number' && v >= 0 && v <= 1),
  weight: tensorKind,
};

/**
 * -log softmax(logits)[label]: averaged over samples, summed, or one per sample. With neither `labelSmoothing` nor
 * `weight` it is one kernel. Labels are indices, not probabilities, and every label counts (no `ignore_index`).
 * @param logits [N, classes]
 * @param labels i32 [N]
 * @throws ValueError for a label outside [0, classes)
 * @example crossEntropy(tensor([[2, 0, 0]]), tensor([0], { dtype: 'i32' })); // 0.2395
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor {
  checkClasses('crossEntropy', 'logits', logits, labels);
  const {
    labelSmoothing: smoothing = 0,
    weight,
    reduction,
  } = checkOptions('crossEntropy', options, crossEntropyOptions);
  if (smoothing > 0 || weight)
    return scope(() => labelLoss('crossEntropy', logSoftmax(logits), labels, { weight, smoothing, reduction }));
  const [rows, n] = logits.shape;
  const loss = allocate([rows], { device: logits.device });
  const bad = readBack('crossEntropy', INDICES_CHECKED, () => entropies(logits, labels, loss));
  if (bad >= 0)
    throw new ValueError(`[crossEntropy] label ${labels.dataSync()[bad]} at position ${bad} is outside [0, ${n})`);
  apply(crossEntropyOp, loss, { parents: [logits], saved: [logits, labels] });
  if (reduction === 'none') return loss;
  using all = loss;
  return applyReduction(all, reduction);
}

/** Writes one loss per row. Returns the first position of a label outside the classes, or -1. */
function entropies(logits: Tensor, labels: Tensor, loss: Tensor): number {
  const { device } = logits;
  const [rows, n] = logits.shape;
  const operands = [logits.address, labels.address, loss.address, rows, n];
  if (device.kind !== 'cuda') return device.load(softmaxKernels).softmax_cross_entropy(...operands);
  const bad = firstOutside(labels, n);
  if (bad < 0 && rows > 0) device.load(softmaxCuda.f32).softmax_cross_entropy(perWarp(rows), ...operands);
  return bad;
}
