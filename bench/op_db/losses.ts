// The rows of op_db/mapping.ts for losses and similarities.
import type { Tensor } from '../../src/index.ts';
import * as ops from '../../src/index.ts';
import { argument, inputOf, type Run, type Sample, Semantics } from './sample.ts';

type Reduction = 'mean' | 'sum' | 'none';

const reductionOf = (sample: Sample) => argument<Reduction>(sample, 9, 'reduction', 'mean');

/** The input and another tensor of its shape. */
function pairOf(sample: Sample): [Tensor, Tensor] {
  const [a, b] = [inputOf(sample), sample.args[0] as Tensor];
  if (a.shape.join() !== b.shape.join()) throw new Semantics('both tensors have the same shape');
  return [a, b];
}

const pairwise =
  (f: (a: Tensor, b: Tensor, options: never) => Tensor, optionsOf: (sample: Sample) => object = () => ({})): Run =>
  (sample) => {
    const [a, b] = pairOf(sample);
    return f(a, b, { reduction: reductionOf(sample), ...optionsOf(sample) } as never);
  };

/** Losses of class labels; PyTorch's classes are the second axis, and further axes hold more samples. */
const classLoss =
  (f: (x: Tensor, labels: Tensor, options: never) => Tensor): Run =>
  (sample) => {
    const [x, labels] = [inputOf(sample), sample.args[0] as Tensor];
    if (labels.dtype !== 'i32') throw new Semantics('labels are whole numbers, not probabilities');
    const ignored = argument(sample, 9, 'ignore_index', -100);
    if (labels.dataSync().includes(ignored)) throw new Semantics('every label counts (no ignore_index)');
    const weight = argument<Tensor | undefined>(sample, 9, 'weight', undefined);
    const labelSmoothing = argument(sample, 9, 'label_smoothing', 0);
    const classes = x.rank === 1 ? x.shape[0] : x.shape[1];
    const rows = ops.reshape(x.rank > 2 ? ops.moveAxis(x, 1, -1) : x, [labels.size, classes]);
    const reduction = reductionOf(sample);
    const options = { weight, reduction, ...(labelSmoothing > 0 ? { labelSmoothing } : {}) };
    const loss = f(rows, ops.reshape(labels, [labels.size]), options as never);
    return reduction === 'none' ? ops.reshape(loss, labels.shape) : loss;
  };

const klDivergence: Run = (sample) => {
  const [a, b] = pairOf(sample);
  const given = argument<string>(sample, 9, 'reduction', 'mean');
  const reduction = given === 'batchmean' ? 'batchMean' : (given as Reduction);
  return ops.klDivergence(a, b, { reduction, logTarget: argument(sample, 9, 'log_target', false) });
};

const cosineSimilarity: Run = (sample) => {
  const [a, b] = pairOf(sample);
  if (a.rank === 0) throw new Semantics('a scalar has no axes');
  return ops.cosineSimilarity(a, b, { axis: argument(sample, 1, 'dim', 1), eps: argument(sample, 2, 'eps', 1e-8) });
};

const rows: Record<string, Run> = {
  binary_cross_entropy_with_logits: pairwise(ops.binaryCrossEntropyWithLogits, (sample) => ({
    weight: argument<Tensor | undefined>(sample, 1, 'weight', undefined),
    positiveWeight: argument<Tensor | undefined>(sample, 5, 'pos_weight', undefined),
  })),
  cosine_embedding_loss: (sample) => {
    const [a, b] = pairOf(sample);
    const target = sample.args[1] as Tensor;
    if (target.dataSync().some((value) => Math.abs(value) !== 1)) throw new Semantics('targets are 1 and -1');
    const margin = argument(sample, 2, 'margin', 0);
    return ops.cosineEmbeddingLoss(a, b, target, { margin, reduction: reductionOf(sample) });
  },
  cosine_similarity: cosineSimilarity,
  cross_entropy: classLoss(ops.crossEntropy),
  huber_loss: pairwise(ops.huberLoss, (sample) => ({ delta: argument(sample, 9, 'delta', 1) })),
  kl_div: klDivergence,
  l1_loss: pairwise(ops.l1Loss),
  mse_loss: pairwise(ops.mse),
  nll_loss: classLoss(ops.nllLoss),
  smooth_l1_loss: pairwise(ops.smoothL1Loss, (sample) => ({ beta: argument(sample, 9, 'beta', 1) })),
};

export const lossRows: Record<string, Run> = Object.fromEntries(
  Object.entries(rows).map(([name, run]) => [`nn.functional.${name}`, run]),
);
