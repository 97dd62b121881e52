// Draws samples of a checkpoint to disk, with at most one batch in memory.
//   samples   <folder>/<sampler>-<N or tolerance>-<seed>/samples_<round>.npz, u8 [B, H, W, C], floor(255 x);
//             and run.json
//   figures   <folder>/figs/<round>.png, ten images per row
// run.json describes the run, so that samples of different runs never mix: a repeated evaluation keeps only the batches
// of an identical run and removes files after its last batch.
import { existsSync } from 'node:fs';
import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '../../device/device.ts';
import { FileError } from '../../errors.ts';
import { makeFolder, readWhole, sha256OfFile } from '../../io/file.ts';
import { imageGrid, readNpz, writeNpz, writePng } from '../../io/index.ts';
import { parseJsonFile, writeJson } from '../../io/json.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { turn } from '../../turn.ts';
import type { FlowNetwork } from '../arguments.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { pixels } from '../data.ts';
import { type BatchArrays, computeBatches } from '../ranks/batches.ts';
import { ownSignal, type Ranks } from '../ranks/ranks.ts';
import { sampleModel } from '../sampling/sample.ts';
import { isTransfer } from '../source.ts';
import { lockFolder } from '../workdir/lock.ts';
import type { FeatureNetwork, Features } from './feature_network.ts';

const COLUMNS = 10;
/** Largest run.json that is read; it has room for millions of batches. */
const MAX_RUN_BYTES = 2 ** 26;

export interface SampleFilesOptions {
  folder: string;
  files: 'samples' | 'figures';
  /** The file whose weights `model` holds. */
  checkpoint: string;
  device: Device;
  /** The processes of a job, which draw batches in turns. The first writes the files and gets the result. */
  ranks?: Ranks;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
  /** The network of the features that onBatch gets. */
  network?: FeatureNetwork;
  /** Called with each batch, u8 [B, H, W, C]. */
  onBatch?: (images: Uint8Array, shape: readonly number[], features: Features | undefined) => Promise<void> | void;
}

export interface DrawnSamples {
  /** eval.num_samples minus `leftOut`. */
  count: number;
  /** Number of samples left out because they are not finite; see sampling.not_finite. */
  leftOut: number;
  /** Network evaluations per sample, averaged over batches. */
  nfe: number;
  folder: string;
  files: string[];
}

/**
 * Draws eval.num_samples images from the weights that `model` holds, eval.batch_size at a time.
 * @throws NonFiniteError for samples that are not finite, unless sampling.not_finite leaves them out
 */
export function drawSamples(model: FlowNetwork, config: Config, options: SampleFilesOptions): Promise<DrawnSamples> {
  return options.files === 'figures' ? drawFigures(model, config, options) : drawRun(model, config, options);
}

/** The batches of a run: `[round, first sample, size]`. */
function* rounds({ eval: { num_samples: count, batch_size: batch } }: Config): Generator<[number, number, number]> {
  for (let round = 0, first = 0; first < count; round++, first += batch)
    yield [round, first, Math.min(batch, count - first)];
}

async function drawFigures(model: FlowNetwork, config: Config, options: SampleFilesOptions): Promise<DrawnSamples> {
  const { device, ranks, signal, onProgress } = options;
  const { num_samples: count } = config.eval;
  const folder = join(options.folder, 'figs');
  const isFirst = ranks?.isFirst ?? true;
  if (isFirst) makeFolder(folder);
  const files: string[] = [];
  let evaluations = 0;
  let leftOut = 0;
  const places = [...rounds(config)];
  const draw = async (round: number, stop: AbortSignal | undefined) => {
    const [, first, num] = places[round];
    const { images, nfe } = await sampleModel(model, config, { num, first, device, signal: stop });
    return { bytes: pixels(images, config, 'nearest'), nfe: Float64Array.of(nfe) };
  };
  const numbers = places.map(([round]) => round);
  for await (const [round, { bytes, nfe }] of computeBatches(numbers, draw, { ranks, signal })) {
    const [, first, num] = places[round];
    const path = join(folder, `${round}.png`);
    const shape = shapeOf(bytes, config);
    await writePng(path, imageGrid(bytes, shape, { columns: COLUMNS }));
    files.push(path);
    evaluations += nfe[0] * num;
    leftOut += num - shape[0];
    onProgress?.(first + num, count);
  }
  if (isFirst) await removeFrom(folder, '', '.png', files.length);
  return { count: count - leftOut, leftOut, nfe: evaluations / count, folder, files };
}

