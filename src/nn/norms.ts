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
 * new LayerNorm(64).forward(x); // x [..., 64]
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
 * new RMSNorm(64).forward(x); // x [..., 64]
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
 * const norm = new BatchNorm(16);
 * norm.forward(x); // x [N, ..., 16], by its own statistics
 * norm.eval().forward(x); // by the running ones
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
