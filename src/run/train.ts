// `train`: a 1-rectified flow from a configuration, in a work directory.
//   workdir/checkpoints/checkpoint_<n>.safetensors   model, EMA, configuration
//   workdir/log.jsonl                                one line a step
import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { CompileProgress, Device } from '../device/device.ts';
import { declaredModules } from '../device/module.ts';
import { FileError } from '../errors.ts';
import { Adam } from '../nn/adam.ts';
import type { UNet } from '../nn/unet.ts';
import { saveCheckpoint } from './checkpoint.ts';
import type { Config } from './config/schema.ts';
import { trainingBatches } from './data.ts';
import { type TrainingStep, trainingLoop } from './loop.ts';
import { buildModel } from './model.ts';

export interface TrainOptions {
  workdir: string;
  device: Device;
  /** Stops after the step that is running, with a checkpoint. */
  signal?: AbortSignal;
  onStep?: (step: TrainingStep) => void;
  onCompile?: (progress: CompileProgress) => void;
}

export interface TrainResult {
  /** Updates done. */
  steps: number;
  /** Mean loss over the last 50 steps. */
  loss: number;
  /** Path of the last checkpoint. */
  checkpoint: string;
  /** Whether `signal` ended it early. */
  stopped: boolean;
}

export async function train(config: Config, options: TrainOptions): Promise<TrainResult> {
  const { workdir, device, signal } = options;
  const batches = await trainingBatches(config);
  const folder = makeFolder(join(workdir, 'checkpoints'));
  await device.prepare(declaredModules(), options.onCompile);
  const { model, optimizer } = trainingState(config, device);
  const log = await open(join(workdir, 'log.jsonl'), 'a').catch((cause) => {
    throw new FileError(join(workdir, 'log.jsonl'), `cannot be opened (${cause.code})`, { cause });
  });
  const recent: number[] = [];
  const save = async (step: number) => {
    const path = join(folder, `checkpoint_${step}.safetensors`);
    await saveCheckpoint(path, { model, optimizer, config, step });
    return path;
  };
  try {
    const { n_iters: total, batch_size: batchSize, snapshot_freq: every } = config.training;
    let checkpoint: string | undefined;
    const steps = await trainingLoop({
      model,
      optimizer,
      device,
      batches,
      seed: config.seed,
      batchSize,
      from: 0,
      total,
      signal,
      onStep: async (info) => {
        recent[info.step % 50] = info.loss;
        const { step, loss, learningRate: lr, gradientNorm: grad_norm, imagesPerSecond: images_per_s } = info;
        await log.write(`${JSON.stringify({ step, loss, lr, grad_norm, images_per_s })}\n`);
        if ((step + 1) % every === 0 && step + 1 < total) checkpoint = await save(step + 1);
        options.onStep?.(info);
      },
    });
    checkpoint = await save(steps);
    const loss = recent.reduce((sum, value) => sum + value, 0) / Math.max(recent.length, 1);
    return { steps, loss, checkpoint, stopped: steps < total };
  } finally {
    await log.close();
    optimizer.dispose();
    model.dispose();
  }
}

/** Network and optimiser as the configuration describes them; the caller disposes both. */
export function trainingState(config: Config, device: Device): { model: UNet; optimizer: Adam } {
  const model = buildModel(config, device);
  const { optim } = config;
  const optimizer = new Adam(model, {
    learningRate: optim.lr,
    beta1: optim.beta1,
    epsilon: optim.eps,
    weightDecay: optim.weight_decay,
    warmup: optim.warmup,
    gradientClip: optim.grad_clip,
    emaRate: config.model.ema_rate,
  });
  return { model, optimizer };
}

/** @throws FileError when it cannot be made */
export function makeFolder(path: string): string {
  try {
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    throw new FileError(path, `the folder cannot be made (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
  return path;
}
