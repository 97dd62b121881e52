// The tangent rule of attention, with stored scores: what is differentiated again must be written in ops.
import type { TangentContext } from '../../autograd/mode.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { cast } from '../cast.ts';
import { add, mul, sub, where } from '../elementwise.ts';
import { matmul } from '../matmul.ts';
import { permute, reshape } from '../movement.ts';
import { sum } from '../reduce.ts';
import { softmax } from '../softmax.ts';

/** Stands for the score of a key that is left out: after the softmax it is 0 if any key is not. */
const LOWEST = -3e38;

export interface TangentOptions {
  /** The factor of the scores. */
  scale: number;
  heads?: number;
  /** bool, broadcasts to [N, heads, queries, keys]: which keys each query attends to; default: all. */
  allowed?: Tensor;
}

/** The tangent of softmax(scale q k^T) v for the parents q, k and v. */
export function attentionTangent(
  { parents: [q, k, v], tangents: [tq, tk, tv], output }: Omit<TangentContext<unknown>, 'attributes' | 'saved'>,
  { scale, heads = 1, allowed }: TangentOptions,
): Tensor {
  const split = (t: Tensor) => splitHeads(t, heads);
  const [queries, keys, values] = [q, k, v].map((t) => split(t as Tensor));
  const scores = (a: Tensor, b: Tensor) => mul(cast(matmul(a, b, { transposeB: true }), 'f32'), scale);
  const all = scores(queries, keys);
  const spread = allowed && heads === 1 && allowed.rank > 3 ? reshape(allowed, withoutHeads(allowed)) : allowed;
  const only = (t: Tensor, other: number) => (spread ? where(spread, t, other) : t);
  const probabilities = only(softmax(only(all, LOWEST)), 0);
  const products = (p: Tensor, t: Tensor) => matmul(cast(p, t.dtype), t);
  const slopes = [tq && scores(split(tq), keys), tk && scores(queries, split(tk))].filter((t) => t !== null);
  const terms = tv ? [products(probabilities, split(tv))] : [];
  if (slopes.length > 0) {
    const weighted = mul(probabilities, slopes.reduce(add));
    const change = sub(weighted, mul(probabilities, sum(weighted, { axes: -1, keepDims: true })));
    terms.push(products(change, values));
  }
  const total = terms.reduce(add);
  return heads === 1 ? total : reshape(permute(total, [0, 2, 1, 3]), output.shape);
}

/** [N, rows, heads C] -> [N, heads, rows, C], or x itself for one head. */
function splitHeads(x: Tensor, heads: number): Tensor {
  if (heads === 1) return x;
  const [samples, rows, channels] = x.shape;
  return permute(reshape(x, [samples, rows, heads, channels / heads]), [0, 2, 1, 3]);
}

/** The shape of a mask of four axes for one head. */
function withoutHeads({ shape: [samples, , queries, keys] }: Tensor): number[] {
  return [samples, queries, keys];
}
