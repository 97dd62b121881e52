// `reflow`: what follows a trained flow (paper, section 2.2 and 3.2; official run_lib_reflow.py).
//   generate_data_from_z0   pairs (z0, z1): noise and where the flow's average takes it, {data_root}/{seed}/z0.npy, z1.npy
//   train_reflow            the next flow, or a distilled one, from stored pairs
//   train_online_reflow     the same from pairs that the flow's average makes in each step
// A student starts from the raw weights of the flow, its average and its step count from nothing.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { noGrad } from '../autograd/mode.ts';
import { PairSet, type PairShape, writePairFile } from '../data/index.ts';
import type { Device } from '../device/device.ts';
import { declaredModules } from '../device/module.ts';
import { FileError } from '../errors.ts';
import { initialNoise } from '../flow/index.ts';
import type { UNet } from '../nn/unet.ts';
import { scope } from '../tensor/scope.ts';
import type { Config } from './config/schema.ts';
import { openDistance } from './distance.ts';
import type { Evaluation } from './eval/loss.ts';
import { type Objective, onlineObjective, pairObjective } from './objective.ts';
import { loadModel, openCheckpoint } from './open_checkpoint.ts';
import { sampleModel } from './sample.ts';
import { runStage, type TrainOptions, type TrainResult } from './session.ts';
import { makeFolder } from './workdir.ts';

/** Batches of an evaluation during training. */
const EVALUATED_BATCHES = 4;

export interface GenerateOptions {
  device: Device;
  partial?: boolean;
  signal?: AbortSignal;
  /** Told of what was left out of a checkpoint with `partial`. */
  onNotice?: (text: string) => void;
  /** Pairs solved so far, and in all. */
  onProgress?: (done: number, total: number) => void;
}

export interface GeneratedPairs {
  folder: string;
  count: number;
  /** Evaluations of the network a pair, in the mean over batches. */
  nfe: number;
}

/**
 * Exactly reflow.total_number_of_samples pairs of seed `seed`, training.batch_size at a time and never more in memory. z0 is
 * drawn again for its file: noise depends on the seed and the number of the pair alone.
 * @throws FileError where the folder holds pairs already, or a file cannot be written
 */
export async function generatePairs(config: Config, options: GenerateOptions): Promise<GeneratedPairs> {
  const { device, partial, signal, onNotice, onProgress } = options;
  const { seed, data, training, sampling, reflow } = config;
  const { total_number_of_samples: count } = reflow;
  const folder = makeFolder(join(reflow.data_root, String(seed)));
  for (const name of ['z0.npy', 'z1.npy'])
    if (existsSync(join(folder, name)))
      throw new FileError(join(folder, name), 'is there already; give another --config.seed, or remove the folder');
  await device.prepare(declaredModules());
  const { model: teacher } = await loadModel(reflow.last_flow_ckpt, config, { device, partial, onNotice });
  using model = teacher;
  const shape: PairShape = [data.num_channels, data.image_size, data.image_size];
  let evaluations = 0;
  async function* ends() {
    for (let first = 0; first < count; first += training.batch_size) {
      const num = Math.min(training.batch_size, count - first);
      const { images, nfe } = await sampleModel(model, config, { num, first, seed, device, signal });
      evaluations += nfe * num;
      yield images;
      onProgress?.(first + num, count);
    }
  }
  function* starts() {
    for (let first = 0; first < count; first += training.batch_size) {
      const n = Math.min(training.batch_size, count - first);
      const of = [n, data.image_size, data.image_size, data.num_channels];
      yield scope(
        () =>
          initialNoise(of, { seed, first, noiseScale: sampling.init_noise_scale, device }).dataSync() as Float32Array,
      );
    }
  }
  await writePairFile(join(folder, 'z1.npy'), count, shape, ends());
  await writePairFile(join(folder, 'z0.npy'), count, shape, starts());
  return { folder, count, nfe: evaluations / count };
}

/**
 * Trains a student of the flow in reflow.last_flow_ckpt; a run that was stopped goes on.
 * @throws as runStage; ConfigError for a loss that does not go with the rest, FileError for weights, pairs or a checkpoint that
 * cannot be read
 */
export async function trainReflow(config: Config, options: TrainOptions & { partial?: boolean }): Promise<TrainResult> {
  const { device, partial, onNotice } = options;
  const { reflow, data } = config;
  const measure = await openDistance(config, options);
  using _measure = measure;
  const offline = reflow.reflow_type === 'train_reflow';
  const pairs = offline
    ? await PairSet.open(reflow.data_root, [data.num_channels, data.image_size, data.image_size], onNotice)
    : undefined;
  let teacher: UNet | undefined;
  try {
    return await runStage('reflow', config, options, async (model) => {
      const flow = await openCheckpoint(reflow.last_flow_ckpt, model, { partial, onNotice });
      model.loadStateDict(reflow.student === 'ema' ? flow.ema : flow.model, flow.path, { partial });
      if (!pairs) ({ model: teacher } = await loadModel(reflow.last_flow_ckpt, config, { device, partial, onNotice }));
      const common = { model, config, device, distance: measure.distance };
      const objective = pairs ? pairObjective(pairs, common) : onlineObjective(teacher as UNet, common);
      return { name: 'reflow', objective, evaluate: () => evaluateObjective(objective, model, config) };
    });
  } finally {
    teacher?.dispose();
    await pairs?.close();
  }
}

/** The loss over the batches that would follow the last step, with the weights that the model holds now. */
async function evaluateObjective(objective: Objective, model: UNet, config: Config): Promise<Evaluation> {
  const { batch_size: batchSize, accumulation, n_iters: last } = config.training;
  const part = batchSize / accumulation;
  const { training } = model;
  model.eval();
  try {
    const batches: number[] = [];
    for (let i = 1; i <= EVALUATED_BATCHES; i++) {
      const lossOf = await objective(last + i);
      let sum = 0;
      for (let first = 0; first < batchSize; first += part)
        sum += scope(() => noGrad(() => lossOf(first, part).item())) * (part / batchSize);
      batches.push(sum);
    }
    const loss = batches.reduce((a, b) => a + b, 0) / batches.length;
    return { loss, images: EVALUATED_BATCHES * batchSize, byTime: [], batches };
  } finally {
    model.train(training);
  }
}
