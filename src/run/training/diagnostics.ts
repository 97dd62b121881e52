// Measures a flow at each evaluation during training, from a few fixed samples:
//   straightness     straightness of its paths; if it is 0, one step is exact
//   transport cost   mean of (z1 - z0)^2 over its own coupling, which reflow lowers and never raises
//   coupling error   reflow only: mean squared distance between where the flow takes z0 and the z1 of the pair
//   loss by time     reflow only: squared error of the velocity on the straight lines of the pairs, by tenths of t
// It uses at most 16 samples, 8 steps, and 10 times of half the samples. With the default eval_freq of 100, that is
// below 1 % of the passes of training with batch size 128, and below 5 % with any batch size.
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import { initialNoise, interpolate, microBatched, networkVelocity, pathGauges, replayable } from '../../flow/index.ts';
import { square, sub } from '../../kernels/elementwise.ts';
import { mean } from '../../kernels/reduce.ts';
import type { UNet } from '../../nn/unet.ts';
import { tensor } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { streams } from '../../tensor/streams.ts';
import type { Config } from '../config/schema.ts';
import { imageShape } from '../config/schema.ts';
import { TIME_BUCKETS } from './evaluation.ts';

const SAMPLES = 16;
/** Euler steps for a flow; a distilled one uses the number that it is distilled to. */
const STEPS = 8;

export interface Diagnostics {
  /** Mean per dimension, like the other figures. */
  straightness: number;
  transportCost: number;
  /** Reflow only. */
  couplingError?: number;
  /** Reflow with uniform times only: see Evaluation. */
  byTime?: number[];
}

/** The ends of some paths, f32 [N, H, W, C] each. */
export interface Coupling {
  z0: Float32Array;
  z1: Float32Array;
}

/** Number of samples: at most as many as a training step evaluates at once. */
export function probeCount({ training }: Config): number {
  return Math.min(SAMPLES, training.batch_size / training.accumulation);
}

/** z0 of those samples, apart from all that is trained on, f32 [N, H, W, C]. */
export function probeNoise(config: Config, device: Device): Float32Array {
  const { seed, sampling } = config;
  const shape = [probeCount(config), ...imageShape(config)];
  const draw = { seed, stream: streams.evaluation, noiseScale: sampling.init_noise_scale, device };
  return scope(() => initialNoise(shape, draw).dataSync() as Float32Array);
}

/**
 * Measures the weights that `model` holds now.
 * @param coupling the pairs of reflow, or for a 1-rectified flow only z0
 */
export function flowDiagnostics(
  model: UNet,
  config: Config,
  device: Device,
  coupling: Pick<Coupling, 'z0'> & Partial<Coupling>,
): Diagnostics {
  const image = imageShape(config);
  const { reflow_t_schedule: schedule } = config.reflow;
  const { training } = model;
  const samples = coupling.z0.length / sizeOf(image);
  using velocity = microBatched(replayable(networkVelocity(model.eval())), samples);
  try {
    return scope(() =>
      noGrad(() => {
        const shape = [samples, ...image];
        const z0 = tensor(coupling.z0, { shape, device });
        if (!coupling.z1) {
          const { straightness, transportCost } = pathGauges(velocity, z0, { steps: STEPS });
          return { straightness, transportCost };
        }
        const z1 = tensor(coupling.z1, { shape, device });
        const steps = schedule === 'uniform' ? STEPS : typeof schedule === 'number' ? schedule : 1;
        const reverse = schedule === 't1';
        const { end, ...gauges } = pathGauges(velocity, reverse ? z1 : z0, { steps, reverse });
        const couplingError = mean(square(sub(end, reverse ? z0 : z1))).item();
        if (schedule !== 'uniform') return { ...gauges, couplingError };
        const half = Math.ceil(shape[0] / 2);
        const [x0, x1] = [coupling.z0, coupling.z1].map((values) =>
          tensor(values.slice(0, (values.length / shape[0]) * half), { shape: [half, ...image], device }),
        );
        const byTime = Array.from({ length: TIME_BUCKETS }, (_, k) =>
          scope(() => {
            const t = tensor(new Float32Array(half).fill((k + 0.5) / TIME_BUCKETS), { device });
            return mean(square(sub(velocity(interpolate(x0, x1, t), t), sub(x1, x0)))).item();
          }),
        );
        return { ...gauges, couplingError, byTime };
      }),
    );
  } finally {
    model.train(training);
  }
}
