// `reflow` with generate_data_from_z0 writes pairs (z0, z1) to {data_root}/{seed}: noise, and where the EMA of the flow
// takes it; for a domain transfer, images of the source take the place of noise. With generate_data_from_z1, z1 are images of the data set and z0 is where the reverse ODE takes them. An
// interrupted run, even a killed one, resumes after its last batch. Runs with different seeds can run at the same time.
import { join } from 'node:path';
import { checkOptions, kinds, type OptionKinds, oneOf } from '../../arguments.ts';
import {
  type ImageDataset,
  type PairCondition,
  type PairPlan,
  PairWriter,
  pairCondition,
  quantisedRange,
  readManifest,
  type SourceLaw,
  sequentialBatch,
} from '../../data/index.ts';
import { meanNfe } from '../../data/pairs/manifest.ts';
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { ConfigError } from '../../errors.ts';
import { makeFolder } from '../../io/file.ts';
import { streams } from '../../tensor/streams.ts';
import { turn } from '../../turn.ts';
import { type FlowNetwork, runOptions } from '../arguments.ts';
import { type Captions, captionsOf, pairCaptions } from '../captions/captions.ts';
import { teacherIdentity } from '../checkpoints/identity.ts';
import { architectureDifferences } from '../checkpoints/model.ts';
import { loadModel } from '../checkpoints/open.ts';
import { requirePaths } from '../config/index.ts';
import { settingWithout } from '../config/inert.ts';
import { requireConfig } from '../config/require.ts';
import { hasEncodedImages, pairShape } from '../config/schema.ts';
import { type Difference, differences } from '../config/tree.ts';
import type { Config } from '../config/types.ts';
import { loadDataset } from '../data.ts';
import { hasLatents } from '../latents/network.ts';
import { packageVersion } from '../machine/provenance.ts';
import { freeBytes, megabytes } from '../machine/resources.ts';
import { computeBatches } from '../ranks/batches.ts';
import { inTurn, ownSignal, type Ranks, ranksKind } from '../ranks/ranks.ts';
import { requireSameJob } from '../ranks/same.ts';
import { lockFolder } from '../workdir/lock.ts';
import { type LatentConditions, latentConditions, openLatentTeacher } from './latent_pairs.ts';
import { openPairSource, pairStarts, startsOfPairs } from './pair_source.ts';
import { encodeModel, sampleModel } from './sample.ts';

export interface GenerateOptions {
  device: Device;
  partial?: boolean;
  /** What to do if the folder already holds all of these pairs: 'refuse' throws (default), 'keep' returns them. */
  complete?: 'refuse' | 'keep';
  /** The processes of a job, from `openRanks`: all solve, and the first writes. The files are those of one process. */
  ranks?: Ranks;
  /** Stops the run; completed batches stay. */
  signal?: AbortSignal;
  /** Reports tensors that `partial` skipped, and resuming. */
  onNotice?: (text: string) => void;
  /** Called with the number of pairs solved and their total. */
  onProgress?: (done: number, total: number) => void;
}

export interface GeneratedPairs {
  folder: string;
  count: number;
  /** Network evaluations per pair, averaged over batches. */
  nfe: number;
}

const optionKinds: OptionKinds<GenerateOptions> = {
  ...runOptions,
  partial: kinds.boolean,
  complete: oneOf(['refuse', 'keep']),
  ranks: ranksKind,
};

/**
 * Generates exactly reflow.total_number_of_samples pairs, from noise of seed `seed` or from the first training images.
 * It holds at most training.batch_size of them in memory.
 * @throws FileError if the folder already holds all pairs (unless `complete` is 'keep'), is in use or cannot be
 * written; ConfigError if it holds pairs of another teacher, sampler or configuration, naming the differences, or if
 * the data set has fewer images
 * @example
 * const config = await loadConfig('runs/digits/config.json', {
 *   reflow: {
 *     last_flow_ckpt: 'runs/digits/checkpoints/checkpoint_1.safetensors',
 *     data_root: 'my_pairs',
 *     total_number_of_samples: 16,
 *   },
 *   sampling: { use_ode_sampler: 'euler', sample_N: 4 },
 * });
 * const { folder, count, nfe } = await generatePairs(config, { device: await openDevice('cpu') });
 * ({ folder, count, nfe }); // { folder: 'my_pairs/42', count: 16, nfe: 4 }
 */
