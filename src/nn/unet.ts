// The UNet of Score SDE (Song et al., ICLR 2021), DDPM++ form, as the official RectifiedFlow code configures it.
// Named options choose the architecture; NCSN++ adds its own values to the same list.

import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { div, mul, silu, sub } from '../kernels/elementwise.ts';
import { reshape } from '../kernels/movement.ts';
import { scope } from '../tensor/scope.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { AttentionBlock, type BlockContext, ResidualBlock } from './blocks.ts';
import { type Block, checkpointedBlock } from './checkpointing.ts';
import { FourierEmbedding, sinusoidalEmbedding } from './embedding.ts';
import { Initializer } from './init.ts';
import { Conv2d, type DropoutState, GroupNorm, Linear } from './layers.ts';
import { checkWhole, Module } from './module.ts';

export interface UNetOptions {
  imageSize: number;
  channels: number;
  /** Channels of the first level (official key model.nf). */
  baseChannels: number;
  /** Multiple of baseChannels per resolution level. */
  channelMultipliers: readonly number[];
  /** Residual blocks per level, going down; one more going up. */
  residualBlocks: number;
  /** Resolutions (height of the image there) that have attention. */
  attentionResolutions: readonly number[];
  dropout: number;
  /** 'positional': sinusoidal (DDPM++); 'fourier': Gaussian Fourier of log t (NCSN++). */
  embedding: 'positional' | 'fourier';
  fourierScale: number;
  /** Whether the network is told of t. */
  conditional: boolean;
  /** Data in [-1, 1]; false: in [0, 1], mapped to [-1, 1] at the entry. */
  centered: boolean;
  skipRescale: boolean;
  /** Divide the output by the time label. */
  scaleBySigma: boolean;
  /** Scale of the initialiser of last convolutions; 0 stands for 1e-10. */
  initScale: number;
  /** In training, compute the blocks' activations twice instead of keeping them; the same bits. */
  activationCheckpointing: boolean;
  seed: number;
}

/** The options of the official CIFAR-10 network (61.8 M parameters). */
export const ddpmppCifar10: UNetOptions = {
  imageSize: 32,
  channels: 3,
  baseChannels: 128,
  channelMultipliers: [1, 2, 2, 2],
  residualBlocks: 4,
  attentionResolutions: [16],
  dropout: 0.15,
  embedding: 'positional',
  fourierScale: 16,
  conditional: true,
  centered: true,
  skipRescale: true,
  scaleBySigma: false,
  initScale: 0,
  activationCheckpointing: false,
  seed: 0,
};

interface Stage {
  block: ResidualBlock;
  attention: AttentionBlock | undefined;
}

export class UNet extends Module {
  readonly options: UNetOptions;
  readonly dropoutState: DropoutState;
  readonly fourier: FourierEmbedding | undefined;
  readonly time1: Linear | undefined;
  readonly time2: Linear | undefined;
  readonly convIn: Conv2d;
  /** Down path in order: the blocks of a level, then the block that halves the resolution. */
  readonly down: Module[] = [];
  readonly middle: [ResidualBlock, AttentionBlock, ResidualBlock];
  /** Up path in order: the blocks of a level, its attention, then the block that doubles the resolution. */
  readonly up: Module[] = [];
  readonly normOut: GroupNorm;
  readonly convOut: Conv2d;
  private readonly downStages: Stage[] = [];
  private readonly upStages: (Stage & { takesSkip: boolean })[] = [];

  constructor(options: UNetOptions, init = new Initializer({ seed: options.seed })) {
    super();
    checkOptions(options);
    this.options = options;
    this.dropoutState = { seed: options.seed, sample: 0 };
    const { baseChannels: base, channelMultipliers: multipliers, residualBlocks, attentionResolutions } = options;
    const embedded = options.embedding === 'fourier' ? 2 * base : base;
    if (options.embedding === 'fourier') this.fourier = new FourierEmbedding(base, options.fourierScale, init);
    if (options.conditional) {
      this.time1 = new Linear(embedded, base * 4, init);
      this.time2 = new Linear(base * 4, base * 4, init);
    }
    const context: BlockContext = {
      embeddingChannels: options.conditional ? base * 4 : 0,
      dropout: options.dropout,
      dropoutState: this.dropoutState,
      initScale: options.initScale,
      skipRescale: options.skipRescale,
      init,
      streams: { next: streams.dropout },
    };
    const levels = multipliers.length;
    const resolution = (level: number) => options.imageSize >> level;
    const attends = (level: number) => attentionResolutions.includes(resolution(level));

    this.convIn = new Conv2d(options.channels, base, 3, init);
    const skipChannels = [base];
    let channels = base;
    for (let level = 0; level < levels; level++) {
      for (let i = 0; i < residualBlocks; i++) {
        const outputs = base * multipliers[level];
        const block = new ResidualBlock(channels, outputs, 'none', context);
        channels = outputs;
        this.addDown(block, attends(level) ? new AttentionBlock(channels, context) : undefined);
        skipChannels.push(channels);
      }
      if (level < levels - 1) {
        this.addDown(new ResidualBlock(channels, channels, 'down', context), undefined);
        skipChannels.push(channels);
      }
    }

    this.middle = [
      new ResidualBlock(channels, channels, 'none', context),
      new AttentionBlock(channels, context),
      new ResidualBlock(channels, channels, 'none', context),
    ];

    for (let level = levels - 1; level >= 0; level--) {
      for (let i = 0; i <= residualBlocks; i++) {
        const outputs = base * multipliers[level];
        const block = new ResidualBlock(channels + (skipChannels.pop() as number), outputs, 'none', context);
        channels = outputs;
        const last = i === residualBlocks;
        this.addUp(block, last && attends(level) ? new AttentionBlock(channels, context) : undefined, true);
      }
      if (level > 0) this.addUp(new ResidualBlock(channels, channels, 'up', context), undefined, false);
    }
    this.normOut = new GroupNorm(channels, init);
    this.convOut = new Conv2d(channels, options.channels, 3, init, options.initScale);
  }

