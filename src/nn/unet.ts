// The UNet of Score SDE (Song et al., ICLR 2021; models/ncsnpp.py): DDPM++, NCSN++ and the rest of that family, as
// configured by the official RectifiedFlow code. Modules are created in the official order, on which official_names.ts
// relies.

import { formatShape, ShapeError } from '../errors.ts';
import { cast } from '../kernels/cast.ts';
import { div, mul, sub } from '../kernels/elementwise.ts';
import { linears } from '../kernels/inner/linears.ts';
import { gather, reshape } from '../kernels/movement.ts';
import { constant } from '../tensor/constant.ts';
import { scope } from '../tensor/scope.ts';
import { streams } from '../tensor/streams.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { activate, asActivation, normActivate } from './activation.ts';
import { AttentionBlock } from './blocks/attention.ts';
import { Combine } from './blocks/combine.ts';
import { type BlockContext, sumScale } from './blocks/context.ts';
import { Downsample, downsample, Upsample, upsample } from './blocks/resampling.ts';
import { ResidualBlock } from './blocks/residual.ts';
import { type Block, checkpointBlock } from './checkpointing.ts';
import { FourierEmbedding, noiseScales, sinusoidalEmbedding } from './embedding.ts';
import { checkInitializer, Initializer } from './init.ts';
import { Conv2d, type DropoutState, GroupNorm, Linear } from './layers.ts';
import { Module } from './module.ts';
import { completeOptions, type UNetOptions } from './unet_options.ts';

/** One resolution on the way down. */
interface DownLevel {
  blocks: { block: ResidualBlock; attention: AttentionBlock | undefined }[];
  /** Downsampling to the next level; undefined on the last level. */
  halve: ResidualBlock | Downsample | undefined;
  /** The module that joins the input pyramid at the next level. */
  pyramid: Combine | Downsample | undefined;
}

/** One resolution on the way up. */
interface UpLevel {
  blocks: ResidualBlock[];
  attention: AttentionBlock | undefined;
  /** The contribution of this level to the output pyramid: an image, or the first features. */
  toPyramid: { norm: GroupNorm; conv: Conv2d } | undefined;
  /** Upsamples the pyramid's features from the level below ('residual'). */
  pyramid: Upsample | undefined;
  double: ResidualBlock | Upsample | undefined;
}

/** The time terms that residual blocks add; undefined for an unconditional network. */
type TimeAddends = ReadonlyMap<Module, Tensor> | undefined;

/**
 * The UNet of Score SDE (Song et al., ICLR 2021; models/ncsnpp.py): DDPM++, NCSN++ and the rest of that family. It predicts the
 * velocity of images [N, imageSize, imageSize, channels] at the times of their labels [N], 999 t.
 * @example
 * const network = new UNet({
 *   ...ddpmppCifar10,
 *   imageSize: 8, channels: 1, baseChannels: 16, channelMultipliers: [1, 2], residualBlocks: 1, attentionResolutions: [4],
 * }).eval();
 * const x = randn([2, 8, 8, 1], { seed: 1 });
 * network.forward(x, mul(tensor([0.1, 0.9]), TIME_SCALE)).shape; // [2, 8, 8, 1]
 */
export class UNet extends Module {
  readonly options: Required<UNetOptions>;
  /** The random state of the dropout in all blocks. @internal */
  readonly dropoutState: DropoutState;
  readonly fourier: FourierEmbedding | undefined;
  readonly time1: Linear | undefined;
  readonly time2: Linear | undefined;
  readonly convIn: Conv2d;
  /** Down path in order, per level: the blocks with their attention, the downsampling, the input pyramid. */
  readonly down: Module[] = [];
  readonly middle: [ResidualBlock, AttentionBlock, ResidualBlock];
  /** Up path in order, per level: the blocks, the attention, the output pyramid, the upsampling. */
  readonly up: Module[] = [];
  /** Absent if the output pyramid is the output. */
  readonly normOut: GroupNorm | undefined;
  readonly convOut: Conv2d | undefined;
  private readonly context: BlockContext;
  private readonly downLevels: DownLevel[] = [];
  private readonly upLevels: UpLevel[] = [];

