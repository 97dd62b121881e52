// Diagnostics of a flow during training, at each evaluation, from a few fixed samples:
//   straightness     of the flow's paths; with 0, one step is exact
//   transport cost   mean of (z1 - z0)^2 over the flow's own coupling; reflow never raises it
//   coupling error   reflow only: mean squared distance between where the flow takes z0 and the z1 of its pair
//   loss by time     reflow only: squared error of the velocity on the straight lines of those pairs, by tenths of t
// They take at most 16 samples with 8 steps, and half of the samples at 10 times. With the default eval_freq of 100
// this is less than a hundredth of the passes of training at batch 128, and less than a twentieth at any batch size.
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import { Draw, interpolate, pathStatistics, replayable, withMicroBatches } from '../../flow/index.ts';
import { square, sub } from '../../kernels/elementwise.ts';
import { mean } from '../../kernels/reduce.ts';
import { tensor } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { streams } from '../../tensor/streams.ts';
import type { FlowNetwork } from '../arguments.ts';
import { sampledVelocity } from '../captions/velocity.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { TIME_BUCKETS } from './evaluation.ts';

const SAMPLES = 16;
/** Euler steps of a flow; a distilled flow takes as many as it was distilled to. */
const STEPS = 8;

export interface Diagnostics {
  /** Mean over dimensions, like the other figures. */
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
  /** The captions of the paths; default: those of the classes in turn. */
  texts?: readonly string[];
  /** For a flow of latents: the states of the texts of the paths, f32 [N, L, width]. */
  states?: Float32Array;
}

/** How many samples are probed: at most as many as a part of a training batch. */
export function probeCount({ training }: Config): number {
  return Math.min(SAMPLES, training.batch_size / training.accumulation);
}

/** At most as many evaluations of the network on one sample as the diagnostics take. */
export function diagnosticEvaluations(config: Config): number {
  return probeCount(config) * (STEPS + TIME_BUCKETS / 2);
}

/** z0 of the probed samples, from a stream that training does not use, f32 [N, H, W, C]. */
export function probeNoise(config: Config, device: Device): Float32Array {
  const { seed, sampling } = config;
  const shape = [probeCount(config), ...imageShape(config)];
  const options = { scale: sampling.init_noise_scale, stream: streams.evaluation };
  return scope(() => new Draw({ seed, device }).noise(shape, options).dataSync() as Float32Array);
}

/**
 * Diagnostics of the weights that `model` holds now.
 * @param coupling starts of paths and, for reflow, the ends of their pairs
 */
export function flowDiagnostics(
  model: FlowNetwork,
  config: Config,
  device: Device,
  coupling: Pick<Coupling, 'z0'> & Partial<Coupling>,
): Diagnostics {
  const image = imageShape(config);
  const { reflow_t_schedule: schedule } = config.reflow;
  const { training } = model;
  const samples = coupling.z0.length / sizeOf(image);
  const { texts, states } = coupling;
  using sampled = sampledVelocity(model.eval(), config, { count: samples, texts, states });
  using velocity = withMicroBatches(replayable(sampled), samples);
  try {
    return scope(() =>
      noGrad(() => {
        const shape = [samples, ...image];
        const z0 = tensor(coupling.z0, { shape, device });
        if (!coupling.z1) {
          const { straightness, transportCost } = pathStatistics(velocity, z0, { steps: STEPS });
          return { straightness, transportCost };
        }
        const z1 = tensor(coupling.z1, { shape, device });
        const steps = schedule === 'uniform' ? STEPS : typeof schedule === 'number' ? schedule : 1;
        const reverse = schedule === 't1';
        const { end, ...statistics } = pathStatistics(velocity, reverse ? z1 : z0, { steps, reverse });
        const couplingError = mean(square(sub(end, reverse ? z0 : z1))).item();
        if (schedule !== 'uniform') return { ...statistics, couplingError };
        const half = Math.ceil(shape[0] / 2);
        const [x0, x1] = [coupling.z0, coupling.z1].map((values) =>
          tensor(values.slice(0, (values.length / shape[0]) * half), { shape: [half, ...image], device }),
        );
        using first = sampledVelocity(model, config, {
          count: half,
          texts: texts?.slice(0, half),
          states: states?.slice(0, (states.length / samples) * half),
        });
        const byTime = Array.from({ length: TIME_BUCKETS }, (_, k) =>
          scope(() => {
            const t = tensor(new Float32Array(half).fill((k + 0.5) / TIME_BUCKETS), { device });
            return mean(square(sub(first(interpolate(x0, x1, t), t), sub(x1, x0)))).item();
          }),
        );
        return { ...statistics, couplingError, byTime };
      }),
    );
  } finally {
    model.train(training);
  }
}
