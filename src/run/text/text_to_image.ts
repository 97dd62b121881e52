// A text-to-image model: a tokenizer, a text network, the network of a flow on latents, and an autoencoder. The flow is
// InstaFlow's (Liu et al. 2024): noise at t = 0, the picture's latent at t = 1, and the network receives the time 1000 (1 - t).
import { byOpen, checkArgument, checkOptions, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { channelsFirst } from '../../data/layout.ts';
import type { Device } from '../../device/device.ts';
import { ArgumentError, formatShape, NonFiniteError, ShapeError, ValueError } from '../../errors.ts';
import { type ConditionedVelocity, guided } from '../../flow/guided.ts';
import { noisePredictionVelocity, stableDiffusionBetas } from '../../flow/noise_prediction.ts';
import { sample } from '../../flow/sample.ts';
import { replayable, type Velocity } from '../../flow/velocity.ts';
import { div, mul, sub } from '../../kernels/elementwise.ts';
import { concat } from '../../kernels/movement.ts';
import type { Module } from '../../nn/module.ts';
import { tensor } from '../../tensor/create.ts';
import { keep, openScope, scope } from '../../tensor/scope.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { type Tensor, tensorKind } from '../../tensor/tensor.ts';
import { type PicturePlan, planOf, type TextToImageOptions } from './generate_options.ts';
import { mergeLora } from './lora.ts';
import type { Networks } from './networks.ts';
import { toBytes } from './pictures.ts';
import type { ClipTokenizer } from './tokenizer.ts';

/** What the network predicts: the velocity of a flow, or the noise of Stable Diffusion. */
export type Prediction = 'velocity' | 'noise';

/** Conditions of a velocity. */
export interface TextConditions {
  /** States of the texts, [N, 77, width]. */
  condition: Tensor;
  /** States of what the pictures shall not show, [N, 77, width] or [1, 77, width]; needed for a guidance above 1. */
  unconditional?: Tensor;
  /** Scale of the guidance; at most 1 (default 0): none. */
  guidance?: number;
}

const conditionOptions: OptionKinds<TextConditions> = {
  condition: tensorKind,
  unconditional: tensorKind,
  guidance: kinds.finite,
};

export interface Pictures {
  /** u8 [N, H, W, 3], the pictures of the first prompt first. */
  images: Uint8Array;
  shape: readonly [n: number, height: number, width: number, channels: number];
  /** The latents that were decoded, times the scaling factor: [N, C, h, w] as in PyTorch. */
  latents: Float32Array;
  /** What a user should know, such as the end of a prompt that was left out. */
  notes: string[];
  /** Evaluations of the network for a picture; with guidance each is of two samples. */
  nfe: number;
  /** Seconds of each part. */
  seconds: { text: number; network: number; decoding: number };
}

/** Adds the seconds of some work to those of a part. */
type Timed = <T>(part: keyof Pictures['seconds'], work: () => T | Promise<T>) => Promise<T>;

/** Larger networks are not recorded: their evaluations take seconds, and a recording holds memory for each of its sizes. */
const MOST_RECORDED = 5e7;

const MODEL = 'TextToImage';
const betas = stableDiffusionBetas();

/**
 * A text-to-image model on a device, made by `loadTextToImage`.
 * @example
 * const model = await loadTextToImage('instaflow');
 * model instanceof TextToImage; // true
 * const condition = model.encodePrompts(['a cat', 'a dog']);
 * const velocity = model.velocity({ condition });
 * const path = { shape: [8, 8, 4], count: 2, seed: 0 };
 * (await sample(velocity, { ...path, solver: 'heun', steps: 3, epsilon: 0 })).nfe; // 6
 */
export class TextToImage {
  readonly tokenizer: ClipTokenizer;
  readonly textEncoder: Networks['text_encoder'];
  readonly unet: Networks['unet'];
  readonly vae: Networks['vae'];
  readonly prediction: Prediction;
  readonly device: Device;

  /** @internal */
  constructor(token: symbol, networks: Networks, parts: Pick<TextToImage, 'tokenizer' | 'prediction' | 'device'>) {
    if (token !== byOpen) throw new ArgumentError(MODEL, 'a call of loadTextToImage()', 'new TextToImage');
    const { tokenizer, prediction, device } = parts;
    this.tokenizer = tokenizer;
    this.textEncoder = networks.text_encoder;
    this.unet = networks.unet;
    this.vae = networks.vae;
    this.prediction = prediction;
    this.device = device;
  }

  /** The edge of a picture by default, in pixels. */
  get defaultSize(): number {
    return 64 * this.vae.factor;
  }

  /**
   * The states of texts, which condition the network. They have no gradient.
   * @returns [N, 77, width]
   */
  encodePrompts(prompts: readonly string[]): Tensor {
    checkArgument(`${MODEL}.encodePrompts`, 'prompts', prompts, listOf(kinds.text, 'texts'));
    const { tokenizer, textEncoder, device } = this;
    return scope(() =>
      noGrad(() => {
        const states = prompts.map((prompt) => {
          const { ids } = tokenizer.encode(prompt);
          return textEncoder.forward(tensor(ids, { shape: [1, ids.length], dtype: 'i32', device }));
        });
        return concat(states, 0);
      }),
    );
  }

  /**
   * The velocity of latents [N, h, w, C] with these conditions, for the solvers of rectiflow/flow. Its times need no epsilon:
   * pass 0.
   * @throws ArgumentError for a guidance above 1 without `unconditional`
   */
  velocity(conditions: TextConditions): Velocity {
    const checked = checkOptions(`${MODEL}.velocity`, conditions, conditionOptions, ['condition']);
    const { condition, unconditional, guidance = 0 } = checked;
    const velocity = guided(this.conditioned(), { condition, unconditional, scale: guidance });
    let numbers = 0;
    for (const [, { size }] of this.unet.namedTensors()) numbers += size;
    const recorded = this.device.kind === 'cuda' || numbers < MOST_RECORDED;
    return this.unet.training || !recorded ? velocity : replayable(velocity);
  }

  /** v(x, t, text). */
  private conditioned(): ConditionedVelocity {
    const { unet } = this;
    if (this.prediction === 'noise')
      return (x, t, text) => noisePredictionVelocity((state, tau) => unet.forward(state, tau, text), betas)(x, t);
    return (x, t, text) => scope(() => unet.forward(x, mul(sub(1, t), 1000), text));
  }

  /**
   * Pixels of latents, about in [-1, 1].
   * @param latents [N, h, w, C], as the flow has them: times the scaling factor
   * @param options.tile edge of a tile in latents, for large pictures; see AutoencoderKL
   * @returns [N, H, W, 3]
   */
  decode(latents: Tensor, options: { tile?: number } = {}): Tensor {
    return scope(() => this.vae.decode(div(latents, this.vae.options.scalingFactor), options));
  }

  /**
   * Makes pictures of texts: first the states of all texts, then all latents, then all pictures.
   * @throws ArgumentError, ValueError for options that do not fit together; NonFiniteError for latents or pictures that are not finite;
   * the signal's reason when aborted
   */
  async generate(options: TextToImageOptions): Promise<Pictures> {
    const plan = planOf(options, this);
    const seconds = { text: 0, network: 0, decoding: 0 };
    const timed: Timed = async (part, work) => {
      const start = performance.now();
      const result = await work();
      seconds[part] += (performance.now() - start) / 1000;
      return result;
    };
    const { count, height, width, latentShape } = plan;
    try {
      const noise = plan.noise(this.device);
      const states = new Map<string, Tensor>();
      let flowed: { samples: Float32Array; nfe: number };
      try {
        await this.addStates(states, plan, timed);
        if (plan.last) this.free(this.textEncoder);
        flowed = await this.latentsOf(plan, states, noise, timed);
      } finally {
        for (const state of states.values()) state.dispose();
      }
      if (plan.last) this.free(this.unet);
      const images = await this.imagesOf(plan, flowed.samples, timed);
      return {
        images,
        shape: [count, height, width, this.vae.options.channels],
        latents: channelsFirst(flowed.samples, [count, ...latentShape]),
        notes: plan.notes,
        nfe: flowed.nfe,
        seconds,
      };
    } finally {
      if (plan.last) this.dispose();
    }
  }

  /** Adds the states of each text of a plan, [1, 77, width]. */
  private async addStates(
    states: Map<string, Tensor>,
    { prompts, negatives, guidance, ...plan }: PicturePlan,
    timed: Timed,
  ): Promise<void> {
    for (const text of guidance > 1 ? [...prompts, ...negatives] : prompts) {
      plan.signal?.throwIfAborted();
      if (!states.has(text)) states.set(text, await timed('text', () => keep(this.encodePrompts([text]))));
    }
    plan.onProgress?.({ stage: 'text', first: 0, count: plan.count, done: 1, of: 1 });
  }

  /** The latents of all pictures, [count, h, w, C]. */
  private async latentsOf(
    plan: PicturePlan,
    states: ReadonlyMap<string, Tensor>,
    noise: (from: number, n: number) => Float32Array,
    timed: Timed,
  ) {
    const { count, batch, guidance, perPrompt, prompts, negatives, latentShape } = plan;
    const samples = new Float32Array(count * sizeOf(latentShape));
    let evaluations = 0;
    for (let from = 0; from < count; from += batch) {
      const n = Math.min(batch, count - from);
      plan.signal?.throwIfAborted();
      const rows = (texts: readonly string[]) =>
        concat(
          Array.from({ length: n }, (_, i) => states.get(texts[Math.floor((from + i) / perPrompt)]) as Tensor),
          0,
        );
      using conditions = openScope();
      const texts = conditions.run(() => ({
        condition: rows(prompts),
        unconditional: guidance > 1 ? rows(negatives) : undefined,
        guidance,
      }));
      const { samples: own, nfe } = await timed('network', () => this.flow(plan, texts, from, noise(from, n)));
      samples.set(own, from * sizeOf(latentShape));
      evaluations += nfe * n;
    }
    return { samples, nfe: evaluations / count };
  }

  /** The bytes of all pictures. */
  private async imagesOf(plan: PicturePlan, latents: Float32Array, timed: Timed): Promise<Uint8Array> {
    const { count, height, width, latentShape, tile, signal, onProgress } = plan;
    const size = height * width * this.vae.options.channels;
    const images = new Uint8Array(count * size);
    for (let i = 0; i < count; i++) {
      signal?.throwIfAborted();
      const decoding = { stage: 'decoding', first: i, count, of: 1 } as const;
      onProgress?.({ ...decoding, done: 0 });
      const own = latents.slice(i * sizeOf(latentShape), (i + 1) * sizeOf(latentShape));
      const pixels = await timed('decoding', () => this.pixelsOf(own, latentShape, tile));
      if (!pixels.every(Number.isFinite))
        throw new NonFiniteError(`picture ${i + 1} of ${count} is not finite: the autoencoder gives NaN or infinity`, {
          samples: [i],
        });
      images.set(toBytes(pixels), i * size);
      onProgress?.({ ...decoding, done: 1 });
    }
    return images;
  }

  /** Frees a network, and returns its memory to the system. */
  private free(network: Module): void {
    network.dispose();
    this.device.trim();
  }

  /** The latents at the end of the flow from these starts, [n, h, w, C] as numbers. */
  private async flow(plan: PicturePlan, conditions: TextConditions, first: number, latents: Float32Array) {
    const { sampler, steps, tolerance, latentShape, signal, onProgress, count } = plan;
    return sample(this.velocity(conditions), {
      shape: latentShape,
      count: conditions.condition.shape[0],
      seed: 0,
      latents,
      solver: sampler,
      ...(sampler === 'rk45' ? { tolerance } : { steps }),
      epsilon: 0,
      device: this.device,
      signal,
      onProgress: ({ t }) => onProgress?.({ stage: 'network', first, count, done: t, of: 1 }),
    });
  }

  private async pixelsOf(latents: Float32Array, shape: readonly number[], tile?: number): Promise<Float32Array> {
    const pixels = keep(
      scope(() => noGrad(() => this.decode(tensor(latents, { shape: [1, ...shape], device: this.device }), { tile }))),
    );
    try {
      return (await pixels.data()) as Float32Array;
    } finally {
      pixels.dispose();
    }
  }

  /**
   * Adds low-rank changes to the weights, from a file in kohya's layout. Several files may follow one another.
   * @param factor strength of the changes; default 1
   * @returns the number of weights that changed
   * @throws FileError for a file that does not fit; nothing is changed then
   */
  async addLora(path: string, factor = 1): Promise<number> {
    checkArgument(`${MODEL}.addLora`, 'path', path, kinds.path);
    checkArgument(`${MODEL}.addLora`, 'factor', factor, kinds.finite);
    return mergeLora(path, { lora_unet: this.unet, lora_te: this.textEncoder }, factor);
  }

  /** Frees the networks, and returns their memory to the system. */
  dispose(): void {
    for (const network of [this.textEncoder, this.unet, this.vae]) network.dispose();
    this.device.trim();
  }

  /** For `using model = ...`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @internal */
export function textToImageOf(
  ...rest: ConstructorParameters<typeof TextToImage> extends [symbol, ...infer R] ? R : never
) {
  return new TextToImage(byOpen, ...rest);
}

/** @throws ShapeError unless the parts of a model fit together */
export function checkParts({ unet, vae, text_encoder }: Networks, tokenizer: ClipTokenizer): void {
  const { inChannels, outChannels, contextChannels } = unet.options;
  const { latentChannels } = vae.options;
  const { width, vocabulary, positions } = text_encoder.options;
  if (inChannels !== latentChannels || outChannels !== latentChannels)
    throw new ShapeError(
      MODEL,
      `a network of latents of ${latentChannels} channels, as the autoencoder has`,
      `one from ${inChannels} to ${outChannels} channels (an inpainting or depth model has more)`,
    );
  if (contextChannels !== width)
    throw new ShapeError(MODEL, `texts of width ${contextChannels}, as the network takes`, formatShape([width]));
  if (tokenizer.largest >= vocabulary)
    throw new ValueError(
      `[${MODEL}] expected a tokenizer of at most ${vocabulary} tokens, got id ${tokenizer.largest}`,
    );
  if (tokenizer.length > positions)
    throw new ValueError(`[${MODEL}] expected sequences of at most ${positions} tokens, got ${tokenizer.length}`);
}
