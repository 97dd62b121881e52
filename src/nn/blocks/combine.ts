// How the input pyramid enters the network (Score SDE, layerspp.py Combine).
import { checkArgument, oneOf } from '../../arguments.ts';
import { concat } from '../../kernels/movement.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Initializer } from '../init.ts';
import { Conv2d } from '../layers.ts';
import { Module } from '../module.ts';

const methodKind = oneOf(['sum', 'cat']);

/** conv1x1(image) + h for 'sum'; for 'cat' both behind each other on channels. */
export class Combine extends Module {
  readonly conv: Conv2d;
  /** Channels of the result. */
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
   * To [N, H, W, outputs].
   * @param image [N, H, W, inputs]
   * @param h [N, H, W, channels]
   */
  forward(image: Tensor, h: Tensor): Tensor {
    if (this.method === 'sum') return this.conv.forward(image, { residual: h });
    return scope(() => concat([this.conv.forward(image), h], 3));
  }
}
