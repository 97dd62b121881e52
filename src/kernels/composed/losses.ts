// Losses of two tensors of one shape, and the similarity of vectors, written in other ops.
import { checkOptions, kinds, type OptionKinds, oneOf } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { scope } from '../../tensor/scope.ts';
import { type AxisOptions, axisOf, axisOptions, broadcastShapes, sameShape } from '../../tensor/shape.ts';
import { type Tensor, tensorKind } from '../../tensor/tensor.ts';
import {
  abs,
  add,
  clamp,
  div,
  equal,
  exp,
  log,
  maximum,
  mul,
  neg,
  type Operand,
  relu,
  sigmoid,
  sqrt,
  square,
  sub,
  where,
} from '../elementwise.ts';
import { apply, checkOperands, checkSameDevice, declareOp } from '../op.ts';
import { sum } from '../reduce.ts';
import { applyReduction, type Reduction, type ReductionOptions, reductionOptions, reductions } from './reduction.ts';

function checkPair(op: string, a: Tensor, b: Tensor): void {
  checkOperands(op, [a, b]);
  if (!sameShape(a.shape, b.shape))
    throw new ShapeError(op, 'tensors of the same shape', `${formatShape(a.shape)} and ${formatShape(b.shape)}`);
}

/**
 * |prediction - target| of two tensors of the same shape: the mean over all elements, the sum, or every element. The
 * gradient where both are equal is 0.
 * @example l1Loss(tensor([1, 2]), tensor([2, 4])); // 1.5
 */
export function l1Loss(prediction: Tensor, target: Tensor, options: ReductionOptions = {}): Tensor {
  checkPair('l1Loss', prediction, target);
  const { reduction } = checkOptions('l1Loss', options, reductionOptions);
  return scope(() => applyReduction(abs(sub(prediction, target)), reduction));
}

export interface HuberLossOptions extends ReductionOptions {
  /** The difference from which the loss is linear; default 1. */
  delta?: number;
}

/**
 * d^2 / 2 for differences |d| up to `delta`, and delta (|d| - delta / 2) beyond, of two tensors of the same shape: the
 * mean over all elements, the sum, or every element (Huber 1964).
 * @example huberLoss(tensor([0, 0]), tensor([0.5, 3]), { reduction: 'none' }); // [0.125, 2.5]
 */
export function huberLoss(prediction: Tensor, target: Tensor, options: HuberLossOptions = {}): Tensor {
  checkPair('huberLoss', prediction, target);
  const known: OptionKinds<HuberLossOptions> = { ...reductionOptions, delta: kinds.positive };
  const { delta = 1, reduction } = checkOptions('huberLoss', options, known);
  return scope(() => applyReduction(huber(sub(prediction, target), delta), reduction));
}

export interface SmoothL1LossOptions extends ReductionOptions {
  /** The difference from which the loss is linear; default 1. At 0 this is l1Loss. */
  beta?: number;
}

/**
 * huberLoss divided by its delta, here called `beta`: d^2 / (2 beta) for differences |d| up to `beta`, and
 * |d| - beta / 2 beyond.
 * @example smoothL1Loss(tensor([0, 0]), tensor([0.5, 3]), { reduction: 'none' }); // [0.125, 2.5]
 */
export function smoothL1Loss(prediction: Tensor, target: Tensor, options: SmoothL1LossOptions = {}): Tensor {
  checkPair('smoothL1Loss', prediction, target);
  const known: OptionKinds<SmoothL1LossOptions> = { ...reductionOptions, beta: kinds.notNegative };
  const { beta = 1, reduction } = checkOptions('smoothL1Loss', options, known);
  return scope(() => {
    const difference = sub(prediction, target);
    return applyReduction(beta === 0 ? abs(difference) : div(huber(difference, beta), beta), reduction);
  });
}

/** c (|d| - c / 2) with c = min(|d|, delta). */
function huber(difference: Tensor, delta: number): Tensor {
  const size = abs(difference);
  const inner = clamp(size, { max: delta });
  return mul(inner, sub(size, mul(inner, 0.5)));
}

export interface BinaryCrossEntropyOptions extends ReductionOptions {
  /** A factor for each element; it broadcasts to the shape of the logits. */
  weight?: Tensor;
  /** A factor for the losses of positive targets; it broadcasts to the shape of the logits. */
  positiveWeight?: Tensor;
}

