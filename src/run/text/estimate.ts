// How long pictures take, estimated before weights are read: the rates of this machine on layers like those of the networks, times
// what the networks compute.
import { checkArgument, checkOptions, kind, kinds, listOf, type OptionKinds, oneOf } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { type Device, deviceKind } from '../../device/device.ts';
import { ValueError } from '../../errors.ts';
import { type FixedSolver, fixedSolvers } from '../../flow/index.ts';
import { evaluationsAStep } from '../../flow/solvers.ts';
import { attention } from '../../kernels/composed/attention.ts';
import { conv2d } from '../../kernels/conv/conv.ts';
import { matmul } from '../../kernels/matmul.ts';
import { reshape, slice } from '../../kernels/movement.ts';
import { randn } from '../../kernels/random.ts';
import type { Slot } from '../../nn/module.ts';
import { empty } from '../../tensor/create.ts';
import { openScope, scope } from '../../tensor/scope.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type TimeEstimate, timeCalls, times, total } from '../machine/timing.ts';
import { type NetworkWork, pictureMemory, pictureWork, type Work } from './costs.ts';
import { writeRows } from './match.ts';
import { type MatchedNetworks, matchNetworks } from './networks.ts';
import {
  type InspectTextToImageOptions,
  inspectOptions,
  type NetworkOptions,
  summaryOf,
  type TextToImageSummary,
} from './survey.ts';

export interface EstimateTextToImageOptions extends InspectTextToImageOptions {
  /** Edge of a picture, or [height, width]; default 512. */
  size?: number | readonly [height: number, width: number];
  /** Steps of a sampler with equal steps; default 1. */
  steps?: number;
  /** Default 'euler'. The evaluations of 'rk45' are not known in advance. */
  sampler?: FixedSolver;
  /** Scale of the guidance; above 1, it doubles the work of the network. Default 0. */
  guidance?: number;
  /** Pictures; default 1. */
  count?: number;
  /** Edge of a tile in latents when decoding; default: the whole picture at once. */
  tile?: number;
  /** Whether networks are freed when their part is done, as in `rectiflow text`; default true. */
  last?: boolean;
}

const pair = listOf(kinds.count, 'numbers of pixels', 2);

const estimateOptions: OptionKinds<EstimateTextToImageOptions> = {
  ...inspectOptions,
  size: kind('a number of pixels, or [height, width]', (v) => kinds.count.accepts(v) || pair.accepts(v)),
  steps: kinds.count,
  sampler: oneOf(fixedSolvers),
  guidance: kinds.finite,
  count: kinds.count,
  tile: kinds.count,
  last: kinds.boolean,
};

/** The expected time of one part of the work, in seconds, with its range. */
export interface TextToImageStage extends TimeEstimate {
  name: 'loading' | 'text' | 'network' | 'decoding';
  /** Bytes at the peak: of the card or, on other devices, of the process. */
  memory: number;
}

/** What pictures will need. */
export interface TextToImageEstimate {
  summary: TextToImageSummary;
  stages: TextToImageStage[];
  /** Bytes at the peak of all parts. */
  memory: number;
}

/**
 * Estimates time and memory of pictures, from a few timed layers on this machine and from a part of the weights, which is read. The
 * weights as a whole are not read, except from files of torch.save. Memory is that of `rectiflow text`, without the encoder, unless `encoder` and
 * `last` say otherwise.
 * @param path as `loadTextToImage` takes it
 * @throws FileError as `loadTextToImage`; ValueError for a size that is not a multiple
 * @example
 * const { stages, memory } = await estimateTextToImage('instaflow', await openDevice('cpu'), { size: 64 });
 * stages.map(({ name }) => name); // ['loading', 'text', 'network', 'decoding']
 * memory > 0; // true
 */
export async function estimateTextToImage(
  path: string,
  device: Device,
  options: EstimateTextToImageOptions = {},
): Promise<TextToImageEstimate> {
  checkArgument('estimateTextToImage', 'path', path, kinds.path);
  checkArgument('estimateTextToImage', 'device', device, deviceKind);
  const checked = checkOptions('estimateTextToImage', options, estimateOptions);
  const { steps = 1, sampler = 'euler', guidance = 0, count = 1, tile, variant, configurations } = checked;
  const kept = { weights: checked.weights, encoder: checked.encoder ?? false };
  const matched = await matchNetworks(path, { variant, configurations });
  const summary = await summaryOf(path, matched, kept);
  const { size = 64 * summary.factor } = checked;
  const [height, width] = typeof size === 'number' ? [size, size] : size;
  if (height % summary.factor !== 0 || width % summary.factor !== 0)
    throw new ValueError(
      `[estimateTextToImage] expected a size of multiples of ${summary.factor}, got ${height} x ${width}`,
    );
  const request = { size: [height, width] as const, guidance, tile, count };
  const work = pictureWork(summary.networks, request);
  const memory = pictureMemory(summary, { ...request, last: checked.last ?? true }, device.kind);
  const evaluations = count * steps * evaluationsAStep(sampler);
  const pixels = (height / summary.factor) * (width / summary.factor);
  const loading = times(await loadingRate(matched, device), summary.loadedBytes);
  const rates = ratesOf(summary.networks, pixels, device);
  const stage = (name: TextToImageStage['name'], own: NetworkWork, repeats: number): TextToImageStage => ({
    name,
    ...times(timeOf(own, rates[name as keyof typeof rates]), repeats),
    memory: memory[name as keyof typeof rates],
  });
  return {
    summary,
    stages: [
      { name: 'loading', ...loading, memory: summary.memory },
      stage('text', work.text, count * (guidance > 1 ? 2 : 1)),
      stage('network', work.network, evaluations),
      stage('decoding', work.decoding, count),
    ],
    memory: memory.peak,
  };
}

