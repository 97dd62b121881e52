// How losses are reduced to one number.
import { type OptionKinds, oneOf } from '../../arguments.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { mean, sum } from '../reduce.ts';

/** How a loss reduces its values, one per element or sample. */
export const reductions = ['mean', 'sum', 'none'] as const;
export type Reduction = (typeof reductions)[number];

export interface ReductionOptions {
  /** Default 'mean'. */
  reduction?: Reduction;
}

export const reductionOptions: OptionKinds<ReductionOptions> = { reduction: oneOf(reductions) };

/** The mean, the sum, or the unreduced losses. */
export function applyReduction(loss: Tensor, reduction: Reduction = 'mean'): Tensor {
  if (reduction === 'none') return loss;
  const reduced = reduction === 'sum' ? sum(loss) : mean(loss);
  loss.dispose();
  return reduced;
}
