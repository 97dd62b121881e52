// Instance normalisation (Ulyanov, Vedaldi and Lempitsky 2016): group normalisation with groups of one channel.
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { zeros } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { type Tensor, tensorKind } from '../../tensor/tensor.ts';
import { add } from '../elementwise.ts';
import { groupNorm } from '../group_norm.ts';
import { checkAffine } from '../inner/affine.ts';
import { checkActivations } from '../op.ts';

export interface InstanceNormOptions {
  /** f32 [C]; default: none. */
  weight?: Tensor;
  /** f32 [C]; default: none. */
  bias?: Tensor;
  /** Added to the variance, not negative; default 1e-5. */
  eps?: number;
}

const instanceNormOptions: OptionKinds<InstanceNormOptions> = {
  weight: tensorKind,
  bias: tensorKind,
  eps: kinds.notNegative,
};

/**
 * Normalises each channel of each sample to mean 0 and variance 1 over its positions, then applies weight and bias.
 *
 * Source: Ulyanov, Vedaldi and Lempitsky, Instance Normalization (2016).
 * @param x [N, ..., C] of at least three axes; f32, or on CUDA bf16
 * @throws ShapeError for samples of fewer than two positions, as in PyTorch
 * @example instanceNorm(reshape(arange(0, 4), [1, 2, 2, 1])); // [[[[-1.342], [-0.4472]], [[0.4472], [1.342]]]]
 */
export function instanceNorm(x: Tensor, options: InstanceNormOptions = {}): Tensor {
  const device = checkActivations('instanceNorm', [x]);
  const { weight, bias, eps = 1e-5 } = checkOptions('instanceNorm', options, instanceNormOptions);
  const groups = x.shape[x.rank - 1];
  if (x.rank < 3 || groups === 0)
    throw new ShapeError('instanceNorm', 'x [N, ..., C] of at least three axes, C >= 1', formatShape(x.shape));
  checkAffine('instanceNorm', x, { weight, bias }, [groups]);
  if (x.size > 0 && x.size === x.shape[0] * groups)
    throw new ShapeError('instanceNorm', 'more than one position of each sample', formatShape(x.shape));
  return scope(() => {
    const none = zeros([groups], { device });
    return groupNorm(x, weight ?? add(none, 1), bias ?? none, { groups, eps });
  });
}
