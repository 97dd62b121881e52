// Objectives of training: how a step gets its batch, which is fetched ahead, and the loss of a part of it. Every draw
// is a function of the seed and the number of the sample in the run.
//   a flow from noise to data     z0 drawn, z1 images
//   a domain transfer             z0 images of another set (transfer.ts)
//   reflow, distillation          (z0, z1) from a pair store, or z0 drawn and z1 its end under a teacher
// The official code trains all of them with one loss (losses.py, get_rectified_flow_loss_fn).
import { noGrad } from '../../autograd/mode.ts';
import { batchIndices, flipHorizontal, type PairBatch, type PairSet } from '../../data/index.ts';
import { isReal } from '../../data/pairs/set.ts';
import { isFlipped } from '../../data/scaling.ts';
import type { Device } from '../../device/device.ts';
import { ConfigError } from '../../errors.ts';
import {
  type Distance,
  Draw,
  networkVelocity,
  rectifiedFlowLoss,
  scheduledTimes,
  solve,
  type TimeLaw,
  type Velocity,
} from '../../flow/index.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { FlowNetwork } from '../arguments.ts';
import { type Captions, captionsOf, tokensOf, trainedCaption } from '../captions/captions.ts';
import { isCaptioned, sharesOf, trainedVelocity } from '../captions/velocity.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { type ImageBatches, prefetch } from '../data.ts';
import type { BatchPart } from './batch.ts';

/** Receives the values [] of the terms of a loss. */
export type OnTerms = (...values: Tensor[]) => void;

export interface Objective {
  /** Shapes of one sample of each array of a batch. */
  readonly shapes: readonly Shape[];
  /** The arrays of a step's batch, f32 [batch_size, ...shape] each. */
  fetch(step: number): Promise<readonly Float32Array[]>;
  /** Names of the terms of the loss that are logged with it. */
  readonly terms?: readonly string[];
  /**
   * The mean loss over the samples of a part. It runs on the device only, so that it can be recorded.
   * @param onTerms receives the value [] of each of `terms`
   */
  loss(part: BatchPart, onTerms?: OnTerms): Tensor;
}

interface ObjectiveOptions {
  model: FlowNetwork;
  config: Config;
  device: Device;
}

/** The loss of training.feature_weight, which hands on the values of its terms. */
export interface FeatureTerms {
  terms: readonly string[];
  distance: (onTerms: OnTerms | undefined) => Distance;
}

export interface ReflowOptions extends ObjectiveOptions {
  /** Default: the squared difference of velocity and straight line. */
  distance?: Distance;
  /** The loss in features of the domains, in place of a distance. */
  inFeatures?: FeatureTerms;
}

/** What a flow from noise to images is trained on. Images with captions have classes, and their number is known. */
type FlowBatches = Pick<ImageBatches, 'imageShape' | 'batch'> & Partial<Pick<ImageBatches, 'labels' | 'count'>>;

/** The objective of a flow from noise to images. */
export function flowObjective(batches: FlowBatches, { model, config, device }: ObjectiveOptions): Objective {
  const { seed, training, sampling } = config;
  const captions = captionsOf(config);
  const velocityOf = trainedOn(model, captions && tokensOf(captions, captions.table));
  return {
    shapes: [batches.imageShape, ...(captions ? [[captions.table.length]] : [])],
    fetch: async (step) => [
      await batches.batch(step),
      ...(captions ? [sharesOf(captionsOfStep(batches, step, config), captions.table.length)] : []),
    ],
    loss: ({ tensors: [images, shares], count, first, origin }) => {
      const velocity = velocityOf(shares);
      const draw = new Draw({ seed, first, origin, device });
      return rectifiedFlowLoss(velocity, images, {
        draw,
        t: draw.times(count, timeLaw(config)),
        noiseScale: sampling.init_noise_scale,
        reduceMean: training.reduce_mean,
      });
    },
  };
}

/** The velocity of samples with these shares of the captions; a network without captions has one velocity. */
function trainedOn(model: FlowNetwork, tokens: readonly Int32Array[] | undefined): (shares?: Tensor) => Velocity {
  if (!isCaptioned(model) || !tokens) {
    const velocity = networkVelocity(model);
    return () => velocity;
  }
  return (shares) => trainedVelocity(model, tokens, shares as Tensor);
}

/** The places of the captions of a step's images. */
function captionsOfStep({ labels, count }: FlowBatches, step: number, config: Config): number[] {
  if (!labels || count === undefined) throw new ConfigError(`${config.data.dataset} has no labels for captions`);
  const { batch_size: batchSize } = config.training;
  return Array.from(batchIndices(step, batchSize, count, config.seed), (index, place) =>
    trainedCaption(labels[index], step * batchSize + place, config),
  );
}

/** The law of the keys training.time_*. */
export function timeLaw({ training: { time_law, time_mean, time_deviation, time_steepness } }: Config): TimeLaw {
  switch (time_law) {
    case 'logit_normal':
      return { law: time_law, mean: time_mean, deviation: time_deviation };
    case 'u_shaped':
      return { law: time_law, steepness: time_steepness };
    default:
      return { law: time_law };
  }
}

/** Pairs that start from noise and, for a share of reflow.real_data_ratio, pairs of real images. */
interface PairSource {
  pairs: PairSet;
  real?: PairSet;
}

