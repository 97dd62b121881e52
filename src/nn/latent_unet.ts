// The network of Stable Diffusion as a flow of latents in training. A caller gives the states of the texts, which no gradient
// reaches: Liu et al. 2024 (InstaFlow) keep the text network as it is.
import { checkArgument, checkOptions, instanceOf, kinds, type OptionKinds } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { mul, sub } from '../kernels/elementwise.ts';
import { zeros } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { Projection } from './diffusers/layers.ts';
import { UNet2DCondition, type UNet2DConditionOptions } from './diffusers/unet2d_condition.ts';
import { checkInitializer, type Initializer } from './init.ts';
import { type DropoutState, Linear } from './layers.ts';
import { changeLayer, LowRank } from './low_rank.ts';
import { Module } from './module.ts';

export interface LatentUNetOptions {
  /** Height and width of the latents. */
  imageSize: number;
  /** The network of the latents. */
  network: UNet2DConditionOptions;
  /** Tokens of a text; default 77. */
  textLength?: number;
  /** Rank of the changes that are trained in place of the weights; default 0: the weights are trained. */
  loraRank?: number;
  /** Whether backward recomputes the activations of blocks; default false. */
  activationCheckpointing?: boolean;
  /** Seed of the changes; default 0. */
  seed?: number;
}

const optionKinds: OptionKinds<LatentUNetOptions> = {
  imageSize: kinds.count,
  network: kinds.object,
  textLength: kinds.count,
  loraRank: kinds.whole,
  activationCheckpointing: kinds.boolean,
  seed: kinds.whole,
};

const moduleKind = instanceOf(UNet2DCondition, 'a UNet2DCondition');

/** The official network takes labels from 0 to 999, and the one of Stable Diffusion times from 1000 (noise) to 0 (data). */
const [LABELS, TIMES] = [999, 1000];

/** The changes of a network, by kohya's names of its layers. */
class Changes extends Module {
  set(name: string, change: LowRank): void {
    (this as unknown as Record<string, LowRank>)[name] = change;
  }
}

/**
 * A flow of latents. With a rank, its tensors are the changes of the linear layers in transformer blocks alone, and the
 * network is a constant that it does not list.
 */
export class LatentUNet extends Module {
  /** The options, complete. */
  readonly options: Required<LatentUNetOptions>;
  /** It has no dropout; training sets this for every network. @internal */
  readonly dropoutState: DropoutState;
  /** The trained network; absent with a rank. */
  readonly unet: UNet2DCondition | undefined;
  /** The trained changes; absent without a rank. */
  readonly lora: Changes | undefined;
  readonly #network: UNet2DCondition;

  /** @param network initialised by the caller, which gives it up */
  constructor(given: LatentUNetOptions, network: UNet2DCondition, init: Initializer) {
    super();
    const checked = checkOptions('LatentUNet', given, optionKinds, ['imageSize', 'network']);
    const defaults = { textLength: 77, loraRank: 0, activationCheckpointing: false, seed: 0 };
    this.options = { ...defaults, ...checked };
    checkArgument('LatentUNet', 'network', network, moduleKind);
    checkInitializer('LatentUNet', init);
    const { seed, loraRank, activationCheckpointing } = this.options;
    this.dropoutState = { seed, first: 0 };
    this.#network = network;
    network.recompute = activationCheckpointing;
    if (loraRank === 0) this.unet = network;
    else this.lora = changesOf(network, loraRank, init);
  }

  /** The network itself, which the module does not list if its changes are trained. */
  get network(): UNet2DCondition {
    return this.#network;
  }

  /** Channels of the states of a text. */
  get width(): number {
    return this.#network.options.contextChannels;
  }

  /** Ends the training of the weights of a network whose changes are trained. Called after the weights were filled in. */
  freeze(): void {
    if (this.lora) for (const [, weight] of this.#network.namedTensors()) weight.requireGrad(false);
  }

  /**
   * The velocity of a flow.
   * @param x [N, imageSize, imageSize, channels]
   * @param labels [N], 999 t with t = 0 for noise: see networkVelocity()
   * @param states [N, L, width] of the texts; default: zeros, which suffice to measure memory and time
   * @throws ShapeError
   */
  forward(x: Tensor, labels: Tensor, states?: Tensor): Tensor {
    requireTensor('LatentUNet', x, 'latents');
    requireTensor('LatentUNet', labels, 'labels');
    const { imageSize, textLength } = this.options;
    if (x.rank !== 4 || x.shape[1] !== imageSize || x.shape[2] !== imageSize)
      throw new ShapeError('LatentUNet', `latents [N, ${imageSize}, ${imageSize}, C]`, formatShape(x.shape));
    return scope(() => {
      const text = states ?? zeros([x.shape[0], textLength, this.width], { device: x.device });
      return this.#network.forward(x, sub(TIMES, mul(labels, TIMES / LABELS)), text);
    });
  }

  override dispose(): void {
    super.dispose();
    if (this.lora) this.#network.dispose();
  }
}

/** Gives each linear layer in a transformer block a change. */
function changesOf(network: UNet2DCondition, rank: number, init: Initializer): Changes {
  const changes = new Changes();
  for (const { path, owner } of network.slots()) {
    if (!path.includes('.transformer_blocks.') || !path.endsWith('.weight')) continue;
    if (!(owner instanceof Linear || owner instanceof Projection)) continue;
    const [outputs, inputs] = owner.weight.shape;
    const change = new LowRank(inputs, outputs, rank, init);
    changeLayer(owner, change);
    changes.set(`lora_unet_${path.slice(0, -'.weight'.length).replaceAll('.', '_')}`, change);
  }
  return changes;
}