export async function generatePairs(config: Config, options: GenerateOptions): Promise<GeneratedPairs> {
  requireConfig('generatePairs', config);
  const checked = checkOptions('generatePairs', options, optionKinds, ['device']);
  requirePaths(config, 'reflow');
  const { device, complete = 'refuse', ranks, onNotice = () => {} } = checked;
  if (ranks) requireSameJob(ranks, config, device);
  const { seed, reflow } = config;
  const latent = hasLatents(config) ? await latentConditions(config) : undefined;
  const captions = captionsOf(config);
  const column = latent?.column ?? (captions && (await conditionsOf(captions, config, onNotice)));
  const drawn = captions && column && pairCondition('text', captions.table, column);
  using source =
    config.reflow.reflow_type === 'generate_data_from_z1' ? undefined : await openPairSource(config, onNotice);
  const from = source && pairStarts(config, source);
  const plan = await pairPlan(config, device, latent?.condition ?? drawn, from?.law);
  if (complete === 'keep') {
    const folder = join(reflow.data_root, String(seed));
    const there = await readManifest(folder);
    if (there && there.done === there.count) {
      checkSame(folder, there, plan, onNotice);
      return { folder, count: there.count, nfe: meanNfe(there, there.shards) };
    }
  }
  using images = plan.solved === 'z0' ? await loadDataset(config, 'train', onNotice) : undefined;
  if (images && images.count < plan.count)
    throw new ConfigError(
      `reflow.total_number_of_samples is ${plan.count}, but there are only ${images.count} training images`,
    );
  const folder = join(reflow.data_root, String(seed));
  const solve = { plan, folder, config, column, captions, latent, from, images };
  if (ranks && !ranks.isFirst) return await solveAll(solve, checked);
  makeFolder(folder);
  const unlock = await lockFolder(folder, {
    way: 'give another --config.seed',
    signal: ownSignal(checked),
    notice: onNotice,
  });
  let writer: PairWriter | undefined;
  try {
    const check = (begun: PairPlan) => checkSame(folder, begun, plan, onNotice);
    writer = await PairWriter.open(folder, plan, check, column, from?.starts);
    const needed = pairBytes(config) * (1 - writer.done / Math.ceil(plan.count / plan.batch));
    const free = await freeBytes(folder);
    if (free < needed) onNotice(`${folder} has ${megabytes(free)} free; the pairs need ${megabytes(needed)}`);
    if (writer.done > 0)
      onNotice(`resuming from pair ${Math.min(writer.done * plan.batch, plan.count)} of ${plan.count}`);
    return await solveAll({ ...solve, writer }, checked);
  } finally {
    await writer?.close();
    await unlock();
  }
}

/** What the pairs of a run are solved from and for. */
interface Solving {
  plan: PairPlan;
  folder: string;
  config: Config;
  /** The place of each pair's text, and what it is a place in. */
  column?: Int32Array;
  captions?: Captions;
  latent?: LatentConditions;
  /** The images that pairs start from, or that are their ends. */
  from?: ReturnType<typeof pairStarts>;
  images?: ImageDataset;
  /** Undefined on a rank that is not the first. */
  writer?: PairWriter;
}