  /** @throws ValueError with the invalid option */
  constructor(given: UNetOptions, initializer?: Initializer) {
    super();
    const options = completeOptions(given);
    const init = initializer ?? new Initializer({ seed: options.seed });
    checkInitializer('UNet', init);
    const { baseChannels: base, embedding } = options;
    this.options = options;
    this.dropoutState = { seed: options.seed, first: 0 };
    this.context = {
      resblock: options.resblock,
      nonlinearity: options.nonlinearity,
      fir: options.fir ? options.firKernel : undefined,
      embeddingChannels: base * 4,
      dropout: options.dropout,
      dropoutState: this.dropoutState,
      initScale: options.initScale,
      skipRescale: options.skipRescale,
      init,
      streams: { next: streams.dropout },
    };
    if (embedding === 'fourier') this.fourier = new FourierEmbedding(base, options.fourierScale, init);
    if (options.conditional) {
      this.time1 = new Linear(embedding === 'fourier' ? 2 * base : base, base * 4, init);
      this.time2 = new Linear(base * 4, base * 4, init);
    }
    this.convIn = new Conv2d(options.channels, base, 3, init);
    const skipChannels = this.buildDown();
    const lowest = skipChannels[skipChannels.length - 1];
    this.middle = [
      new ResidualBlock(lowest, lowest, 'none', this.context),
      new AttentionBlock(lowest, this.context),
      new ResidualBlock(lowest, lowest, 'none', this.context),
    ];
    const channels = this.buildUp(lowest, skipChannels);
    if (options.progressive !== 'output_skip') {
      this.normOut = new GroupNorm(channels, init);
      this.convOut = new Conv2d(channels, options.channels, 3, init, options.initScale);
    }
  }

  /** @returns the channels of every skip connection */
  private buildDown(): number[] {
    const { context, options } = this;
    const { baseChannels, channelMultipliers, progressiveInput } = options;
    const add = adder(this.down);
    const skipChannels = [baseChannels];
    let channels = baseChannels;
    let pyramidChannels = options.channels;
    for (const [level, multiplier] of channelMultipliers.entries()) {
      const blocks: DownLevel['blocks'] = [];
      for (let i = 0; i < options.residualBlocks; i++) {
        const block = add(new ResidualBlock(channels, baseChannels * multiplier, 'none', context));
        channels = baseChannels * multiplier;
        blocks.push({ block, attention: this.attends(level) ? add(new AttentionBlock(channels, context)) : undefined });
        skipChannels.push(channels);
      }
      let halve: DownLevel['halve'];
      let pyramid: DownLevel['pyramid'];
      if (level < channelMultipliers.length - 1) {
        halve = add(
          options.resblock === 'ddpm'
            ? new Downsample(channels, channels, options.resampleWithConv, context)
            : new ResidualBlock(channels, channels, 'down', context),
        );
        if (progressiveInput === 'input_skip') {
          pyramid = add(new Combine(options.channels, channels, options.progressiveCombine, context.init));
          channels = pyramid.outputs;
        }
        if (progressiveInput === 'residual') {
          pyramid = add(new Downsample(pyramidChannels, channels, true, context));
          pyramidChannels = channels;
        }
        skipChannels.push(channels);
      }
      this.downLevels.push({ blocks, halve, pyramid });
    }
    return skipChannels;
  }

  /** @returns the channels of the last features */
  private buildUp(lowest: number, skipChannels: number[]): number {
    const { context, options } = this;
    const { channelMultipliers, progressive } = options;
    const add = adder(this.up);
    let channels = lowest;
    let pyramidChannels = 0;
    for (let level = channelMultipliers.length - 1; level >= 0; level--) {
      const outputs = options.baseChannels * channelMultipliers[level];
      const blocks: ResidualBlock[] = [];
      for (let i = 0; i <= options.residualBlocks; i++) {
        blocks.push(add(new ResidualBlock(channels + (skipChannels.pop() as number), outputs, 'none', context)));
        channels = outputs;
      }
      const attention = this.attends(level) ? add(new AttentionBlock(channels, context)) : undefined;
      let toPyramid: UpLevel['toPyramid'];
      let pyramid: UpLevel['pyramid'];
      if (progressive === 'output_skip') {
        const norm = add(new GroupNorm(channels, context.init));
        toPyramid = { norm, conv: add(new Conv2d(channels, options.channels, 3, context.init, options.initScale)) };
      } else if (progressive === 'residual') {
        if (pyramidChannels > 0) pyramid = add(new Upsample(pyramidChannels, channels, true, context));
        else {
          const norm = add(new GroupNorm(channels, context.init));
          toPyramid = { norm, conv: add(new Conv2d(channels, channels, 3, context.init)) };
        }
        pyramidChannels = channels;
      }
      let double: UpLevel['double'];
      if (level > 0)
        double = add(
          options.resblock === 'ddpm'
            ? new Upsample(channels, channels, options.resampleWithConv, context)
            : new ResidualBlock(channels, channels, 'up', context),
        );
      this.upLevels.push({ blocks, attention, toPyramid, pyramid, double });
    }
    return channels;
  }

