// The tangent rule of attention, with stored scores: what is differentiated again must be written in ops.
import type { TangentContext } from '../../autograd/mode.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { add, mul, sub } from '../elementwise.ts';
import { sum } from '../reduce.ts';
import { joinHeads, probabilitiesOf, scoresOf, splitHeads, weighted } from './stored_attention.ts';

export interface TangentOptions {
  /** The factor of the scores. */
  scale: number;
  heads?: number;
  /** bool, broadcasts to [N, heads, queries, keys]: which keys each query attends to; default: all. */
  allowed?: Tensor;
}

/** The tangent of softmax(scale q k^T) v for the parents q, k and v. */
export function attentionTangent(
  { parents: [q, k, v], tangents: [tq, tk, tv] }: Pick<TangentContext<unknown>, 'parents' | 'tangents'>,
  { scale, heads = 1, allowed }: TangentOptions,
): Tensor {
  const split = (t: Tensor) => splitHeads(t, heads);
  const [queries, keys, values] = [q, k, v].map((t) => split(t as Tensor));
  const scores = (a: Tensor, b: Tensor) => scoresOf(a, b, scale);
  const probabilities = probabilitiesOf(scores(queries, keys), allowed);
  const slopes = [tq && scores(split(tq), keys), tk && scores(queries, split(tk))].filter((t) => t !== null);
  const terms = tv ? [weighted(probabilities, split(tv))] : [];
  if (slopes.length > 0) {
    const parts = mul(probabilities, slopes.reduce(add));
    const change = sub(parts, mul(probabilities, sum(parts, { axes: -1, keepDims: true })));
    terms.push(weighted(change, values));
  }
  return joinHeads(terms.reduce(add), heads);
}