  /**
   * @param x [N, imageSize, imageSize, channels]
   * @param labels [N]: t * 999
   * @returns the velocity, of the shape of x
   */
  forward(x: Tensor, labels: Tensor): Tensor {
    const { imageSize, channels, centered, scaleBySigma } = this.options;
    const [n] = x.shape;
    if (x.rank !== 4 || x.shape[1] !== imageSize || x.shape[2] !== imageSize || x.shape[3] !== channels)
      throw new ShapeError('unet', `images [N, ${imageSize}, ${imageSize}, ${channels}]`, formatShape(x.shape));
    if (labels.rank !== 1 || labels.shape[0] !== n)
      throw new ShapeError('unet', `labels [${n}]`, formatShape(labels.shape));
    return scope(() => {
      const activated = this.activatedEmbedding(labels);
      let h = this.convIn.forward(centered ? x : sub(mul(x, 2), 1));
      const skips = [h];
      for (const { block, attention } of this.downStages) {
        h = this.run(block, h, activated);
        if (attention) h = this.run(attention, h);
        skips.push(h);
      }
      const [first, attention, second] = this.middle;
      h = this.run(second, this.run(attention, this.run(first, h, activated)), activated);
      for (const stage of this.upStages) {
        h = this.run(stage.block, stage.takesSkip ? [h, skips.pop() as Tensor] : h, activated);
        if (stage.attention) h = this.run(stage.attention, h);
      }
      h = this.convOut.forward(this.normOut.forward(h, { activation: 'silu' }));
      return scaleBySigma ? div(h, reshape(labels, [n, 1, 1, 1])) : h;
    });
  }

  private run<X extends Tensor | Tensor[]>(block: Block<X>, x: X, activated?: Tensor): Tensor {
    if (!this.options.activationCheckpointing || !this.training) return block.forward(x, activated);
    return checkpointedBlock(block, x, activated, this.dropoutState);
  }

  private activatedEmbedding(labels: Tensor): Tensor | undefined {
    if (!this.time1 || !this.time2) return undefined;
    const embedding = this.fourier
      ? this.fourier.forward(labels)
      : sinusoidalEmbedding(labels, this.options.baseChannels);
    return silu(this.time2.forward(silu(this.time1.forward(embedding))));
  }

  private addDown(block: ResidualBlock, attention: AttentionBlock | undefined): void {
    this.downStages.push({ block, attention });
    this.down.push(block, ...(attention ? [attention] : []));
  }

  private addUp(block: ResidualBlock, attention: AttentionBlock | undefined, takesSkip: boolean): void {
    this.upStages.push({ block, attention, takesSkip });
    this.up.push(block, ...(attention ? [attention] : []));
  }
}

function checkOptions(options: UNetOptions): void {
  checkWhole('imageSize', options.imageSize);
  checkWhole('channels', options.channels);
  checkWhole('baseChannels', options.baseChannels, 4);
  checkWhole('residualBlocks', options.residualBlocks);
  if (options.baseChannels % 2) throw new ValueError(`baseChannels must be even, got ${options.baseChannels}`);
  if (options.channelMultipliers.length === 0) throw new ValueError('channelMultipliers must name at least one level');
  for (const multiplier of options.channelMultipliers) checkWhole('a channel multiplier', multiplier);
  const halvings = options.channelMultipliers.length - 1;
  if (options.imageSize % 2 ** halvings)
    throw new ValueError(`imageSize ${options.imageSize} cannot be halved ${halvings} times, once per level`);
  if (!(options.dropout >= 0 && options.dropout < 1))
    throw new ValueError(`dropout must be in [0, 1), got ${options.dropout}`);
}