  /**
   * Computes the velocity. Activations are bf16 if the device was opened with that precision.
   * @param x [N, imageSize, imageSize, channels]
   * @param labels [N]: t * 999
   * @returns f32, with the shape of x
   */
  forward(x: Tensor, labels: Tensor): Tensor {
    const { imageSize, channels, centered, scaleBySigma } = this.options;
    requireTensor('unet', x, 'images');
    requireTensor('unet', labels, 'labels');
    const [n] = x.shape;
    if (x.rank !== 4 || x.shape[1] !== imageSize || x.shape[2] !== imageSize || x.shape[3] !== channels)
      throw new ShapeError('unet', `images [N, ${imageSize}, ${imageSize}, ${channels}]`, formatShape(x.shape));
    if (labels.rank !== 1 || labels.shape[0] !== n)
      throw new ShapeError('unet', `labels [${n}]`, formatShape(labels.shape));
    return scope(() => {
      const addends = this.timeAddends(labels);
      const skips = this.goDown(asActivation(centered ? x : sub(mul(x, 2), 1)), addends);
      const [first, attention, second] = this.middle;
      const lowest = this.run(first, skips[skips.length - 1], addends);
      const last = this.goUp(this.run(second, this.run(attention, lowest), addends), skips, addends);
      const y = last.dtype === 'f32' ? last : cast(last, 'f32');
      return scaleBySigma ? div(y, reshape(this.sigmas(labels), [n, 1, 1, 1])) : y;
    });
  }

  /** The features after every block, lowest resolution last. */
  private goDown(x: Tensor, addends: TimeAddends): Tensor[] {
    const { fir } = this.context;
    let h = this.convIn.forward(x);
    let inputPyramid = x;
    const skips = [h];
    for (const { blocks, halve, pyramid } of this.downLevels) {
      for (const { block, attention } of blocks) {
        h = this.run(block, h, addends);
        if (attention) h = this.run(attention, h);
        skips.push(h);
      }
      if (!halve) break;
      h = halve instanceof ResidualBlock ? this.run(halve, h, addends) : halve.forward(h);
      if (pyramid instanceof Combine) {
        inputPyramid = downsample(inputPyramid, fir);
        h = pyramid.forward(inputPyramid, h);
      } else if (pyramid) {
        inputPyramid = pyramid.forward(inputPyramid, { residual: h, scale: sumScale(this.context) });
        h = inputPyramid;
      }
      skips.push(h);
    }
    return skips;
  }

  private goUp(lowest: Tensor, skips: Tensor[], addends: TimeAddends): Tensor {
    const { context, normOut, convOut } = this;
    const { nonlinearity, fir } = context;
    let h = lowest;
    let outputPyramid: Tensor | undefined;
    for (const { blocks, attention, toPyramid, pyramid, double } of this.upLevels) {
      for (const block of blocks) h = this.run(block, [h, skips.pop() as Tensor], addends);
      if (attention) h = this.run(attention, h);
      if (toPyramid) {
        const below = outputPyramid && upsample(outputPyramid, fir);
        outputPyramid = toPyramid.conv.forward(normActivate(toPyramid.norm, h, nonlinearity), { residual: below });
      }
      if (pyramid) {
        outputPyramid = pyramid.forward(outputPyramid as Tensor, { residual: h, scale: sumScale(context) });
        h = outputPyramid;
      }
      if (double) h = double instanceof ResidualBlock ? this.run(double, h, addends) : double.forward(h);
    }
    return normOut && convOut ? convOut.forward(normActivate(normOut, h, nonlinearity)) : (outputPyramid as Tensor);
  }

  private run<X extends Tensor | Tensor[]>(block: Block<X>, x: X, addends?: TimeAddends): Tensor {
    if (!this.options.activationCheckpointing || !this.training) return block.forward(x, addends?.get(block));
    return checkpointBlock(block, x, addends?.get(block), this.dropoutState);
  }

  /** The time term of each residual block, computed in one pass. */
  private timeAddends(labels: Tensor): TimeAddends {
    const activated = this.activatedEmbedding(labels);
    if (!activated) return undefined;
    const blocks = [...this.down, ...this.middle, ...this.up].filter((module) => module instanceof ResidualBlock);
    const outputs = linears(
      activated,
      blocks.map(({ timeProjection }) => timeProjection),
    );
    return new Map(blocks.map((block, i) => [block, outputs[i]]));
  }

  private activatedEmbedding(labels: Tensor): Tensor | undefined {
    const { time1, time2 } = this;
    const { nonlinearity } = this.context;
    if (!time1 || !time2) return undefined;
    const embedding = this.fourier
      ? this.fourier.forward(labels)
      : sinusoidalEmbedding(labels, this.options.baseChannels);
    const first = time1.forward(asActivation(embedding));
    return activate(time2.forward(activate(first, nonlinearity)), nonlinearity);
  }

  /** The labels [N], or the noise scales [N] whose indices are the labels rounded down. */
  private sigmas(labels: Tensor): Tensor {
    if (this.fourier) return labels;
    const { sigmaMin, sigmaMax, numScales } = this.options;
    const name = `noise scales ${sigmaMin} ${sigmaMax} ${numScales}`;
    const scales = constant(name, [numScales], labels.device, () => Float32Array.from(noiseScales(this.options)));
    return gather(scales, cast(labels, 'i32'));
  }

  private attends(level: number): boolean {
    return this.options.attentionResolutions.includes(this.options.imageSize >> level);
  }
}

/** Returns a function that appends a module to a path and returns the module. */
function adder(path: Module[]): <M extends Module>(module: M) => M {
  return (module) => {
    path.push(module);
    return module;
  };
}
