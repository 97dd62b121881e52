// Small parts of the networks of Stable Diffusion. The properties of modules in this folder have the names that diffusers
// gives them, because they are the names of tensors in files: `down_blocks.0.resnets.0.conv1.weight`.
import { requireWhole } from '../../arguments.ts';
import { matmul } from '../../kernels/matmul.ts';
import { slice } from '../../kernels/movement.ts';
import { upsampleNearest } from '../../kernels/resample.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkInitializer, Initializer } from '../init.ts';
import { Conv2d } from '../layers.ts';
import { withChange } from '../low_rank.ts';
import { Module } from '../module.ts';

/** y = x W^T over the last axis, without a bias. */
export class Projection extends Module {
  /** [outputs, inputs] */
  weight: Tensor;

  constructor(inputs: number, outputs: number, init = new Initializer()) {
    super();
    requireWhole('Projection inputs', inputs, 1);
    requireWhole('Projection outputs', outputs, 1);
    checkInitializer('Projection', init);
    this.weight = init.varianceScaling([outputs, inputs]);
  }

  /** Maps [..., inputs] to [..., outputs]. */
  forward(x: Tensor): Tensor {
    return withChange(this, x, () => matmul(x, this.weight, { transposeB: true }));
  }
}

/** Doubles height and width, then a 3 x 3 convolution. */
export class Upsample2D extends Module {
  readonly conv: Conv2d;

  constructor(channels: number, init: Initializer) {
    super();
    this.conv = new Conv2d(channels, channels, 3, init);
  }

  /**
   * Maps [N, H, W, C] to [N, 2 H, 2 W, C].
   * @param size height and width of the result, each twice that of x or one less; default: twice
   */
  forward(x: Tensor, size?: readonly [number, number]): Tensor {
    const [n, height, width, channels] = x.shape;
    const [rows, columns] = size ?? [2 * height, 2 * width];
    if (rows === 2 * height && columns === 2 * width) return this.conv.forward(x, { upsample: 2 });
    return scope(() => this.conv.forward(slice(upsampleNearest(x, 2), [0, 0, 0, 0], [n, rows, columns, channels])));
  }
}

/**
 * The results of layers in turn, the last one of which is returned. Each is freed when the next one is known, so that
 * without gradients only two are alive.
 */
export function inTurn(x: Tensor, layers: readonly ((h: Tensor) => Tensor)[]): Tensor {
  return scope(() => {
    let h = x;
    for (const layer of layers) {
      const next = layer(h);
      if (h !== x && h !== next) h.dispose();
      h = next;
    }
    return h;
  });
}
