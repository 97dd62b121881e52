// Attention: softmax(scale q k^T) v. One head without a mask stores the probabilities for backward, which is faster for
// the few pixels of an image, and dropout stores them too; everything else computes scores by blocks (flash_attention.ts).
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { DtypeError, formatShape, ShapeError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import { scope } from '../../tensor/scope.ts';
import { type Tensor, tensorKind } from '../../tensor/tensor.ts';
import { hopperProbabilities, hopperSlopes } from '../conv/hopper_attention.ts';
import { mul } from '../elementwise.ts';
import { attends, type FlashAttention, flashAttention } from '../flash_attention.ts';
import type { Activation } from '../launch/storage.ts';
import { product } from '../matmul.ts';
import { apply, checkActivations, checkOperands, checkSameDevice, declareOp } from '../op.ts';
import { checkDropout, type DropoutOptions, dropout as drop } from '../random.ts';
import { onRows, softmaxCuda, softmaxKernels, softmaxOfRows } from '../softmax.ts';
import { attentionTangent } from './attention_tangent.ts';
import { joinHeads, probabilitiesOf, scoresOf, splitHeads, weighted } from './stored_attention.ts';

export const attentionOp = declareOp<{ scale: number }>({
  name: 'attention',
  cpu: softmaxKernels,
  cuda: softmaxCuda,
  backward({ grad, saved: [q, k, v, probabilities], attributes: { scale } }) {
    const dv = product({ tensor: probabilities, transposed: true }, { tensor: grad });
    using dScores = attentionSlopes(grad, v, probabilities, scale);
    const dq = product({ tensor: dScores }, { tensor: k });
    const dk = product({ tensor: dScores, transposed: true }, { tensor: q });
    return [dq, dk, dv];
  },
  tangent: (context) => attentionTangent(context, context.attributes),
});

export interface AttentionOptions {
  /** Heads, each of which attends on its own share of the channels; default 1. */
  heads?: number;
  /** Whether query i attends to keys 0 to i only; default false. */
  causal?: boolean;
  /** bool, broadcast to [N, heads, queries, keys]: true where the query attends to the key. With `causal`, both must. */
  mask?: Tensor;
  /** The factor of the scores; default 1 / sqrt(channels of a head of q). */
  scale?: number;
  /**
   * Zeroes probabilities with probability `p` and scales the others by 1 / (1 - p). The mask is drawn from `seed`, `stream`
   * and the number of the sample. Default: none.
   */
  dropout?: DropoutOptions;
}

const attentionOptions: OptionKinds<AttentionOptions> = {
  heads: kinds.int32Count,
  causal: kinds.boolean,
  mask: tensorKind,
  scale: kinds.finite,
  dropout: kinds.object,
};

/**
 * Attention (Vaswani et al. 2017), for each head h: softmax(scale q_h k_h^T) v_h. With several heads, a mask or
 * `causal` no matrix of scores is stored (Dao et al. 2022): memory grows with the numbers of queries and keys, not with
 * their product, and backward computes the scores again. Forward mode (`jvp`) and `dropout` do store them.
 *
 * Scores and their softmax are f32, also for bf16 tensors; one head without a mask stores its probabilities as bf16.
 * A query that attends to no key gives 0, with gradients of 0 (so does PyTorch 2.13; earlier versions may give NaN).
 * A key that is left out still needs finite values, as in PyTorch. `causal` aligns query 0 with key 0, as PyTorch's
 * `is_causal` does. q, k and v have the same number of heads.
 * @param q [N, queries, heads C]; f32, or on CUDA bf16; k and v have the same dtype
 * @param k [N, keys, heads C], keys >= 1
 * @param v [N, keys, heads D]
 * @returns [N, queries, heads D]
 * @throws ShapeError for shapes that do not fit, channels that `heads` does not divide, or a mask that does not
 * broadcast; DtypeError for a mask that is not bool
 * @example
 * const q = randn([1, 4, 8], { seed: 1 });
 * attention(q, q, q, { heads: 2, causal: true }).shape; // [1, 4, 8]
 * const mask = tensor([[[[1, 1, 1, 0]]]], { dtype: 'bool' }); // the last key counts for no query
 * attention(q, q, q, { heads: 2, mask }).shape; // [1, 4, 8]
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  checkActivations('attention', [q, k, v]);
  const [n, , channels] = q.shape;
  const fits =
    [q, k, v].every((t) => t.rank === 3 && t.shape[0] === n) &&
    k.shape[2] === channels &&
    v.shape[1] === k.shape[1] &&
    k.shape[1] > 0;
  if (!fits)
    throw new ShapeError(
      'attention',
      'q [N, queries, C], k [N, keys, C] and v [N, keys, D]',
      [q, k, v].map((t) => formatShape(t.shape)).join(', '),
    );
  const checked = checkOptions('attention', options, attentionOptions);
  const { heads = 1, causal = false, mask, scale: given } = checked;
  const dropout = checked.dropout && checkDropout('attention', checked.dropout);
  if (channels % heads !== 0 || v.shape[2] % heads !== 0)
    throw new ShapeError(
      'attention',
      `q, k and v with channels for ${heads} heads of equal size`,
      [q, k, v].map((t) => formatShape(t.shape)).join(', '),
    );
  if (mask) checkMask(mask, q, [n, heads, q.shape[1], k.shape[1]]);
  const scale = given ?? 1 / Math.sqrt(channels / heads);
  if (dropout) return droppedAttention(q, k, v, mask, { heads, causal, scale }, dropout);
  if (heads > 1 || causal || mask) return flashAttention(q, k, v, mask, { heads, causal, scale });
  return storedAttention(q, k, v, scale);
}

function checkMask(mask: Tensor, q: Tensor, full: readonly number[]): void {
  if (mask.dtype !== 'bool') throw new DtypeError('attention', 'a mask of dtype bool', mask.describe());
  checkOperands('attention', [mask], 'bool');
  checkSameDevice('attention', q, mask);
  const lead = full.length - mask.rank;
  if (lead < 0 || mask.shape.some((dim, axis) => dim !== 1 && dim !== full[lead + axis]))
    throw new ShapeError(
      'attention',
      `a mask that broadcasts to [N, heads, queries, keys] = ${formatShape(full)}`,
      formatShape(mask.shape),
    );
}

/** The gradient of the scores before they were scaled, of the probabilities' dtype. */
export function attentionSlopes(grad: Tensor, v: Tensor, probabilities: Tensor, scale: number): Tensor {
  const { device, dtype, shape } = probabilities;
  const fast = hopperSlopes(grad, v, probabilities, scale);
  if (fast) return fast;
  using dProbabilities = product({ tensor: grad }, { tensor: v, transposed: true }, { dtype: 'f32' });
  const dScores = allocate(shape, { device, dtype });
  const keys = shape[2];
  const rows = dScores.size / keys;
  const operands = [probabilities.address, dProbabilities.address, dScores.address, rows, keys, scale];
  if (rows > 0) onRows(device, 'softmax_backward', rows, operands, dtype as Activation);
  return dScores;
}

/** softmax(scale q k^T), of q's dtype. */
export function attentionProbabilities(q: Tensor, k: Tensor, scale: number): Tensor {
  const { device } = q;
  const fast = hopperProbabilities(q, k, scale);
  if (fast) return fast;
  // On CUDA the softmax kernel applies the scale; on the CPU it is cheaper to scale q than the scores.
  const late = device.kind === 'cuda';
  const scaled = late ? q : noGrad(() => mul(q, scale));
  using scores = product({ tensor: scaled }, { tensor: k, transposed: true }, { dtype: 'f32' });
  if (scaled !== q) scaled.dispose();
  const probabilities = allocate(scores.shape, { device, dtype: q.dtype });
  softmaxOfRows(scores, probabilities, late ? scale : 1);
  return probabilities;
}

function storedAttention(q: Tensor, k: Tensor, v: Tensor, scale: number): Tensor {
  using probabilities = attentionProbabilities(q, k, scale);
  const y = product({ tensor: probabilities }, { tensor: v });
  return apply(attentionOp, y, { parents: [q, k, v], saved: [q, k, v, probabilities], attributes: { scale } });
}

/** Attention whose probabilities pass through dropout; the first axis of the probabilities is the sample. */
function droppedAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor | undefined,
  attributes: FlashAttention,
  { p, ...draw }: DropoutOptions,
): Tensor {
  const { heads, causal, scale } = attributes;
  return scope(() => {
    const [queries, keys, values] = [q, k, v].map((t) => splitHeads(t, heads));
    const allowed = causal ? attends(q, k, v, mask, attributes) : mask;
    const probabilities = probabilitiesOf(scoresOf(queries, keys, scale), allowed);
    return joinHeads(weighted(drop(probabilities, p, draw), values), heads);
  });
}
