// Joins the input pyramid to the network's features (Score SDE, layerspp.py Combine).
import { checkArgument, oneOf } from '../../arguments.ts';
import { concat } from '../../kernels/movement.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Initializer } from '../init.ts';
import { Conv2d } from '../layers.ts';
import { Module } from '../module.ts';

const methodKind = oneOf(['sum', 'cat']);

/**
 * Joins an image to features: conv1x1(image) + h for 'sum', their concatenation on channels for 'cat' (Score SDE, layerspp.py
 * Combine).
 * @example
 * const init = new Initializer({ seed: 1 });
 * const combine = new Combine(3, 16, 'cat', init);
 * combine.forward(zeros([2, 8, 8, 3]), zeros([2, 8, 8, 16])).shape; // [2, 8, 8, 32]
 */
export class Combine extends Module {
  readonly conv: Conv2d;
  /** Number of output channels. */
  readonly outputs: number;
  private readonly method: 'sum' | 'cat';

  constructor(inputs: number, channels: number, method: 'sum' | 'cat', init: Initializer) {
    super();
    checkArgument('Combine', 'method', method, methodKind);
    this.conv = new Conv2d(inputs, channels, 1, init);
    this.outputs = method === 'cat' ? 2 * channels : channels;
    this.method = method;
  }

  /**
   * Joins an image to features.
   * @param image [N, H, W, inputs]
   * @param h [N, H, W, channels]
   * @returns [N, H, W, outputs]
   */
  forward(image: Tensor, h: Tensor): Tensor {
    if (this.method === 'sum') return this.conv.forward(image, { residual: h });
    return scope(() => concat([this.conv.forward(image), h], 3));
  }
}
