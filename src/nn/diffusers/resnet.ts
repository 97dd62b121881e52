// The residual block of Stable Diffusion (diffusers' ResnetBlock2D):
//   h = conv1(silu(norm1(x))) + time_emb_proj(silu(time));  y = shortcut(x) + conv2(silu(norm2(h)))
import { concat } from '../../kernels/movement.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Initializer } from '../init.ts';
import { Conv2d, GroupNorm, type GroupNormLayerOptions, Linear } from '../layers.ts';
import { Module } from '../module.ts';

export interface ResnetOptions {
  norm: Required<GroupNormLayerOptions>;
  /** Channels of the time embedding; none without one. */
  timeChannels?: number;
  init: Initializer;
}

export class ResnetBlock2D extends Module {
  readonly norm1: GroupNorm;
  readonly conv1: Conv2d;
  readonly time_emb_proj: Linear | undefined;
  readonly norm2: GroupNorm;
  readonly conv2: Conv2d;
  /** Only where the channels change. */
  readonly conv_shortcut: Conv2d | undefined;

  constructor(inputs: number, outputs: number, { norm, timeChannels, init }: ResnetOptions) {
    super();
    this.norm1 = new GroupNorm(inputs, init, norm);
    this.conv1 = new Conv2d(inputs, outputs, 3, init);
    if (timeChannels !== undefined) this.time_emb_proj = new Linear(timeChannels, outputs, init);
    this.norm2 = new GroupNorm(outputs, init, norm);
    this.conv2 = new Conv2d(outputs, outputs, 3, init);
    if (inputs !== outputs) this.conv_shortcut = new Conv2d(inputs, outputs, 1, init);
  }

  /**
   * @param x [N, H, W, inputs], or a list of tensors that stands for their concatenation on channels
   * @param time the activated time embedding [N, timeChannels], for a block that has a projection of it
   * @returns [N, H, W, outputs]
   */
  forward(x: Tensor | Tensor[], time?: Tensor): Tensor {
    return scope(() => {
      const add = this.time_emb_proj && time ? this.time_emb_proj.forward(time) : undefined;
      const normed = this.norm1.forward(x, { activation: 'silu' });
      const h = this.conv1.forward(normed, { add });
      normed.dispose();
      const kept = this.norm2.forward(h, { activation: 'silu' });
      h.dispose();
      // A convolution reads the parts of x where they are.
      const whole = () => (Array.isArray(x) ? concat(x, 3) : x);
      const residual = this.conv_shortcut ? this.conv_shortcut.forward(x) : whole();
      return this.conv2.forward(kept, { residual });
    });
  }
}
