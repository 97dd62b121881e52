// The two blocks of the UNet, in the order of operations of Score SDE's layerspp.py.
import { attention } from '../kernels/attention.ts';
import { concat, reshape } from '../kernels/movement.ts';
import { downsampleMean, upsampleNearest } from '../kernels/resample.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Initializer } from './init.ts';
import { Conv2d, Dropout, type DropoutState, GroupNorm, Linear } from './layers.ts';
import { Module } from './module.ts';

/** What all blocks of one network share. */
export interface BlockContext {
  /** Channels of the activated time embedding; 0 for a network without one. */
  embeddingChannels: number;
  dropout: number;
  dropoutState: DropoutState;
  /** Scale of the initialiser of the last convolution of a block. */
  initScale: number;
  /** Divide the sum of a block and its shortcut by sqrt 2. */
  skipRescale: boolean;
  init: Initializer;
  /** Streams of the dropout layers made so far. */
  streams: { next: number };
}

export type Resample = 'none' | 'up' | 'down';

/**
 * Residual block of BigGAN form (ResnetBlockBigGANpp):
 *   h = conv1(resample(silu(norm1(x)))) + dense(silu(embedding));  h = conv2(dropout(silu(norm2(h))))
 *   y = (shortcut(resample(x)) + h) / sqrt 2
 * The shortcut is a 1x1 convolution where the channels change or the block resamples.
 */
export class ResidualBlock extends Module {
  readonly norm1: GroupNorm;
  readonly conv1: Conv2d;
  readonly timeProjection: Linear | undefined;
  readonly norm2: GroupNorm;
  readonly dropout: Dropout;
  readonly conv2: Conv2d;
  readonly shortcut: Conv2d | undefined;
  private readonly resample: Resample;
  private readonly scale: number;

  constructor(inputs: number, outputs: number, resample: Resample, context: BlockContext) {
    super();
    const { init } = context;
    this.resample = resample;
    this.scale = context.skipRescale ? Math.SQRT1_2 : 1;
    this.norm1 = new GroupNorm(inputs, init);
    this.conv1 = new Conv2d(inputs, outputs, 3, init);
    this.timeProjection = context.embeddingChannels ? new Linear(context.embeddingChannels, outputs, init) : undefined;
    this.norm2 = new GroupNorm(outputs, init);
    this.dropout = new Dropout(context.dropout, context.streams.next++, context.dropoutState);
    this.conv2 = new Conv2d(outputs, outputs, 3, init, context.initScale);
    this.shortcut = inputs !== outputs || resample !== 'none' ? new Conv2d(inputs, outputs, 1, init) : undefined;
  }

  /**
   * @param x [N, H, W, inputs], or parts that stand for their concatenation on channels
   * @param activated silu(time embedding) [N, embeddingChannels]
   */
  forward(x: Tensor | Tensor[], activated: Tensor | undefined): Tensor {
    return scope(() => {
      const normalized = this.norm1.forward(x, { activation: 'silu', resample: this.resample });
      const add = activated && this.timeProjection?.forward(activated);
      const h = this.dropout.forward(
        this.norm2.forward(this.conv1.forward(normalized, { add }), { activation: 'silu' }),
      );
      let residual = Array.isArray(x) ? concat(x, 3) : x;
      if (this.resample === 'up') residual = upsampleNearest(residual, 2);
      if (this.resample === 'down') residual = downsampleMean(residual, 2);
      if (this.shortcut) residual = this.shortcut.forward(residual);
      return this.conv2.forward(h, { residual, scale: this.scale });
    });
  }
}

/**
 * Single-head self-attention over the H W positions (AttnBlockpp): y = (x + project(attention(q, k, v))) / sqrt 2,
 * q, k, v = linear maps of norm(x).
 */
export class AttentionBlock extends Module {
  readonly norm: GroupNorm;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly projection: Conv2d;
  private readonly scale: number;

  constructor(channels: number, context: BlockContext) {
    super();
    const { init } = context;
    this.scale = context.skipRescale ? Math.SQRT1_2 : 1;
    this.norm = new GroupNorm(channels, init);
    // 0.1 is the official default of these three maps.
    this.query = new Linear(channels, channels, init, 0.1);
    this.key = new Linear(channels, channels, init, 0.1);
    this.value = new Linear(channels, channels, init, 0.1);
    this.projection = new Conv2d(channels, channels, 1, init, context.initScale);
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const [n, height, width, channels] = x.shape;
      const h = reshape(this.norm.forward(x), [n, height * width, channels]);
      const attended = attention(this.query.forward(h), this.key.forward(h), this.value.forward(h));
      return this.projection.forward(reshape(attended, x.shape), { residual: x, scale: this.scale });
    });
  }
}
