// Attention with several heads, and the block of a transformer with norms before its two parts.
//   x += attention(norm(x)); x += contract(gelu(expand(norm(x))))
// Source: Vaswani et al. 2017; the place of the norms: Xiong et al. 2020.
import { checkOptions, kinds, type OptionKinds, requireWhole } from '../arguments.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { attention } from '../kernels/composed/attention.ts';
import { add } from '../kernels/elementwise.ts';
import { gelu } from '../kernels/gelu.ts';
import { linears } from '../kernels/inner/linears.ts';
import { scope } from '../tensor/scope.ts';
import { requireTensor, type Tensor, tensorKind } from '../tensor/tensor.ts';
import { checkInitializer, Initializer } from './init.ts';
import { Linear } from './layers.ts';
import { Module } from './module.ts';
import { LayerNorm } from './norms.ts';

export interface AttendOptions {
  /** [N, S, channels] to attend to; default: x itself. */
  context?: Tensor;
  /** bool, broadcast to [N, heads, L, S]; true attends. */
  mask?: Tensor;
  /** Whether position i attends to positions up to i only; default false. */
  causal?: boolean;
}

const attendOptions: OptionKinds<AttendOptions> = { context: tensorKind, mask: tensorKind, causal: kinds.boolean };

/**
 * Attention with several heads: project(attention(query(x), key(c), value(c))), where c is x or another sequence.
 * @example
 * const layer = new MultiHeadAttention(64, 8);
 * layer.forward(x, { causal: true }); // x [N, L, 64]
 */
export class MultiHeadAttention extends Module {
  readonly heads: number;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly projection: Linear;

  /** @throws ValueError unless `heads` divides `channels` */
  constructor(channels: number, heads: number, init = new Initializer()) {
    super();
    requireWhole('MultiHeadAttention channels', channels, 1);
    requireWhole('MultiHeadAttention heads', heads, 1);
    checkInitializer('MultiHeadAttention', init);
    if (channels % heads)
      throw new ValueError(`[MultiHeadAttention] expected heads that divide ${channels} channels, got ${heads}`);
    this.heads = heads;
    this.query = new Linear(channels, channels, init);
    this.key = new Linear(channels, channels, init);
    this.value = new Linear(channels, channels, init);
    this.projection = new Linear(channels, channels, init);
  }

  /** Maps [N, L, channels] to the same shape. */
  forward(x: Tensor, options: AttendOptions = {}): Tensor {
    requireTensor('MultiHeadAttention', x);
    const { context = x, mask, causal } = checkOptions('MultiHeadAttention', options, attendOptions);
    if (x.rank !== 3 || context.rank !== 3)
      throw new ShapeError(
        'MultiHeadAttention',
        'x [N, L, channels] and context [N, S, channels]',
        `${formatShape(x.shape)} and ${formatShape(context.shape)}`,
      );
    const { heads, query, key, value, projection } = this;
    return scope(() => {
      const [q, k, v] =
        context === x
          ? linears(x, [query, key, value])
          : [query.forward(x), key.forward(context), value.forward(context)];
      return projection.forward(attention(q, k, v, { heads, mask, causal }));
    });
  }
}

export interface TransformerBlockOptions {
  /** Width between the two linear layers; default 4 times the channels. */
  hidden?: number;
}

/**
 * A transformer's block: attention of a sequence to itself, then two linear layers with GELU between them, each on the
 * layer norm of its input and added to it.
 * @example
 * const block = new TransformerBlock(64, 8);
 * block.forward(x, { causal: true }); // x [N, L, 64]
 */
export class TransformerBlock extends Module {
  readonly norm1: LayerNorm;
  readonly attention: MultiHeadAttention;
  readonly norm2: LayerNorm;
  readonly expand: Linear;
  readonly contract: Linear;

  constructor(channels: number, heads: number, init = new Initializer(), options: TransformerBlockOptions = {}) {
    super();
    const { hidden = 4 * channels } = checkOptions('TransformerBlock', options, { hidden: kinds.int32Count });
    this.norm1 = new LayerNorm(channels, init);
    this.attention = new MultiHeadAttention(channels, heads, init);
    this.norm2 = new LayerNorm(channels, init);
    this.expand = new Linear(channels, hidden, init);
    this.contract = new Linear(hidden, channels, init);
  }

  /** Maps [N, L, channels] to the same shape. */
  forward(x: Tensor, options: AttendOptions = {}): Tensor {
    requireTensor('TransformerBlock', x);
    return scope(() => {
      const h = add(x, this.attention.forward(this.norm1.forward(x), options));
      return add(h, this.contract.forward(gelu(this.expand.forward(this.norm2.forward(h)))));
    });
  }
}
