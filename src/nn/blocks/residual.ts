// The residual blocks of the UNet, with the order of operations of Score SDE's layerspp.py.
import { concat } from '../../kernels/movement.ts';
import { upsamplesLate } from '../../kernels/resample.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { normActivate } from '../activation.ts';
import { Conv2d, Dropout, GroupNorm, Linear } from '../layers.ts';
import { Module } from '../module.ts';
import { type BlockContext, checkContext, sumScale } from './context.ts';
import { downsample, upsample } from './resampling.ts';

export type Resample = 'none' | 'up' | 'down';

/**
 * The residual block in BigGAN form (ResnetBlockBigGANpp):
 *   h = conv1(resample(act(norm1(x)))) + dense(act(embedding));  h = conv2(dropout(act(norm2(h))))
 *   y = (shortcut(resample(x)) + h) / sqrt 2
 * The shortcut is a 1x1 convolution if the channels change or the block resamples. The DDPM form (ResnetBlockDDPMpp) is
 * the same without resampling; the initialiser scale of its shortcut is 0.1, as in the official NIN layer.
 * @example
 * const block = new ResidualBlock(8, 16, 'down', {
 *   resblock: 'biggan', nonlinearity: 'swish', fir: undefined, skipRescale: true, initScale: 1,
 *   embeddingChannels: 64, dropout: 0, dropoutState: { seed: 0, first: 0 }, streams: { next: 0 },
 *   init: new Initializer({ seed: 1 }),
 * });
 * const time = block.timeProjection.forward(silu(randn([2, 64], { seed: 2 })));
 * block.forward(randn([2, 8, 8, 8], { seed: 3 }), time).shape; // [2, 4, 4, 16]
 */
export class ResidualBlock extends Module {
  readonly norm1: GroupNorm;
  readonly conv1: Conv2d;
  /** Unconditional networks have it too but do not use it, because the official checkpoints contain it. */
  readonly timeProjection: Linear;
  readonly norm2: GroupNorm;
  readonly dropout: Dropout;
  readonly conv2: Conv2d;
  readonly shortcut: Conv2d | undefined;
  readonly form: BlockContext['resblock'];
  private readonly resample: Resample;
  private readonly nonlinearity: BlockContext['nonlinearity'];
  private readonly fir: BlockContext['fir'];
  private readonly scale: number;

  constructor(inputs: number, outputs: number, resample: Resample, context: BlockContext) {
    super();
    checkContext('ResidualBlock', context);
    const { init, resblock } = context;
    this.form = resblock;
    this.resample = resample;
    this.nonlinearity = context.nonlinearity;
    this.fir = context.fir;
    this.scale = sumScale(context);
    this.norm1 = new GroupNorm(inputs, init);
    this.conv1 = new Conv2d(inputs, outputs, 3, init);
    this.timeProjection = new Linear(context.embeddingChannels, outputs, init);
    this.norm2 = new GroupNorm(outputs, init);
    this.dropout = new Dropout(context.dropout, context.streams.next++, context.dropoutState);
    this.conv2 = new Conv2d(outputs, outputs, 3, init, context.initScale);
    if (inputs !== outputs || resample !== 'none')
      this.shortcut = new Conv2d(inputs, outputs, 1, init, resblock === 'ddpm' ? 0.1 : 1);
  }

  /**
   * Applies the block.
   * @param x [N, H, W, inputs], or a list of tensors that stands for their concatenation on channels
   * @param add the time term, a linear map of act(time embedding), [N, outputs]; undefined for an unconditional network
   * @returns [N, H, W, outputs], with H and W doubled or halved if the block resamples
   */
  forward(x: Tensor | Tensor[], add: Tensor | undefined): Tensor {
    return scope(() => {
      const h = this.conv1.forward(this.activateAndResample(x), { add });
      const kept = normActivate(this.norm2, h, this.nonlinearity, this.dropout);
      const residual = this.shortcutOf(x);
      return this.conv2.forward(kept, { residual, scale: this.scale });
    });
  }

  private shortcutOf(x: Tensor | Tensor[]): Tensor {
    const { shortcut, resample, fir } = this;
    // A convolution reads the parts of x where they are.
    if (shortcut && resample === 'none') return shortcut.forward(x);
    const whole = Array.isArray(x) ? concat(x, 3) : x;
    if (!shortcut) return this.applyResampling(whole);
    if (resample === 'up' && !fir && upsamplesLate(whole)) return this.applyResampling(shortcut.forward(whole));
    return shortcut.forward(this.applyResampling(whole));
  }

  private activateAndResample(x: Tensor | Tensor[]): Tensor {
    const { norm1, nonlinearity, fir, resample } = this;
    // The norm's kernel does swish with nearest or mean resampling in one pass.
    if (nonlinearity === 'swish' && !fir) return norm1.forward(x, { activation: 'silu', resample });
    return this.applyResampling(normActivate(norm1, x, nonlinearity));
  }

  private applyResampling(x: Tensor): Tensor {
    const { resample, fir } = this;
    return resample === 'up' ? upsample(x, fir) : resample === 'down' ? downsample(x, fir) : x;
  }
}