/** Images of a batch whose samples that are not finite were left out: [N, H, W, C]. */
function shapeOf(bytes: Uint8Array, config: Config): number[] {
  const image = imageShape(config);
  return [bytes.length / sizeOf(image), ...image];
}

interface Run {
  checkpoint: string;
  sha256: string;
  batch_size: number;
  sampling: Config['sampling'];
  /** A transfer alone has one. */
  source?: Config['source'];
  seed: number;
  /** Network evaluations per sample of each batch, in order. */
  nfe: number[];
  /** Number of samples left out of each batch. */
  left_out: number[];
}

/** Draws under a lock on the folder, because a run with another number of samples would remove batches. */
async function drawRun(model: FlowNetwork, config: Config, options: SampleFilesOptions): Promise<DrawnSamples> {
  const folder = join(options.folder, runName(config));
  const { ranks } = options;
  if (ranks && !ranks.isFirst) {
    const numbers = JSON.parse(ranks.gatherTexts('')[0]) as number[];
    for await (const _ of computeBatches(numbers, drawBatches(model, config, options), options));
    return { count: 0, leftOut: 0, nfe: 0, folder, files: [] };
  }
  makeFolder(folder);
  const unlock = await lockFolder(folder, { way: 'wait for it', signal: ownSignal(options) });
  try {
    return await drawInto(folder, model, config, options);
  } finally {
    await unlock();
  }
}

/** What draws a batch, given its round. */
function drawBatches(model: FlowNetwork, config: Config, { device, network }: SampleFilesOptions) {
  const places = [...rounds(config)];
  return async (round: number, signal: AbortSignal | undefined): Promise<Drawn> => {
    await turn(signal);
    const [, first, num] = places[round];
    const { images, nfe } = await sampleModel(model, config, { num, first, device, signal });
    const bytes = pixels(images, config, 'floor');
    const found = await network?.extract(bytes, shapeOf(bytes, config), signal);
    return {
      bytes,
      nfe: Float64Array.of(nfe),
      ...(found && { features: found.features.values as Float32Array }),
      ...(found?.logits && { logits: found.logits.values as Float32Array }),
    };
  };
}

interface Drawn extends BatchArrays {
  bytes: Uint8Array;
  nfe: Float64Array;
}

/** The features of a batch's images as rows. */
function featuresOf({ features, logits }: BatchArrays, images: number): Features | undefined {
  const rows = (values: BatchArrays[string]) => ({
    values: values as Float32Array,
    rows: images,
    columns: values.length / images,
  });
  return features && { features: rows(features), ...(logits && { logits: rows(logits) }) };
}

