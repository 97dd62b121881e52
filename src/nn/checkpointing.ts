// A block of a network whose activations are computed again in backward (autograd/checkpoint.ts).
import { checkpoint } from '../autograd/checkpoint.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { DropoutState } from './layers.ts';
import type { Module } from './module.ts';

export interface Block<X extends Tensor | Tensor[]> extends Module {
  forward(x: X, activated?: Tensor): Tensor;
}

/**
 * `block.forward(x, activated)`. Backward sees the mode and the draws of now: dropout's masks are functions of `state`, which
 * the next micro-batch changes.
 */
export function checkpointedBlock<X extends Tensor | Tensor[]>(
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
