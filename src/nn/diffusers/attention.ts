// Attention in the networks of Stable Diffusion: the attention layer (diffusers' Attention), the block of three parts
// (BasicTransformerBlock), and its use on an image (Transformer2DModel).
import { formatShape, ShapeError, ValueError } from '../../errors.ts';
import { attention } from '../../kernels/composed/attention.ts';
import { add } from '../../kernels/elementwise.ts';
import { geglu } from '../../kernels/gelu.ts';
import { reshape } from '../../kernels/movement.ts';
import { scope } from '../../tensor/scope.ts';
import { requireTensor, type Tensor } from '../../tensor/tensor.ts';
import type { Initializer } from '../init.ts';
import { Conv2d, GroupNorm, Linear } from '../layers.ts';
import { Module } from '../module.ts';
import { LayerNorm } from '../norms.ts';
import { Projection } from './layers.ts';

/** Attention of a sequence to itself, or to another one of `keyChannels`. */
export class CrossAttention extends Module {
  readonly heads: number;
  readonly to_q: Projection;
  readonly to_k: Projection;
  readonly to_v: Projection;
  /** The second entry of diffusers' list is a dropout of probability 0. */
  readonly to_out: readonly [Linear];

  /** @throws ValueError unless the heads divide the channels */
  constructor(channels: number, keyChannels: number, heads: number, init: Initializer) {
    super();
    if (channels % heads !== 0)
      throw new ValueError(`[CrossAttention] expected heads that divide ${channels} channels, got ${heads}`);
    this.heads = heads;
    this.to_q = new Projection(channels, channels, init);
    this.to_k = new Projection(keyChannels, channels, init);
    this.to_v = new Projection(keyChannels, channels, init);
    this.to_out = [new Linear(channels, channels, init)];
  }

  /**
   * @param x [N, L, channels]
   * @param context [N, S, keyChannels]; default: x
   * @returns [N, L, channels]
   */
  forward(x: Tensor, context: Tensor = x): Tensor {
    const { heads, to_q, to_k, to_v, to_out } = this;
    return scope(() =>
      to_out[0].forward(attention(to_q.forward(x), to_k.forward(context), to_v.forward(context), { heads })),
    );
  }
}

/** The gated linear unit: x W + b, whose first half is multiplied by the GELU of the second. */
class GatedLinear extends Module {
  readonly proj: Linear;

  constructor(inputs: number, outputs: number, init: Initializer) {
    super();
    this.proj = new Linear(inputs, 2 * outputs, init);
  }

  forward(x: Tensor): Tensor {
    return scope(() => geglu(this.proj.forward(x)));
  }
}

class FeedForward extends Module {
  /** Between the two layers, diffusers' list has a dropout of probability 0. */
  readonly net: readonly [GatedLinear, undefined, Linear];

  constructor(channels: number, init: Initializer) {
    super();
    this.net = [new GatedLinear(channels, 4 * channels, init), undefined, new Linear(4 * channels, channels, init)];
  }

  forward(x: Tensor): Tensor {
    const [expand, , contract] = this.net;
    return scope(() => contract.forward(expand.forward(x)));
  }
}

/** x += attn1(norm1(x)); x += attn2(norm2(x), context); x += ff(norm3(x)). */
export class BasicTransformerBlock extends Module {
  readonly norm1: LayerNorm;
  readonly attn1: CrossAttention;
  readonly norm2: LayerNorm;
  readonly attn2: CrossAttention;
  readonly norm3: LayerNorm;
  readonly ff: FeedForward;

  constructor(channels: number, contextChannels: number, heads: number, init: Initializer) {
    super();
    this.norm1 = new LayerNorm(channels, init);
    this.attn1 = new CrossAttention(channels, channels, heads, init);
    this.norm2 = new LayerNorm(channels, init);
    this.attn2 = new CrossAttention(channels, contextChannels, heads, init);
    this.norm3 = new LayerNorm(channels, init);
    this.ff = new FeedForward(channels, init);
  }

  /** @param x [N, L, channels] @param context [N, S, contextChannels] @returns [N, L, channels] */
  forward(x: Tensor, context: Tensor): Tensor {
    return scope(() => {
      const a = add(x, this.attn1.forward(this.norm1.forward(x)));
      const b = add(a, this.attn2.forward(this.norm2.forward(a), context));
      a.dispose();
      return add(b, this.ff.forward(this.norm3.forward(b)));
    });
  }
}

export interface Transformer2DOptions {
  heads: number;
  contextChannels: number;
  groups: number;
  /** Whether `proj_in` and `proj_out` are linear layers, as in Stable Diffusion 2, and not 1 x 1 convolutions. */
  linearProjection: boolean;
  init: Initializer;
}

/** A transformer block on the pixels of an image as a sequence, row by row, added to the image. */
export class Transformer2DModel extends Module {
  readonly norm: GroupNorm;
  readonly proj_in: Conv2d | Linear;
  readonly transformer_blocks: readonly [BasicTransformerBlock];
  readonly proj_out: Conv2d | Linear;

  constructor(channels: number, options: Transformer2DOptions) {
    super();
    const { heads, contextChannels, groups, linearProjection, init } = options;
    const projection = () =>
      linearProjection ? new Linear(channels, channels, init) : new Conv2d(channels, channels, 1, init);
    this.norm = new GroupNorm(channels, init, { groups, eps: 1e-6 });
    this.proj_in = projection();
    this.transformer_blocks = [new BasicTransformerBlock(channels, contextChannels, heads, init)];
    this.proj_out = projection();
  }

  /** @param x [N, H, W, channels] @param context [N, S, contextChannels] @returns [N, H, W, channels] */
  forward(x: Tensor, context: Tensor): Tensor {
    const { norm, proj_in, proj_out } = this;
    const [n, height, width, channels] = x.shape;
    return scope(() => {
      const tokens = reshape(proj_in.forward(norm.forward(x)), [n, height * width, channels]);
      const image = reshape(this.transformer_blocks[0].forward(tokens, context), x.shape);
      return proj_out instanceof Conv2d ? proj_out.forward(image, { residual: x }) : add(proj_out.forward(image), x);
    });
  }
}

/** One head of attention over the pixels of an image, added to it: the middle of AutoencoderKL. */
export class ImageAttention extends Module {
  readonly group_norm: GroupNorm;
  readonly to_q: Linear;
  readonly to_k: Linear;
  readonly to_v: Linear;
  readonly to_out: readonly [Linear];

  constructor(channels: number, groups: number, init: Initializer) {
    super();
    this.group_norm = new GroupNorm(channels, init, { groups, eps: 1e-6 });
    this.to_q = new Linear(channels, channels, init);
    this.to_k = new Linear(channels, channels, init);
    this.to_v = new Linear(channels, channels, init);
    this.to_out = [new Linear(channels, channels, init)];
  }

  /** Maps [N, H, W, channels] to the same shape. */
  forward(x: Tensor): Tensor {
    const { group_norm, to_q, to_k, to_v, to_out } = this;
    const [n, height, width, channels] = x.shape;
    return scope(() => {
      const h = reshape(group_norm.forward(x), [n, height * width, channels]);
      const attended = attention(to_q.forward(h), to_k.forward(h), to_v.forward(h));
      return add(x, reshape(to_out[0].forward(attended), x.shape));
    });
  }
}

/** @throws ShapeError unless x is [N, H, W, channels] */
export function requireImages(op: string, x: Tensor, channels: number): void {
  requireTensor(op, x, 'images');
  if (x.rank !== 4 || x.shape[3] !== channels)
    throw new ShapeError(op, `images [N, H, W, ${channels}]`, formatShape(x.shape));
}