async function drawInto(
  folder: string,
  model: FlowNetwork,
  config: Config,
  options: SampleFilesOptions,
): Promise<DrawnSamples> {
  const { ranks, signal, network, onProgress, onBatch, checkpoint } = options;
  const { num_samples: count, batch_size } = config.eval;
  const { sampling, seed } = config;
  const run: Run = {
    ...(isTransfer(config) && { source: config.source }),
    checkpoint,
    sha256: await sha256OfFile(checkpoint),
    batch_size,
    sampling,
    seed,
    nfe: [],
    left_out: [],
  };
  const writeRun = () => writeJson(join(folder, 'run.json'), run);
  const before = await readRun(join(folder, 'run.json'), run);
  if (before) Object.assign(run, before);
  // Written before any batch is replaced, because the existing batches belong to another run.
  else await writeRun();
  const places = [...rounds(config)];
  const pathOf = (round: number) => join(folder, `samples_${round}.npz`);
  const numbers = places.map(([round]) => round);
  const missing = numbers.filter((round) => run.nfe[round] === undefined || !existsSync(pathOf(round)));
  ranks?.gatherTexts(JSON.stringify(missing));
  const draw = drawBatches(model, config, options);
  const drawn = computeBatches(missing, draw, { ranks, signal });
  const written = async (round: number, { bytes, nfe, ...arrays }: Drawn) => {
    const shape = shapeOf(bytes, config);
    await writeNpz(pathOf(round), { samples: { shape, dtype: 'u8', data: bytes } });
    run.nfe[round] = nfe[0];
    run.left_out[round] = places[round][2] - shape[0];
    await writeRun();
    return { bytes, shape, features: featuresOf(arrays, shape[0]) };
  };
  const nextDrawn = async () => written(...((await drawn.next()).value as [number, Drawn]));
  const nextKept = async (round: number) => {
    const batch = await keptBatch(pathOf(round), places[round][2] - run.left_out[round]);
    // The first rank draws a file that is damaged again by itself.
    if (!batch) return written(round, await draw(round, ownSignal(options)));
    return { ...batch, features: await network?.extract(batch.bytes, batch.shape, ownSignal(options)) };
  };
  const files: string[] = [];
  let evaluations = 0;
  try {
    for (const [round, first, num] of places) {
      await turn(ownSignal(options));
      const { bytes, shape, features } = await (missing.includes(round) ? nextDrawn() : nextKept(round));
      files.push(pathOf(round));
      await onBatch?.(bytes, shape, features);
      evaluations += run.nfe[round] * num;
      onProgress?.(first + num, count);
    }
  } finally {
    await drawn.return(undefined);
  }
  run.nfe.length = files.length;
  run.left_out.length = files.length;
  await writeRun();
  await removeFrom(folder, 'samples_', '.npz', files.length);
  const leftOut = run.left_out.reduce((a, b) => a + b, 0);
  return { count: count - leftOut, leftOut, nfe: evaluations / count, folder, files };
}

/** The folder name of a run: "euler-10-42", "rk45-0.00001-42". */
function runName({ sampling, seed }: Config): string {
  const { use_ode_sampler: solver, sample_N, ode_tol } = sampling;
  return [solver, solver === 'rk45' ? ode_tol : sample_N, seed].join('-');
}

/** Removes the files <prefix><round><ending> with round >= `count`, which an earlier and longer run left. */
export async function removeFrom(folder: string, prefix: string, ending: string, count: number): Promise<void> {
  for (const file of await readdir(folder)) {
    if (!file.startsWith(prefix) || !file.endsWith(ending)) continue;
    const round = file.slice(prefix.length, -ending.length);
    if (/^\d+$/.test(round) && Number(round) >= count) await unlink(join(folder, file));
  }
}

/** Reads the batch records of an earlier run; undefined unless it was the same run. */
async function readRun(path: string, now: Run): Promise<Pick<Run, 'nfe' | 'left_out'> | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    const {
      nfe,
      left_out,
      checkpoint: _,
      ...before
    } = parseJsonFile(await readWhole(path, MAX_RUN_BYTES), path) as Run;
    const { nfe: __, left_out: ___, checkpoint: ____, ...same } = now;
    if (JSON.stringify(before) !== JSON.stringify(same)) return undefined;
    const sound = areCounts(nfe, Number.isFinite) && areCounts(left_out, Number.isSafeInteger);
    return sound && nfe.length === left_out.length ? { nfe, left_out } : undefined;
  } catch {
    // Truncated or of another program: the batches are drawn again.
    return undefined;
  }
}

function areCounts(values: unknown, isNumber: (value: unknown) => boolean): values is number[] {
  return Array.isArray(values) && values.every((value) => isNumber(value) && value >= 0);
}

async function keptBatch(path: string, num: number) {
  try {
    const samples = (await readNpz(path, { names: ['samples'] })).get('samples');
    if (samples?.shape[0] !== num || !(samples.data instanceof Uint8Array)) return undefined;
    return { bytes: samples.data, shape: samples.shape };
  } catch (error) {
    if (error instanceof FileError) return undefined;
    throw error;
  }
}
