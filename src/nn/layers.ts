// The layers of the UNet and of small networks. Images are [N, H, W, C].
import { checkArguments, describeValue, kinds, requireWhole, wholeNumbers } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { type Conv2dOptions, conv2d } from '../kernels/conv/conv.ts';
import { silu } from '../kernels/elementwise.ts';
import { type GroupNormOptions, groupNorm } from '../kernels/group_norm.ts';
import { matmul } from '../kernels/matmul.ts';
import { type DropoutOptions, dropout } from '../kernels/random.ts';
import type { Counter } from '../tensor/counter.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkInitializer, Initializer } from './init.ts';
import { Module } from './module.ts';

/** y = x W^T + b over the last axis. Weight [out, in]. */
export class Linear extends Module {
  weight: Tensor;
  bias: Tensor;

  /** @param scale of the variance-scaling initialiser */
  constructor(inputs: number, outputs: number, init = new Initializer(), scale = 1) {
    super();
    requireWhole('Linear inputs', inputs, 1);
    requireWhole('Linear outputs', outputs, 1);
    checkInitializer('Linear', init);
    this.weight = init.varianceScaling([outputs, inputs], scale);
    this.bias = init.constant([outputs], 0);
  }

  /** [..., inputs] to [..., outputs]. */
  forward(x: Tensor): Tensor {
    return matmul(x, this.weight, { transposeB: true, bias: this.bias });
  }
}

/** How a layer's convolution is laid on the image and what is added before its result is stored: see conv2d. */
export type Epilogue = Pick<Conv2dOptions, 'stride' | 'padding' | 'add' | 'residual' | 'scale'>;

/** A convolution of odd kernel size; unless told otherwise its zero padding keeps H and W. Weight [Cout, k, k, Cin]. */
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
   * [N, H, W, inputs] to [N, H, W, outputs].
   * @param epilogue what is added to the convolution before its result is stored: see conv2d
   */
  forward(x: Tensor, epilogue: Epilogue = {}): Tensor {
    return conv2d(x, this.weight, { bias: this.bias, padding: this.padding, ...epilogue });
  }
}

/** Group normalisation with min(C / 4, 32) groups, as the official network has it, and what may be fused behind it. */
export class GroupNorm extends Module {
  weight: Tensor;
  bias: Tensor;
  readonly groups: number;

  constructor(channels: number, init = new Initializer()) {
    super();
    requireWhole('GroupNorm channels', channels, 1);
    checkInitializer('GroupNorm', init);
    this.groups = Math.max(1, Math.min(Math.floor(channels / 4), 32));
    if (channels % this.groups)
      throw new ValueError(`a group norm of ${channels} channels cannot have ${this.groups} groups of equal size`);
    this.weight = init.constant([channels], 1);
    this.bias = init.constant([channels], 0);
  }

  /**
   * The result has the shape of x, where `resample` does not change it.
   * @param x [N, H, W, channels], or several that stand for their concatenation on channels
   */
  forward(x: Tensor | Tensor[], options: Pick<GroupNormOptions, 'activation' | 'resample' | 'dropout'> = {}): Tensor {
    return groupNorm(x, this.weight, this.bias, { groups: this.groups, eps: 1e-6, ...options });
  }
}

/** What every dropout layer of a model draws from; training sets `first` before each forward. */
export interface DropoutState {
  seed: number;
  /** Number of the batch's first sample in the run, counted from `origin`. */
  first: number;
  /** Default 0. */
  origin?: Counter;
}

/** Zeroes elements with probability p in training; the mask is a function of (seed, sample, layer, element). */
export class Dropout extends Module {
  readonly probability: number;
  private readonly stream: number;
  private readonly state: DropoutState;

  /** @param stream distinct for each dropout layer of a model */
  constructor(probability: number, stream: number, state: DropoutState) {
    super();
    checkArguments('Dropout', {
      probability: [probability, kinds.number],
      stream: [stream, kinds.whole],
      state: [state, kinds.object],
    });
    this.probability = probability;
    this.stream = stream;
    this.state = state;
  }

  /** The result has the shape of x, and is x itself outside training. */
  forward(x: Tensor): Tensor {
    const mask = this.draw();
    if (!mask) return x;
    const { p, ...draw } = mask;
    return dropout(x, p, draw);
  }

  /** What a norm is told to drop out behind its activation in its own pass: the same mask. Undefined outside training. */
  draw(): DropoutOptions | undefined {
    if (!this.training || this.probability === 0) return undefined;
    return { p: this.probability, ...this.state, stream: this.stream };
  }
}

/** Linear layers with SiLU between them: sizes [in, hidden..., out]. */
export class MLP extends Module {
  readonly layers: Linear[];

  constructor(sizes: readonly number[], init = new Initializer()) {
    super();
    if (wholeNumbers('MLP', 'sizes', sizes).length < 2)
      throw new ValueError(`MLP sizes must be at least two, got ${describeValue(sizes)}`);
    this.layers = sizes.slice(1).map((size, i) => new Linear(sizes[i], size, init));
  }

  /** [..., first size] to [..., last size]. */
  forward(x: Tensor): Tensor {
    return this.layers.reduce((h, layer, i) => layer.forward(i === 0 ? h : silu(h)), x);
  }
}
