// Losses of class labels that need more than the fused kernel of crossEntropy: given log-probabilities, class weights,
// smoothed labels. All are sums of -w[label] log p[label].
import { checkOptions, type OptionKinds } from '../../arguments.ts';
import { formatShape, ShapeError, ValueError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import { scope } from '../../tensor/scope.ts';
import { type Tensor, tensorKind } from '../../tensor/tensor.ts';
import { add, div, equal, mul, neg, where } from '../elementwise.ts';
import { oneHotRows } from '../movement.ts';
import { checkOperands, checkSameDevice } from '../op.ts';
import { sum } from '../reduce.ts';
import { applyReduction, type Reduction, type ReductionOptions, reductionOptions } from './reduction.ts';

export interface NllLossOptions extends ReductionOptions {
  /** [classes] f32: a factor for the losses of each class. The mean divides by the sum of the factors of the labels. */
  weight?: Tensor;
}

const nllLossOptions: OptionKinds<NllLossOptions> = { ...reductionOptions, weight: tensorKind };

/**
 * -logProbabilities[n][labels[n]], the loss of a classifier that ends in logSoftmax: averaged over samples, summed, or
 * one per sample. Every label counts (PyTorch's `ignore_index` is not supported).
 * @param logProbabilities [N, classes]
 * @param labels i32 [N]
 * @throws ValueError for a label outside [0, classes)
 * @example nllLoss(logSoftmax(tensor([[2, 0, 0]])), tensor([0], { dtype: 'i32' })); // 0.2395
 */
export function nllLoss(logProbabilities: Tensor, labels: Tensor, options: NllLossOptions = {}): Tensor {
  checkClasses('nllLoss', 'logProbabilities', logProbabilities, labels);
  const { weight, reduction } = checkOptions('nllLoss', options, nllLossOptions);
  return scope(() => labelLoss('nllLoss', logProbabilities, labels, { weight, reduction }));
}

/** @throws ShapeError, DtypeError, DeviceError unless x is [N, classes] and labels is i32 [N] */
export function checkClasses(op: string, what: string, x: Tensor, labels: Tensor): void {
  checkOperands(op, [x]);
  checkOperands(op, [labels], 'i32');
  checkSameDevice(op, x, labels);
  if (x.rank !== 2 || labels.rank !== 1 || labels.shape[0] !== x.shape[0])
    throw new ShapeError(
      op,
      `${what} [N, classes] and labels [N]`,
      `${formatShape(x.shape)} and ${formatShape(labels.shape)}`,
    );
}

export interface LabelLoss {
  weight?: Tensor;
  reduction?: Reduction;
  /** The share of the loss that is averaged over all classes; default 0. */
  smoothing?: number;
}

/** (1 - smoothing) w[label] (-x[label]) + smoothing times the mean over classes of w (-x), for checked operands. */
export function labelLoss(op: string, x: Tensor, labels: Tensor, options: LabelLoss): Tensor {
  const { weight, reduction = 'mean', smoothing = 0 } = options;
  const classes = x.shape[1];
  if (weight) {
    checkOperands(op, [weight]);
    checkSameDevice(op, x, weight);
    if (weight.rank !== 1 || weight.size !== classes)
      throw new ShapeError(op, `a weight [${classes}]`, formatShape(weight.shape));
  }
  const chosen = oneHotLabels(op, labels, classes);
  const isLabel = equal(chosen, 1);
  const weighted = neg(weight ? mul(x, weight) : x);
  // Other classes may have probability 0, whose logarithm times 0 would be NaN.
  const own = sum(where(isLabel, weighted, 0), { axes: 1 });
  const losses =
    smoothing === 0 ? own : add(mul(own, 1 - smoothing), mul(sum(weighted, { axes: 1 }), smoothing / classes));
  if (!weight || reduction !== 'mean') return applyReduction(losses, reduction);
  return div(sum(losses), sum(mul(chosen, weight)));
}

/** f32 [N, classes] with 1 at the label. @throws ValueError for a label outside [0, classes) */
function oneHotLabels(op: string, labels: Tensor, classes: number): Tensor {
  const y = allocate([labels.size, classes], { device: labels.device });
  const bad = oneHotRows(op, labels, y, classes);
  if (bad < 0) return y;
  throw new ValueError(`[${op}] label ${labels.dataSync()[bad]} at position ${bad} is outside [0, ${classes})`);
}
