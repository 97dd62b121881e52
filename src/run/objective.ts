// What a training step minimises, as the loop sees it: a batch that is fetched ahead, and the loss of a part of it. Every draw
// is a function of (seed, step, sample).
//   a flow from noise to data     z0 drawn, z1 images
//   reflow, distillation          (z0, z1) from a pair store, or z0 drawn and z1 its end under a teacher
// The official code trains all of them with one loss (losses.py, get_rectified_flow_loss_fn).
import { noGrad } from '../autograd/mode.ts';
import { batchIndices, flipHorizontal, isFlipped, type PairBatch, type PairSet } from '../data/index.ts';
import type { Device } from '../device/device.ts';
import {
  type Distance,
  drawTimes,
  initialNoise,
  networkVelocity,
  rectifiedFlowLoss,
  scheduledTimes,
  solve,
  type TimeLaw,
} from '../flow/index.ts';
import type { UNet } from '../nn/unet.ts';
import { tensor } from '../tensor/create.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Config } from './config/schema.ts';
import { type ImageBatches, prefetched } from './data.ts';

/** The loss of samples [first, first + count) of a fetched batch: the mean over them. */
export type BatchLoss = (first: number, count: number) => Tensor;

/** Fetches the batch of a step. */
export type Objective = (step: number) => Promise<BatchLoss>;

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
export function flowObjective(batches: ImageBatches, { model, config, device }: ObjectiveOptions): Objective {
  const velocity = networkVelocity(model);
  const { seed, training, sampling } = config;
  return async (step) => {
    const images = await batches.batch(step);
    return (first, count) =>
      rectifiedFlowLoss(velocity, part(images, first, count, batches.imageShape, device), {
        seed,
        sample: step * training.batch_size + first,
        t: drawTimes(timeLaw(config), count, { seed, sample: step * training.batch_size + first, device }),
        noiseScale: sampling.init_noise_scale,
        reduceMean: training.reduce_mean,
      });
  };
}

/** As training.time_* say. */
function timeLaw({ training: { time_law, time_mean, time_deviation, time_steepness } }: Config): TimeLaw {
  return { law: time_law, mean: time_mean, deviation: time_deviation, steepness: time_steepness };
}

/** From the stored start of each pair to its end. */
export function pairObjective(pairs: PairSet, options: ReflowOptions): Objective {
  const { config, device } = options;
  const { data } = config;
  const shape = [data.image_size, data.image_size, data.num_channels];
  const batch = prefetched((step) => pairBatch(pairs, step, config));
  return async (step) => {
    const { z0, z1 } = await batch(step);
    return (first, count) => {
      const ends = [z0, z1].map((values) => part(values, first, count, shape, device));
      return reflowLoss(options, step, first, ends[0], ends[1]);
    };
  };
}

/** The pairs of a step: shuffled and, as asked, mirrored. */
export async function pairBatch(pairs: PairSet, step: number, config: Config): Promise<PairBatch> {
  const { seed, training, data, reflow } = config;
  const batch = await pairs.load(batchIndices(step, training.batch_size, pairs.count, seed));
  if (!reflow.flip_pairs) return batch;
  const size = data.image_size ** 2 * data.num_channels;
  for (let place = 0; place < training.batch_size; place++)
    if (isFlipped(seed, step * training.batch_size + place))
      for (const end of [batch.z0, batch.z1])
        flipHorizontal(end.subarray(place * size, (place + 1) * size), data.image_size, data.num_channels);
  return batch;
}

/** From drawn noise to where the teacher takes it in reflow.online_steps Euler steps. */
export function onlineObjective(teacher: UNet, options: ReflowOptions): Objective {
  const { config, device } = options;
  const velocity = networkVelocity(teacher.eval());
  const { seed, training, data, sampling, reflow } = config;
  const shape = [data.image_size, data.image_size, data.num_channels];
  return async (step) => (first, count) => {
    const z0 = initialNoise([count, ...shape], {
      seed,
      first: step * training.batch_size + first,
      stream: streams.noise,
      noiseScale: sampling.init_noise_scale,
      device,
    });
    const { x: z1 } = noGrad(() => solve(velocity, z0, { solver: 'euler', steps: reflow.online_steps }));
    return reflowLoss(options, step, first, z0, z1);
  };
}

function reflowLoss(
  { model, config, distance }: ReflowOptions,
  step: number,
  first: number,
  x0: Tensor,
  x1: Tensor,
): Tensor {
  const { seed, training, reflow } = config;
  const draw = { seed, sample: step * training.batch_size + first, device: x1.device };
  const { reflow_t_schedule: schedule, exact_t0 } = reflow;
  return rectifiedFlowLoss(networkVelocity(model), x1, {
    ...draw,
    x0,
    t: scheduledTimes(schedule, x1.shape[0], draw, timeLaw(config)),
    input: schedule === 't0' && exact_t0 ? x0 : undefined,
    distance,
    reduceMean: training.reduce_mean,
  });
}

/** Samples of a batch in host memory, as a tensor. */
function part(values: Float32Array, first: number, count: number, shape: readonly number[], device: Device): Tensor {
  const size = shape.reduce((product, dim) => product * dim, 1);
  return tensor(values.slice(first * size, (first + count) * size), { shape: [count, ...shape], device });
}
