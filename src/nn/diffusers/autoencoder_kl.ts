// The autoencoder of Stable Diffusion (Rombach et al. 2022): diffusers' AutoencoderKL. An image [N, H, W, 3] in [-1, 1]
// becomes a latent of an eighth of its height and width, and back.
import { checkOptions, kinds, listOf, type OptionKinds, wholeFrom } from '../../arguments.ts';
import { checkpoint } from '../../autograd/checkpoint.ts';
import { formatShape, ShapeError, ValueError } from '../../errors.ts';
import { cast } from '../../kernels/cast.ts';
import { clamp } from '../../kernels/elementwise.ts';
import { split } from '../../kernels/movement.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { asActivation } from '../activation.ts';
import { checkInitializer, Initializer } from '../init.ts';
import { Conv2d, GroupNorm } from '../layers.ts';
import { Module } from '../module.ts';
import { ImageAttention, requireImages } from './attention.ts';
import { inTurn, Upsample2D } from './layers.ts';
import { ResnetBlock2D, type ResnetOptions } from './resnet.ts';
import { inTiles } from './tiling.ts';

export interface AutoencoderKLOptions {
  /** Channels of images; default 3. */
  channels?: number;
  /** Channels of latents; default 4. */
  latentChannels?: number;
  /** Channels at each resolution, the highest first; 128, 256, 512, 512 in Stable Diffusion. */
  blockChannels: readonly number[];
  /** Residual layers of a resolution in the encoder; the decoder has one more. Default 2. */
  layers?: number;
  /** Groups of a norm; default 32. */
  groups?: number;
  /** What a latent is multiplied by before the flow sees it; default 0.18215. */
  scalingFactor?: number;
}

const autoencoderOptions: OptionKinds<AutoencoderKLOptions> = {
  channels: kinds.count,
  latentChannels: kinds.count,
  blockChannels: listOf(kinds.count, 'whole numbers >= 1'),
  layers: wholeFrom(1, 64),
  groups: kinds.count,
  scalingFactor: kinds.positive,
};

/** A 3 x 3 convolution of stride 2 that sees zeros at the bottom and on the right, and none at the top and on the left. */
class PaddedDownsample extends Module {
  readonly conv: Conv2d;

  constructor(channels: number, init: Initializer) {
    super();
    this.conv = new Conv2d(channels, channels, 3, init);
  }

  forward(x: Tensor): Tensor {
    return this.conv.forward(x, { stride: 2, padding: [0, 1, 0, 1] });
  }
}

type Layers = ((h: Tensor) => Tensor)[];

function layersOf(...modules: readonly { forward(h: Tensor): Tensor }[]): Layers {
  return modules.map((module) => (h) => module.forward(h));
}

class EncoderBlock extends Module {
  readonly resnets: ResnetBlock2D[];
  readonly downsamplers: PaddedDownsample[] = [];

  constructor(inputs: number, outputs: number, layers: number, last: boolean, options: ResnetOptions) {
    super();
    this.resnets = Array.from(
      { length: layers },
      (_, i) => new ResnetBlock2D(i === 0 ? inputs : outputs, outputs, options),
    );
    if (!last) this.downsamplers.push(new PaddedDownsample(outputs, options.init));
  }

  layers(): Layers {
    return layersOf(...this.resnets, ...this.downsamplers);
  }
}

class DecoderBlock extends Module {
  readonly resnets: ResnetBlock2D[];
  readonly upsamplers: Upsample2D[] = [];

  constructor(inputs: number, outputs: number, layers: number, last: boolean, options: ResnetOptions) {
    super();
    this.resnets = Array.from(
      { length: layers },
      (_, i) => new ResnetBlock2D(i === 0 ? inputs : outputs, outputs, options),
    );
    if (!last) this.upsamplers.push(new Upsample2D(outputs, options.init));
  }

  layers(): Layers {
    return layersOf(...this.resnets, ...this.upsamplers);
  }
}

class Middle extends Module {
  readonly attentions: readonly [ImageAttention];
  readonly resnets: readonly [ResnetBlock2D, ResnetBlock2D];

  constructor(channels: number, options: ResnetOptions) {
    super();
    this.attentions = [new ImageAttention(channels, options.norm.groups, options.init)];
    this.resnets = [new ResnetBlock2D(channels, channels, options), new ResnetBlock2D(channels, channels, options)];
  }

