// The blocks of UNet2DCondition: one resolution on the way down, the middle, one resolution on the way up.
import { checkpoint } from '../../autograd/checkpoint.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Initializer } from '../init.ts';
import { Conv2d } from '../layers.ts';
import { Module } from '../module.ts';
import { Transformer2DModel, type Transformer2DOptions } from './attention.ts';
import { Upsample2D } from './layers.ts';
import { ResnetBlock2D, type ResnetOptions } from './resnet.ts';

/** What a block gets besides its input: the activated time embedding [N, timeChannels] and the text [N, S, width]. */
export interface Conditions {
  time: Tensor;
  text: Tensor;
  /** Whether backward recomputes the activations of a layer. */
  recompute?: boolean;
}

/** A layer's result, whose activations backward computes again if the conditions say so. */
function recomputed<X extends Tensor | Tensor[]>(
  x: X,
  { time, text, recompute }: Conditions,
  layer: (x: X, time: Tensor, text: Tensor) => Tensor,
): Tensor {
  if (!recompute) return layer(x, time, text);
  const run = (time: Tensor, text: Tensor, ...parts: Tensor[]) =>
    layer((Array.isArray(x) ? parts : parts[0]) as X, time, text);
  return checkpoint(run, [time, text, ...(Array.isArray(x) ? x : [x])]);
}

export interface UNetBlockOptions {
  resnet: ResnetOptions;
  /** Absent for a block without attention. */
  transformer?: Transformer2DOptions;
}

/** A 3 x 3 convolution of stride 2. */
class Downsample2D extends Module {
  readonly conv: Conv2d;

  constructor(channels: number, init: Initializer) {
    super();
    this.conv = new Conv2d(channels, channels, 3, init);
  }

  forward(x: Tensor): Tensor {
    return this.conv.forward(x, { stride: 2 });
  }
}

/** Residual blocks of one resolution, each followed by attention to the text where the block has it. */
abstract class ResolutionBlock extends Module {
  readonly attentions: Transformer2DModel[] = [];
  readonly resnets: ResnetBlock2D[] = [];

  protected addLayer(inputs: number, outputs: number, { resnet, transformer }: UNetBlockOptions): void {
    this.resnets.push(new ResnetBlock2D(inputs, outputs, resnet));
    if (transformer) this.attentions.push(new Transformer2DModel(outputs, transformer));
  }

  /** Residual block `i`, and the attention behind it. */
  protected runLayer(i: number, x: Tensor | Tensor[], conditions: Conditions): Tensor {
    const attention = this.attentions[i];
    return recomputed(x, conditions, (given, time, text) =>
      scope(() => {
        const h = this.resnets[i].forward(given, time);
        return attention ? attention.forward(h, text) : h;
      }),
    );
  }
}

/** diffusers' CrossAttnDownBlock2D or, without a transformer, DownBlock2D. */
export class UNetDownBlock extends ResolutionBlock {
  readonly downsamplers: Downsample2D[] = [];

  constructor(inputs: number, outputs: number, layers: number, last: boolean, options: UNetBlockOptions) {
    super();
    for (let i = 0; i < layers; i++) this.addLayer(i === 0 ? inputs : outputs, outputs, options);
    if (!last) this.downsamplers.push(new Downsample2D(outputs, options.resnet.init));
  }

  /** @returns the results of all layers, the last of which is that of the block */
  forward(x: Tensor, conditions: Conditions): Tensor[] {
    const results: Tensor[] = [];
    let h = x;
    for (const i of this.resnets.keys()) {
      h = this.runLayer(i, h, conditions);
      results.push(h);
    }
    for (const downsampler of this.downsamplers) results.push(downsampler.forward(h));
    return results;
  }
}

/** diffusers' UNetMidBlock2DCrossAttn. */
export class UNetMiddle extends Module {
  readonly attentions: readonly [Transformer2DModel];
  readonly resnets: readonly [ResnetBlock2D, ResnetBlock2D];

  constructor(channels: number, resnet: ResnetOptions, transformer: Transformer2DOptions) {
    super();
    this.attentions = [new Transformer2DModel(channels, transformer)];
    this.resnets = [new ResnetBlock2D(channels, channels, resnet), new ResnetBlock2D(channels, channels, resnet)];
  }

  forward(x: Tensor, conditions: Conditions): Tensor {
    const [first, second] = this.resnets;
    return recomputed(x, conditions, (given, time, text) =>
      scope(() => second.forward(this.attentions[0].forward(first.forward(given, time), text), time)),
    );
  }
}

/** diffusers' CrossAttnUpBlock2D or, without a transformer, UpBlock2D. */
export class UNetUpBlock extends ResolutionBlock {
  readonly upsamplers: Upsample2D[] = [];

  /** @param skips channels of the skip connections, in the order in which the block takes them */
  constructor(inputs: number, outputs: number, skips: readonly number[], last: boolean, options: UNetBlockOptions) {
    super();
    for (const [i, skip] of skips.entries()) this.addLayer((i === 0 ? inputs : outputs) + skip, outputs, options);
    if (!last) this.upsamplers.push(new Upsample2D(outputs, options.resnet.init));
  }

  /** @param skips results of the way down; the block takes its own from the end of the list and frees them */
  forward(x: Tensor, skips: Tensor[], conditions: Conditions): Tensor {
    return scope(() => {
      let h = x;
      for (const i of this.resnets.keys()) {
        const skip = skips.pop() as Tensor;
        const next = this.runLayer(i, [h, skip], conditions);
        skip.dispose();
        if (h !== x) h.dispose();
        h = next;
      }
      for (const upsampler of this.upsamplers) {
        // An odd height or width was rounded up on the way down.
        const [, height, width] = skips[skips.length - 1].shape;
        h = upsampler.forward(h, [height, width]);
      }
      return h;
    });
  }
}
