// Objectives of a domain transfer: as those from noise (objective.ts), with images of the source as x0. Source and target are
// shuffled independently, so that their images are paired anew in every epoch.
import type { Device } from '../../device/device.ts';
import {
  type Distance,
  Draw,
  type FeatureMap,
  featureDistance,
  networkVelocity,
  rectifiedFlowLoss,
} from '../../flow/index.ts';
import { add, mul } from '../../kernels/elementwise.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { FlowNetwork } from '../arguments.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { type ImageBatches, trainingBatches } from '../data.ts';
import { sourceConfig } from '../source.ts';
import { type Objective, type ReflowOptions, reflowLoss, teacherEnds, timeLaw } from './objective.ts';

/** Opens the training batches of the source. */
export function sourceBatches(config: Config, onNotice?: (text: string) => void): Promise<ImageBatches> {
  return trainingBatches(sourceConfig(config), onNotice);
}

/** Images with the noise of sampling.smooth_source. */
function smoothed(images: Tensor, draw: Draw, { sampling: { smooth_source: scale } }: Config): Tensor {
  return scale === 0 ? images : add(images, draw.noise(images.shape, { scale }));
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
  const { feature_weight: weight, reduce_mean: reduceMean } = training;
  const compared = features && featureDistance(features, weight);
  // Half the sum over dimensions, as for the plain loss.
  const scale = reduceMean ? 1 : sizeOf(imageShape(config)) / 2;
  const distance: Distance | undefined = compared && ((v, x0, x1, t) => mul(compared(v, x0, x1, t), scale));
  return {
    shapes: [source.imageShape, target.imageShape],
    fetch: (step) => Promise.all([source.batch(step), target.batch(step)]),
    loss: ({ tensors: [images, x1], count, first, origin }) => {
      const draw = new Draw({ seed, first, origin, device });
      return rectifiedFlowLoss(velocity, x1, {
        draw,
        x0: smoothed(images, draw, config),
        t: draw.times(count, timeLaw(config)),
        ...(distance ? { distance } : { reduceMean }),
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
    loss: ({ tensors: [images], first, origin }) => {
      const draw = new Draw({ seed: config.seed, first, origin, device });
      const x0 = smoothed(images, draw, config);
      return reflowLoss(options, networkVelocity(options.model), draw, x0, teacherEnds(teacher, x0, config));
    },
  };
}
