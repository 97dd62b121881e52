// `sample`: samples images from a checkpoint's averaged weights.
import { checkArgument, checkOptions, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { ConfigError, DeviceError, ValueError } from '../../errors.ts';
import { encode, type FlowSample, networkVelocity, replayable, type SampleOptions, sample } from '../../flow/index.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { type FlowNetwork, runOptions, unetKind } from '../arguments.ts';
import { captionsOf } from '../captions/captions.ts';
import { type CaptionedOptions, isCaptioned, sampledVelocity } from '../captions/velocity.ts';
import { type LoadModelOptions, loadModel } from '../checkpoints/open.ts';
import type { Config } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import { imageShape } from '../config/schema.ts';
import { isLatent } from '../latents/network.ts';
import { machineMemory, megabytes } from '../machine/resources.ts';
import { computeBatches } from '../ranks/batches.ts';
import { inTurn, type Ranks, ranksKind } from '../ranks/ranks.ts';
import { requireSameJob } from '../ranks/same.ts';
import { isTransfer, startImages } from '../source.ts';
import { microBatchFor } from './memory.ts';

export interface SampleRequest
  extends Pick<
    SampleOptions,
    | 'first'
    | 'steps'
    | 'tolerance'
    | 'noiseScale'
    | 'sigmaVariance'
    | 'sdeDrift'
    | 'notFinite'
    | 'onProgress'
    | 'signal'
  > {
  num: number;
  /** Images per batch, over which RK45 takes its error norm. Default: num. */
  batch?: number;
  /** Samples evaluated at once; does not affect results. Default: as many as fit the memory budget. */
  microBatch?: number;
  /** Default: that of the configuration, as for steps, tolerance and seed. */
  solver?: SampleOptions['solver'];
  seed?: number;
  /** Start points [num, H, W, C] in place of noise of `seed`, or of a transfer's held-out images of the source. */
  latents?: Float32Array;
  /**
   * For a network with captions: the texts of the images, which are repeated in turn if there are fewer than images. Default:
   * the captions of the classes in turn, by the number of the image.
   */
  prompts?: readonly string[];
  /** Scale of the guidance towards the texts; default: sampling.guidance. */
  guidance?: number;
  /** The processes of a job, from `openRanks`, which sample batches in turns. The first gets the images, the others none. */
  ranks?: Ranks;
  device: Device;
}

export interface SampledImages extends Omit<FlowSample, 'samples'> {
  /** In network range, as `shape` says. */
  images: Float32Array;
  /** [num, H, W, C], without the samples that are left out: see sampling.not_finite. */
  shape: [number, number, number, number];
  seconds: number;
}

/** The kinds of the options of sampleModel. */
export const sampleKinds: OptionKinds<SampleRequest> = {
  first: kinds.whole,
  steps: kinds.count,
  tolerance: kinds.positive,
  noiseScale: kinds.notNegative,
  sigmaVariance: kinds.notNegative,
  sdeDrift: kinds.text,
  notFinite: kinds.text,
  onProgress: runOptions.onProgress,
  signal: runOptions.signal,
  num: kinds.int32Count,
  batch: kinds.int32Count,
  microBatch: kinds.int32Count,
  solver: kinds.text,
  seed: kinds.whole,
  latents: kinds.float32,
  prompts: listOf(kinds.text, 'texts'),
  guidance: kinds.notNegative,
  ranks: ranksKind,
  device: runOptions.device,
};

type LoadingRequest = SampleRequest & Pick<LoadModelOptions, 'partial' | 'onNotice'>;

const loadingKinds: OptionKinds<LoadingRequest> = {
  ...sampleKinds,
  partial: kinds.boolean,
  onNotice: runOptions.onNotice,
};

/**
 * Samples images from a checkpoint.
 * @param reference a checkpoint of any kind
 * @throws FileError for weights that do not fit the configuration, ShapeError for latents that do not
 * @example
 * const config = await loadConfig('runs/digits/config.json');
 * const device = await openDevice('cpu');
 * const checkpoint = 'runs/digits/checkpoints/checkpoint_1.safetensors';
 * const { images, shape } = await sampleFromCheckpoint(checkpoint, config, { num: 4, seed: 1, steps: 10, device });
 * shape; // [4, 8, 8, 1]
 * images.length; // 256
 */
export async function sampleFromCheckpoint(
  reference: string,
  config: Config,
  request: LoadingRequest,
): Promise<SampledImages> {
  checkArgument('sampleFromCheckpoint', 'reference', reference, kinds.path);
  requireConfig('sampleFromCheckpoint', config);
  const checked = checkOptions('sampleFromCheckpoint', request, loadingKinds, ['num', 'device']);
  const { partial, onNotice, ...sampled } = checked;
  const { device, ranks } = checked;
  if (ranks) requireSameJob(ranks, config, device);
  requireRoom(checked.num, config);
  await inTurn(checked, () => device.prepare(declaredModules()));
  const { model: loaded } = await loadModel(reference, config, { device, partial, onNotice });
  using model = loaded;
  // Awaited here, so that the model lives until sampling ends.
  return await sampleModel(model, config, sampled);
}

/**
 * Solves backwards from images to the start of their paths, as one batch, with the configuration's solver.
 * @param images f32 [num, H, W, C] in network range
 */
export async function encodeModel(
  model: FlowNetwork,
  config: Config,
  images: Float32Array,
  { num, device, signal, prompts }: Pick<SampleRequest, 'num' | 'device' | 'signal' | 'prompts'>,
): Promise<{ latents: Float32Array; nfe: number }> {
  const { use_ode_sampler: solver, sample_N: steps, ode_tol: tolerance, memory_budget: budget } = config.sampling;
  const shape = imageShape(config);
  const network = networkVelocity(model.eval());
  const microBatch = microBatchFor(network, shape, { batch: num, budget, device });
  const how = solver === 'rk45' ? { solver, tolerance } : { solver, steps };
  using sampled = sampledVelocity(model, config, { count: num, texts: prompts, microBatch });
  const atOnce = isCaptioned(model) ? num : microBatch;
  return await encode(replayable(sampled), images, { shape, ...how, microBatch: atOnce, device, signal });
}

/** @throws DeviceError for more images than fit into this machine's memory */
function requireRoom(num: number, config: Config): void {
  const [needed, there] = [4 * num * sizeOf(imageShape(config)), machineMemory()];
  if (needed > there)
    throw new DeviceError(`${num} images need ${megabytes(needed)}, the machine has ${megabytes(there)}; sample fewer`);
}

/**
 * Samples from the weights that `model` holds now, in as many parts as the memory budget requires.
 * @throws ShapeError for latents that do not fit; NonFiniteError for samples that are not finite; the signal's reason when aborted
 * @example
 * const config = await loadConfig('digits', { model: { nf: 8 } });
 * const device = await openDevice('cpu');
 * const model = buildModel(config, device);
 * const { shape, nfe } = await sampleModel(model, config, { num: 4, seed: 1, solver: 'heun', steps: 5, device });
 * shape; // [4, 8, 8, 1]
 * nfe; // 10
 */
export async function sampleModel(model: FlowNetwork, config: Config, request: SampleRequest): Promise<SampledImages> {
  checkArgument('sampleModel', 'model', model, unetKind);
  requireConfig('sampleModel', config);
  const checked = checkOptions('sampleModel', request, sampleKinds, ['num', 'device']);
  const { device, num, batch = num, ranks, onProgress, signal } = checked;
  if (isLatent(model))
    throw new ConfigError(
      'samples of model.name stable_diffusion are latents; `convert` writes the model as a folder of diffusers or a LoRA file, and `text` makes pictures with it',
    );
  requireRoom(num, config);
  const transfers = isTransfer(config);
  if (transfers && checked.sigmaVariance)
    throw new ConfigError('sigmaVariance needs a flow from noise, but sampling.init_type is data');
  const latents = checked.latents ?? (transfers ? await startImages(config, checked) : undefined);
  // The images are those of the numbers already.
  const first = transfers ? undefined : checked.first;
  const { sample_N, ode_tol, memory_budget: budget, sigma_variance, sde_drift, init_noise_scale } = config.sampling;
  const solver = checked.solver ?? config.sampling.use_ode_sampler;
  const shape = imageShape(config);
  const network = networkVelocity(model.eval());
  const texts = promptsOf(checked, config);
  const guidance = checked.guidance ?? config.sampling.guidance;
  const start = performance.now();
  // The official code adds noise in its Euler sampler only.
  const sigmaVariance = checked.sigmaVariance ?? (solver === 'euler' ? sigma_variance : 0);
  const stochastic = sigmaVariance > 0;
  const evaluated = guidance > 1 && isCaptioned(model) ? budget / 2 : budget;
  const microBatch =
    checked.microBatch ?? microBatchFor(network, shape, { batch: Math.min(batch, num), budget: evaluated, device });
  const options: SampleOptions = {
    ...{ device, first, latents, onProgress, signal },
    notFinite: checked.notFinite ?? (config.sampling.not_finite === 'leave_out' ? 'leave out' : 'refuse'),
    solver,
    sigmaVariance,
    // Passes only options that the solver reads; sample() refuses the others.
    noiseScale: checked.noiseScale ?? (latents && !stochastic ? undefined : init_noise_scale),
    sdeDrift: checked.sdeDrift ?? (stochastic ? sde_drift : undefined),
    steps: checked.steps ?? (solver === 'rk45' ? undefined : sample_N),
    tolerance: checked.tolerance ?? (solver === 'rk45' ? ode_tol : undefined),
    seed: checked.seed ?? config.seed,
    shape,
    count: num,
    batch,
    microBatch,
  };
  const captioned = { texts, guidance, microBatch };
  const { samples: images, ...rest } = isCaptioned(model)
    ? await inBatches(options, ranks, captionedSampler(model, config, captioned))
    : ranks
      ? await inBatches(options, ranks, (own) => sample(replayable(network), own))
      : await sample(replayable(network), options);
  const seconds = (performance.now() - start) / 1000;
  return { ...rest, images, shape: [images.length / sizeOf(shape), ...shape], seconds };
}

/** The text of each image; undefined for the captions of the classes in turn. @throws ConfigError for texts that cannot be used */
function promptsOf({ prompts, guidance, num }: SampleRequest, config: Config): string[] | undefined {
  if (!captionsOf(config)) {
    if (prompts) throw new ConfigError(`prompts need a network with captions, but model.name is ${config.model.name}`);
    if (guidance !== undefined)
      throw new ConfigError(`guidance needs a network with captions, but model.name is ${config.model.name}`);
    return undefined;
  }
  if (prompts?.length === 0) throw new ValueError('[sampleModel] expected one or more prompts, got none');
  return prompts && Array.from({ length: num }, (_, i) => prompts[i % prompts.length]);
}

/** Samples a batch of a network with captions, whose velocity is another one for each batch. */
function captionedSampler(
  model: FlowNetwork,
  config: Config,
  { texts, ...captioned }: Omit<CaptionedOptions, 'count' | 'first'>,
) {
  return async (options: SampleOptions, from: number): Promise<FlowSample> => {
    const { count, first = 0 } = options;
    using velocity = sampledVelocity(model, config, {
      ...captioned,
      ...{ count, first, texts: texts?.slice(from, from + count) },
    });
    // Which caption an image has depends on its number, so the network takes whole batches.
    return await sample(replayable(velocity), { ...options, microBatch: count });
  };
}

/** `sample` with a call of `sampler` for each batch, in this process or on all ranks. */
async function inBatches(
  options: SampleOptions,
  ranks: Ranks | undefined,
  sampler: (options: SampleOptions, from: number) => Promise<FlowSample>,
): Promise<FlowSample> {
  const { count, batch = count, first = 0, latents, onProgress, signal } = options;
  const size = sizeOf(options.shape);
  const compute = async (from: number, stop: AbortSignal | undefined) => {
    const n = Math.min(batch, count - from);
    const own: SampleOptions = {
      ...options,
      ...{ count: n, batch: n, first: first + from, signal: stop },
      microBatch: Math.min(n, options.microBatch ?? n),
      ...(latents && { latents: latents.subarray(from * size, (from + n) * size) }),
      onProgress: ({ done, ...rest }) => onProgress?.({ ...rest, done: from + done, count }),
    };
    // Without noise to draw, a sample has no number.
    if (latents && !options.sigmaVariance) own.first = undefined;
    const { samples, leftOut, nfe } = await sampler(own, from);
    return { samples, leftOut: Float64Array.from(leftOut), nfe: Float64Array.of(nfe) };
  };
  const parts: Float32Array[] = [];
  const leftOut: number[] = [];
  let evaluations = 0;
  const starts = Array.from({ length: Math.ceil(count / batch) }, (_, i) => i * batch);
  for await (const [from, part] of computeBatches(starts, compute, { ranks, signal })) {
    parts.push(part.samples);
    leftOut.push(...Array.from(part.leftOut, (index) => from + index));
    evaluations += part.nfe[0] * Math.min(batch, count - from);
  }
  const samples = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    samples.set(part, at);
    at += part.length;
  }
  return { samples, leftOut, nfe: evaluations / count };
}
