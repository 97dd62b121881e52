// Bits per dimension of a data set under a flow: uniformly dequantised images, one Hutchinson probe per image and pass.
// As in the official evaluation, there are five passes over the test part, each with new noise and probes, or one over
// the training part.

import { type ImageDataset, sequentialBatch } from '../../data/index.ts';
import type { Device } from '../../device/device.ts';
import { likelihood, networkVelocity, replayable } from '../../flow/index.ts';
import type { ArrayFile } from '../../io/index.ts';
import type { FlowNetwork } from '../arguments.ts';
import type { Config } from '../config/types.ts';
import { computeBatches } from '../ranks/batches.ts';
import type { Ranks } from '../ranks/ranks.ts';
import { microBatchFor } from '../sampling/memory.ts';

const PASSES = { test: 5, train: 1 };

export interface BitsPerDimension {
  /** Mean over images and passes. */
  mean: number;
  /** Standard error of the mean: standard deviation of the images' means / sqrt(images). */
  standardError: number;
  images: number;
  passes: number;
  /** Evaluations of velocity and divergence per image. */
  nfe: number;
}

interface BitsOptions {
  device: Device;
  /** The processes of a job, which evaluate batches in turns. The first gets the result. */
  ranks?: Ranks;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
  /** Called with the bits per dimension of each batch, f32 [B]. Rounds are numbered through all passes. */
  onBatch?: (round: number, values: ArrayFile) => Promise<void>;
}

/** Evaluates the weights that `model` holds now. */
export async function evaluateBitsPerDimension(
  model: FlowNetwork,
  dataset: ImageDataset,
  config: Config,
  options: BitsOptions,
): Promise<BitsPerDimension> {
  const { device, ranks, signal, onProgress, onBatch } = options;
  const passes = PASSES[config.eval.bpd_dataset];
  const { height, width, channels, count: all } = dataset;
  const count = Math.min(all, config.eval.max_images || all);
  const { batch_size: batch } = config.eval;
  const shape = [height, width, channels];
  const velocity = replayable(networkVelocity(model.eval()));
  const budget = config.sampling.memory_budget;
  const microBatch = microBatchFor(velocity, shape, { batch: Math.min(batch, count), budget, device, gradient: true });
  const sums = new Float64Array(count);
  let evaluations = 0;
  const inPass = Math.ceil(count / batch);
  const placeOf = (round: number) => {
    const first = (round % inPass) * batch;
    return { first, n: Math.min(batch, count - first), item: Math.floor(round / inPass) * count + first };
  };
  const evaluate = async (round: number, stop: AbortSignal | undefined) => {
    const { first, n, item } = placeOf(round);
    const { centered } = config.data;
    const { images } = await sequentialBatch(dataset, first, n, { centered, dequantize: { seed: config.seed, item } });
    const { bpd, nfe } = await likelihood(velocity, images, {
      shape,
      seed: config.seed,
      first: item,
      microBatch: Math.min(microBatch, n),
      noiseScale: config.sampling.init_noise_scale,
      centered,
      device,
      signal: stop,
    });
    return { bpd: Float64Array.from(bpd), nfe: Float64Array.of(nfe) };
  };
  const rounds = Array.from({ length: passes * inPass }, (_, round) => round);
  for await (const [round, { bpd, nfe }] of computeBatches(rounds, evaluate, { ranks, signal })) {
    const { first, n, item } = placeOf(round);
    bpd.forEach((value, i) => {
      sums[first + i] += value;
    });
    evaluations += nfe[0] * n;
    await onBatch?.(round, { shape: [n], dtype: 'f32', data: Float32Array.from(bpd) });
    onProgress?.(item + n, passes * count);
  }
  const means = sums.map((sum) => sum / passes);
  const mean = means.reduce((a, b) => a + b, 0) / count;
  const variance = means.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  const standardError = Math.sqrt(variance / count);
  return { mean, standardError, images: count, passes, nfe: evaluations / (passes * count) };
}
