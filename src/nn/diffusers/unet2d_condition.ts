// The network of Stable Diffusion 1 and 2 (Rombach et al. 2022), and of InstaFlow (Liu et al. 2024): diffusers'
// UNet2DConditionModel with blocks of residual layers and attention to a text.
import { checkOptions, kind, kinds, listOf, type OptionKinds, oneOf, wholeFrom } from '../../arguments.ts';
import { formatShape, ShapeError, ValueError } from '../../errors.ts';
import { cast } from '../../kernels/cast.ts';
import { silu } from '../../kernels/elementwise.ts';
import { scope } from '../../tensor/scope.ts';
import { requireTensor, type Tensor } from '../../tensor/tensor.ts';
import { asActivation } from '../activation.ts';
import { sinusoidalEmbedding } from '../embedding.ts';
import { checkInitializer, Initializer } from '../init.ts';
import { Conv2d, GroupNorm, Linear } from '../layers.ts';
import { Module } from '../module.ts';
import { requireImages } from './attention.ts';
import { UNetDownBlock, UNetMiddle, UNetUpBlock } from './unet_blocks.ts';

export interface UNet2DConditionOptions {
  /** Channels of the input; default 4. */
  inChannels?: number;
  /** Channels of the output; default 4. */
  outChannels?: number;
  /** Channels at each resolution, the highest first; 320, 640, 1280, 1280 in Stable Diffusion. */
  channels: readonly number[];
  /** Whether the blocks of each resolution attend to the text; default: all but the lowest. */
  attends?: readonly boolean[];
  /** Residual layers of a block on the way down; those on the way up have one more. Default 2. */
  layers?: number;
  /** Heads of attention at each resolution, or at all; default 8. */
  heads?: number | readonly number[];
  /** Width of the text; default 768. */
  contextChannels?: number;
  /** Groups of a norm; default 32. */
  groups?: number;
  /** eps of the norms of residual layers and of the output; default 1e-5. Those of transformers have 1e-6. */
  eps?: number;
  /** Whether transformers begin and end with linear layers, as in Stable Diffusion 2; default false. */
  linearProjection?: boolean;
  /** What is subtracted in the divisor of the time embedding's exponent; default 0. */
  shift?: 0 | 1;
  /** Whether the time embedding begins with the cosines; default true. */
  cosineFirst?: boolean;
}

const counts = listOf(kinds.count, 'whole numbers >= 1');

const unetOptions: OptionKinds<UNet2DConditionOptions> = {
  inChannels: kinds.count,
  outChannels: kinds.count,
  channels: counts,
  attends: listOf(kinds.boolean, 'true or false'),
  layers: wholeFrom(1, 64),
  heads: kind('a whole number >= 1, or one for each resolution', (v) => kinds.count.accepts(v) || counts.accepts(v)),
  contextChannels: kinds.count,
  groups: kinds.count,
  eps: kinds.notNegative,
  linearProjection: kinds.boolean,
  shift: oneOf([0, 1]),
  cosineFirst: kinds.boolean,
};

class TimestepEmbedding extends Module {
  readonly linear_1: Linear;
  readonly linear_2: Linear;

  constructor(inputs: number, outputs: number, init: Initializer) {
    super();
    this.linear_1 = new Linear(inputs, outputs, init);
    this.linear_2 = new Linear(outputs, outputs, init);
  }

  forward(x: Tensor): Tensor {
    return scope(() => this.linear_2.forward(silu(this.linear_1.forward(x))));
  }
}

/**
 * A network of images, times and texts. Its tensors have the names of diffusers' UNet2DConditionModel; weights of
 * convolutions are [Cout, kh, kw, Cin].
 * @example
 * const network = new UNet2DCondition({ channels: [8, 16], heads: 2, contextChannels: 4, groups: 4 });
 * const [latents, text] = [randn([1, 8, 8, 4], { seed: 1 }), randn([1, 77, 4], { seed: 2 })];
 * network.forward(latents, tensor([1000]), text).shape; // [1, 8, 8, 4]
 */
export class UNet2DCondition extends Module {
  readonly options: Required<UNet2DConditionOptions>;
  readonly conv_in: Conv2d;
  readonly time_embedding: TimestepEmbedding;
  readonly down_blocks: UNetDownBlock[] = [];
  readonly mid_block: UNetMiddle;
  readonly up_blocks: UNetUpBlock[] = [];
  readonly conv_norm_out: GroupNorm;
  readonly conv_out: Conv2d;
  /** Whether backward recomputes the activations of layers instead of keeping them: less memory, and the same bits. */
  recompute = false;

