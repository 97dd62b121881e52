// `sample`: images from a checkpoint's EMA weights.
import type { Device } from '../device/device.ts';
import { declaredModules } from '../device/module.ts';
import { type FlowSample, networkVelocity, type SampleOptions, sample } from '../flow/index.ts';
import type { UNet } from '../nn/unet.ts';
import { loadCheckpoint } from './checkpoint.ts';
import { resolveConfig } from './config/index.ts';
import type { Config } from './config/schema.ts';
import { microBatchFor } from './memory.ts';
import { buildModel } from './model.ts';

export type SolverOptions = Pick<SampleOptions, 'solver' | 'steps' | 'tolerance'>;

export interface SampleRequest extends SolverOptions {
  checkpoint: string;
  /** Default: the configuration inside the checkpoint. */
  config?: Config;
  num: number;
  /** The logical batch: RK45's error norm is over it. */
  batch: number;
  seed: number;
  /** Start points [num, H, W, C] in place of noise of `seed`. */
  latents?: Float32Array;
  device: Device;
  onProgress?: SampleOptions['onProgress'];
  signal?: AbortSignal;
}

export interface SampledImages extends FlowSample {
  config: Config;
  /** [num, H, W, C]. */
  shape: [number, number, number, number];
  seconds: number;
}

export async function sampleFromCheckpoint(request: SampleRequest): Promise<SampledImages> {
  const { device } = request;
  const checkpoint = await loadCheckpoint(request.checkpoint);
  const config = request.config ?? (await resolveConfig(checkpoint.config, request.checkpoint));
  await device.prepare(declaredModules());
  using model = buildModel(config, device);
  model.loadStateDict(checkpoint.ema, request.checkpoint);
  const start = performance.now();
  const { latents } = request;
  const result = await sampleModel(model, config, { ...request, latents });
  const { image_size: size, num_channels: channels } = config.data;
  return {
    ...result,
    config,
    shape: [request.num, size, size, channels],
    seconds: (performance.now() - start) / 1000,
  };
}

/** Samples the weights that `model` holds now. */
export async function sampleModel(
  model: UNet,
  config: Config,
  request: Pick<SampleRequest, 'num' | 'batch' | 'seed' | 'latents' | 'device' | 'onProgress' | 'signal'> & SolverOptions,
): Promise<FlowSample> {
  const { image_size: size, num_channels: channels } = config.data;
  model.eval();
  const velocity = networkVelocity(model);
  const budget = config.sampling.memory_budget;
  return sample(velocity, {
    ...request,
    shape: [size, size, channels],
    count: request.num,
    microBatch: microBatchFor(velocity, [size, size, channels], { batch: request.batch, budget, device: request.device }),
  });
}
