// Velocities of latents with the states of their texts.
import { noGrad } from '../../autograd/mode.ts';
import { guided } from '../../flow/guided.ts';
import { noisePredictionVelocity, stableDiffusionBetas } from '../../flow/noise_prediction.ts';
import { rows, TIME_SCALE, type Velocity } from '../../flow/velocity.ts';
import { mul } from '../../kernels/elementwise.ts';
import { concat } from '../../kernels/movement.ts';
import type { LatentUNet } from '../../nn/latent_unet.ts';
import { tensor } from '../../tensor/create.ts';
import { keep, scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';

const betas = stableDiffusionBetas();

/** The velocity of latents with these states of texts, [N, L, width]. Gradients reach the network. */
export function latentVelocity(model: LatentUNet, states: Tensor): Velocity {
  return (x, t) => scope(() => model.forward(x, mul(t, TIME_SCALE), states));
}

export interface SampledLatents {
  /** States of the text of each sample, [count, L, width] as numbers. */
  states: Float32Array;
  /** Those of the empty text, for a guidance above 1. */
  empty?: Float32Array;
  count: number;
  /** Scale of the guidance; default 1, none. */
  guidance?: number;
  /** Samples evaluated at once; default: all. */
  microBatch?: number;
  /** What the network predicts; default 'velocity'. */
  prediction?: 'velocity' | 'noise';
}

/** The velocity of `count` samples, without gradients. The weights must not change before it is disposed. */
export function sampledLatents(model: LatentUNet, options: SampledLatents): Velocity & Disposable {
  const { count, guidance = 1, microBatch = count, prediction = 'velocity' } = options;
  const { device } = model.network.conv_in.weight;
  const shape = [options.states.length / count / model.width, model.width];
  const states = keep(tensor(options.states, { shape: [count, ...shape], device }));
  const unconditional = options.empty && keep(tensor(options.empty, { shape: [1, ...shape], device }));
  const conditioned = (x: Tensor, t: Tensor, text: Tensor) =>
    prediction === 'noise'
      ? noisePredictionVelocity((state, tau) => model.network.forward(state, tau, text), betas)(x, t)
      : latentVelocity(model, text)(x, t);
  const velocity: Velocity = (x, t) =>
    noGrad(() =>
      scope(() => {
        const parts: Tensor[] = [];
        for (let from = 0; from < count; from += microBatch) {
          const to = Math.min(count, from + microBatch);
          const condition = rows(states, from, to);
          const part = guided(conditioned, { condition, unconditional, scale: guidance });
          parts.push(part(rows(x, from, to), rows(t, from, to)));
        }
        return parts.length === 1 ? parts[0] : concat(parts, 0);
      }),
    );
  return Object.assign(velocity, {
    [Symbol.dispose]: () => {
      states.dispose();
      unconditional?.dispose();
    },
  });
}