/** Solves the pairs that are missing, and completes the folder. */
async function solveAll(solving: Solving, options: GenerateOptions): Promise<GeneratedPairs> {
  const { plan, folder, config, column, captions, latent, from, images, writer } = solving;
  const { device, partial, ranks, onNotice = () => {}, onProgress } = options;
  const { count, batch } = plan;
  // The ranks of a job stop together, after a batch.
  const signal = ownSignal(options);
  await inTurn(options, () => device.prepare(declaredModules()));
  const begun = writer?.done ?? 0;
  const done = ranks?.ofFirst(begun) ?? begun;
  const numbers = Array.from({ length: Math.ceil(count / batch) - done }, (_, i) => done + i);
  const teaching = { device, signal, onNotice, begun: done > 0, computes: writer !== undefined };
  using teacher =
    latent && numbers.length > 0
      ? await inTurn(options, () => openLatentTeacher(folder, latent, config, teaching))
      : undefined;
  const loaded = latent
    ? undefined
    : await loadModel(config.reflow.last_flow_ckpt, config, { device, partial, onNotice });
  using model = loaded?.model;
  const compute = async (number: number, stop: AbortSignal | undefined) => {
    const first = number * batch;
    const num = Math.min(batch, count - first);
    const own = column && captions && Array.from(column.subarray(first, first + num), (i) => captions.table[i]);
    const request = { num, first, device, signal: stop, prompts: own };
    const { values, nfe } = await (teacher
      ? teacher.solve(first, num, stop)
      : images
        ? invertImages(model as FlowNetwork, config, images, request)
        : solvePairs(model as FlowNetwork, config, {
            ...request,
            seed: config.seed,
            ...(from && { latents: await startsOfPairs(from.starts, from.law, config, request) }),
          }));
    return { values, nfe: Float64Array.of(nfe) };
  };
  for await (const [number, { values, nfe }] of computeBatches(numbers, compute, { ranks, signal: options.signal })) {
    await writer?.write(values, nfe[0]);
    onProgress?.(Math.min(count, (number + 1) * batch), count);
  }
  await writer?.finish(images && ends(images, config, plan));
  const own = writer?.nfe ?? 0;
  return { folder, count, nfe: ranks?.ofFirst(own) ?? own };
}

/** The places of the captions of all pairs: those of the images of pairs that start from images, else drawn. */
async function conditionsOf(captions: Captions, config: Config, notice: (text: string) => void): Promise<Int32Array> {
  const { reflow_type, total_number_of_samples: count } = config.reflow;
  if (reflow_type !== 'generate_data_from_z1') return pairCaptions(captions, count, config);
  using images = await loadDataset(config, 'train', notice);
  return (images.labels as Int32Array).slice(0, count).map((label) => label + 1);
}

type Request = { num: number; first: number; device: Device; signal?: AbortSignal; prompts?: readonly string[] };

/** Solves from noise, or from latents, to z1. */
async function solvePairs(
  model: FlowNetwork,
  config: Config,
  request: Request & { seed: number; latents?: Float32Array },
) {
  // The index of a pair is that of its noise, so no sample may be left out.
  const { images: values, nfe } = await sampleModel(model, config, { ...request, notFinite: 'refuse' });
  return { values, nfe };
}

/** Solves backwards from images to z0. */
async function invertImages(model: FlowNetwork, config: Config, dataset: ImageDataset, request: Request) {
  await turn(request.signal);
  const { images } = await sequentialBatch(dataset, request.first, request.num, { centered: config.data.centered });
  const { latents: values, nfe } = await encodeModel(model, config, images, request);
  return { values, nfe };
}

/** The images, in the order of the data set, in batches. */
async function* ends(dataset: ImageDataset, { data }: Config, { count, batch }: PairPlan) {
  for (let first = 0; first < count; first += batch)
    yield (await sequentialBatch(dataset, first, Math.min(batch, count - first), { centered: data.centered })).images;
}

/** Bytes on disk that the pairs of a configuration need. */
export function pairBytes({ data, model, reflow, sampling }: Config): number {
  const { total_number_of_samples: pairs } = reflow;
  const numbers = data.num_channels * data.image_size ** 2 * pairs;
  const column = model.name === 'ncsnpp' && sampling.init_type !== 'data' ? 0 : 4 * pairs;
  return column + numbers * (reflow.pair_format === 'official' ? 8 : reflow.pair_dtype === 'f32' ? 4 : 2);
}

