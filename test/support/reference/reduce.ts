// Reference of reductions, softmax, losses: the reduced axes of x are gathered into one list per output element,
// and the op is a function of that list.
//   softmax(x)_k = exp(x_k) / sum_j exp(x_j)      cross entropy = -log softmax(logits)[label]
import { type Array64, array64, at, count, generate, indexOf, map } from './array.ts';
import { elementwise } from './elementwise.ts';

export interface ReduceOptions {
  axes?: number | readonly number[];
  keepDims?: boolean;
}

/** One value per list of elements along `axes` (all axes by default, negative ones count from the end). */
function reduce(x: Array64, { axes, keepDims = false }: ReduceOptions, f: (list: number[]) => number): Array64 {
  const rank = x.shape.length;
  const named = axes === undefined ? x.shape.map((_, axis) => axis) : [axes].flat();
  const reduced = new Set(named.map((axis) => (axis + rank) % rank));
  const inner = x.shape.map((extent, axis) => (reduced.has(axis) ? extent : 1));
  const kept = x.shape.map((extent, axis) => (reduced.has(axis) ? 1 : extent));
  const result = generate(kept, (index) => {
    const list = Array.from({ length: count(inner) }, (_, position) =>
      at(
        x,
        indexOf(position, inner).map((offset, axis) => index[axis] + offset),
      ),
    );
    return f(list);
  });
  return keepDims
    ? result
    : array64(
        x.shape.filter((_, axis) => !reduced.has(axis)),
        result.data,
      );
}

const total = (list: number[]): number => list.reduce((a, b) => a + b, 0);
const largest = (list: number[]): number => list.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);

export const sum = (x: Array64, options: ReduceOptions = {}): Array64 => reduce(x, options, total);
export const mean = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (list) => total(list) / list.length);
export const max = (x: Array64, options: ReduceOptions = {}): Array64 => reduce(x, options, largest);

export const min = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (list) => list.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY));
export const prod = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (list) => list.reduce((a, b) => a * b, 1));

export const variance = (x: Array64, { correction = 1, ...options }: ReduceOptions & { correction?: number } = {}) =>
  reduce(x, options, (list) => {
    const centre = total(list) / list.length;
    return total(list.map((value) => (value - centre) ** 2)) / Math.max(0, list.length - correction);
  });

export const norm = (x: Array64, { ord = 2, ...options }: ReduceOptions & { ord?: number } = {}): Array64 =>
  reduce(x, options, (list) => {
    const sizes = list.map(Math.abs);
    if (ord === Number.POSITIVE_INFINITY) return largest(sizes);
    return total(sizes.map((size) => size ** ord)) ** (1 / ord);
  });

export const logSumExp = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (list) => {
    if (list.length === 0) return Number.NEGATIVE_INFINITY;
    const peak = largest(list);
    return peak + Math.log(total(list.map((value) => Math.exp(value - peak))));
  });

export const median = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (list) => [...list].sort((a, b) => a - b)[Math.floor((list.length - 1) / 2)]);

export const any = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (list) => Number(list.some((value) => value !== 0)));
export const all = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (list) => Number(list.every((value) => value !== 0)));
export const countNonzero = (x: Array64, options: ReduceOptions = {}): Array64 =>
  reduce(x, options, (list) => list.filter((value) => value !== 0).length);

/** Index of the first smallest element along one axis. */
export function argmin(x: Array64, { axis, keepDims }: { axis: number; keepDims?: boolean }): Array64 {
  return reduce(x, { axes: axis, keepDims }, (list) => list.indexOf(Math.min(...list)));
}

/** Index of the first largest element along one axis. */
export function argmax(x: Array64, options: { axis: number; keepDims?: boolean }): Array64 {
  return reduce(x, { axes: options.axis, keepDims: options.keepDims }, (list) => list.indexOf(largest(list)));
}

export function logSoftmax(x: Array64, axis = -1): Array64 {
  const peak = max(x, { axes: axis, keepDims: true });
  const shifted = elementwise((a, b) => a - b, x, peak);
  const normaliser = map(sum(map(shifted, Math.exp), { axes: axis, keepDims: true }), Math.log);
  return elementwise((a, b) => a - b, shifted, normaliser);
}

export const softmax = (x: Array64, axis = -1): Array64 => map(logSoftmax(x, axis), Math.exp);

export type Reduction = 'mean' | 'sum' | 'none';

export function reduceLoss(losses: Array64, reduction: Reduction = 'mean'): Array64 {
  return reduction === 'none' ? losses : reduction === 'sum' ? sum(losses) : mean(losses);
}

export function crossEntropy(logits: Array64, labels: Array64, reduction: Reduction = 'mean'): Array64 {
  const logProbabilities = logSoftmax(logits);
  const losses = generate([logits.shape[0]], ([n]) => -at(logProbabilities, [n, labels.data[n]]));
  return reduceLoss(losses, reduction);
}

export function mse(prediction: Array64, target: Array64, reduction: Reduction = 'mean'): Array64 {
  return reduceLoss(
    elementwise((a, b) => (a - b) ** 2, prediction, target),
    reduction,
  );
}
