// Objectives of a domain transfer: as those from noise (objective.ts), with images of the source as x0. Source and target are
// shuffled independently, so that their images are paired anew in every epoch, or each image is paired with one of its neighbours.

import { makeBatch } from '../../data/batches.ts';
import { batchIndices, type ImageDataset } from '../../data/index.ts';
import { randomBlock } from '../../data/random.ts';
import type { Device } from '../../device/device.ts';
import { Draw, type FeatureMap, featureDistance, networkVelocity, rectifiedFlowLoss } from '../../flow/index.ts';
import { add, mul } from '../../kernels/elementwise.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { streams } from '../../tensor/streams.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { FlowNetwork } from '../arguments.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import {
  batchesOf,
  batchOptions,
  type ImageBatches,
  loadDataset,
  trainingBatches,
  trainingBatchesOf,
} from '../data.ts';
import { loadSource, sourceConfig } from '../source.ts';
import { findNeighbours } from './neighbours.ts';
import {
  type FeatureTerms,
  type Objective,
  type ReflowOptions,
  reflowLoss,
  teacherEnds,
  timeLaw,
} from './objective.ts';

/** Opens the training batches of the source. */
export function sourceBatches(config: Config, onNotice?: (text: string) => void): Promise<ImageBatches> {
  return trainingBatches(sourceConfig(config), onNotice);
}

/**
 * The training batches of source and target. With training.neighbours their places are pairs: in turn an image of the source with one of
 * its neighbours and one of the target with one of its own, mirrored together.
 */
export async function domainBatches(
  config: Config,
  { signal, onNotice }: { signal?: AbortSignal; onNotice?: (text: string) => void } = {},
): Promise<{ source: ImageBatches; target: ImageBatches }> {
  const source = await loadSource(config, 'train', onNotice);
  try {
    const target = await loadDataset(config, 'train', onNotice);
    try {
      return await pairedBatches(source, target, config, { signal, onNotice });
    } catch (error) {
      target[Symbol.dispose]();
      throw error;
    }
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
}

async function pairedBatches(
  from: ImageDataset,
  to: ImageDataset,
  config: Config,
  { signal, onNotice }: { signal?: AbortSignal; onNotice?: (text: string) => void },
): Promise<{ source: ImageBatches; target: ImageBatches }> {
  const { seed } = config;
  const { neighbours: k, batch_size: size } = config.training;
  const own = sourceConfig(config);
  if (k === 0) return { source: trainingBatchesOf(from, own), target: trainingBatchesOf(to, config) };
  onNotice?.('looking for the neighbours of each training image in the other domain');
  const { ofSource, ofTarget } = await findNeighbours(from, to, k, signal);
  const pairs = (step: number) => {
    const [a, b] = [batchIndices(step, size, from.count, own.seed), batchIndices(step, size, to.count, seed)];
    for (let place = 0; place < size; place++) {
      const item = step * size + place;
      const choice = randomBlock(0, item, streams.neighbours, seed)[0] % k;
      if (item % 2 === 0) b[place] = ofSource[a[place] * k + choice];
      else a[place] = ofTarget[b[place] * k + choice];
    }
    return { a, b };
  };
  const batches = (dataset: ImageDataset, of: Config, indices: (step: number) => Int32Array) =>
    batchesOf(dataset, async (step) => {
      // One seed for both, so that a pair is mirrored as a whole.
      const options = { seed, ...batchOptions(of) };
      return (await makeBatch(dataset, indices(step), options, (place) => step * size + place)).images;
    });
  return { source: batches(from, own, (step) => pairs(step).a), target: batches(to, config, (step) => pairs(step).b) };
}

/** Images with the noise of sampling.smooth_source. */
function smoothed(images: Tensor, draw: Draw, { sampling: { smooth_source: scale } }: Config): Tensor {
  return scale === 0 ? images : add(images, draw.noise(images.shape, { scale }));
}

/** The loss of training.feature_weight, and the names of its terms. */
export function featureTerms(features: FeatureMap, config: Config): FeatureTerms {
  const { feature_weight: weight, reduce_mean: reduceMean } = config.training;
  // Half the sum over dimensions, as for the plain loss.
  const scale = reduceMean ? 1 : sizeOf(imageShape(config)) / 2;
  return {
    terms: ['loss_features', 'loss_plain'],
    distance: (onTerms) => {
      const compared = featureDistance(features, weight, onTerms);
      return (v, x0, x1, t) => mul(compared(v, x0, x1, t), scale);
    },
  };
}

type Batches = Pick<ImageBatches, 'imageShape' | 'batch'>;

/**
 * The objective of a flow from images of the source to those of the target.
 * @param options.features of the two domains, for training.feature_weight
 */
export function transferObjective(
  target: Batches,
  source: Batches,
  { model, config, device, features }: { model: FlowNetwork; config: Config; device: Device; features?: FeatureMap },
): Objective {
  const { seed, training } = config;
  const velocity = networkVelocity(model);
  const measure = features && featureTerms(features, config);
  return {
    shapes: [source.imageShape, target.imageShape],
    fetch: (step) => Promise.all([source.batch(step), target.batch(step)]),
    terms: measure?.terms,
    loss: ({ tensors: [images, x1], count, first, origin }, onTerms) => {
      const draw = new Draw({ seed, first, origin, device });
      return rectifiedFlowLoss(velocity, x1, {
        draw,
        x0: smoothed(images, draw, config),
        t: draw.times(count, timeLaw(config)),
        ...(measure ? { distance: measure.distance(onTerms) } : { reduceMean: training.reduce_mean }),
      });
    },
  };
}

/** The objective of a flow from images of the source to where the teacher takes them. */
export function onlineTransferObjective(teacher: FlowNetwork, source: Batches, options: ReflowOptions): Objective {
  const { config, device } = options;
  return {
    shapes: [imageShape(config)],
    fetch: async (step) => [await source.batch(step)],
    terms: options.inFeatures?.terms,
    loss: ({ tensors: [images], first, origin }, onTerms) => {
      const draw = new Draw({ seed: config.seed, first, origin, device });
      const x0 = smoothed(images, draw, config);
      return reflowLoss(options, networkVelocity(options.model), draw, x0, teacherEnds(teacher, x0, config), onTerms);
    },
  };
}
