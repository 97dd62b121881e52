// What a training step minimises, as the loop sees it: a batch that is fetched ahead, and the loss of a part of it. Every draw
// is a function of (seed, sample), samples numbered through the run.
//   a flow from noise to data     z0 drawn, z1 images
//   reflow, distillation          (z0, z1) from a pair store, or z0 drawn and z1 its end under a teacher
// The official code trains all of them with one loss (losses.py, get_rectified_flow_loss_fn).
import { noGrad } from '../../autograd/mode.ts';
import { batchIndices, flipHorizontal, isFlipped, isReal, type PairBatch, type PairSet } from '../../data/index.ts';
import type { Device } from '../../device/device.ts';
import {
  type Distance,
  drawTimes,
  initialNoise,
  networkVelocity,
  rectifiedFlowLoss,
  scheduledTimes,
  solve,
  type TimeLaw,
} from '../../flow/index.ts';
import type { UNet } from '../../nn/unet.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import { streams } from '../../tensor/streams.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Config } from '../config/schema.ts';
import { imageShape } from '../config/schema.ts';
import { type ImageBatches, prefetched } from '../data.ts';
import type { BatchPart } from './batch.ts';

export interface Objective {
  /** Shapes of one sample of each array of a batch. */
  readonly shapes: readonly Shape[];
  /** The arrays of a step's batch, f32 [batch_size, ...shape] each. */
  fetch(step: number): Promise<readonly Float32Array[]>;
  /** The mean loss over the samples of a part. All it does is done on the device, so that it can be recorded. */
  loss(part: BatchPart): Tensor;
}

interface ObjectiveOptions {
  model: UNet;
  config: Config;
  device: Device;
}

/** Of reflow: what sets velocity and straight line, or their images, apart; the squared difference where it is undefined. */
interface ReflowOptions extends ObjectiveOptions {
  distance?: Distance;
}

/** From noise to images. */
export function flowObjective(
  batches: Pick<ImageBatches, 'imageShape' | 'batch'>,
  { model, config, device }: ObjectiveOptions,
): Objective {
  const velocity = networkVelocity(model);
  const { seed, training, sampling } = config;
  return {
    shapes: [batches.imageShape],
    fetch: async (step) => [await batches.batch(step)],
    loss: ({ tensors: [images], count, ...drawn }) =>
      rectifiedFlowLoss(velocity, images, {
        seed,
        ...drawn,
        t: drawTimes(timeLaw(config), count, { seed, ...drawn, device }),
        noiseScale: sampling.init_noise_scale,
        reduceMean: training.reduce_mean,
      }),
  };
}

/** As training.time_* say. */
function timeLaw({ training: { time_law, time_mean, time_deviation, time_steepness } }: Config): TimeLaw {
  switch (time_law) {
    case 'logit_normal':
      return { law: time_law, mean: time_mean, deviation: time_deviation };
    case 'u_shaped':
      return { law: time_law, steepness: time_steepness };
    default:
      return { law: time_law };
  }
}

/** Where pairs come from: of noise, and for a share of them (reflow.real_data_ratio) of real images. */
interface PairSource {
  pairs: PairSet;
  real?: PairSet;
}

/** From the stored start of each pair to its end. */
export function pairObjective(source: PairSource, options: ReflowOptions): Objective {
  const { config } = options;
  const batch = prefetched((step) => pairBatch(source, step, config));
  return {
    shapes: [imageShape(config), imageShape(config)],
    fetch: async (step) => {
      const { z0, z1 } = await batch(step);
      return [z0, z1];
    },
    loss: ({ tensors: [z0, z1], ...drawn }) => reflowLoss(options, drawn, z0, z1),
  };
}

/** The pairs of a step: shuffled and, as asked, mixed with those of real images and mirrored. */
export async function pairBatch({ pairs, real }: PairSource, step: number, config: Config): Promise<PairBatch> {
  const { seed, training, data, reflow } = config;
  const batch = await pairs.load(batchIndices(step, training.batch_size, pairs.count, seed));
  const size = sizeOf(imageShape(config));
  if (real) await mixIn(real, batch, step, config);
  if (!reflow.flip_pairs) return batch;
  for (let place = 0; place < training.batch_size; place++)
    if (isFlipped(seed, step * training.batch_size + place))
      for (const end of [batch.z0, batch.z1])
        flipHorizontal(end.subarray(place * size, (place + 1) * size), data.image_size, data.num_channels);
  return batch;
}

/**
 * Puts pairs of images in place of each pair with probability reflow.real_data_ratio, a function of (seed, sample). Real data
 * in reflow: Lee, Lin, Fanti 2024, section 4; Kim et al. 2025 (Balanced Conic Rectified Flow).
 */
async function mixIn(real: PairSet, batch: PairBatch, step: number, config: Config): Promise<void> {
  const { seed, training, reflow } = config;
  const { batch_size: batchSize } = training;
  const places = Array.from({ length: batchSize }, (_, place) => place).filter((place) =>
    isReal(seed, step * batchSize + place, reflow.real_data_ratio),
  );
  const order = batchIndices(step, batchSize, real.count, seed);
  const { z0, z1 } = await real.load(Int32Array.from(places, (place) => order[place]));
  const size = batch.z0.length / batchSize;
  for (const [i, place] of places.entries()) {
    batch.z0.set(z0.subarray(i * size, (i + 1) * size), place * size);
    batch.z1.set(z1.subarray(i * size, (i + 1) * size), place * size);
  }
}

/** From drawn noise to where the teacher takes it in reflow.online_steps Euler steps. */
export function onlineObjective(teacher: UNet, options: ReflowOptions): Objective {
  const { config, device } = options;
  const { seed, sampling } = config;
  return {
    shapes: [],
    fetch: async () => [],
    loss: ({ count, sample, origin }) => {
      const z0 = initialNoise([count, ...imageShape(config)], {
        seed,
        first: sample,
        origin,
        stream: streams.noise,
        noiseScale: sampling.init_noise_scale,
        device,
      });
      return reflowLoss(options, { sample, origin }, z0, teacherEnds(teacher, z0, config));
    },
  };
}

/** z1: z0 after reflow.online_steps Euler steps of the teacher. */
export function teacherEnds(teacher: UNet, z0: Tensor, { reflow }: Config): Tensor {
  const velocity = networkVelocity(teacher.eval());
  return noGrad(() => solve(velocity, z0, { solver: 'euler', steps: reflow.online_steps })).x;
}

function reflowLoss(
  { model, config, distance }: ReflowOptions,
  { sample, origin }: Pick<BatchPart, 'sample' | 'origin'>,
  x0: Tensor,
  x1: Tensor,
): Tensor {
  const { seed, training, reflow } = config;
  const draw = { seed, sample, origin };
  const law = reflow.reflow_t_schedule === 'uniform' ? timeLaw(config) : undefined;
  const { reflow_t_schedule: schedule, exact_t0 } = reflow;
  return rectifiedFlowLoss(networkVelocity(model), x1, {
    ...draw,
    x0,
    t: scheduledTimes(schedule, x1.shape[0], { ...draw, device: x1.device }, law),
    input: schedule === 't0' && exact_t0 ? x0 : undefined,
    distance,
    reduceMean: distance ? undefined : training.reduce_mean,
  });
}