async function pairPlan(
  config: Config,
  device: Device,
  condition: PairCondition | undefined,
  law: SourceLaw | undefined,
): Promise<PairPlan> {
  const { seed, data, model, training, sampling, reflow } = config;
  return {
    package: packageVersion(),
    device: device.kind,
    layout: reflow.pair_format,
    ...(reflow.reflow_type === 'generate_data_from_z1' && { solved: 'z0' as const }),
    dtype: reflow.pair_dtype,
    ...(reflow.pair_dtype === 'u16' && { range: quantisedRange(data.centered) }),
    shape: pairShape(config),
    count: reflow.total_number_of_samples,
    batch: training.batch_size,
    noise: law ?? { law: 'normal', seed, stream: streams.samples, scale: sampling.init_noise_scale },
    ...(condition && { condition }),
    teacher: await teacherIdentity(config),
    sampler: {
      ...samplerOf(config),
      ...(condition && reflow.reflow_type === 'generate_data_from_z0' && { guidance: sampling.guidance }),
      ...(hasLatents(config) && { prediction: model.prediction }),
    },
    config,
  };
}

function samplerOf({ sampling, reflow }: Config): PairPlan['sampler'] {
  const { use_ode_sampler: name, ode_tol: tolerance, sample_N: steps, sigma_variance, sde_drift } = sampling;
  if (name === 'rk45') return { name, tolerance };
  const noisy = name === 'euler' && sigma_variance > 0 && reflow.reflow_type !== 'generate_data_from_z1';
  return noisy ? { name, steps, sigma_variance, sde_drift } : { name, steps };
}

/** The configuration key that sets each part of a plan. Only these parts are compared. */
const keyOf: Record<string, string> = {
  teacher: 'SHA-256 of reflow.last_flow_ckpt or of the weights in model.folder',
  count: 'reflow.total_number_of_samples',
  batch: 'training.batch_size',
  layout: 'reflow.pair_format',
  solved: 'reflow.reflow_type (the end that the ODE gives)',
  'config.data.dataset': 'data.dataset',
  'config.data.category': 'data.category',
  'config.data.exif_orientation': 'data.exif_orientation',
  dtype: 'reflow.pair_dtype',
  'condition.table': 'data.caption or the texts of data.root_path',
  'condition.states.network': 'SHA-256 of the text network',
  'condition.states.dtype': 'reflow.pair_dtype',
  'sampler.prediction': 'model.prediction',
  'condition.sha256': 'training.caption_dropout',
  'sampler.guidance': 'sampling.guidance',
  'noise.seed': 'seed',
  'noise.law': 'sampling.init_type',
  'noise.scale': 'sampling.init_noise_scale or smooth_source',
  'noise.source': 'SHA-256 of the images of source.*',
  'noise.sha256': 'SHA-256 of the order of these images',
  'sampler.name': 'sampling.use_ode_sampler',
  'sampler.tolerance': 'sampling.ode_tol',
  'sampler.steps': 'sampling.sample_N',
  'sampler.sigma_variance': 'sampling.sigma_variance',
  'sampler.sde_drift': 'sampling.sde_drift',
};

/** Whether a difference is not that of a key which did not exist when the pairs were begun, and has no effect. */
function isSetByHand(config: Config): (difference: Difference) => boolean {
  return ({ path, a, b }) =>
    a !== undefined || (settingWithout(config, path) === undefined && !(path === 'data.caption' && b === ''));
}

function checkSame(folder: string, begun: PairPlan, plan: PairPlan, notice: (text: string) => void): void {
  const told = ({ path, a, b }: Difference) =>
    `  ${keyOf[path] ?? path}: ${JSON.stringify(a) ?? 'none'} there, ${JSON.stringify(b) ?? 'none'} now`;
  const ofFiles = plan.solved === 'z0' && hasEncodedImages((plan.config as Config).data);
  // Pairs from before exif_orientation existed used images as stored.
  const counts = ({ path, a, b }: Difference) =>
    path in keyOf && (path !== 'config.data.exif_orientation' || (ofFiles && (a ?? false) !== b));
  const lines = [
    ...differences(begun, plan).filter(counts),
    // From the configuration, only the keys that change the teacher's function count.
    ...architectureDifferences(begun.config, plan.config).filter(isSetByHand(plan.config as Config)),
  ].map(told);
  if (lines.length > 0)
    throw new ConfigError([
      `${folder} holds pairs of another run; give another --config.seed or the same values:`,
      ...lines,
    ]);
  for (const part of ['package', 'device'] as const)
    if (begun[part] !== plan[part])
      notice(`${folder} was started with ${part} ${begun[part]}, now ${plan[part]}: pairs may differ by rounding`);
}
