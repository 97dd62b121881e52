// Low-rank changes of linear layers (LoRA, Hu et al. 2021): y = x W^T + x down^T up^T, with W kept as it is. A layer does not
// own its change, so that the change alone can be trained, counted and saved.
import { add } from '../kernels/elementwise.ts';
import { matmul } from '../kernels/matmul.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Initializer } from './init.ts';
import { Module } from './module.ts';

/** A matrix of a change. */
class Factor extends Module {
  readonly weight: Tensor;

  constructor(weight: Tensor) {
    super();
    this.weight = weight;
  }
}

/** The change of one layer. Its tensors have the names of kohya's files. It is zero at first, because `lora_up` is. */
export class LowRank extends Module {
  /** [rank, inputs] */
  readonly lora_down: Factor;
  /** [outputs, rank] */
  readonly lora_up: Factor;

  constructor(inputs: number, outputs: number, rank: number, init: Initializer) {
    super();
    this.lora_down = new Factor(init.uniform([rank, inputs], 1 / Math.sqrt(inputs)));
    this.lora_up = new Factor(init.constant([outputs, rank], 0));
  }

  /** Maps [..., inputs] to [..., outputs]. */
  forward(x: Tensor): Tensor {
    const down = matmul(x, this.lora_down.weight, { transposeB: true });
    return matmul(down, this.lora_up.weight, { transposeB: true });
  }
}

const changes = new WeakMap<Module, LowRank>();

/** From now on, the layer adds this change to its result. */
export function changeLayer(layer: Module, change: LowRank): void {
  changes.set(layer, change);
}

/** The result of a linear layer for x, with its change if it has one. */
export function withChange(layer: Module, x: Tensor, result: () => Tensor): Tensor {
  const change = changes.get(layer);
  return change ? scope(() => add(result(), change.forward(x))) : result();
}