/** Bytes of weights that are read to measure how fast they load. */
const READ_BYTES = 64e6;

/** Seconds for each byte of the files, of reading weights and bringing them to the device. */
async function loadingRate({ unet }: MatchedNetworks, device: Device): Promise<TimeEstimate> {
  const { weights, slots } = unet;
  const names = new Set<string>();
  let bytes = 0;
  for (const name of slots.keys()) {
    names.add(name);
    bytes += 2 * sizeOf(weights.tensors.get(name)?.shape ?? []);
    if (bytes > READ_BYTES) break;
  }
  let read = 0;
  const start = performance.now();
  await weights.forEachPiece((name, rows) => {
    read += rows.data.byteLength;
    const { owner, key } = slots.get(name) as Slot;
    const [, ...rest] = (owner[key] as Tensor).shape;
    scope(() => writeRows(rows, empty([rows.shape[0], ...rest], { device }), 0));
  }, names);
  await device.synchronize();
  const seconds = (performance.now() - start) / 1000 / Math.max(1, read);
  // What the disk has read before comes from memory, many times as fast.
  return { seconds, low: 0.5 * seconds, high: 4 * seconds };
}

/** Seconds for each floating-point operation, by the kernel that computes it. */
type Rates = Record<keyof Work, TimeEstimate>;

/** Rows and pixels of a layer that is timed, at most. */
const MOST_ROWS = 4096;

function ratesOf(networks: NetworkOptions, pixels: number, device: Device) {
  const rows = Math.min(MOST_ROWS, pixels);
  const { unet, vae, text_encoder: text } = networks;
  const level = (channels: readonly number[]) => channels[Math.min(1, channels.length - 1)];
  const positions = text.positions;
  const head = Array.isArray(unet.heads) ? unet.heads[0] : (unet.heads as number);
  return {
    text: {
      convolution: timeProducts(device, positions, text.width),
      linear: timeProducts(device, positions, text.width),
      attention: timeAttention(device, positions, text.width, text.heads),
    },
    network: {
      convolution: timeConvolution(device, Math.ceil(rows / 4), level(unet.channels)),
      linear: timeProducts(device, Math.ceil(rows / 4), level(unet.channels)),
      attention: timeAttention(device, rows, unet.channels[0], head),
    },
    decoding: {
      convolution: timeConvolution(device, rows, vae.blockChannels[vae.blockChannels.length - 1]),
      linear: timeProducts(device, rows, vae.blockChannels[vae.blockChannels.length - 1]),
      attention: timeAttention(device, Math.min(1024, rows), vae.blockChannels[vae.blockChannels.length - 1], 1),
    },
  };
}

/** Warm calls of work on tensors that are made once, for each of `operations`. */
function timeWork(operations: number, prepare: () => () => Tensor): TimeEstimate {
  using made = openScope();
  const run = made.run(() => noGrad(prepare));
  // Reading a number waits for the device.
  const call = () =>
    scope(() =>
      noGrad(() => {
        const y = run();
        slice(reshape(y, [y.size]), [0], [1]).dataSync();
      }),
    );
  call();
  call();
  return times(timeCalls(call), 1 / operations);
}

function timeConvolution(device: Device, pixels: number, channels: number): TimeEstimate {
  const edge = Math.max(2, Math.round(Math.sqrt(pixels)));
  return timeWork(18 * edge * edge * channels * channels, () => {
    const x = randn([1, edge, edge, channels], { seed: 1, device });
    const weight = randn([channels, 3, 3, channels], { seed: 2, device });
    return () => conv2d(x, weight, { padding: 1 });
  });
}

function timeProducts(device: Device, rows: number, channels: number): TimeEstimate {
  return timeWork(8 * rows * channels * channels, () => {
    const x = randn([rows, channels], { seed: 1, device });
    const weight = randn([channels, 4 * channels], { seed: 2, device });
    return () => matmul(x, weight);
  });
}

function timeAttention(device: Device, rows: number, channels: number, heads: number): TimeEstimate {
  return timeWork(4 * rows * rows * channels, () => {
    const [q, k, v] = [1, 2, 3].map((seed) => randn([1, rows, channels], { seed, device }));
    return () => attention(q, k, v, { heads });
  });
}

function timeOf(work: Work, rates: Rates): TimeEstimate {
  return total((['convolution', 'linear', 'attention'] as const).map((part) => times(rates[part], work[part])));
}
