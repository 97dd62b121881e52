// Straightness of a flow's paths (src/flow/straightness.ts), starting where samples start.
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { networkVelocity, replayable, straightness } from '../../flow/index.ts';
import { type FlowNetwork, runOptions, unetKind } from '../arguments.ts';
import { isCaptioned, sampledVelocity } from '../captions/velocity.ts';
import { requireConfig } from '../config/require.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { computeBatches } from '../ranks/batches.ts';
import { type Ranks, ranksKind } from '../ranks/ranks.ts';
import { microBatchFor } from '../sampling/memory.ts';
import { isTransfer, loadSource, startsFrom } from '../source.ts';

/** Euler steps along each path. */
export const PATH_STEPS = 100;

export interface Straightness {
  /** E || (Z_1 - Z_0) - v(Z_t, t) ||^2, the mean over dimensions, paths and times; 0 means straight. */
  straightness: number;
  /** Number of paths. They start from the first samples of the seed. */
  samples: number;
  /** The mean over dimensions and paths at each of the times i / steps. */
  perStep: number[];
}

export interface EvaluateStraightnessOptions {
  device: Device;
  /** Euler steps along each path; default 100. */
  steps?: number;
  /** The processes of a job, which follow batches of paths in turns. The first gets the result. */
  ranks?: Ranks;
  signal?: AbortSignal;
  /** Called with the number of paths done and their total. */
  onProgress?: (done: number, total: number) => void;
}

const optionKinds: OptionKinds<EvaluateStraightnessOptions> = {
  device: runOptions.device,
  steps: kinds.int32Count,
  ranks: ranksKind,
  signal: runOptions.signal,
  onProgress: runOptions.onProgress,
};

/**
 * Straightness of the weights that `model` holds now, over eval.straightness_samples paths.
 * @throws NonFiniteError for paths that are not finite; the signal's reason when aborted
 * @example
 * const device = await openDevice('cpu');
 * const config = await loadConfig('runs/digits/config.json');
 * const { model } = await loadModel('runs/digits/checkpoints/checkpoint_1.safetensors', config, { device });
 * const { straightness, perStep } = await evaluateStraightness(model, config, { device, steps: 10 });
 * straightness >= 0; // true
 * perStep.length; // 10
 */
export async function evaluateStraightness(
  model: FlowNetwork,
  config: Config,
  options: EvaluateStraightnessOptions,
): Promise<Straightness> {
  checkArgument('evaluateStraightness', 'model', model, unetKind);
  requireConfig('evaluateStraightness', config);
  const checked = checkOptions('evaluateStraightness', options, optionKinds, ['device']);
  const { device, steps = PATH_STEPS, ranks, signal, onProgress } = checked;
  const { straightness_samples: samples, batch_size } = config.eval;
  const { memory_budget: budget, init_noise_scale: noiseScale } = config.sampling;
  const shape = imageShape(config);
  const batch = Math.min(batch_size, samples);
  const microBatch = microBatchFor(networkVelocity(model.eval()), shape, { batch, budget, device });
  using source = isTransfer(config) ? await loadSource(config, 'heldOut') : undefined;
  const perStep = new Array<number>(steps).fill(0);
  const follow = async (first: number, stop: AbortSignal | undefined) => {
    const count = Math.min(batch, samples - first);
    // Which caption a path has depends on its number, so a network with captions takes whole batches.
    using sampled = sampledVelocity(model, config, { first, count, microBatch });
    const velocity = replayable(sampled);
    const latents = source && (await startsFrom(source, config, { first, num: count }));
    const part = {
      shape,
      count,
      seed: config.seed,
      ...(latents ? { latents } : { first, noiseScale }),
      microBatch: isCaptioned(model) ? count : microBatch,
      steps,
      device,
      signal: stop,
    };
    const measured = await straightness(velocity, part);
    return { perStep: Float64Array.from(measured.perStep) };
  };
  const firsts = Array.from({ length: Math.ceil(samples / batch) }, (_, i) => i * batch);
  for await (const [first, measured] of computeBatches(firsts, follow, { ranks, signal })) {
    const count = Math.min(batch, samples - first);
    measured.perStep.forEach((value, i) => {
      perStep[i] += (value * count) / samples;
    });
    onProgress?.(first + count, samples);
  }
  return { straightness: perStep.reduce((a, b) => a + b, 0) / steps, samples, perStep };
}
