// The text network of CLIP (Radford et al. 2021): transformers' CLIPTextModel. Its last states condition Stable Diffusion.
import { checkOptions, kinds, type OptionKinds, oneOf, wholeFrom } from '../../arguments.ts';
import { DtypeError, formatShape, ShapeError, ValueError } from '../../errors.ts';
import { attention } from '../../kernels/composed/attention.ts';
import { add, mul, sigmoid } from '../../kernels/elementwise.ts';
import { gelu } from '../../kernels/gelu.ts';
import { matmul } from '../../kernels/matmul.ts';
import { reshape, slice } from '../../kernels/movement.ts';
import { scope } from '../../tensor/scope.ts';
import { requireTensor, type Tensor } from '../../tensor/tensor.ts';
import { Embedding } from '../embedding_table.ts';
import { checkInitializer, Initializer } from '../init.ts';
import { Linear } from '../layers.ts';
import { Module } from '../module.ts';
import { LayerNorm } from '../norms.ts';
import { inTurn } from './layers.ts';

/** 'quick_gelu' is x sigmoid(1.702 x). */
export type ClipActivation = 'quick_gelu' | 'gelu';

export interface CLIPTextOptions {
  /** Tokens of the vocabulary; 49,408 in CLIP. */
  vocabulary: number;
  /** Channels; 768 in Stable Diffusion 1. */
  width: number;
  /** Default 12. */
  layers?: number;
  /** Default 12. */
  heads?: number;
  /** Width between the two linear layers of a block; default 4 times the width. */
  hidden?: number;
  /** Longest sequence; default 77. */
  positions?: number;
  /** Default 'quick_gelu'. */
  activation?: ClipActivation;
  /** eps of the norms; default 1e-5. */
  eps?: number;
}

const textOptions: OptionKinds<CLIPTextOptions> = {
  vocabulary: kinds.count,
  width: kinds.count,
  layers: wholeFrom(1, 64),
  heads: kinds.count,
  hidden: kinds.count,
  positions: kinds.count,
  activation: oneOf(['quick_gelu', 'gelu']),
  eps: kinds.notNegative,
};

class ClipAttention extends Module {
  readonly heads: number;
  readonly k_proj: Linear;
  readonly v_proj: Linear;
  readonly q_proj: Linear;
  readonly out_proj: Linear;

  constructor(width: number, heads: number, init: Initializer) {
    super();
    this.heads = heads;
    this.k_proj = new Linear(width, width, init);
    this.v_proj = new Linear(width, width, init);
    this.q_proj = new Linear(width, width, init);
    this.out_proj = new Linear(width, width, init);
  }

  forward(x: Tensor): Tensor {
    const { heads, q_proj, k_proj, v_proj, out_proj } = this;
    return scope(() => {
      const states = attention(q_proj.forward(x), k_proj.forward(x), v_proj.forward(x), { heads, causal: true });
      return out_proj.forward(states);
    });
  }
}

class ClipMlp extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;
  private readonly activation: ClipActivation;

  constructor(width: number, hidden: number, activation: ClipActivation, init: Initializer) {
    super();
    this.activation = activation;
    this.fc1 = new Linear(width, hidden, init);
    this.fc2 = new Linear(hidden, width, init);
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const h = this.fc1.forward(x);
      return this.fc2.forward(this.activation === 'gelu' ? gelu(h) : mul(h, sigmoid(mul(h, 1.702))));
    });
  }
}

class ClipLayer extends Module {
  readonly self_attn: ClipAttention;
  readonly layer_norm1: LayerNorm;
  readonly mlp: ClipMlp;
  readonly layer_norm2: LayerNorm;

  constructor({ width, heads, hidden, activation, eps }: Required<CLIPTextOptions>, init: Initializer) {
    super();
    this.self_attn = new ClipAttention(width, heads, init);
    this.layer_norm1 = new LayerNorm(width, init, { eps });
    this.mlp = new ClipMlp(width, hidden, activation, init);
    this.layer_norm2 = new LayerNorm(width, init, { eps });
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const h = add(x, this.self_attn.forward(this.layer_norm1.forward(x)));
      return add(h, this.mlp.forward(this.layer_norm2.forward(h)));
    });
  }
}

class ClipEmbeddings extends Module {
  readonly token_embedding: Embedding;
  readonly position_embedding: Embedding;