  layers(): Layers {
    const [first, second] = this.resnets;
    return layersOf(first, this.attentions[0], second);
  }
}

class Encoder extends Module {
  readonly conv_in: Conv2d;
  readonly down_blocks: EncoderBlock[];
  readonly mid_block: Middle;
  readonly conv_norm_out: GroupNorm;
  readonly conv_out: Conv2d;

  constructor({ channels, latentChannels, blockChannels, layers }: Complete, options: ResnetOptions) {
    super();
    const lowest = blockChannels[blockChannels.length - 1];
    this.conv_in = new Conv2d(channels, blockChannels[0], 3, options.init);
    this.down_blocks = blockChannels.map((outputs, level) => {
      const last = level === blockChannels.length - 1;
      return new EncoderBlock(blockChannels[Math.max(0, level - 1)], outputs, layers, last, options);
    });
    this.mid_block = new Middle(lowest, options);
    this.conv_norm_out = new GroupNorm(lowest, options.init, options.norm);
    this.conv_out = new Conv2d(lowest, 2 * latentChannels, 3, options.init);
  }

  layers(): Layers {
    const { conv_in, down_blocks, mid_block, conv_norm_out, conv_out } = this;
    return [
      ...layersOf(conv_in),
      ...down_blocks.flatMap((block) => block.layers()),
      ...mid_block.layers(),
      (h) => conv_norm_out.forward(h, { activation: 'silu' }),
      ...layersOf(conv_out),
    ];
  }
}

class Decoder extends Module {
  readonly conv_in: Conv2d;
  readonly mid_block: Middle;
  readonly up_blocks: DecoderBlock[];
  readonly conv_norm_out: GroupNorm;
  readonly conv_out: Conv2d;

  constructor({ channels, latentChannels, blockChannels, layers }: Complete, options: ResnetOptions) {
    super();
    const upwards = [...blockChannels].reverse();
    this.conv_in = new Conv2d(latentChannels, upwards[0], 3, options.init);
    this.mid_block = new Middle(upwards[0], options);
    this.up_blocks = upwards.map((outputs, level) => {
      const last = level === upwards.length - 1;
      return new DecoderBlock(upwards[Math.max(0, level - 1)], outputs, layers + 1, last, options);
    });
    this.conv_norm_out = new GroupNorm(blockChannels[0], options.init, options.norm);
    this.conv_out = new Conv2d(blockChannels[0], channels, 3, options.init);
  }

  layers(): Layers {
    const { conv_in, mid_block, up_blocks, conv_norm_out, conv_out } = this;
    return [
      ...layersOf(conv_in),
      ...mid_block.layers(),
      ...up_blocks.flatMap((block) => block.layers()),
      (h) => conv_norm_out.forward(h, { activation: 'silu' }),
      ...layersOf(conv_out),
    ];
  }
}

type Complete = Required<AutoencoderKLOptions>;

/** The mean and the logarithm of the variance of a latent, [N, h, w, latentChannels] each. */
export interface LatentDistribution {
  mean: Tensor;
  /** In [-30, 20]. */
  logvar: Tensor;
}

export interface TileOptions {
  /**
   * Edge of a tile in latents, at least 8: larger images are computed in tiles that overlap by a quarter and are blended there, as
   * diffusers' `enable_vae_tiling` does, so that memory does not grow with the image. Default: the whole image at once.
   */
  tile?: number;
}

export interface DecodeOptions extends TileOptions {
  /** Whether backward recomputes the activations of each layer instead of keeping them; default false. */
  recompute?: boolean;
}

const tileOptions: OptionKinds<TileOptions> = { tile: wholeFrom(8, 4096) };
const decodeOptions: OptionKinds<DecodeOptions> = { ...tileOptions, recompute: kinds.boolean };

/**
 * The autoencoder of latents. Its tensors have the names of diffusers' AutoencoderKL; weights of convolutions are
 * [Cout, kh, kw, Cin].
 * @example
 * const autoencoder = new AutoencoderKL({ blockChannels: [8, 16], groups: 4 });
 * const { mean } = autoencoder.encode(randn([1, 8, 8, 3], { seed: 1 }));
 * mean.shape; // [1, 4, 4, 4]
 * autoencoder.decode(mean).shape; // [1, 8, 8, 3]
 */
