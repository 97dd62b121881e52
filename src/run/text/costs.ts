// The products that the networks of a text-to-image model compute, and the memory of their activations, by their options alone.
import { HOST_MOST_UNUSED } from '../../device/allocator.ts';
import type { Device } from '../../device/device.ts';
import { OutOfMemoryError, ValueError } from '../../errors.ts';
import type { SolverName } from '../../flow/sample.ts';
import { evaluationsAStep } from '../../flow/solvers.ts';
import type { AutoencoderKLOptions } from '../../nn/diffusers/autoencoder_kl.ts';
import type { CLIPTextOptions } from '../../nn/diffusers/clip_text.ts';
import type { UNet2DConditionOptions } from '../../nn/diffusers/unet2d_condition.ts';
import { deviceMemory, megabytes } from '../machine/resources.ts';
import type { PartName } from './folder.ts';
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

/** Memory that kernels of the processor lay weights out in: transformed by Winograd's algorithm, that is at most four times the weights. */
const TRANSFORMED = 4;

/** Adds up work; sizes are those of one sample. */
class Tally implements Work {
  private readonly weights: WeightUse;
  convolution = 0;
  linear = 0;
  attention = 0;
  /** Most numbers that a layer needs at once: its input, a normed copy, what is between and its output. */
  most = 0;

  constructor(weights: WeightUse = 'laid out') {
    this.weights = weights;
  }

  conv(inputs: number, outputs: number, pixels: number): void {
    this.multiply(inputs, outputs, pixels);
    this.holds((inputs + outputs) * pixels + this.layout(inputs, outputs, pixels));
  }

  private multiply(inputs: number, outputs: number, pixels: number): void {
    this.convolution += 2 * 9 * inputs * outputs * pixels;
  }

  project(inputs: number, outputs: number, rows: number): void {
    this.linear += 2 * inputs * outputs * rows;
    this.holds((inputs + outputs) * rows + this.copies(inputs * outputs));
  }

  /** Numbers in the copies that are made of weights while they are multiplied. */
  private copies(weights: number): number {
    return { read: 0, 'laid out': 1, widened: 2 }[this.weights] * weights;
  }

  private layout(inputs: number, outputs: number, pixels: number): number {
    const own = 9 * inputs * outputs;
    if (this.weights === 'read') return 0;
    // With few pixels, the transformed weights of a few channels exist at a time.
    const factor = pixels * inputs > FEW_PIXELS ? TRANSFORMED : 0.25;
    return factor * own + (this.weights === 'widened' ? own : 0);
  }

  attend(queries: number, keys: number, channels: number): void {
    this.attention += 4 * queries * keys * channels;
  }

  resnet(inputs: number, outputs: number, pixels: number): void {
    this.multiply(inputs, outputs, pixels);
    this.multiply(outputs, outputs, pixels);
    if (inputs !== outputs) this.project(inputs, outputs, pixels);
    // The input, its norm and the first result; then the input or its shortcut, the second norm and the result.
    this.holds((2 * inputs + outputs) * pixels + this.layout(inputs, outputs, pixels));
    this.holds((inputs + 3 * outputs) * pixels + this.layout(outputs, outputs, pixels));
  }

  holds(numbers: number): void {
    this.most = Math.max(this.most, numbers);
  }
}

/** What multiplies a weight needs besides it: nothing on a card; elsewhere a copy in another order, and one in f32 of 16 bits. */
export type WeightUse = 'read' | 'laid out' | 'widened';

/** Pixels times channels up to which convolutions transform weights a few channels at a time: PANEL_FLOATS of winograd.c, for 4 x 4 tiles. */
const FEW_PIXELS = 16 * 49152;

type Size = readonly [height: number, width: number];

const half = ([height, width]: Size): Size => [Math.ceil(height / 2), Math.ceil(width / 2)];
const area = ([height, width]: Size) => height * width;

export interface NetworkWork extends Work {
  /** Bytes of activations at the peak, in f32. */
  memory: number;
}

