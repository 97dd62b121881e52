// Attention as one op: softmax(scale q k^T) v. The probabilities are saved for backward.
import { checkOptions, kinds } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { cast } from '../cast.ts';
import { add, mul, sub } from '../elementwise.ts';
import type { Activation } from '../launch/storage.ts';
import { matmul, product } from '../matmul.ts';
import { apply, checkActivations, defineOp } from '../op.ts';
import { sum } from '../reduce.ts';
import { onRows, softmax, softmaxCuda, softmaxKernels, softmaxOfRows } from '../softmax.ts';

export const attentionOp = defineOp<{ scale: number }>({
  name: 'attention',
  cpu: softmaxKernels,
  cuda: softmaxCuda,
  backward({ grad, saved: [q, k, v, probabilities], attributes: { scale } }) {
    const dtype = q.dtype as Activation;
    using dProbabilities = product({ tensor: grad }, { tensor: v, transposed: true }, { dtype: 'f32' });
    const dv = product({ tensor: probabilities, transposed: true }, { tensor: grad });
    using dScores = allocate(probabilities.shape, { device: q.device, dtype });
    const keys = k.shape[1];
    const rows = dScores.size / keys;
    const operands = [probabilities.address, dProbabilities.address, dScores.address, rows, keys, scale];
    if (rows > 0) onRows(q.device, 'softmax_backward', rows, operands, dtype);
    const dq = product({ tensor: dScores }, { tensor: k });
    const dk = product({ tensor: dScores, transposed: true }, { tensor: q });
    return [dq, dk, dv];
  },
  tangent({ parents: [q, k, v], tangents: [tq, tk, tv], attributes: { scale } }) {
    const [queries, keys, values] = [q as Tensor, k as Tensor, v as Tensor];
    const scores = (a: Tensor, b: Tensor) => mul(cast(matmul(a, b, { transposeB: true }), 'f32'), scale);
    const probabilities = softmax(scores(queries, keys));
    const products = (p: Tensor, t: Tensor) => matmul(cast(p, t.dtype), t);
    const slopes = [tq && scores(tq, keys), tk && scores(queries, tk)].filter((t) => t !== null);
    const terms = tv ? [products(probabilities, tv)] : [];
    if (slopes.length > 0) {
      const weighted = mul(probabilities, slopes.reduce(add));
      const change = sub(weighted, mul(probabilities, sum(weighted, { axes: -1, keepDims: true })));
      terms.push(products(change, values));
    }
    return terms.reduce(add);
  },
});

/**
 * Single-head attention (Vaswani et al. 2017).
 * For bf16 tensors, the scores and their softmax are computed in f32 and the probabilities are stored as bf16.
 * @param q [N, queries, C]; f32, or on CUDA bf16; k and v have the same dtype
 * @param k [N, keys, C], keys >= 1
 * @param v [N, keys, D]
 * @param options.scale the factor of the scores; default 1 / sqrt(C)
 * @returns [N, queries, D]
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: { scale?: number } = {}): Tensor {
  const device = checkActivations('attention', [q, k, v]);
  const dtype = q.dtype as Activation;
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
  const { scale = 1 / Math.sqrt(channels) } = checkOptions('attention', options, { scale: kinds.finite });
  // On CUDA the softmax kernel applies the scale; on the CPU it is cheaper to scale q than the scores.
  const late = device.kind === 'cuda';
  const scaled = late ? q : noGrad(() => mul(q, scale));
  using scores = product({ tensor: scaled }, { tensor: k, transposed: true }, { dtype: 'f32' });
  if (scaled !== q) scaled.dispose();
  using probabilities = allocate(scores.shape, { device, dtype });
  softmaxOfRows(scores, probabilities, late ? scale : 1);
  const y = product({ tensor: probabilities }, { tensor: v });
  return apply(attentionOp, y, { parents: [q, k, v], saved: [q, k, v, probabilities], attributes: { scale } });
}