/**
 * -(t log p + (1 - t) log(1 - p)) with p = sigmoid(logits), computed without p, so that large logits are exact: the mean
 * over all elements, the sum, or every element.
 * @param logits any shape
 * @param targets probabilities in [0, 1], of the shape of the logits; not checked
 * @example
 * const logits = tensor([0, 2]);
 * binaryCrossEntropyWithLogits(logits, tensor([1, 1]), { reduction: 'none' }); // [0.6931, 0.1269]
 */
export function binaryCrossEntropyWithLogits(
  logits: Tensor,
  targets: Tensor,
  options: BinaryCrossEntropyOptions = {},
): Tensor {
  const op = 'binaryCrossEntropyWithLogits';
  checkPair(op, logits, targets);
  const known = { ...reductionOptions, weight: tensorKind, positiveWeight: tensorKind };
  const { weight, positiveWeight, reduction } = checkOptions<BinaryCrossEntropyOptions>(op, options, known);
  for (const factor of [weight, positiveWeight]) {
    if (!factor) continue;
    checkOperands(op, [factor]);
    checkSameDevice(op, logits, factor);
    if (!sameShape(broadcastShapes(op, logits.shape, factor.shape), logits.shape))
      throw new ShapeError(op, `weights that broadcast to ${formatShape(logits.shape)}`, formatShape(factor.shape));
  }
  return scope(() => {
    const losses = positiveWeight
      ? add(mul(mul(targets, positiveWeight), logisticLoss(logits, 1)), mul(sub(1, targets), logisticLoss(logits, 0)))
      : logisticLoss(logits, targets);
    return applyReduction(weight ? mul(losses, weight) : losses, reduction);
  });
}

/** (1 - t) max(x, 0) + t max(-x, 0) + log(1 + e^-|x|). Its terms have kinks at 0 and the sum has none, so it has rules of its own. */
const logisticLossOp = declareOp<{ target: number | undefined }>({
  name: 'binaryCrossEntropyWithLogits',
  cpu: 'none',
  cuda: 'none',
  backward({ grad, saved: [x, t], attributes: { target }, needs }) {
    return [needs[0] ? mul(grad, sub(sigmoid(x), target ?? t)) : null, needs[1] ? mul(grad, neg(x)) : null];
  },
  tangent({ parents: [logits, t], tangents: [tx, tTarget], attributes: { target } }) {
    const x = logits as Tensor;
    const first = tx && mul(tx, sub(sigmoid(x), target ?? (t as Tensor)));
    const second = tTarget && mul(tTarget, neg(x));
    return first && second ? add(first, second) : ((first ?? second) as Tensor);
  },
});

function logisticLoss(x: Tensor, t: Operand): Tensor {
  const y = noGrad(() => {
    const u = exp(neg(abs(x)));
    // log(1 + u) = log w + log(1 + (1 + u - w) / w), where w is 1 + u rounded; the last term is nearly its argument.
    const w = add(u, 1);
    const logarithm = add(log(w), div(sub(u, sub(w, 1)), w));
    const rest = typeof t === 'number' ? 1 - t : sub(1, t);
    return add(add(mul(maximum(x, 0), rest), mul(maximum(neg(x), 0), t)), logarithm);
  });
  const target = typeof t === 'number' ? t : undefined;
  const others = typeof t === 'number' ? [] : [t];
  return apply(logisticLossOp, y, { parents: [x, ...others], saved: [x, ...others], attributes: { target } });
}

const divergenceReductions = [...reductions, 'batchMean'] as const;

export interface KlDivergenceOptions {
  /** Default 'mean'; 'batchMean' is the sum divided by the extent of the first axis. */
  reduction?: Reduction | 'batchMean';
  /** Whether the target holds logarithms of probabilities; default false. */
  logTarget?: boolean;
}

/**
 * target (log target - input), as PyTorch's kl_div: the terms of the divergence of the distribution `input` from
 * `target`. `input` holds logarithms of probabilities, `target` probabilities (with `logTarget` their logarithms).
 * 'mean' averages over all elements and therefore is not the divergence of distributions; 'batchMean' is, for
 * distributions along the other axes. Where a target is 0 the term is 0, and the gradient with respect to that target
 * is -input (PyTorch: -Infinity).
 * @param input any shape
 * @param target of the shape of `input`
 * @example
 * const input = log(tensor([0.5, 0.5]));
 * klDivergence(input, tensor([0.9, 0.1]), { reduction: 'sum' }); // 0.3681
 */
