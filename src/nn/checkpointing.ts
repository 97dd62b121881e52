// Activation checkpointing of a block of a network (autograd/checkpoint.ts): backward recomputes the activations.
import { checkpoint } from '../autograd/checkpoint.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { DropoutState } from './layers.ts';
import type { Module } from './module.ts';

export interface Block<X extends Tensor | Tensor[]> extends Module {
  /** @param activated the time embedding after its activation, [N, C]; absent if the network has none */
  forward(x: X, activated?: Tensor): Tensor;
}

/**
 * Computes `block.forward(x, activated)`. Its recomputation in backward uses the training mode and the dropout state of
 * this call, although the next micro-batch changes `state`.
 */
export function checkpointBlock<X extends Tensor | Tensor[]>(
  block: Block<X>,
  x: X,
  activated: Tensor | undefined,
  state: DropoutState,
): Tensor {
  const parts: Tensor[] = Array.isArray(x) ? x : [x];
  const { training } = block;
  const { seed, first } = state;
  const forward = (...given: Tensor[]): Tensor => {
    const now = { training: block.training, seed: state.seed, first: state.first };
    block.train(training);
    Object.assign(state, { seed, first });
    try {
      const input = Array.isArray(x) ? given.slice(0, parts.length) : given[0];
      return block.forward(input as X, given[parts.length]);
    } finally {
      block.train(now.training);
      Object.assign(state, { seed: now.seed, first: now.first });
    }
  };
  return checkpoint(forward, activated ? [...parts, activated] : parts);
}
