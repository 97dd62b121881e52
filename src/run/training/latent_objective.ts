// The objective of a flow of latents on stored pairs: the losses of reflow and distillation, with the stored states of the texts.
import { batchIndices, type PairSet } from '../../data/index.ts';
import type { Device } from '../../device/device.ts';
import { type Distance, Draw } from '../../flow/index.ts';
import type { LatentUNet } from '../../nn/latent_unet.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { prefetch } from '../data.ts';
import type { TextStates } from '../latents/text_states.ts';
import { latentVelocity } from '../latents/velocity.ts';
import { type Objective, reflowLoss } from './objective.ts';

interface LatentObjectiveOptions {
  model: LatentUNet;
  config: Config;
  device: Device;
  /** Default: the squared difference of velocity and straight line. */
  distance?: Distance;
}

/** The objective on the pairs of a store and the states of their texts. */
export function latentObjective(pairs: PairSet, texts: TextStates, options: LatentObjectiveOptions): Objective {
  const { model, config, device } = options;
  const { seed, training } = config;
  const batch = prefetch(async (step) => {
    const { z0, z1, column } = await pairs.load(batchIndices(step, training.batch_size, pairs.count, seed));
    return [z0, z1, await texts.load(column as Int32Array)];
  });
  return {
    shapes: [imageShape(config), imageShape(config), texts.shape],
    fetch: batch,
    loss: ({ tensors: [z0, z1, states], first, origin }) =>
      reflowLoss(options, latentVelocity(model, states), new Draw({ seed, first, origin, device }), z0, z1),
  };
}
