// Samples of one checkpoint on the disk, batch by batch: never more than a batch in memory.
//   samples:  samples_<round>.npz, u8 [B, H, W, C], floor(255 x)
//   figures:  figs/<round>.png, ten images a row
import { join } from 'node:path';
import type { Device } from '../../device/device.ts';
import { imageGrid, writePng } from '../../io/index.ts';
import type { UNet } from '../../nn/unet.ts';
import type { Config } from '../config/schema.ts';
import { pixels } from '../data.ts';
import { sampleWriter } from '../output.ts';
import { sampleModel } from '../sample.ts';
import { makeFolder } from '../workdir.ts';

const COLUMNS = 10;

export interface DrawOptions {
  folder: string;
  files: 'samples' | 'figures';
  device: Device;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
  /** Takes each batch as it is written, u8 [B, H, W, C], floor(255 x). */
  onBatch?: (images: Uint8Array, shape: readonly number[]) => Promise<void>;
}

export interface DrawnSamples {
  /** Exactly eval.num_samples. */
  count: number;
  /** Evaluations of the network a sample, in the mean over batches. */
  nfe: number;
  files: string[];
}

/** Draws eval.num_samples images from the weights that `model` holds, eval.batch_size at a time. */
export async function drawSamples(model: UNet, config: Config, options: DrawOptions): Promise<DrawnSamples> {
  const { device, signal, onProgress } = options;
  const { num_samples: count, batch_size: batch } = config.eval;
  const folder = options.files === 'figures' ? makeFolder(join(options.folder, 'figs')) : options.folder;
  const files: string[] = [];
  let evaluations = 0;
  for (let first = 0; first < count; first += batch) {
    const num = Math.min(batch, count - first);
    const { images, shape, nfe } = await sampleModel(model, config, { num, first, device, signal });
    const round = files.length;
    const path = join(folder, options.files === 'figures' ? `${round}.png` : `samples_${round}.npz`);
    if (options.files === 'samples') await sampleWriter(path)(path, images, shape, config);
    else await writePng(path, imageGrid(pixels(images, config, 'nearest'), shape, { columns: COLUMNS }));
    files.push(path);
    await options.onBatch?.(pixels(images, config, 'floor'), shape);
    evaluations += nfe * num;
    onProgress?.(first + num, count);
  }
  return { count, nfe: evaluations / count, files };
}
