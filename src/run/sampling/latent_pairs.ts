// Pairs of a flow of latents: what is particular to them in `reflow` with generate_data_from_z0. A pair is a text, the noise of its
// number, and the latent where the guided teacher takes it.

import { pairCondition } from '../../data/index.ts';
import type { PairCondition, TextStatesPlan } from '../../data/pairs/manifest.ts';
import type { Device } from '../../device/device.ts';
import { replayable, sample } from '../../flow/index.ts';
import type { LatentUNet } from '../../nn/latent_unet.ts';
import { loadLatents } from '../checkpoints/open.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { latentOptions } from '../latents/network.ts';
import { promptsOf } from '../latents/prompts.ts';
import { computeStates, planStates, removeOtherStates, TextStates, tokenizerOf } from '../latents/text_states.ts';
import { sampledLatents } from '../latents/velocity.ts';

export interface LatentConditions {
  condition: PairCondition & { states: TextStatesPlan };
  column: Int32Array;
}

/** What the pairs of a configuration are made for. @throws ConfigError, FileError for texts or networks that cannot be used */
export async function latentConditions(config: Config): Promise<LatentConditions> {
  latentOptions(config);
  const { table, column } = await promptsOf(config);
  const states = await planStates(config, await tokenizerOf(config));
  return { condition: { ...pairCondition('text', table, column), states }, column };
}

export interface LatentTeacher extends Disposable {
  /** The latents where pairs first, first + 1, ... end, f32 [num, H, W, C]. */
  solve(first: number, num: number, signal?: AbortSignal): Promise<{ values: Float32Array; nfe: number }>;
}

/**
 * Loads the teacher, after the states of all texts were computed in the folder.
 * @param options.begun whether the folder has pairs already
 * @param options.computes whether this process computes the states, or another one has done so
 */
export async function openLatentTeacher(
  folder: string,
  { condition, column }: LatentConditions,
  config: Config,
  options: {
    device: Device;
    signal?: AbortSignal;
    onNotice: (text: string) => void;
    begun: boolean;
    computes: boolean;
  },
): Promise<LatentTeacher> {
  const { device, begun, computes, ...rest } = options;
  if (computes) {
    if (!begun) await removeOtherStates(folder, condition);
    await computeStates(folder, condition, config, { ...rest, device, tokenizer: await tokenizerOf(config) });
  }
  const states = await TextStates.open(folder, condition);
  let model: LatentUNet;
  try {
    model = await loadLatents(config, { device, onNotice: options.onNotice });
  } catch (error) {
    await states.close();
    throw error;
  }
  return {
    solve: (first, num, signal) =>
      solve(model, states, column.subarray(first, first + num), config, { first, device, signal }),
    [Symbol.dispose]() {
      model.dispose();
      void states.close();
    },
  };
}

async function solve(
  model: LatentUNet,
  states: TextStates,
  places: Int32Array,
  config: Config,
  { first, device, signal }: { first: number; device: Device; signal?: AbortSignal },
): Promise<{ values: Float32Array; nfe: number }> {
  const { sampling, training, reflow, model: keys, seed } = config;
  const { use_ode_sampler: solver, sample_N: steps, ode_tol: tolerance, init_noise_scale, guidance } = sampling;
  using velocity = sampledLatents(model.eval(), {
    states: await states.load(places),
    ...(guidance > 1 && { empty: await states.load([0]), guidance }),
    count: places.length,
    microBatch: training.batch_size / training.accumulation,
    // A checkpoint of training is one that predicts the velocity.
    prediction: reflow.last_flow_ckpt === '' ? keys.prediction : 'velocity',
  });
  const { samples, nfe } = await sample(replayable(velocity), {
    ...{ shape: imageShape(config), count: places.length, seed, first, device, signal, solver },
    ...(solver === 'rk45' ? { tolerance } : { steps }),
    noiseScale: init_noise_scale,
    epsilon: 0,
  });
  return { values: samples, nfe };
}
