// The non-parametric velocity of a coupling (Liu, Gong, Liu 2023, sections 2.2 and 5.1): the mean of the directions of
// the pairs whose lines pass near z at time t, weighted by a Gaussian kernel over the m nearest of them. It needs no training.
//
//   x_t,i = t x1_i + (1 - t) x0_i,  w_i = exp(-|z - x_t,i|^2 / (2 h^2)) / sum over the m nearest
//   v_h(z, t) = sum_i w_i (x1_i - z) / (1 - t)        'end', the paper's
//   v_h(z, t) = sum_i w_i (x1_i - x0_i)               'difference'
//
// All is computed on the host in float64: near t = 1 the first form divides rounding errors by 1 - t.
import { checkArgument, checkOptions, either, kinds, type OptionKinds, oneOf } from '../arguments.ts';
import { ArgumentError, ShapeError, ValueError } from '../errors.ts';
import { tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { hostPairs, hostPoints } from './host_points.ts';
import type { Velocity } from './velocity.ts';

/** What a weight multiplies: (x1 - z) / (1 - t), or x1 - x0. */
export const kernelForms = ['end', 'difference'] as const;
export type KernelForm = (typeof kernelForms)[number];

/** Pairs of points of the host: pair i begins at point i of x0 and ends at point i of x1. */
export interface PointPairs {
  /** One point after the other. */
  x0: ArrayLike<number>;
  /** As many points as x0. */
  x1: ArrayLike<number>;
  /** How many numbers a point has; default 2. */
  dim?: number;
}

export interface KernelOptions {
  /** Standard deviation h of the Gaussian kernel, in the unit of the points, or h as a function of t; default 1. */
  bandwidth?: number | ((t: number) => number);
  /** How many of the nearest x_t,i count; more than there are pairs means all. Default 100. */
  neighbours?: number;
  /** Default 'end', the paper's form, with which a path ends at points of x1 or between them. */
  form?: KernelForm;
}

/** A velocity for tensors [N, dim] that also takes points of the host. */
export interface KernelVelocity extends Velocity {
  /**
   * The velocity at points of the host, in float64.
   * @param points one after the other
   * @param t in [0, 1) for the form 'end', in [0, 1] for 'difference'
   */
  at(points: ArrayLike<number>, t: number): Float64Array;
}

const kernelOptions: OptionKinds<KernelOptions> = {
  bandwidth: either(kinds.positive, kinds.callback),
  neighbours: kinds.count,
  form: oneOf(kernelForms),
};

const pairOptions: OptionKinds<PointPairs> = { x0: kinds.object, x1: kinds.object, dim: kinds.count };

/**
 * The velocity of a coupling without a network (Liu, Gong, Liu 2023, sections 2.2 and 5.1): a mean of the pairs that pass near z at time t,
 * with Gaussian weights over the nearest. It is computed on the host in float64, so it suits thousands of pairs.
 *
 * With x0 all zero, `neighbours` the number of pairs and the bandwidth 1 - t, it is the exact velocity from N(0, I) to the points x1, which
 * ends in these points and nowhere else.
 * @param pairs the coupling; it is copied
 * @returns a function of tensors (x [N, dim], t [N]) without gradients, for samplers; `at` takes points of the host
 * @throws ArgumentError for options of other kinds; ValueError for points that are not finite or do not pair up, and for a time outside the
 * form's range
 * @example
 * const pairs = { x0: [0, 0, 4, 0], x1: [0, 2, 4, 2] };
 * const velocity = kernelVelocity(pairs, { bandwidth: 1, neighbours: 1 });
 * Array.from(velocity.at([0.5, 0], 0)); // [-0.5, 2]
 * velocity(tensor([[0, 1]]), tensor([0.5])); // [[0, 2]]
 */
export function kernelVelocity(pairs: PointPairs, options: KernelOptions = {}): KernelVelocity {
  const { x0, x1, dim = 2 } = checkOptions('kernelVelocity', pairs, pairOptions, ['x0', 'x1']);
  const { bandwidth = 1, neighbours = 100, form = 'end' } = checkOptions('kernelVelocity', options, kernelOptions);
  const [from, to] = hostPairs('kernelVelocity', x0, x1, dim);
  const nearest = Math.min(neighbours, from.length / dim);
  const evaluate = (z: Float64Array, t: number): Float64Array => {
    checkArgument('kernelVelocity', 't', t, kinds.finite);
    const last = form === 'end' ? 't < 1, because the form "end" divides by 1 - t' : 't <= 1';
    if (t < 0 || t > 1 || (form === 'end' && t === 1))
      throw new ValueError(`[kernelVelocity] expected 0 <= ${last}, got t = ${t}`);
    const h = typeof bandwidth === 'function' ? bandwidth(t) : bandwidth;
    if (!(Number.isFinite(h) && h > 0))
      throw new ValueError(`[kernelVelocity] expected a bandwidth above 0 at t = ${t}, got ${h}`);
    return meanDirections({ from, to, dim, nearest, h, form }, z, t);
  };
  const velocity = (x: Tensor, t: Tensor): Tensor => {
    if (x.rank !== 2 || x.shape[1] !== dim)
      throw new ShapeError('kernelVelocity', `points [N, ${dim}]`, `[${x.shape}]`);
    const times = t.dataSync();
    if (times.length !== x.shape[0]) throw new ShapeError('kernelVelocity', `times [${x.shape[0]}]`, `[${t.shape}]`);
    const values = Float64Array.from(x.dataSync());
    const result = new Float32Array(values.length);
    // Samplers ask for one time; others come in runs of equal times.
    for (let begin = 0, end = 0; begin < times.length; begin = end) {
      while (end < times.length && times[end] === times[begin]) end++;
      result.set(evaluate(values.subarray(begin * dim, end * dim), times[begin]), begin * dim);
    }
    return tensor(result, { shape: x.shape, device: x.device });
  };
  const at = (points: ArrayLike<number>, t: number) => evaluate(hostPoints('kernelVelocity', 'points', points, dim), t);
  if (from.length === 0) throw new ArgumentError('kernelVelocity', 'at least one pair', 'none');
  return Object.assign(velocity, { at });
}

interface Kernel {
  from: Float64Array;
  to: Float64Array;
  dim: number;
  nearest: number;
  h: number;
  form: KernelForm;
}

function meanDirections({ from, to, dim, nearest, h, form }: Kernel, z: Float64Array, t: number): Float64Array {
  const count = from.length / dim;
  const passing = from.map((value, i) => t * to[i] + (1 - t) * value);
  const squares = new Float64Array(count);
  const order = new Float64Array(count);
  const result = new Float64Array(z.length);
  for (let at = 0; at < z.length; at += dim) {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      let square = 0;
      for (let k = 0; k < dim; k++) {
        const difference = z[at + k] - passing[i * dim + k];
        square += difference * difference;
      }
      squares[i] = square;
      if (square < least) least = square;
    }
    let farthest = Number.POSITIVE_INFINITY;
    let ties = count;
    if (nearest < count) {
      order.set(squares);
      farthest = selectSmallest(order, nearest - 1);
      // Where several pairs are as far as the last, the first ones count.
      ties = nearest;
      for (let i = 0; i < count; i++) if (squares[i] < farthest) ties--;
    }
    let total = 0;
    for (let i = 0; i < count; i++) {
      if (squares[i] > farthest || (squares[i] === farthest && ties-- <= 0)) continue;
      // Relative to the nearest, so that not all weights underflow.
      const weight = Math.exp((least - squares[i]) / (2 * h * h));
      total += weight;
      for (let k = 0; k < dim; k++) {
        const start = form === 'end' ? z[at + k] : from[i * dim + k];
        result[at + k] += weight * (to[i * dim + k] - start);
      }
    }
    const scale = 1 / (form === 'end' ? total * (1 - t) : total);
    for (let k = 0; k < dim; k++) result[at + k] *= scale;
  }
  return result;
}

/** The value that would be at `k` if `values` were sorted; they are reordered (Hoare's quickselect). */
function selectSmallest(values: Float64Array, k: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let [i, j] = [low, high];
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i > j) break;
      const swapped = values[i];
      values[i++] = values[j];
      values[j--] = swapped;
    }
    if (k <= j) high = j;
    else if (k >= i) low = i;
    else break;
  }
  return values[k];
}