  constructor({ vocabulary, positions, width }: Required<CLIPTextOptions>, init: Initializer) {
    super();
    this.token_embedding = new Embedding(vocabulary, width, init);
    this.position_embedding = new Embedding(positions, width, init);
  }

  /** @param tokens ids [N, L], or shares [N, L, vocabulary] */
  forward(tokens: Tensor): Tensor {
    const [n, length] = tokens.shape;
    const { weight } = this.position_embedding;
    const width = weight.shape[1];
    return scope(() => {
      const positions = reshape(slice(weight, [0, 0], [length, width]), [1, length, width]);
      const embedded =
        tokens.rank === 2 ? this.token_embedding.forward(tokens) : matmul(tokens, this.token_embedding.weight);
      return reshape(add(embedded, positions), [n, length, width]);
    });
  }
}

class ClipEncoder extends Module {
  readonly layers: ClipLayer[];

  constructor(options: Required<CLIPTextOptions>, init: Initializer) {
    super();
    this.layers = Array.from({ length: options.layers }, () => new ClipLayer(options, init));
  }

  forward(x: Tensor): Tensor {
    return inTurn(
      x,
      this.layers.map((layer) => (h: Tensor) => layer.forward(h)),
    );
  }
}

class ClipTextTransformer extends Module {
  readonly embeddings: ClipEmbeddings;
  readonly encoder: ClipEncoder;
  readonly final_layer_norm: LayerNorm;

  constructor(options: Required<CLIPTextOptions>, init: Initializer) {
    super();
    this.embeddings = new ClipEmbeddings(options, init);
    this.encoder = new ClipEncoder(options, init);
    this.final_layer_norm = new LayerNorm(options.width, init, { eps: options.eps });
  }
}

/**
 * A transformer of token ids with causal attention. Its tensors have the names of transformers' CLIPTextModel.
 * @example
 * const network = new CLIPTextModel({ vocabulary: 1000, width: 64, layers: 2, heads: 4 });
 * network.forward(tensor(new Int32Array(77), { shape: [1, 77], dtype: 'i32' })).shape; // [1, 77, 64]
 */
export class CLIPTextModel extends Module {
  readonly options: Required<CLIPTextOptions>;
  readonly text_model: ClipTextTransformer;

  /** @throws ValueError unless the heads divide the width */
  constructor(given: CLIPTextOptions, init = new Initializer()) {
    super();
    checkInitializer('CLIPTextModel', init);
    const checked = checkOptions('CLIPTextModel', given, textOptions, ['vocabulary', 'width']);
    const { width, heads = 12 } = checked;
    if (width % heads !== 0)
      throw new ValueError(`[CLIPTextModel] expected heads that divide the width ${width}, got ${heads}`);
    this.options = {
      layers: 12,
      hidden: 4 * width,
      positions: 77,
      activation: 'quick_gelu',
      eps: 1e-5,
      ...checked,
      width,
      heads,
    };
    this.text_model = new ClipTextTransformer(this.options, init);
  }

  /**
   * The states of all positions after the final norm, f32.
   * @param tokens ids, i32 [N, L], L at most the number of positions; or f32 [N, L, vocabulary], the share of each token at
   * each position, 1 for the one that is there. Shares may be part of recorded work, where ids cannot be checked
   * @returns [N, L, width]
   * @throws ShapeError, DtypeError; ValueError for an id that is not in the vocabulary
   */
  forward(tokens: Tensor): Tensor {
    requireTensor('CLIPTextModel', tokens, 'ids');
    const { positions, vocabulary } = this.options;
    const { shape, rank, dtype } = tokens;
    if (dtype !== (rank === 3 ? 'f32' : 'i32'))
      throw new DtypeError('CLIPTextModel', 'ids of dtype i32, or shares of dtype f32', tokens.describe());
    if ((rank !== 2 && rank !== 3) || shape[1] > positions || (rank === 3 && shape[2] !== vocabulary))
      throw new ShapeError(
        'CLIPTextModel',
        `ids [N, up to ${positions}] or shares [N, up to ${positions}, ${vocabulary}]`,
        formatShape(shape),
      );
    const { embeddings, encoder, final_layer_norm } = this.text_model;
    return scope(() => final_layer_norm.forward(encoder.forward(embeddings.forward(tokens))));
  }
}
