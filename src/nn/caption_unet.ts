// A flow of captioned images: a text network of CLIP and the network of Stable Diffusion, which attends to its states, trained
// together. Liu et al. 2024 (InstaFlow) have the same network with a text network that is kept as it is.
import { checkOptions, kind, kinds, listOf, type OptionKinds } from '../arguments.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { mul, sub } from '../kernels/elementwise.ts';
import { broadcastTo } from '../kernels/movement.ts';
import { constant } from '../tensor/constant.ts';
import { scope } from '../tensor/scope.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { CLIPTextModel } from './diffusers/clip_text.ts';
import { UNet2DCondition } from './diffusers/unet2d_condition.ts';
import { checkInitializer, Initializer } from './init.ts';
import type { DropoutState } from './layers.ts';
import { Module } from './module.ts';

export interface CaptionUNetOptions {
  /** Height and width of the images. */
  imageSize: number;
  /** Channels of the images. */
  channels: number;
  /** Channels of the first level. */
  baseChannels: number;
  /** Channels of each level as a multiple of `baseChannels`; each further level halves the image. */
  channelMultipliers: readonly number[];
  /** Residual blocks of each level on the way down; one more on the way up. */
  residualBlocks: number;
  /** Image heights at which blocks attend to the text; the middle always does. */
  attentionResolutions: readonly number[];
  /** Heads of attention, in both networks. */
  heads: number;
  /** Width of the text network. */
  textWidth: number;
  /** Layers of the text network. */
  textLayers: number;
  /** Tokens of the vocabulary. */
  vocabulary: number;
  /** The tokens of the empty caption; every caption has as many. */
  emptyCaption: readonly number[];
  /** Seed of the initial weights; default 0. */
  seed?: number;
}

const wholes = listOf(kinds.whole, 'whole numbers');
const counts = listOf(kinds.count, 'whole numbers >= 1');
const optionKinds: OptionKinds<CaptionUNetOptions> = {
  imageSize: kinds.count,
  channels: kinds.count,
  baseChannels: kinds.count,
  channelMultipliers: kind('one or more whole numbers >= 1', (v) => counts.accepts(v) && (v as number[]).length > 0),
  residualBlocks: kinds.count,
  attentionResolutions: wholes,
  heads: kinds.count,
  textWidth: kinds.count,
  textLayers: kinds.count,
  vocabulary: kinds.count,
  emptyCaption: kind('one or more tokens', (v) => wholes.accepts(v) && (v as number[]).length > 0),
  seed: kinds.whole,
};
const required = Object.keys(optionKinds).filter((name) => name !== 'seed') as Exclude<
  keyof CaptionUNetOptions,
  'seed'
>[];

/** The official network takes labels from 0 to 999, and the one of Stable Diffusion times from 1000 (noise) to 0 (data). */
const [LABELS, TIMES] = [999, 1000];
/** Most groups of a norm, and least channels of one. */
const [MOST_GROUPS, LEAST_CHANNELS] = [32, 4];

/**
 * A network of images, times and captions. Without a caption it computes what it does for the empty one.
 * @example
 * const network = new CaptionUNet({
 *   imageSize: 8, channels: 1, baseChannels: 8, channelMultipliers: [1, 2], residualBlocks: 1, attentionResolutions: [4],
 *   heads: 2, textWidth: 8, textLayers: 1, vocabulary: 6, emptyCaption: [4, 5, 5],
 * });
 * const states = network.encode([[4, 1, 5], [4, 2, 5]]);
 * states.shape; // [2, 3, 8]
 * const [x, labels] = [randn([2, 8, 8, 1], { seed: 1 }), tensor([0, 999])];
 * network.forward(x, labels, states).shape; // [2, 8, 8, 1]
 * network.forward(x, labels).shape; // [2, 8, 8, 1]
 */
export class CaptionUNet extends Module {
  /** The options, complete. */
  readonly options: Required<CaptionUNetOptions>;
  /** It has no dropout; training sets this for every network. @internal */
  readonly dropoutState: DropoutState;
  /** The network of the captions. */
  readonly text_encoder: CLIPTextModel;
  /** The network of the images. */
  readonly unet: UNet2DCondition;

