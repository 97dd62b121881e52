// `eval`: the evaluation loss of every snapshot in a work directory, over the whole held-out part.
//   workdir/<eval folder>/ckpt_<step>/loss.json
import { join } from 'node:path';
import type { Device } from '../device/device.ts';
import { declaredModules } from '../device/module.ts';
import { FileError } from '../errors.ts';
import { writeFileAtomic } from '../io/index.ts';
import { loadCheckpoint } from './checkpoint.ts';
import type { Config } from './config/schema.ts';
import { closing, loadDataset } from './data.ts';
import { type Evaluation, evaluationLoss } from './evaluate.ts';
import { buildModel } from './model.ts';
import { makeFolder, snapshotPath, snapshotSteps } from './workdir.ts';

export interface EvalOptions {
  workdir: string;
  /** One checkpoint instead of every snapshot of the work directory. */
  checkpoint?: string;
  device: Device;
  signal?: AbortSignal;
  /** Told of images that cannot be read. */
  onNotice?: (text: string) => void;
  onProgress?: (progress: { checkpoint: string; done: number; total: number }) => void;
}

export interface EvalRow extends Evaluation {
  step: number;
  checkpoint: string;
  /** Path of the file it was written to. */
  report: string;
}

/** @throws FileError where there is no snapshot or one is damaged, ShapeError for one of another network */
export async function evaluateSnapshots(config: Config, options: EvalOptions): Promise<EvalRow[]> {
  const { workdir, device, signal } = options;
  const paths = options.checkpoint ? [options.checkpoint] : await snapshots(workdir);
  const dataset = await loadDataset(config, 'heldOut', options.onNotice);
  using _dataset = closing(dataset);
  await device.prepare(declaredModules());
  const rows: EvalRow[] = [];
  for (const checkpoint of paths) {
    const { ema, step } = await loadCheckpoint(checkpoint);
    using model = buildModel(config, device);
    model.loadStateDict(ema, checkpoint);
    const evaluation = await evaluationLoss(model, dataset, config, {
      device,
      batchSize: config.eval.batch_size,
      signal,
      onProgress: (done, total) => options.onProgress?.({ checkpoint, done, total }),
    });
    const folder = makeFolder(join(workdir, config.eval.folder, `ckpt_${step}`));
    const report = join(folder, 'loss.json');
    const { loss, images, byTime } = evaluation;
    const text = JSON.stringify({ checkpoint, step, loss, images, loss_by_time: byTime }, null, 2);
    await writeFileAtomic(report, [Buffer.from(`${text}\n`)]);
    rows.push({ ...evaluation, step, checkpoint, report });
  }
  return rows;
}

/** In the order of their steps. */
async function snapshots(workdir: string): Promise<string[]> {
  const steps = await snapshotSteps(workdir);
  if (steps.length === 0)
    throw new FileError(workdir, 'holds no checkpoints/checkpoint_<step>.safetensors; train first');
  return steps.map((step) => snapshotPath(workdir, step));
}