/** One evaluation of the network for latents of this size and a text of `tokens`. */
export function unetWork(
  options: Required<UNet2DConditionOptions>,
  size: Size,
  { tokens = 77, weights }: { tokens?: number; weights?: WeightUse } = {},
): NetworkWork {
  const { channels, attends, layers, contextChannels, inChannels, outChannels } = options;
  const tally = new Tally(weights);
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
export function decoderWork(
  options: Required<AutoencoderKLOptions>,
  size: Size,
  { tile, weights }: { tile?: number; weights?: WeightUse } = {},
): NetworkWork {
  if (tile !== undefined && (size[0] > tile || size[1] > tile)) {
    const stride = Math.floor((tile * 3) / 4);
    const tiles = Math.ceil(size[0] / stride) * Math.ceil(size[1] / stride);
    const one = decoderWork(options, [Math.min(tile, size[0]), Math.min(tile, size[1])], { weights });
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
  const tally = new Tally(weights);
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
export function textWork(options: Required<CLIPTextOptions>, weights?: WeightUse): NetworkWork {
  const { width, hidden, layers, positions } = options;
  const tally = new Tally(weights);
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
  /** All pictures, which wait in memory until the last is made; default 1. */
  count?: number;
  guidance?: number;
  /** As in `generate`. */
  tile?: number;
  /** Default 'laid out'. */
  weights?: WeightUse;
}

/** The work for one picture, and bytes of activations at the peak. */
export function pictureWork(options: NetworkOptions, { size, batch = 1, guidance = 0, tile, weights }: CostedRequest) {
  const factor = 2 ** (options.vae.blockChannels.length - 1);
  const latent = [size[0] / factor, size[1] / factor] as const;
  const text = textWork(options.text_encoder, weights);
  const one = unetWork(options.unet, latent, { tokens: options.text_encoder.positions, weights });
  const decoding = decoderWork(options.vae, latent, { tile, weights });
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
  // All texts come first, then all latents, then all pictures.
  const before = { text: 0, network: own.text, decoding: own.text + own.network };
  const whole = before.decoding + own.decoding;
  return ({ stage, first, done, of }) => {
    const within = stage === 'text' ? 1 : (first + done / of) / count;
    return Math.min(1, (before[stage] + own[stage] * within) / whole);
  };
}

/** What the program needs besides tensors: Node with its code, and pieces of files. */
const PROGRAM_BYTES = 250e6;

/** Bytes at the peak of each part, with the weights that are in memory then. */
export interface PictureMemory {
  text: number;
  network: number;
  decoding: number;
  peak: number;
}

/** Bytes of all pictures and of a file of them, and of their noise and latents in f32. */
function waitingBytes({ networks: { vae }, factor }: TextToImageSummary, { size, count = 1 }: CostedRequest): number {
  const pixels = area(size);
  return count * (2 * vae.channels * pixels + (8 * vae.latentChannels * pixels) / factor ** 2);
}

/** Bytes of the pictures of one call, at most. */
const MOST_BYTES = 2 ** 31;

/** @throws ValueError for more pictures than one array holds */
export function requirePictureBytes(op: string, count: number, [height, width]: Size, channels: number): void {
  if (count * height * width * channels > MOST_BYTES)
    throw new ValueError(
      `[${op}] expected at most ${MOST_BYTES} bytes of pictures, got ${count} of ${height} x ${width} pixels`,
    );
}

/** @param request.last as in `generate`: weights are freed when their part is done */
export function pictureMemory(
  summary: TextToImageSummary,
  request: CostedRequest & { last?: boolean },
  kind: Device['kind'],
): PictureMemory {
  const host = kind !== 'cuda';
  const narrow = summary.memory < 3 * summary.parameters;
  const work = pictureWork(summary.networks, {
    ...request,
    weights: host ? (narrow ? 'widened' : 'laid out') : 'read',
  });
  const weightsOf = (name: PartName) => summary.parts.find((part) => part.name === name)?.memory ?? 0;
  const besides = host ? PROGRAM_BYTES + HOST_MOST_UNUSED + waitingBytes(summary, request) : 0;
  const freed = request.last
    ? { network: weightsOf('text_encoder'), decoding: weightsOf('text_encoder') + weightsOf('unet') }
    : { network: 0, decoding: 0 };
  const text = summary.memory + work.text.memory + besides;
  const network = summary.memory - freed.network + work.network.memory + besides;
  const decoding = summary.memory - freed.decoding + work.decoding.memory + besides;
  return { text, network, decoding, peak: Math.max(text, network, decoding) };
}

/**
 * Checks that weights and activations fit into a device, before either is there.
 * @throws OutOfMemoryError saying how much is needed, and what needs less; ValueError as requirePictureBytes
 */
export function requirePictureMemory(
  summary: TextToImageSummary,
  request: CostedRequest & { last?: boolean },
  device: Device,
): void {
  const { peak, network, decoding } = pictureMemory(summary, request, device.kind);
  const available = Math.max(0, deviceMemory(device) - device.memory().live);
  const { size, count = 1, tile } = request;
  if (peak <= available) {
    requirePictureBytes('generate', count, size, summary.networks.vae.channels);
    return;
  }
  const [height, width] = size;
  const what = count > 1 ? `${count} pictures` : 'pictures';
  const other = count > 1 ? 'fewer pictures, or ' : decoding > network && tile === undefined ? 'tiles, or ' : '';
  const less = `${other}a smaller size`;
  const remedy = summary.memory > available ? '' : `; ${less}, needs less`;
  throw new OutOfMemoryError(
    `${summary.path}: its weights take ${megabytes(summary.memory)}, and with ${what} of ${height} x ${width} pixels the peak is ${megabytes(peak)}; ` +
      `${device.name} has ${megabytes(available)}${remedy}`,
  );
}
