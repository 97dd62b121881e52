// Layers that normalise: layer norm, RMS norm and batch norm.
import { checkOptions, kinds, type OptionKinds, requireWhole } from '../arguments.ts';
import { batchNorm } from '../kernels/batch_norm.ts';
import { layerNorm, rmsNorm } from '../kernels/layer_norm.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkInitializer, Initializer } from './init.ts';
import { Module } from './module.ts';

export interface NormOptions {
  /** Added to the variance; default 1e-5. */
  eps?: number;
}

const normOptions: OptionKinds<NormOptions> = { eps: kinds.notNegative };

/**
 * Layer norm over the last axis.
 * @example
 * const layer = new LayerNorm(4);
 * layer.forward(tensor([[1, 2, 3, 4]])); // [[-1.342, -0.4472, 0.4472, 1.342]]
 */
export class LayerNorm extends Module {
  weight: Tensor;
  bias: Tensor;
  readonly eps: number;

  constructor(size: number, init = new Initializer(), options: NormOptions = {}) {
    super();
    requireWhole('LayerNorm size', size, 1);
    checkInitializer('LayerNorm', init);
    this.eps = checkOptions('LayerNorm', options, normOptions).eps ?? 1e-5;
    this.weight = init.constant([size], 1);
    this.bias = init.constant([size], 0);
  }

  /** Maps [..., size] to the same shape. */
  forward(x: Tensor): Tensor {
    const { weight, bias, eps } = this;
    return layerNorm(x, { weight, bias, eps });
  }
}

/**
 * RMS norm over the last axis.
 * @example
 * const layer = new RMSNorm(2);
 * layer.forward(tensor([[3, 4]])); // [[0.8485, 1.131]]
 */
export class RMSNorm extends Module {
  weight: Tensor;
  readonly eps: number;

  /** @param options.eps default 2^-23, as in PyTorch */
  constructor(size: number, init = new Initializer(), options: NormOptions = {}) {
    super();
    requireWhole('RMSNorm size', size, 1);
    checkInitializer('RMSNorm', init);
    this.eps = checkOptions('RMSNorm', options, normOptions).eps ?? 2 ** -23;
    this.weight = init.constant([size], 1);
  }

  /** Maps [..., size] to the same shape. */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, { eps: this.eps });
  }
}

export interface BatchNormLayerOptions extends NormOptions {
  /** Share of a batch in an update of the running mean and variance; default 0.1. */
  momentum?: number;
}

const batchNormOptions: OptionKinds<BatchNormLayerOptions> = { ...normOptions, momentum: kinds.number };

/**
 * Batch norm of channels, the last axis: by the statistics of the batch in training, which also move the running mean
 * and variance, and by those in evaluation. Both are part of the state dict.
 * @example
 * const layer = new BatchNorm(1);
 * // By the statistics of the batch, which also move the running ones.
 * layer.forward(tensor([[1], [3]])); // [[-1], [1]]
 * layer.mean; // [0.2]
 * layer.eval().forward(tensor([[0.2]])); // [[0]]
 */
export class BatchNorm extends Module {
  weight: Tensor;
  bias: Tensor;
  /** Running mean, [channels]. */
  mean: Tensor;
  /** Running variance, [channels]. */
  variance: Tensor;
  readonly eps: number;
  readonly momentum: number;

  constructor(channels: number, init = new Initializer(), options: BatchNormLayerOptions = {}) {
    super();
    requireWhole('BatchNorm channels', channels, 1);
    checkInitializer('BatchNorm', init);
    const { eps = 1e-5, momentum = 0.1 } = checkOptions('BatchNorm', options, batchNormOptions);
    this.eps = eps;
    this.momentum = momentum;
    this.weight = init.constant([channels], 1);
    this.bias = init.constant([channels], 0);
    this.mean = init.constant([channels], 0).requireGrad(false);
    this.variance = init.constant([channels], 1).requireGrad(false);
  }

  /** Maps [N, ..., channels] to the same shape. */
  forward(x: Tensor): Tensor {
    const { weight, bias, mean, variance, training, momentum, eps } = this;
    return batchNorm(x, { weight, bias, mean, variance, training, momentum, eps });
  }
}