  /** @throws ArgumentError, ValueError for options that do not fit together */
  constructor(given: CaptionUNetOptions, initializer?: Initializer) {
    super();
    const { seed = 0, ...rest } = checkOptions('CaptionUNet', given, optionKinds, required);
    const init = initializer ?? new Initializer({ seed });
    checkInitializer('CaptionUNet', init);
    const { imageSize, channels, baseChannels, channelMultipliers, heads, vocabulary, textWidth, emptyCaption } = rest;
    const wrong = emptyCaption.find((token) => token >= vocabulary);
    if (wrong !== undefined)
      throw new ValueError(`[CaptionUNet] expected tokens below ${vocabulary}, got ${wrong} in emptyCaption`);
    this.options = { ...rest, seed };
    this.dropoutState = { seed, first: 0 };
    this.text_encoder = new CLIPTextModel(
      { vocabulary, width: textWidth, layers: rest.textLayers, heads, positions: emptyCaption.length },
      init,
    );
    this.unet = new UNet2DCondition(
      {
        inChannels: channels,
        outChannels: channels,
        channels: channelMultipliers.map((factor) => factor * baseChannels),
        attends: channelMultipliers.map((_, level) => rest.attentionResolutions.includes(imageSize >> level)),
        layers: rest.residualBlocks,
        heads,
        contextChannels: textWidth,
        groups: groupsFor(baseChannels),
      },
      init,
    );
  }

  /**
   * The states of captions, [K, L, textWidth]. Gradients flow to the text network, and the work can be recorded.
   * @param captions the tokens of each, as many as in emptyCaption
   * @throws ShapeError, ValueError for captions of other tokens
   */
  encode(captions: readonly (readonly number[] | Int32Array)[]): Tensor {
    const { vocabulary, emptyCaption } = this.options;
    const length = emptyCaption.length;
    if (!Array.isArray(captions) || captions.length === 0 || captions.some((tokens) => tokens?.length !== length))
      throw new ShapeError('CaptionUNet.encode', `one or more captions of ${length} tokens`, describeLengths(captions));
    const tokens: number[] = captions.flatMap((caption) => Array.from<number>(caption));
    const wrong = tokens.find((token) => !Number.isInteger(token) || token < 0 || token >= vocabulary);
    if (wrong !== undefined)
      throw new ValueError(`[CaptionUNet.encode] expected tokens from 0 to ${vocabulary - 1}, got ${wrong}`);
    const { device } = this.text_encoder.text_model.embeddings.token_embedding.weight;
    const shares = () => {
      const values = new Float32Array(tokens.length * vocabulary);
      for (const [place, token] of tokens.entries()) values[place * vocabulary + token] = 1;
      return values;
    };
    return scope(() => {
      const shape = [captions.length, length, vocabulary];
      return this.text_encoder.forward(constant(`tokens ${shape} ${tokens}`, shape, device, shares));
    });
  }

  /**
   * The velocity of a flow.
   * @param x [N, imageSize, imageSize, channels]
   * @param labels [N], 999 t with t = 0 for noise: see networkVelocity()
   * @param states [N, L, textWidth], of `encode`; default: those of the empty caption
   * @throws ShapeError
   */
  forward(x: Tensor, labels: Tensor, states?: Tensor): Tensor {
    requireTensor('CaptionUNet', x, 'images');
    requireTensor('CaptionUNet', labels, 'labels');
    return scope(() => {
      const text = states ?? this.emptyStates(x.shape[0]);
      return this.unet.forward(x, sub(TIMES, mul(labels, TIMES / LABELS)), text);
    });
  }

  private emptyStates(n: number): Tensor {
    const { emptyCaption, textWidth } = this.options;
    return broadcastTo(this.encode([emptyCaption]), [n, emptyCaption.length, textWidth]);
  }
}

/** A number of groups that divides the channels of every level. */
function groupsFor(baseChannels: number): number {
  let groups = Math.max(1, Math.min(MOST_GROUPS, Math.floor(baseChannels / LEAST_CHANNELS)));
  while (baseChannels % groups !== 0) groups--;
  return groups;
}

function describeLengths(captions: unknown): string {
  if (!Array.isArray(captions)) return typeof captions;
  return captions.length === 0 ? 'none' : formatShape(captions.map((tokens) => tokens?.length ?? 0));
}
