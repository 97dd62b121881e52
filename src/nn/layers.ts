// The layers of the UNet and of small networks. Images are [N, H, W, C].
import {
  checkArguments,
  checkOptions,
  describeValue,
  kinds,
  type OptionKinds,
  requireWhole,
  wholeNumbers,
} from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { type Conv2dOptions, conv2d, conv2dOfParts } from '../kernels/conv/conv.ts';
import { silu } from '../kernels/elementwise.ts';
import { type GroupNormOptions, groupNorm } from '../kernels/group_norm.ts';
import { matmul } from '../kernels/matmul.ts';
import { type DropoutOptions, dropout } from '../kernels/random.ts';
import type { Counter } from '../tensor/counter.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkInitializer, Initializer } from './init.ts';
import { withChange } from './low_rank.ts';
import { Module } from './module.ts';

/**
 * y = x W^T + b over the last axis, with weight [out, in].
 * @example
 * const layer = new Linear(3, 2);
 * layer.weight.shape; // [2, 3]
 * layer.forward(zeros([5, 3])); // [[0, 0], [0, 0], [0, 0], [0, 0], [0, 0]]
 */
export class Linear extends Module {
  weight: Tensor;
  bias: Tensor;

  /** @param scale scale of the variance-scaling initialiser */
  constructor(inputs: number, outputs: number, init = new Initializer(), scale = 1) {
    super();
    requireWhole('Linear inputs', inputs, 1);
    requireWhole('Linear outputs', outputs, 1);
    checkInitializer('Linear', init);
    this.weight = init.varianceScaling([outputs, inputs], scale);
    this.bias = init.constant([outputs], 0);
  }

  /** Maps [..., inputs] to [..., outputs]. */
  forward(x: Tensor): Tensor {
    return withChange(this, x, () => matmul(x, this.weight, { transposeB: true, bias: this.bias }));
  }
}

/** Stride, padding, upsampling and fused operations of a layer's convolution; see conv2d. */
export type Epilogue = Pick<Conv2dOptions, 'stride' | 'padding' | 'upsample' | 'add' | 'residual' | 'scale'>;

/**
 * A convolution with an odd kernel size, whose default zero padding preserves H and W. Weight [Cout, k, k, Cin].
 * @example
 * const layer = new Conv2d(3, 16, 3, new Initializer({ seed: 1 }));
 * layer.weight.shape; // [16, 3, 3, 3]
 * layer.forward(zeros([2, 8, 8, 3])).shape; // [2, 8, 8, 16]
 * layer.forward(zeros([2, 8, 8, 3]), { stride: 2 }).shape; // [2, 4, 4, 16]
 */
export class Conv2d extends Module {
  weight: Tensor;
  bias: Tensor;
  private readonly padding: number;

  constructor(inputs: number, outputs: number, kernel: number, init = new Initializer(), scale = 1) {
    super();
    checkInitializer('Conv2d', init);
    requireWhole('Conv2d inputs', inputs, 1);
    requireWhole('Conv2d outputs', outputs, 1);
    this.weight = init.varianceScaling([outputs, requireWhole('Conv2d kernel', kernel, 1), kernel, inputs], scale);
    this.bias = init.constant([outputs], 0);
    this.padding = (kernel - 1) / 2;
  }

  /**
   * Maps [N, H, W, inputs] to [N, H, W, outputs].
   * @param x [N, H, W, inputs], or a list of tensors that stands for their concatenation on channels
   * @param epilogue stride, padding and fused operations; see conv2d
   */
  forward(x: Tensor | Tensor[], epilogue: Epilogue = {}): Tensor {
    const options = { bias: this.bias, padding: this.padding, ...epilogue };
    return Array.isArray(x) ? conv2dOfParts(x, this.weight, options) : conv2d(x, this.weight, options);
  }
}

export interface GroupNormLayerOptions {
  /** Default min(C / 4, 32), as in the official network. */
  groups?: number;
  /** Added to the variance; default 1e-6. */
  eps?: number;
}

const groupNormOptions: OptionKinds<GroupNormLayerOptions> = { groups: kinds.count, eps: kinds.notNegative };

/**
 * Group normalisation, and operations fused after it.
 * @example
 * const layer = new GroupNorm(16);
 * layer.groups; // 4
 * const y = layer.forward(randn([2, 8, 8, 16], { seed: 1 }));
 * y.shape; // [2, 8, 8, 16]
 * layer.forward(y, { activation: 'silu' }).shape; // [2, 8, 8, 16]
 */
