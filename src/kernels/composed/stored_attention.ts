// Attention with stored scores, written in ops: for forward mode, which differentiates it again, and for dropout.
import type { Tensor } from '../../tensor/tensor.ts';
import { cast } from '../cast.ts';
import { mul, where } from '../elementwise.ts';
import { matmul } from '../matmul.ts';
import { permute, reshape } from '../movement.ts';
import { softmax } from '../softmax.ts';

/** Stands for the score of a key that is left out: after the softmax it is 0 if any key is not. */
const LOWEST = -3e38;

/** [N, rows, heads C] -> [N, heads, rows, C], or x itself for one head. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  if (heads === 1) return x;
  const [samples, rows, channels] = x.shape;
  return permute(reshape(x, [samples, rows, heads, channels / heads]), [0, 2, 1, 3]);
}

/** The inverse of splitHeads. */
export function joinHeads(x: Tensor, heads: number): Tensor {
  if (heads === 1) return x;
  const [samples, , rows, channels] = x.shape;
  return reshape(permute(x, [0, 2, 1, 3]), [samples, rows, heads * channels]);
}

/** scale a b^T, f32, for each head of tensors that splitHeads made. */
export function scoresOf(a: Tensor, b: Tensor, scale: number): Tensor {
  return mul(cast(matmul(a, b, { transposeB: true }), 'f32'), scale);
}

/**
 * The softmax of scores over the keys; 0 for keys that are left out.
 * @param scores [N, heads, queries, keys], or [N, queries, keys] for one head
 * @param allowed bool, broadcasts to [N, heads, queries, keys]; default: all
 */
export function probabilitiesOf(scores: Tensor, allowed?: Tensor): Tensor {
  const [samples, , queries, keys] = allowed?.shape ?? [];
  const mask = allowed && scores.rank === 3 && allowed.rank > 3 ? reshape(allowed, [samples, queries, keys]) : allowed;
  const only = (t: Tensor, other: number) => (mask ? where(mask, t, other) : t);
  return only(softmax(only(scores, LOWEST)), 0);
}

/** Products of probabilities with values, in the dtype of the values. */
export function weighted(probabilities: Tensor, values: Tensor): Tensor {
  return matmul(cast(probabilities, values.dtype), values);
}
