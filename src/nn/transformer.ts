// Attention with several heads, and the block of a transformer with norms before its two parts.
//   x += dropout(attention(norm(x))); x += dropout(contract(dropout(gelu(expand(norm(x))))))
// Source: Vaswani et al. 2017; the place of the norms: Xiong et al. 2020.
import { checkOptions, kinds, type OptionKinds, requireWhole } from '../arguments.ts';
import { ArgumentError, formatShape, ShapeError, ValueError } from '../errors.ts';
import { attention } from '../kernels/composed/attention.ts';
import { add } from '../kernels/elementwise.ts';
import { gelu } from '../kernels/gelu.ts';
import { linears } from '../kernels/inner/linears.ts';
import { scope } from '../tensor/scope.ts';
import { requireTensor, type Tensor, tensorKind } from '../tensor/tensor.ts';
import { checkInitializer, Initializer } from './init.ts';
import { Dropout, type DropoutState, Linear } from './layers.ts';
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

/** Dropout in training, as in PyTorch's layers; train() and eval() switch it. */
export interface LayerDropoutOptions {
  /** The probability with which elements are zeroed, in [0, 1); default 0. */
  dropout?: number;
  /** The first random stream of the layer, needed with dropout. Layers of a model must not share streams. */
  stream?: number;
  /** Seed and number of the first sample, shared by the layers of a model and needed with dropout. */
  state?: DropoutState;
}

const dropoutOptions: OptionKinds<LayerDropoutOptions> = {
  dropout: kinds.number,
  stream: kinds.whole,
  state: kinds.object,
};

/** The dropout layers of a layer, each with its own stream. */
function dropoutLayers(layer: string, { dropout = 0, stream, state }: LayerDropoutOptions, count: number): Dropout[] {
  if (dropout !== 0 && (stream === undefined || state === undefined))
    throw new ArgumentError(layer, 'stream and state with dropout', stream === undefined ? 'no stream' : 'no state');
  return Array.from(
    { length: count },
    (_, i) => new Dropout(dropout, (stream ?? 0) + i, state ?? { seed: 0, first: 0 }),
  );
}

/**
 * Attention with several heads: project(attention(query(x), key(c), value(c))), where c is x or another sequence.
 * @example
 * const layer = new MultiHeadAttention(64, 8);
 * const x = randn([2, 10, 64], { seed: 1 });
 * layer.forward(x, { causal: true }).shape; // [2, 10, 64]
 * // Each position attends to another sequence.
 * layer.forward(x, { context: randn([2, 5, 64], { seed: 2 }) }).shape; // [2, 10, 64]
 */
export class MultiHeadAttention extends Module {
  readonly heads: number;
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly projection: Linear;
  /** Zeroes probabilities. */
  readonly dropout: Dropout;

  /**
   * @param options dropout of the probabilities, which takes one stream
   * @throws ValueError unless `heads` divides `channels`; ArgumentError for dropout without `stream` and `state`
   */
  constructor(channels: number, heads: number, init = new Initializer(), options: LayerDropoutOptions = {}) {
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
    [this.dropout] = dropoutLayers(
      'MultiHeadAttention',
      checkOptions('MultiHeadAttention', options, dropoutOptions),
      1,
    );
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
      return projection.forward(attention(q, k, v, { heads, mask, causal, dropout: this.dropout.draw() }));
    });
  }
}

export interface TransformerBlockOptions extends LayerDropoutOptions {
  /** Width between the two linear layers; default 4 times the channels. */
  hidden?: number;
}

/**
 * A transformer's block: attention of a sequence to itself, then two linear layers with GELU between them, each on the
 * layer norm of its input and added to it: PyTorch's TransformerEncoderLayer with `norm_first` and GELU. In training,
 * dropout applies where it does there: to the probabilities of attention, after its projection, after GELU and after the
 * second linear layer. These take the streams `stream` to `stream + 3`.
 * @example
 * const init = new Initializer({ seed: 1 });
 * const state = { seed: 0, first: 0 };
 * const [one, two] = [0, 4].map((stream) => new TransformerBlock(64, 8, init, { dropout: 0.1, stream, state }));
 * // Before the forward pass of a batch: the number of its first sample in the run.
 * state.first = 32;
 * two.forward(one.forward(randn([2, 10, 64], { seed: 2 }), { causal: true }), { causal: true }).shape; // [2, 10, 64]
 */
export class TransformerBlock extends Module {
  readonly norm1: LayerNorm;
  readonly attention: MultiHeadAttention;
  readonly norm2: LayerNorm;
  readonly expand: Linear;
  readonly contract: Linear;
  /** After the projection of attention, after GELU, and after the second linear layer. */
  readonly dropouts: readonly Dropout[];

  /** @throws ArgumentError for dropout without `stream` and `state`; ValueError unless `heads` divides `channels` */
  constructor(channels: number, heads: number, init = new Initializer(), options: TransformerBlockOptions = {}) {
    super();
    requireWhole('TransformerBlock channels', channels, 1);
    const kindsOfOptions = { hidden: kinds.int32Count, ...dropoutOptions };
    const { hidden = 4 * channels, ...drop } = checkOptions('TransformerBlock', options, kindsOfOptions);
    const [, ...rest] = dropoutLayers('TransformerBlock', drop, 4);
    this.norm1 = new LayerNorm(channels, init);
    this.attention = new MultiHeadAttention(channels, heads, init, drop);
    this.norm2 = new LayerNorm(channels, init);
    this.expand = new Linear(channels, hidden, init);
    this.contract = new Linear(hidden, channels, init);
    this.dropouts = rest;
  }

  /** Maps [N, L, channels] to the same shape. */
  forward(x: Tensor, options: AttendOptions = {}): Tensor {
    requireTensor('TransformerBlock', x);
    const [afterAttention, afterGelu, afterContract] = this.dropouts;
    return scope(() => {
      const h = add(x, afterAttention.forward(this.attention.forward(this.norm1.forward(x), options)));
      const hidden = afterGelu.forward(gelu(this.expand.forward(this.norm2.forward(h))));
      return add(h, afterContract.forward(this.contract.forward(hidden)));
    });
  }
}