export class GroupNorm extends Module {
  weight: Tensor;
  bias: Tensor;
  readonly groups: number;
  readonly eps: number;

  /** @throws ValueError unless the groups divide the channels */
  constructor(channels: number, init = new Initializer(), options: GroupNormLayerOptions = {}) {
    super();
    requireWhole('GroupNorm channels', channels, 1);
    checkInitializer('GroupNorm', init);
    const { groups, eps = 1e-6 } = checkOptions('GroupNorm', options, groupNormOptions);
    this.groups = groups ?? Math.max(1, Math.min(Math.floor(channels / 4), 32));
    this.eps = eps;
    if (channels % this.groups)
      throw new ValueError(`a group norm of ${channels} channels cannot have ${this.groups} groups of equal size`);
    this.weight = init.constant([channels], 1);
    this.bias = init.constant([channels], 0);
  }

  /**
   * Normalises x; the result has the shape of x unless `resample` changes it.
   * @param x [N, H, W, channels], or a list of tensors that stands for their concatenation on channels
   */
  forward(x: Tensor | Tensor[], options: Pick<GroupNormOptions, 'activation' | 'resample' | 'dropout'> = {}): Tensor {
    return groupNorm(x, this.weight, this.bias, { groups: this.groups, eps: this.eps, ...options });
  }
}

/** The random state shared by all dropout layers of a model; training sets `first` before each forward pass. */
export interface DropoutState {
  seed: number;
  /** Index of the batch's first sample in the run, counted from `origin`. */
  first: number;
  /** Default 0. */
  origin?: Counter;
}

/**
 * Zeroes elements with probability p in training; the mask is a function of (seed, sample, layer, element).
 * @example
 * const state = { seed: 0, first: 0 };
 * const layer = new Dropout(0.5, 1, state);
 * const x = ones([1, 1000]);
 * // Half of the elements are 0, the others are doubled.
 * max(layer.forward(x)); // 2
 * // The next sample of the run has another mask.
 * state.first = 1;
 * layer.eval().forward(x) === x; // true
 */
export class Dropout extends Module {
  readonly probability: number;
  private readonly stream: number;
  private readonly state: DropoutState;

  /**
   * @param stream random stream, distinct for each dropout layer of a model
   * @throws ValueError unless `probability` is in [0, 1)
   */
  constructor(probability: number, stream: number, state: DropoutState) {
    super();
    checkArguments('Dropout', {
      probability: [probability, kinds.number],
      stream: [stream, kinds.whole],
      state: [state, kinds.object],
    });
    if (!(probability >= 0 && probability < 1))
      throw new ValueError(`[Dropout] expected a probability in [0, 1), got ${probability}`);
    this.probability = probability;
    this.stream = stream;
    this.state = state;
  }

  /** Applies dropout; returns x itself outside training. */
  forward(x: Tensor): Tensor {
    const mask = this.draw();
    if (!mask) return x;
    const { p, ...draw } = mask;
    return dropout(x, p, draw);
  }

  /** The same mask as options for a norm that fuses dropout after its activation; undefined outside training. */
  draw(): DropoutOptions | undefined {
    if (!this.training || this.probability === 0) return undefined;
    return { p: this.probability, ...this.state, stream: this.stream };
  }
}

/**
 * Linear layers with SiLU between them; sizes are [in, hidden..., out].
 * @example
 * const network = new MLP([2, 64, 64, 1]);
 * network.parameterCount(); // 4417
 * network.forward(zeros([5, 2])).shape; // [5, 1]
 */
export class MLP extends Module {
  readonly layers: Linear[];

  constructor(sizes: readonly number[], init = new Initializer()) {
    super();
    if (wholeNumbers('MLP', 'sizes', sizes).length < 2)
      throw new ValueError(`MLP needs at least two sizes, got ${describeValue(sizes)}`);
    this.layers = sizes.slice(1).map((size, i) => new Linear(sizes[i], size, init));
  }

  /** Maps [..., first size] to [..., last size]. */
  forward(x: Tensor): Tensor {
    return this.layers.reduce((h, layer, i) => layer.forward(i === 0 ? h : silu(h)), x);
  }
}
