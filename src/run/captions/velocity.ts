// Velocities of a network with captions. Which caption a sample has is given as shares [N, K] of K captions: 1 for its own, 0
// for the others. The product with the states of the captions selects them, and may be recorded and differentiated.
import { noGrad } from '../../autograd/mode.ts';
import { guided } from '../../flow/guided.ts';
import { networkVelocity, rows, TIME_SCALE, type Velocity } from '../../flow/velocity.ts';
import { mul } from '../../kernels/elementwise.ts';
import { matmul } from '../../kernels/matmul.ts';
import { concat, reshape } from '../../kernels/movement.ts';
import { CaptionUNet } from '../../nn/caption_unet.ts';
import { tensor } from '../../tensor/create.ts';
import { keep, scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { FlowNetwork } from '../arguments.ts';
import type { Config } from '../config/types.ts';
import { isLatent } from '../latents/network.ts';
import { sampledLatents } from '../latents/velocity.ts';
import { captionsInTurn, captionsOf, tokensOf } from './captions.ts';

export function isCaptioned(model: FlowNetwork): model is CaptionUNet {
  return model instanceof CaptionUNet;
}

/** The shares of samples with these captions, [N, K]. @param places of each sample in a table of `captions` */
export function sharesOf(places: ArrayLike<number>, captions: number): Float32Array {
  const shares = new Float32Array(places.length * captions);
  for (let i = 0; i < places.length; i++) shares[i * captions + places[i]] = 1;
  return shares;
}

/** The states [N, L, width] of samples, from those of all captions [K, L, width] and shares [N, K]. */
function select(shares: Tensor, states: Tensor): Tensor {
  const [captions, length, width] = states.shape;
  return reshape(matmul(shares, reshape(states, [captions, length * width])), [shares.shape[0], length, width]);
}

/**
 * The velocity of samples in training, through which gradients reach the text network.
 * @param tokens of each caption
 * @param shares [N, K]
 */
export function trainedVelocity(model: CaptionUNet, tokens: readonly Int32Array[], shares: Tensor): Velocity {
  return (x, t) => scope(() => model.forward(x, mul(t, TIME_SCALE), select(shares, model.encode(tokens))));
}

export interface CaptionedOptions {
  /** Text of each sample; default: the captions of the classes in turn. */
  texts?: readonly string[];
  /** For a flow of latents: the states of the text of each sample. */
  states?: Float32Array;
  /** Number of the first sample, for the default of `texts`; default 0. */
  first?: number;
  count: number;
  /** Scale of the guidance; default 1, none. */
  guidance?: number;
  /** Samples evaluated at once; default: all. */
  microBatch?: number;
}

/**
 * The velocity of `count` samples of a network in evaluation mode, without gradients. A network with captions evaluates exactly
 * that many points, and its weights must not change before the velocity is disposed.
 */
export function sampledVelocity(
  model: FlowNetwork,
  config: Config,
  { count, first = 0, guidance = 1, microBatch = count, ...options }: CaptionedOptions,
): Velocity & Disposable {
  if (isLatent(model) && options.states) return sampledLatents(model, { states: options.states, count, microBatch });
  const captions = captionsOf(config);
  if (!isCaptioned(model) || !captions) return Object.assign(networkVelocity(model), { [Symbol.dispose]: () => {} });
  const texts = options.texts ?? captionsInTurn(captions, first, count);
  const different = ['', ...new Set(texts.filter((text) => text !== ''))];
  const { device } = model.unet.conv_in.weight;
  const places = texts.map((text) => different.indexOf(text));
  const states = keep(
    scope(() =>
      noGrad(() => {
        // By ids: texts of users must not stay in the cache of constants.
        const ids = tokensOf(captions, different).flatMap((tokens) => [...tokens]);
        const all = model.text_encoder.forward(
          tensor(Int32Array.from(ids), {
            shape: [different.length, ids.length / different.length],
            dtype: 'i32',
            device,
          }),
        );
        return select(
          tensor(sharesOf([...places, 0], different.length), { shape: [count + 1, different.length], device }),
          all,
        );
      }),
    ),
  );
  const conditioned = (x: Tensor, t: Tensor, text: Tensor) => model.forward(x, mul(t, TIME_SCALE), text);
  const part = (x: Tensor, t: Tensor, from: number, to: number) =>
    scope(() => {
      const condition = rows(states, from, to);
      const unconditional = rows(states, count, count + 1);
      return guided(conditioned, { condition, unconditional, scale: guidance })(rows(x, from, to), rows(t, from, to));
    });
  const velocity: Velocity = (x, t) =>
    noGrad(() =>
      scope(() => {
        if (microBatch >= count) return part(x, t, 0, count);
        const parts: Tensor[] = [];
        for (let from = 0; from < count; from += microBatch)
          parts.push(part(x, t, from, Math.min(count, from + microBatch)));
        return concat(parts, 0);
      }),
    );
  return Object.assign(velocity, { [Symbol.dispose]: () => states.dispose() });
}
