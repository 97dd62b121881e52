// The products that the networks of a text-to-image model compute, and the memory of their activations, by their options alone.
import type { Device } from '../../device/device.ts';
import { OutOfMemoryError } from '../../errors.ts';
import type { SolverName } from '../../flow/sample.ts';
import { evaluationsAStep } from '../../flow/solvers.ts';
import type { AutoencoderKLOptions } from '../../nn/diffusers/autoencoder_kl.ts';
import type { CLIPTextOptions } from '../../nn/diffusers/clip_text.ts';
import type { UNet2DConditionOptions } from '../../nn/diffusers/unet2d_condition.ts';
import { deviceMemory, megabytes } from '../machine/resources.ts';
import type { TextToImageProgress } from './generate_options.ts';
import type { NetworkOptions, TextToImageSummary } from './survey.ts';

/** Floating-point operations, two for each product, by the kernels that compute them. */
export interface Work {
  /** Convolutions of 3 x 3. */
  convolution: number;
  /** Linear layers and convolutions of 1 x 1. */
  linear: number;
  /** Scores of attention, and sums by them. */
  attention: number;
}

/** Adds up work; sizes are those of one sample. */
class Tally implements Work {
  convolution = 0;
  linear = 0;
  attention = 0;
  /** Most numbers that a layer needs at once: its input, a normed copy, what is between and its output. */
  most = 0;

  conv(inputs: number, outputs: number, pixels: number): void {
    this.convolution += 2 * 9 * inputs * outputs * pixels;
    this.holds((inputs + outputs) * pixels);
  }

  project(inputs: number, outputs: number, rows: number): void {
    this.linear += 2 * inputs * outputs * rows;
  }

  attend(queries: number, keys: number, channels: number): void {
    this.attention += 4 * queries * keys * channels;
  }

  resnet(inputs: number, outputs: number, pixels: number): void {
    this.conv(inputs, outputs, pixels);
    this.conv(outputs, outputs, pixels);
    if (inputs !== outputs) this.project(inputs, outputs, pixels);
    this.holds(2 * (inputs + outputs) * pixels);
  }

  holds(numbers: number): void {
    this.most = Math.max(this.most, numbers);
  }
}

type Size = readonly [height: number, width: number];

const half = ([height, width]: Size): Size => [Math.ceil(height / 2), Math.ceil(width / 2)];
const area = ([height, width]: Size) => height * width;

export interface NetworkWork extends Work {
  /** Bytes of activations at the peak, in f32. */
  memory: number;
}

/** One evaluation of the network for latents of this size and a text of `tokens`. */
export function unetWork(options: Required<UNet2DConditionOptions>, size: Size, tokens = 77): NetworkWork {
  const { channels, attends, layers, contextChannels, inChannels, outChannels } = options;
  const tally = new Tally();
  const time = 4 * channels[0];
  tally.project(channels[0], time, 1);
  tally.project(time, time, 1);
  const resnet = (inputs: number, outputs: number, pixels: number) => {
    tally.resnet(inputs, outputs, pixels);
    tally.project(time, outputs, 1);
  };
  const transformer = (width: number, pixels: number) => {
    // Both projections, queries, keys, values and output of the first attention, query and output of the second.
    tally.project(width, 8 * width, pixels);
    tally.attend(pixels, pixels, width);
    tally.project(contextChannels, 2 * width, tokens);
    tally.attend(pixels, tokens, width);
    tally.project(width, 12 * width, pixels);
    tally.holds(14 * width * pixels);
  };
  const sizes: Size[] = [size];
  for (let level = 1; level < channels.length; level++) sizes.push(half(sizes[level - 1]));
  tally.conv(inChannels, channels[0], area(size));
  const skips = [channels[0]];
  let kept = channels[0] * area(size);
  let width = channels[0];
  for (const [level, outputs] of channels.entries()) {
    const pixels = area(sizes[level]);
    for (let i = 0; i < layers; i++) {
      resnet(i === 0 ? width : outputs, outputs, pixels);
      if (attends[level]) transformer(outputs, pixels);
      skips.push(outputs);
      kept += outputs * pixels;
    }
    if (level < channels.length - 1) {
      tally.conv(outputs, outputs, area(sizes[level + 1]));
      skips.push(outputs);
      kept += outputs * area(sizes[level + 1]);
    }
    width = outputs;
  }
  const lowest = area(sizes[channels.length - 1]);
  resnet(width, width, lowest);
  transformer(width, lowest);
  resnet(width, width, lowest);
  for (let level = channels.length - 1; level >= 0; level--) {
    const pixels = area(sizes[level]);
    for (let i = 0; i <= layers; i++) {
      resnet(width + (skips.pop() as number), channels[level], pixels);
      if (attends[level]) transformer(channels[level], pixels);
      width = channels[level];
    }
    if (level > 0) tally.conv(width, width, area(sizes[level - 1]));
  }
  tally.conv(width, outChannels, area(size));
  return workOf(tally, kept);
}

