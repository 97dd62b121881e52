/**
 * Reference of losses of two arrays and of class labels, each a function of one element, pair or sample, then reduced.
 * The reductions are those of PyTorch: a weighted mean over samples divides by the sum of the weights of the labels.
 */
import { type Array64, array64, at, broadcastTo, generate } from './array.ts';
import { elementwise } from './elementwise.ts';
import { logSoftmax, type Reduction, reduceLoss, sum } from './reduce.ts';

const each = (f: (a: number, b: number) => number, a: Array64, b: Array64, reduction?: Reduction) =>
  reduceLoss(elementwise(f, a, b), reduction);

export const l1Loss = (a: Array64, b: Array64, reduction?: Reduction): Array64 =>
  each((p, t) => Math.abs(p - t), a, b, reduction);

const huber = (difference: number, delta: number) =>
  Math.abs(difference) <= delta ? difference ** 2 / 2 : delta * (Math.abs(difference) - delta / 2);

export const huberLoss = (a: Array64, b: Array64, delta = 1, reduction?: Reduction): Array64 =>
  each((p, t) => huber(p - t, delta), a, b, reduction);

export const smoothL1Loss = (a: Array64, b: Array64, beta = 1, reduction?: Reduction): Array64 =>
  beta === 0 ? l1Loss(a, b, reduction) : each((p, t) => huber(p - t, beta) / beta, a, b, reduction);

export interface BinaryCrossEntropyOptions {
  weight?: Array64;
  positiveWeight?: Array64;
  reduction?: Reduction;
}

export function binaryCrossEntropyWithLogits(x: Array64, t: Array64, options: BinaryCrossEntropyOptions): Array64 {
  const weight = options.weight && broadcastTo(options.weight, x.shape).data;
  const positive = options.positiveWeight && broadcastTo(options.positiveWeight, x.shape).data;
  const softplus = (value: number) => Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));
  const losses = x.data.map((logit, i) => {
    const loss = (positive?.[i] ?? 1) * t.data[i] * softplus(-logit) + (1 - t.data[i]) * softplus(logit);
    return (weight?.[i] ?? 1) * loss;
  });
  return reduceLoss(array64(x.shape, losses), options.reduction);
}

export function klDivergence(
  input: Array64,
  target: Array64,
  { reduction = 'mean', logTarget = false }: { reduction?: Reduction | 'batchMean'; logTarget?: boolean },
): Array64 {
  const term = logTarget
    ? (x: number, t: number) => Math.exp(t) * (t - x)
    : (x: number, t: number) => (t === 0 ? 0 : t * Math.log(t)) - t * x;
  if (reduction !== 'batchMean') return each(term, input, target, reduction);
  return elementwise((total) => total / input.shape[0], each(term, input, target, 'sum'));
}

export interface ClassLossOptions {
  weight?: Array64;
  reduction?: Reduction;
  smoothing?: number;
}

export function nllLoss(x: Array64, labels: Array64, options: ClassLossOptions = {}): Array64 {
  const { weight, reduction = 'mean', smoothing = 0 } = options;
  const [samples, classes] = x.shape;
  const weightOf = (label: number) => weight?.data[label] ?? 1;
  const losses = generate([samples], ([n]) => {
    const loss = (label: number) => -weightOf(label) * at(x, [n, label]);
    let all = 0;
    for (let label = 0; label < classes; label++) all += loss(label);
    return (1 - smoothing) * loss(labels.data[n]) + (smoothing * all) / classes;
  });
  if (reduction !== 'mean') return reduceLoss(losses, reduction);
  const total = Array.from(labels.data, weightOf).reduce((a, b) => a + b, 0);
  return elementwise((value) => value / total, sum(losses));
}

export const crossEntropyWith = (logits: Array64, labels: Array64, options: ClassLossOptions): Array64 =>
  nllLoss(logSoftmax(logits), labels, options);

export function cosineSimilarity(a: Array64, b: Array64, axis = -1, eps = 1e-8): Array64 {
  const dot = (x: Array64, y: Array64) =>
    sum(
      elementwise((p, q) => p * q, x, y),
      { axes: axis },
    );
  const length = (x: Array64) => elementwise((square) => Math.max(Math.sqrt(square), eps), dot(x, x));
  return elementwise((product, p, q) => product / (p * q), dot(a, b), length(a), length(b));
}

export function cosineEmbeddingLoss(
  a: Array64,
  b: Array64,
  target: Array64,
  { margin = 0, reduction }: { margin?: number; reduction?: Reduction },
): Array64 {
  const losses = elementwise(
    (cosine, t) => (t === 1 ? 1 - cosine : Math.max(0, cosine - margin)),
    cosineSimilarity(a, b),
    target,
  );
  return reduceLoss(losses, reduction);
}
