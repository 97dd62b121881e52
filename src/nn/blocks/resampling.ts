// Resampling by two between blocks, with or without a convolution (Score SDE: layerspp.py Upsample and Downsample,
// up_or_down_sampling.py). `fir` is the filter's taps; if undefined, upsampling is nearest neighbour and downsampling
// the mean of 2 x 2 pixels.
import { firDownsample, firResample, firUpsample } from '../../kernels/fir.ts';
import { pad } from '../../kernels/movement.ts';
import { downsampleMean, upsampleNearest } from '../../kernels/resample.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { Conv2d, type Epilogue } from '../layers.ts';
import { Module } from '../module.ts';
import { type BlockContext, checkContext } from './context.ts';

type Fir = BlockContext['fir'];

/** [N, H, W, C] -> [N, 2 H, 2 W, C] */
export function upsample(x: Tensor, fir: Fir): Tensor {
  return fir ? firUpsample(x, fir) : upsampleNearest(x, 2);
}

/** [N, H, W, C] -> [N, H / 2, W / 2, C] */
export function downsample(x: Tensor, fir: Fir): Tensor {
  return fir ? firDownsample(x, fir) : downsampleMean(x, 2);
}

/** A resampling filter and, optionally, a 3x3 convolution. */
abstract class Resampling extends Module {
  readonly conv: Conv2d | undefined;
  readonly fir: Fir;

  constructor(inputs: number, outputs: number, withConv: boolean, context: BlockContext) {
    super();
    checkContext('resampling', context);
    const { fir, init } = context;
    this.fir = fir;
    this.conv = withConv ? new Conv2d(inputs, outputs, 3, init) : undefined;
  }
}

/**
 * y = conv3x3(upsample(x)). With a filter, the image is padded once, before the filter, as in StyleGAN2: beyond the
 * border the convolution sees the filter's output instead of zeros. The official code raises for both forms of this
 * module (`interpolate` gets the size as its factor; strides are negative); this implements the intended definition.
 * @example
 * const upsample = new Upsample(8, 16, true, {
 *   resblock: 'ddpm', nonlinearity: 'swish', fir: [1, 3, 3, 1], skipRescale: true, initScale: 1,
 *   embeddingChannels: 64, dropout: 0, dropoutState: { seed: 0, first: 0 }, streams: { next: 0 },
 *   init: new Initializer({ seed: 1 }),
 * });
 * upsample.forward(zeros([2, 4, 4, 8])).shape; // [2, 8, 8, 16]
 */
export class Upsample extends Resampling {
  /**
   * Maps [N, H, W, inputs] to [N, 2 H, 2 W, outputs].
   * @param epilogue epilogue of the convolution
   */
  forward(x: Tensor, epilogue: Epilogue = {}): Tensor {
    const { conv, fir } = this;
    if (!conv) return upsample(x, fir);
    return scope(() =>
      fir
        ? conv.forward(firUpsample(x, fir, 1), { padding: 0, ...epilogue })
        : conv.forward(upsampleNearest(x, 2), epilogue),
    );
  }
}

/**
 * y = every second pixel of conv3x3(filter(x)); without a filter, of conv3x3(x), beginning at the first pixel.
 * @example
 * const downsample = new Downsample(8, 16, true, {
 *   resblock: 'ddpm', nonlinearity: 'swish', fir: [1, 3, 3, 1], skipRescale: true, initScale: 1,
 *   embeddingChannels: 64, dropout: 0, dropoutState: { seed: 0, first: 0 }, streams: { next: 0 },
 *   init: new Initializer({ seed: 1 }),
 * });
 * downsample.forward(zeros([2, 8, 8, 8])).shape; // [2, 4, 4, 16]
 */
export class Downsample extends Resampling {
  /**
   * Maps [N, H, W, inputs] to [N, H / 2, W / 2, outputs].
   * @param epilogue epilogue of the convolution
   */
  forward(x: Tensor, epilogue: Epilogue = {}): Tensor {
    const { conv, fir } = this;
    if (!conv) return downsample(x, fir);
    return scope(() => conv.forward(fir ? applyFilter(x, fir) : padEnd(x), { stride: 2, padding: 0, ...epilogue }));
  }
}

/** Filters x to [N, H + 1, W + 1, C], into which a 3x3 convolution of stride 2 fits H / 2 times (conv_downsample_2d). */
function applyFilter(x: Tensor, fir: readonly number[]): Tensor {
  return firResample(x, fir, { padding: [Math.ceil(fir.length / 2), Math.floor(fir.length / 2)] });
}

/** Pads x to [N, H + 1, W + 1, C] with zeros at the bottom and on the right. */
function padEnd(x: Tensor): Tensor {
  return pad(x, [
    [0, 0],
    [0, 1],
    [0, 1],
    [0, 0],
  ]);
}