  /** @throws ArgumentError, ValueError for options that do not fit together */
  constructor(given: UNet2DConditionOptions, init = new Initializer()) {
    super();
    checkInitializer('UNet2DCondition', init);
    const options = complete(given);
    this.options = options;
    const { channels, attends, layers, contextChannels, groups, eps, linearProjection } = options;
    const heads = listHeads(options);
    const timeChannels = 4 * channels[0];
    const norm = { groups, eps };
    const resnet = { norm, timeChannels, init };
    const transformerAt = (level: number) => ({ heads: heads[level], contextChannels, groups, linearProjection, init });
    const optionsAt = (level: number) => ({ resnet, transformer: attends[level] ? transformerAt(level) : undefined });
    const levels = channels.length;
    this.conv_in = new Conv2d(options.inChannels, channels[0], 3, init);
    this.time_embedding = new TimestepEmbedding(channels[0], timeChannels, init);
    const skips = [channels[0]];
    let width = channels[0];
    for (const [level, outputs] of channels.entries()) {
      const last = level === levels - 1;
      this.down_blocks.push(new UNetDownBlock(width, outputs, layers, last, optionsAt(level)));
      for (let i = 0; i < layers + (last ? 0 : 1); i++) skips.push(outputs);
      width = outputs;
    }
    this.mid_block = new UNetMiddle(width, resnet, transformerAt(levels - 1));
    for (let level = levels - 1; level >= 0; level--) {
      const own = skips.splice(-(layers + 1)).reverse();
      this.up_blocks.push(new UNetUpBlock(width, channels[level], own, level === 0, optionsAt(level)));
      width = channels[level];
    }
    this.conv_norm_out = new GroupNorm(width, init, norm);
    this.conv_out = new Conv2d(width, options.outChannels, 3, init);
  }

  /**
   * The network's prediction. Activations are bf16 if the device was opened with that precision.
   * @param x [N, H, W, inChannels]
   * @param times [N], from 0 to 1000; they need not be whole
   * @param text [N, S, contextChannels]
   * @returns f32 [N, H, W, outChannels]
   * @throws ShapeError
   */
  forward(x: Tensor, times: Tensor, text: Tensor): Tensor {
    const { inChannels, contextChannels } = this.options;
    requireImages('UNet2DCondition', x, inChannels);
    requireTensor('UNet2DCondition', times, 'times');
    requireTensor('UNet2DCondition', text, 'a text');
    const [n] = x.shape;
    if (times.rank !== 1 || times.shape[0] !== n)
      throw new ShapeError('UNet2DCondition', `times [${n}]`, formatShape(times.shape));
    if (text.rank !== 3 || text.shape[0] !== n || text.shape[2] !== contextChannels)
      throw new ShapeError('UNet2DCondition', `a text [${n}, S, ${contextChannels}]`, formatShape(text.shape));
    return scope(() => {
      const conditions = { time: this.activatedTime(times), text: asActivation(text), recompute: this.recompute };
      const skips = [this.conv_in.forward(asActivation(x))];
      for (const block of this.down_blocks) skips.push(...block.forward(skips[skips.length - 1], conditions));
      let h = this.mid_block.forward(skips[skips.length - 1], conditions);
      for (const block of this.up_blocks) {
        const next = block.forward(h, skips, conditions);
        h.dispose();
        h = next;
      }
      const y = this.conv_out.forward(this.conv_norm_out.forward(h, { activation: 'silu' }));
      return y.dtype === 'f32' ? y : cast(y, 'f32');
    });
  }

  /** silu of the time embedding, [N, 4 channels[0]]: every residual layer takes a linear map of it. */
  private activatedTime(times: Tensor): Tensor {
    const { channels, shift, cosineFirst } = this.options;
    return scope(() => {
      const waves = sinusoidalEmbedding(times, channels[0], { shift, cosineFirst });
      return silu(this.time_embedding.forward(asActivation(waves)));
    });
  }
}

function complete(given: UNet2DConditionOptions): Required<UNet2DConditionOptions> {
  const checked = checkOptions('UNet2DCondition', given, unetOptions, ['channels']);
  const channels = [...checked.channels];
  const attends = [...(checked.attends ?? channels.map((_, level) => level < channels.length - 1))];
  const heads = checked.heads ?? 8;
  for (const [name, list] of Object.entries({ attends, heads }))
    if (channels.length === 0 || (Array.isArray(list) && list.length !== channels.length))
      throw new ValueError(`[UNet2DCondition] expected ${name} for each of ${channels.length} resolutions`);
  return {
    inChannels: 4,
    outChannels: 4,
    layers: 2,
    contextChannels: 768,
    groups: 32,
    eps: 1e-5,
    linearProjection: false,
    shift: 0,
    cosineFirst: true,
    ...checked,
    channels,
    attends,
    heads,
  };
}

function listHeads({ heads, channels }: Required<UNet2DConditionOptions>): readonly number[] {
  return typeof heads === 'number' ? channels.map(() => heads) : heads;
}