/** Decoding a latent of this size. @param tile edge of a tile in latents, as AutoencoderKL takes it */
export function decoderWork(options: Required<AutoencoderKLOptions>, size: Size, tile?: number): NetworkWork {
  if (tile !== undefined && (size[0] > tile || size[1] > tile)) {
    const stride = Math.floor((tile * 3) / 4);
    const tiles = Math.ceil(size[0] / stride) * Math.ceil(size[1] / stride);
    const one = decoderWork(options, [Math.min(tile, size[0]), Math.min(tile, size[1])]);
    const { blockChannels, channels } = options;
    // All tiles, and what is blended of them.
    const pixel = 4 * channels * 4 ** (blockChannels.length - 1);
    return {
      convolution: tiles * one.convolution,
      linear: tiles * one.linear,
      attention: tiles * one.attention,
      memory: one.memory + pixel * (tiles * tile * tile + 2 * area(size)),
    };
  }
  const { blockChannels, layers, latentChannels, channels } = options;
  const upwards = [...blockChannels].reverse();
  const tally = new Tally();
  let pixels = area(size);
  let [width] = upwards;
  tally.project(latentChannels, latentChannels, pixels);
  tally.conv(latentChannels, width, pixels);
  tally.resnet(width, width, pixels);
  tally.project(width, 4 * width, pixels);
  tally.attend(pixels, pixels, width);
  // One head stores its scores and probabilities.
  tally.holds(2 * pixels * pixels + 5 * width * pixels);
  tally.resnet(width, width, pixels);
  for (const [level, outputs] of upwards.entries()) {
    for (let i = 0; i <= layers; i++) {
      tally.resnet(width, outputs, pixels);
      width = outputs;
    }
    if (level === upwards.length - 1) continue;
    pixels *= 4;
    tally.conv(width, width, pixels);
  }
  tally.conv(width, channels, pixels);
  return workOf(tally, 0);
}

/** The states of a text. */
export function textWork(options: Required<CLIPTextOptions>): NetworkWork {
  const { width, hidden, layers, positions } = options;
  const tally = new Tally();
  for (let i = 0; i < layers; i++) {
    tally.project(width, 4 * width, positions);
    tally.attend(positions, positions, width);
    tally.project(width, 2 * hidden, positions);
  }
  tally.holds((4 * width + 2 * hidden) * positions);
  return workOf(tally, 0);
}

function workOf({ convolution, linear, attention, most }: Tally, kept: number): NetworkWork {
  return { convolution, linear, attention, memory: 4 * (most + kept) };
}

/** A request for pictures, as far as it costs something. */
export interface CostedRequest {
  /** Height and width in pixels. */
  size: Size;
  /** Pictures that pass through the network at once. */
  batch?: number;
  guidance?: number;
  /** As in `generate`. */
  tile?: number;
}

/** The work for one picture, and bytes of activations at the peak. */
export function pictureWork(options: NetworkOptions, { size, batch = 1, guidance = 0, tile }: CostedRequest) {
  const factor = 2 ** (options.vae.blockChannels.length - 1);
  const latent = [size[0] / factor, size[1] / factor] as const;
  const text = textWork(options.text_encoder);
  const one = unetWork(options.unet, latent, options.text_encoder.positions);
  const decoding = decoderWork(options.vae, latent, tile);
  const twice = guidance > 1 ? 2 : 1;
  const network: NetworkWork = {
    convolution: twice * one.convolution,
    linear: twice * one.linear,
    attention: twice * one.attention,
    memory: twice * batch * one.memory,
  };
  return { text, network, decoding, memory: Math.max(text.memory, network.memory, decoding.memory) };
}

/** Evaluations by which the share of rk45 is guessed: it ends when its errors are small. */
const RK45_EVALUATIONS = 60;

/**
 * How much of all work is done, from 0 to 1, by what `generate` reports: parts count by what they compute.
 * @param request.count all pictures
 */
export function shareOf(
  networks: NetworkOptions,
  request: CostedRequest & { sampler: SolverName; steps?: number; count: number },
): (progress: TextToImageProgress) => number {
  const { sampler, steps = 1, count } = request;
  const work = pictureWork(networks, request);
  const all = ({ convolution, linear, attention }: Work) => convolution + linear + attention;
  const evaluations = sampler === 'rk45' ? RK45_EVALUATIONS : steps * evaluationsAStep(sampler);
  const own = { text: all(work.text), network: evaluations * all(work.network), decoding: all(work.decoding) };
  const before = { text: 0, network: own.text, decoding: own.text + own.network };
  const whole = before.decoding + own.decoding;
  return ({ stage, first, done, of }) =>
    Math.min(1, (first + (before[stage] + (own[stage] * done) / of) / whole) / count);
}

/**
 * Checks that weights and activations fit into a device, before either is there.
 * @throws OutOfMemoryError saying how much is needed, and what needs less
 */
export function requirePictureMemory(summary: TextToImageSummary, request: CostedRequest, device: Device): void {
  const { memory, network, decoding } = pictureWork(summary.networks, request);
  const available = Math.max(0, deviceMemory(device) - device.memory().live);
  const needed = summary.memory + memory;
  if (needed <= available) return;
  const [height, width] = request.size;
  const less =
    decoding.memory > network.memory && request.tile === undefined ? 'tiles, or a smaller size' : 'a smaller size';
  const remedy = summary.memory > available ? '' : `; ${less}, needs less`;
  throw new OutOfMemoryError(
    `${summary.path}: its weights take ${megabytes(summary.memory)}, and pictures of ${height} x ${width} pixels ${megabytes(memory)}; ` +
      `${device.name} has ${megabytes(available)}${remedy}`,
  );
}