export function klDivergence(input: Tensor, target: Tensor, options: KlDivergenceOptions = {}): Tensor {
  checkPair('klDivergence', input, target);
  const known: OptionKinds<KlDivergenceOptions> = { reduction: oneOf(divergenceReductions), logTarget: kinds.boolean };
  const { reduction = 'mean', logTarget = false } = checkOptions('klDivergence', options, known);
  if (reduction === 'batchMean' && input.rank === 0)
    throw new ShapeError('klDivergence', 'a first axis for batchMean', formatShape(input.shape));
  return scope(() => {
    const terms = logTarget
      ? mul(exp(target), sub(target, input))
      : sub(mul(target, log(where(equal(target, 0), 1, target))), mul(target, input));
    return reduction === 'batchMean' ? div(sum(terms), input.shape[0]) : applyReduction(terms, reduction);
  });
}

export interface CosineSimilarityOptions extends AxisOptions {
  /** The least length of a vector, so that nothing is divided by 0; default 1e-8. */
  eps?: number;
}

/**
 * a . b / (max(|a|, eps) max(|b|, eps)) of vectors along an axis, by default the last (PyTorch: axis 1).
 * @param a any shape but a scalar
 * @param b of the same shape
 * @returns the shape without that axis
 * @example cosineSimilarity(tensor([1, 0]), tensor([1, 1])); // 0.7071
 */
export function cosineSimilarity(a: Tensor, b: Tensor, options: CosineSimilarityOptions = {}): Tensor {
  checkPair('cosineSimilarity', a, b);
  const known: OptionKinds<CosineSimilarityOptions> = { ...axisOptions, eps: kinds.positive };
  const { eps = 1e-8, ...given } = checkOptions('cosineSimilarity', options, known);
  if (a.rank === 0) throw new ShapeError('cosineSimilarity', 'at least one axis', formatShape(a.shape));
  const axis = axisOf('cosineSimilarity', a.shape, given, -1);
  return scope(() => cosine(a, b, axis, eps));
}

function cosine(a: Tensor, b: Tensor, axis: number, eps: number): Tensor {
  // The limit is under the root, where its gradient is finite.
  const length = (x: Tensor) => sqrt(maximum(sum(square(x), { axes: axis }), Math.max(eps ** 2, 1e-37)));
  return div(sum(mul(a, b), { axes: axis }), mul(length(a), length(b)));
}

export interface CosineEmbeddingLossOptions extends ReductionOptions {
  /** The similarity up to which a pair of target -1 has no loss, from -1 to 1; default 0. */
  margin?: number;
}

/**
 * 1 - cosineSimilarity(a, b) for pairs of target 1, and max(0, similarity - margin) for those of target -1: the mean over
 * pairs, the sum, or one per pair.
 * @param a [N, C], or one vector [C]
 * @param b of the same shape
 * @param target f32 [N], or [] for one vector, of 1 and -1; any other number counts as -1 (PyTorch: as a loss of 0)
 * @example cosineEmbeddingLoss(tensor([[1, 0]]), tensor([[1, 1]]), tensor([1])); // 0.2929
 */
export function cosineEmbeddingLoss(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  options: CosineEmbeddingLossOptions = {},
): Tensor {
  const op = 'cosineEmbeddingLoss';
  checkPair(op, a, b);
  checkOperands(op, [target]);
  checkSameDevice(op, a, target);
  const known: OptionKinds<CosineEmbeddingLossOptions> = { ...reductionOptions, margin: kinds.finite };
  const { margin = 0, reduction } = checkOptions(op, options, known);
  if (a.rank < 1 || a.rank > 2 || !sameShape(target.shape, a.shape.slice(0, -1)))
    throw new ShapeError(
      op,
      'vectors [N, C] and targets [N], or vectors [C] and a target []',
      `${formatShape(a.shape)} and ${formatShape(target.shape)}`,
    );
  return scope(() => {
    const similarity = cosine(a, b, a.rank - 1, 1e-8);
    return applyReduction(where(equal(target, 1), sub(1, similarity), relu(sub(similarity, margin))), reduction);
  });
}
