// The attention block of the UNet (Score SDE, layerspp.py AttnBlockpp).
import { formatShape, ShapeError } from '../../errors.ts';
import { attention } from '../../kernels/composed/attention.ts';
import { linears } from '../../kernels/inner/linears.ts';
import { reshape } from '../../kernels/movement.ts';
import { scope } from '../../tensor/scope.ts';
import { requireTensor, type Tensor } from '../../tensor/tensor.ts';
import { Conv2d, GroupNorm, Linear } from '../layers.ts';
import { Module } from '../module.ts';
import { type BlockContext, checkContext, sumScale } from './context.ts';

/**
 * Single-head self-attention over the H W positions (AttnBlockpp): y = (x + project(attention(q, k, v))) / sqrt 2,
 * q, k, v = linear maps of norm(x).
 * @example
 * const block = new AttentionBlock(16, {
 *   resblock: 'biggan', nonlinearity: 'swish', fir: undefined, skipRescale: true, initScale: 1,
 *   embeddingChannels: 64, dropout: 0, dropoutState: { seed: 0, first: 0 }, streams: { next: 0 },
 *   init: new Initializer({ seed: 1 }),
 * });
 * block.forward(randn([2, 4, 4, 16], { seed: 2 })).shape; // [2, 4, 4, 16]
 */
export class AttentionBlock extends Module {
  readonly norm: GroupNorm;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly projection: Conv2d;
  private readonly scale: number;

  constructor(channels: number, context: BlockContext) {
    super();
    checkContext('AttentionBlock', context);
    const { init } = context;
    this.scale = sumScale(context);
    this.norm = new GroupNorm(channels, init);
    // 0.1 is the official default of these three maps.
    this.query = new Linear(channels, channels, init, 0.1);
    this.key = new Linear(channels, channels, init, 0.1);
    this.value = new Linear(channels, channels, init, 0.1);
    this.projection = new Conv2d(channels, channels, 1, init, context.initScale);
  }

  /** Maps [N, H, W, channels] to the same shape. */
  forward(x: Tensor): Tensor {
    requireTensor('AttentionBlock', x);
    if (x.rank !== 4) throw new ShapeError('AttentionBlock', 'x [N, H, W, C]', formatShape(x.shape));
    return scope(() => {
      const [n, height, width, channels] = x.shape;
      const h = reshape(this.norm.forward(x), [n, height * width, channels]);
      const [q, k, v] = linears(h, [this.query, this.key, this.value]);
      const attended = attention(q, k, v);
      return this.projection.forward(reshape(attended, x.shape), { residual: x, scale: this.scale });
    });
  }
}
