// The sizes to measure: networks, batches, and scaling series.
import type { Config } from '../../src/run/config/index.ts';
import { loadConfig } from '../../src/run/config/index.ts';
import type { LayerShape } from './layers.ts';
import type { Growth } from './scaling.ts';
import type { StepConfigs } from './steps.ts';

export interface Sizes extends StepConfigs {
  /** Batch sizes of the full network's steps, larger and smaller. */
  batches: readonly [number, number];
  layerBatches: readonly number[];
  /** The workload that every opponent runs. */
  convolution: Extract<LayerShape, { op: 'conv' }>;
  growth: Omit<Growth, 'threads'>;
}

export async function fullSizes(): Promise<Sizes> {
  const full = await loadConfig('cifar10_rf_gaussian_ddpmpp');
  return {
    full,
    small: {
      cifar10_small: await loadConfig('cifar10_small'),
      digits: await loadConfig('digits'),
      'full at 32 channels': changed(full, { nf: 32 }, 16),
      'full at 64 channels': changed(full, { nf: 64 }, 16),
    },
    batches: [16, 4],
    layerBatches: [4, 16],
    convolution: { op: 'conv', size: 32, inputs: 128, outputs: 128, kernel: 3 },
    growth: { batch: [1, 2, 4, 8, 16], channels: [32, 64, 96, 128], resolution: [16, 32, 64] },
  };
}

/** Total seconds. */
export async function smallSizes(): Promise<Sizes> {
  const full = changed(await loadConfig('cifar10_rf_gaussian_ddpmpp'), { nf: 16, num_res_blocks: 1 }, 2);
  return {
    full,
    small: { digits: changed(await loadConfig('digits'), {}, 4) },
    batches: [2, 1],
    layerBatches: [1],
    convolution: { op: 'conv', size: 8, inputs: 16, outputs: 16, kernel: 3 },
    growth: { batch: [1, 2], channels: [16, 32], resolution: [16, 32] },
  };
}

function changed(config: Config, model: Partial<Config['model']>, batch: number): Config {
  return {
    ...config,
    model: { ...config.model, ...model },
    training: { ...config.training, batch_size: batch },
  };
}