export class AutoencoderKL extends Module {
  readonly options: Complete;
  /** Absent after `dropEncoder`. */
  encoder: Encoder | undefined;
  readonly decoder: Decoder;
  /** Absent after `dropEncoder`. */
  quant_conv: Conv2d | undefined;
  readonly post_quant_conv: Conv2d;

  constructor(given: AutoencoderKLOptions, init = new Initializer()) {
    super();
    checkInitializer('AutoencoderKL', init);
    const checked = checkOptions('AutoencoderKL', given, autoencoderOptions, ['blockChannels']);
    const blockChannels = [...checked.blockChannels];
    if (blockChannels.length === 0) throw new ValueError('[AutoencoderKL] expected at least one resolution, got none');
    this.options = {
      channels: 3,
      latentChannels: 4,
      layers: 2,
      groups: 32,
      scalingFactor: 0.18215,
      ...checked,
      blockChannels,
    };
    const { latentChannels, groups } = this.options;
    const options = { norm: { groups, eps: 1e-6 }, init };
    this.encoder = new Encoder(this.options, options);
    this.decoder = new Decoder(this.options, options);
    this.quant_conv = new Conv2d(2 * latentChannels, 2 * latentChannels, 1, init);
    this.post_quant_conv = new Conv2d(latentChannels, latentChannels, 1, init);
  }

  /** Frees what only `encode` needs, two fifths of the weights. `encode` is refused afterwards. */
  dropEncoder(): void {
    this.encoder?.dispose();
    this.quant_conv?.dispose();
    this.encoder = undefined;
    this.quant_conv = undefined;
  }

  /** How many times smaller a latent is than its image. */
  get factor(): number {
    return 2 ** (this.options.blockChannels.length - 1);
  }

  /**
   * The distribution of the latents of images. A flow's latent is the mean, or a draw, times `scalingFactor`.
   * @param images [N, H, W, channels] in [-1, 1], H and W multiples of `factor`
   * @throws ShapeError; ValueError after `dropEncoder`
   */
  encode(images: Tensor, options: TileOptions = {}): LatentDistribution {
    const { tile } = checkOptions('AutoencoderKL.encode', options, tileOptions);
    const { encoder, quant_conv: last } = this;
    if (!encoder || !last)
      throw new ValueError(
        '[AutoencoderKL] expected an encoder, got none: it was not loaded, or dropEncoder() was called',
      );
    requireImages('AutoencoderKL', images, this.options.channels);
    const [, height, width] = images.shape;
    if (height % this.factor !== 0 || width % this.factor !== 0)
      throw new ShapeError(
        'AutoencoderKL',
        `height and width that are multiples of ${this.factor}`,
        formatShape(images.shape),
      );
    return scope(() => {
      const layers = [...encoder.layers(), ...layersOf(last)];
      const run = (part: Tensor) => inTurn(part, layers);
      const given = asActivation(images);
      const moments =
        tile === undefined ? run(given) : inTiles(given, run, { tile: tile * this.factor, ratio: 1 / this.factor });
      const [mean, logvar] = split(moments.dtype === 'f32' ? moments : cast(moments, 'f32'), 2, 3);
      return { mean, logvar: clamp(logvar, { min: -30, max: 20 }) };
    });
  }

  /**
   * The images of latents, which have been divided by `scalingFactor`.
   * @param latents [N, h, w, latentChannels]
   * @returns f32 [N, factor h, factor w, channels], about in [-1, 1]
   * @throws ShapeError
   */
  decode(latents: Tensor, options: DecodeOptions = {}): Tensor {
    const { tile, recompute = false } = checkOptions('AutoencoderKL.decode', options, decodeOptions);
    requireImages('AutoencoderKL', latents, this.options.latentChannels);
    return scope(() => {
      const plain = [(h: Tensor) => this.post_quant_conv.forward(h), ...this.decoder.layers()];
      const layers = recompute ? plain.map((layer) => (h: Tensor) => checkpoint(layer, [h])) : plain;
      const run = (part: Tensor) => inTurn(part, layers);
      const given = asActivation(latents);
      const images = tile === undefined ? run(given) : inTiles(given, run, { tile, ratio: this.factor });
      return images.dtype === 'f32' ? images : cast(images, 'f32');
    });
  }
}
