// Time embeddings, and the noise scales by which the output may be divided. Labels are t * 999, as in the official
// network.
import {
  checkArgument,
  checkArguments,
  checkOptions,
  kind,
  kinds,
  type OptionKinds,
  oneOf,
  requireWhole,
} from '../arguments.ts';
import { cos, log, mul, sin } from '../kernels/elementwise.ts';
import { sinusoids } from '../kernels/inner/flow_inputs.ts';
import { concat, reshape } from '../kernels/movement.ts';
import { constant } from '../tensor/constant.ts';
import { requireTensor, type Tensor } from '../tensor/tensor.ts';
import { checkInitializer, Initializer } from './init.ts';
import { Module } from './module.ts';

const dimKind = kind(
  'an even number >= 4',
  (v) => kinds.int32Count.accepts(v) && (v as number) >= 4 && (v as number) % 2 === 0,
);

export interface SinusoidalOptions {
  /** What is subtracted from dim / 2 in the exponent; default 1. Diffusers' `freq_shift`, 0 in Stable Diffusion. */
  shift?: 0 | 1;
  /** Whether the cosines come first; default false. Diffusers' `flip_sin_to_cos`, true in Stable Diffusion. */
  cosineFirst?: boolean;
}

const sinusoidalOptions: OptionKinds<SinusoidalOptions> = { shift: oneOf([0, 1]), cosineFirst: kinds.boolean };

/**
 * Sinusoidal embedding (Vaswani et al. 2017; Score SDE layers.py get_timestep_embedding):
 * [sin(t w), cos(t w)], w_i = 10000^(-i / (dim/2 - shift)), rounded as in the official codes, which compute the exponent
 * in float32: Score SDE for a shift of 1, diffusers for 0.
 * @param labels [N]
 * @param dim even and at least 4
 * @returns [N, dim]
 * @example
 * sinusoidalEmbedding(tensor([0, 1]), 4); // [[0, 0, 1, 1], [0.8415, 1e-4, 0.5403, 1]]
 */
export function sinusoidalEmbedding(labels: Tensor, dim: number, options: SinusoidalOptions = {}): Tensor {
  requireTensor('sinusoidalEmbedding', labels, 'labels [N]');
  checkArgument('sinusoidalEmbedding', 'dim', dim, dimKind);
  const checked = checkOptions('sinusoidalEmbedding', options, sinusoidalOptions);
  const { shift = 1, cosineFirst = false } = checked;
  const half = dim / 2;
  const frequencies = constant(`sinusoidal frequencies ${half} ${shift}`, [1, half], labels.device, () =>
    Float32Array.from({ length: half }, (_, i) => Math.exp(exponentOf(i, half, shift))),
  );
  const together = cosineFirst ? undefined : sinusoids(labels, frequencies);
  if (together) return together;
  const angles = mul(reshape(labels, [-1, 1]), frequencies);
  return concat(cosineFirst ? [cos(angles), sin(angles)] : [sin(angles), cos(angles)], 1);
}

/** ln w_i in float32: Score SDE multiplies i by a rounded factor, diffusers divides a rounded product. */
function exponentOf(i: number, half: number, shift: 0 | 1): number {
  const rate = -Math.log(10000);
  return shift === 1 ? Math.fround(i * Math.fround(rate / (half - 1))) : Math.fround(Math.fround(rate * i) / half);
}

/**
 * Gaussian Fourier embedding of log(label): [sin(2 pi W log t), cos(2 pi W log t)] with fixed W ~ N(0, scale^2) (Tancik et al. 2020;
 * Score SDE, layerspp.py GaussianFourierProjection).
 * @example
 * const embedding = new FourierEmbedding(16, 4);
 * embedding.forward(tensor([1, 500, 999])).shape; // [3, 32]
 */
export class FourierEmbedding extends Module {
  W: Tensor;

  /** @param size number of frequencies; the embedding has twice as many entries */
  constructor(size: number, scale: number, init = new Initializer()) {
    super();
    requireWhole('FourierEmbedding size', size, 1);
    checkInitializer('FourierEmbedding', init);
    this.W = init.normal([size], scale).requireGrad(false);
  }

  /** Maps [N] to [N, 2 size]. */
  forward(labels: Tensor): Tensor {
    const angles = mul(mul(reshape(log(labels), [-1, 1]), reshape(this.W, [1, -1])), 2 * Math.PI);
    return concat([sin(angles), cos(angles)], 1);
  }
}

/**
 * The noise scales of score matching (Score SDE, models/utils.py get_sigmas): geometric from sigmaMax down to sigmaMin.
 * @returns [numScales]
 * @throws ArgumentError unless both ends are above 0 and the number is at least 1
 * @example
 * noiseScales({ sigmaMin: 0.01, sigmaMax: 100, numScales: 5 }); // [100, 10, 1, 0.1, 0.01]
 */
export function noiseScales(options: { sigmaMin: number; sigmaMax: number; numScales: number }): Float64Array {
  checkArgument('noiseScales', 'options', options, kinds.object);
  const { sigmaMin, sigmaMax, numScales } = options;
  checkArguments('noiseScales', {
    sigmaMin: [sigmaMin, kinds.positive],
    sigmaMax: [sigmaMax, kinds.positive],
    numScales: [numScales, kinds.int32Count],
  });
  const [start, end] = [Math.log(sigmaMax), Math.log(sigmaMin)];
  return Float64Array.from({ length: numScales }, (_, i) => Math.exp(start + (i * (end - start)) / (numScales - 1)));
}