/** The objective of a flow from the stored start of each pair to its end. */
export function pairObjective(source: PairSource, options: ReflowOptions): Objective {
  const { config, device } = options;
  const batch = prefetch((step) => pairBatch(source, step, config));
  const tokens = pairTokens(source, config);
  const velocityOf = trainedOn(options.model, tokens);
  return {
    shapes: [imageShape(config), imageShape(config), ...(tokens ? [[tokens.length]] : [])],
    fetch: async (step) => {
      const { z0, z1, column } = await batch(step);
      return tokens ? [z0, z1, sharesOf(column as Int32Array, tokens.length)] : [z0, z1];
    },
    terms: options.inFeatures?.terms,
    loss: ({ tensors: [z0, z1, shares], first, origin }, onTerms) => {
      const { seed } = config;
      return reflowLoss(options, velocityOf(shares), new Draw({ seed, first, origin, device }), z0, z1, onTerms);
    },
  };
}

/**
 * The tokens of the texts of pairs; undefined for a flow without captions.
 * @throws ConfigError unless the pairs have texts exactly if the flow takes them
 */
function pairTokens({ pairs, real }: PairSource, config: Config): Int32Array[] | undefined {
  const captions: Captions | undefined = captionsOf(config);
  const { data_root: root } = config.reflow;
  if (!captions) {
    if (pairs.condition)
      throw new ConfigError(
        `reflow.data_root ${root} holds pairs with a ${pairs.condition.kind} each, but model.name ${config.model.name} takes none`,
      );
    return undefined;
  }
  if (pairs.condition?.kind !== 'text')
    throw new ConfigError(
      `reflow.data_root ${root} holds pairs without texts, but model.name ${config.model.name} needs them; generate pairs with this configuration`,
    );
  if (real && JSON.stringify(real.condition) !== JSON.stringify(pairs.condition))
    throw new ConfigError(
      `reflow.real_data_root ${config.reflow.real_data_root} holds pairs with other texts than reflow.data_root ${root}`,
    );
  return tokensOf(captions, pairs.condition.table);
}

/** The pairs of a step: shuffled and, if configured, mixed with pairs of real images and mirrored. */
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
 * Replaces each pair by a pair of real images with probability reflow.real_data_ratio, as a function of (seed, sample).
 * Real data in reflow: Lee, Lin, Fanti 2024, section 4; Kim et al. 2025 (Balanced Conic Rectified Flow).
 */
async function mixIn(real: PairSet, batch: PairBatch, step: number, config: Config): Promise<void> {
  const { seed, training, reflow } = config;
  const { batch_size: batchSize } = training;
  const places = Array.from({ length: batchSize }, (_, place) => place).filter((place) =>
    isReal(seed, step * batchSize + place, reflow.real_data_ratio),
  );
  const order = batchIndices(step, batchSize, real.count, seed);
  const { z0, z1, column } = await real.load(Int32Array.from(places, (place) => order[place]));
  const size = batch.z0.length / batchSize;
  for (const [i, place] of places.entries()) {
    batch.z0.set(z0.subarray(i * size, (i + 1) * size), place * size);
    batch.z1.set(z1.subarray(i * size, (i + 1) * size), place * size);
    if (batch.column && column) batch.column[place] = column[i];
  }
}

/** The objective of a flow from drawn noise to where the teacher takes it in reflow.online_steps Euler steps. */
export function onlineObjective(teacher: FlowNetwork, options: ReflowOptions): Objective {
  const { config, device } = options;
  const { seed, sampling } = config;
  return {
    shapes: [],
    fetch: async () => [],
    loss: ({ count, first, origin }) => {
      const draw = new Draw({ seed, first, origin, device });
      const z0 = draw.noise([count, ...imageShape(config)], { scale: sampling.init_noise_scale });
      return reflowLoss(options, networkVelocity(options.model), draw, z0, teacherEnds(teacher, z0, config));
    },
  };
}

/** z0 after reflow.online_steps Euler steps of the teacher; the official online teacher has 20. */
export function teacherEnds(teacher: FlowNetwork, z0: Tensor, { reflow }: Config): Tensor {
  const velocity = networkVelocity(teacher.eval());
  return noGrad(() => solve(velocity, z0, { solver: 'euler', steps: reflow.online_steps })).x;
}

/** The loss of a velocity on pairs, by the keys of reflow. */
export function reflowLoss(
  { config, distance: given, inFeatures }: Pick<ReflowOptions, 'config' | 'distance' | 'inFeatures'>,
  velocity: Velocity,
  draw: Draw,
  x0: Tensor,
  x1: Tensor,
  onTerms?: OnTerms,
): Tensor {
  const { training, reflow } = config;
  const distance = inFeatures?.distance(onTerms) ?? given;
  const law = reflow.reflow_t_schedule === 'uniform' ? timeLaw(config) : undefined;
  const { reflow_t_schedule: schedule, exact_t0 } = reflow;
  return rectifiedFlowLoss(velocity, x1, {
    draw,
    x0,
    t: scheduledTimes(schedule, x1.shape[0], draw, law),
    input: schedule === 't0' && exact_t0 ? x0 : undefined,
    distance,
    reduceMean: distance ? undefined : training.reduce_mean,
  });
}
