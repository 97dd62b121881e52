// A table of learned vectors, one for each token, class or position.
import { requireWhole } from '../arguments.ts';
import { gather, reshape } from '../kernels/movement.ts';
import { scope } from '../tensor/scope.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { checkInitializer, Initializer } from './init.ts';
import { Module } from './module.ts';

/**
 * Learned vectors by whole number; weight [count, size], drawn from N(0, 1) as in PyTorch.
 * @example
 * const embedding = new Embedding(1000, 64);
 * embedding.forward(tensor([3, 1, 4], { dtype: 'i32' })).shape; // [3, 64]
 */
export class Embedding extends Module {
  weight: Tensor;

  constructor(count: number, size: number, init = new Initializer()) {
    super();
    requireWhole('Embedding count', count, 1);
    requireWhole('Embedding size', size, 1);
    checkInitializer('Embedding', init);
    this.weight = init.normal([count, size], 1);
  }

  /** Maps indices [...], i32, to [..., size]. @throws ValueError for an index outside [0, count) */
  forward(indices: Tensor): Tensor {
    requireTensor('Embedding', indices, 'indices');
    return scope(() => reshape(gather(this.weight, reshape(indices, [-1])), [...indices.shape, this.weight.shape[1]]));
  }
}
