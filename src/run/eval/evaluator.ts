// Evaluates snapshots one after another, as the configuration enables. Data sets and the feature network are opened
// once. The files are named as in the official code, below workdir/<eval folder>:
//   ckpt_<k>_loss.npz                    all_losses (one per batch), mean_loss
//   <split>_ckpt_<k>_bpd_<round>.npz     bits per dimension of a batch's images
//   ckpt_<k>/<sampler>-<N>-<seed>/       samples_<round>.npz, u8 [B, H, W, C], and (ours) scores-<features>.json
//   report_<k>.npz                       IS, fid, kid of the latest samples
//   ckpt_<k>/figs/<round>.png            sheets of samples, ten per row
//   ckpt_<k>/report.json                 (ours) all results of the latest run and the path of the checkpoint
import { basename, join } from 'node:path';
import { kinds, type OptionKinds } from '../../arguments.ts';
import type { ImageDataset } from '../../data/index.ts';
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { makeFolder } from '../../io/file.ts';
import { writeNpz } from '../../io/index.ts';
import { writeJson } from '../../io/json.ts';
import { runOptions } from '../arguments.ts';
import { evaluationName } from '../checkpoints/find.ts';
import { loadModel } from '../checkpoints/open.ts';
import type { Config } from '../config/types.ts';
import { loadDataset } from '../data.ts';
import { inTurn, ownSignal, type Ranks, ranksKind } from '../ranks/ranks.ts';
import { requireSameJob } from '../ranks/same.ts';
import { type Evaluation, evaluationLoss } from '../training/evaluation.ts';
import { type BitsPerDimension, evaluateBitsPerDimension } from './bits_per_dimension.ts';
import { type DrawnSamples, drawSamples, removeFrom } from './draw_samples.ts';
import { evaluateStraightness, type Straightness } from './evaluate_straightness.ts';
import { FeatureCollector } from './feature_network.ts';
import { LEAST_SAMPLES, type Scores, scoreFeatures, writeOfficialReport, writeScores } from './score_features.ts';
import { openScoreReference, type ScoreReference } from './score_reference.ts';

export interface EvaluatorOptions {
  workdir: string;
  device: Device;
  /** Loads the tensors that fit from a checkpoint of another network. */
  partial?: boolean;
  /** The processes of a job, from `openRanks`: they share the batches, and the first writes and has the results. */
  ranks?: Ranks;
  signal?: AbortSignal;
  /** Reports snapshots outside the range and images that cannot be read. */
  onNotice?: (text: string) => void;
  /** Called after each batch. */
  onProgress?: (progress: EvalProgress) => void;
}

export const evaluatorOptions: OptionKinds<EvaluatorOptions> = {
  ...runOptions,
  workdir: kinds.path,
  partial: kinds.boolean,
  ranks: ranksKind,
};

export interface EvalProgress {
  checkpoint: string;
  what: 'loss' | 'bits per dimension' | 'straightness' | 'samples' | 'statistics';
  done: number;
  total: number;
}

export interface EvalRow {
  /** Name without folder and extension, such as "checkpoint_3". */
  name: string;
  checkpoint: string;
  /** Number of updates. */
  step: number;
  loss?: Evaluation;
  bitsPerDimension?: BitsPerDimension;
  straightness?: Straightness;
  samples?: DrawnSamples;
  /** Scores of the samples; absent if the features or the data set are not available. */
  scores?: Scores;
}

/** A checkpoint to evaluate. */
export interface Snapshot {
  /** Name without folder and extension, such as "checkpoint_3". */
  name: string;
  path: string;
}

/**
 * Opens what an evaluation needs, and closes it when `work` ends.
 * @throws FileError for data that cannot be read; `evaluate` throws it for a checkpoint that is damaged or of another
 * network
 */
export async function withEvaluator<T>(
  config: Config,
  options: EvaluatorOptions,
  work: (evaluate: (snapshot: Snapshot) => Promise<EvalRow>) => Promise<T>,
): Promise<T> {
  const { device, workdir, ranks, onNotice = () => {} } = options;
  if (ranks) requireSameJob(ranks, config, device);
  const { enable_loss, enable_bpd, enable_sampling, enable_figures_only: figuresOnly, bpd_dataset } = config.eval;
  using heldOut = enable_loss && !figuresOnly ? await loadDataset(config, 'heldOut', onNotice) : undefined;
  using dequantized =
    enable_bpd && !figuresOnly
      ? await loadDataset(config, bpd_dataset === 'train' ? 'train' : 'heldOut', onNotice)
      : undefined;
  await inTurn(options, () => device.prepare(declaredModules()));
  const onStatistics = (done: number, total: number) =>
    options.onProgress?.({ checkpoint: 'data set', what: 'statistics', done, total });
  const reference =
    enable_sampling && !figuresOnly
      ? await inTurn(options, () =>
          openScoreReference(config, { ...options, signal: ownSignal(options), onStatistics }),
        )
      : undefined;
  using _network = reference?.network;
  const folder = join(workdir, config.eval.folder);
  if (ranks?.isFirst ?? true) makeFolder(folder);
  // Awaited here, so that data sets and networks stay open until `work` ends.
  const opened = { ...options, folder, heldOut, dequantized, reference };
  return await work((snapshot) => evaluateOne(snapshot, config, opened));
}

interface Opened extends EvaluatorOptions {
  folder: string;
  heldOut?: ImageDataset;
  dequantized?: ImageDataset;
  reference?: ScoreReference;
}

async function evaluateOne({ name, path }: Snapshot, config: Config, options: Opened): Promise<EvalRow> {
  const { device, ranks, signal, folder, heldOut, dequantized, reference, onNotice, partial } = options;
  const isFirst = ranks?.isFirst ?? true;
  const { enable_straightness, enable_sampling, enable_figures_only: figuresOnly, bpd_dataset: split } = config.eval;
  const { model: loaded, checkpoint } = await loadModel(path, config, { device, onNotice, partial });
  using model = loaded;
  const row: EvalRow = { name, checkpoint: path, step: checkpoint.step };
  const common = { device, ranks, signal };
  const report = (what: EvalProgress['what']) => (done: number, total: number) =>
    options.onProgress?.({ checkpoint: name, what, done, total });
  const short = evaluationName(name);
  if (heldOut) {
    row.loss = await evaluationLoss(model, heldOut, config, {
      ...common,
      batchSize: config.eval.batch_size,
      images: config.eval.max_images || undefined,
      onProgress: report('loss'),
    });
    if (isFirst) await writeLosses(join(folder, `${short}_loss.npz`), row.loss);
  }
  if (dequantized) {
    const prefix = `${split}_${short}_bpd_`;
    let batches = 0;
    row.bitsPerDimension = await evaluateBitsPerDimension(model, dequantized, config, {
      ...common,
      onProgress: report('bits per dimension'),
      onBatch: (round, values) => {
        batches = round + 1;
        return writeNpz(join(folder, `${prefix}${round}.npz`), { arr_0: values });
      },
    });
    if (isFirst) await removeFrom(folder, prefix, '.npz', batches);
  }
  if (enable_straightness && !figuresOnly)
    row.straightness = await evaluateStraightness(model, config, { ...common, onProgress: report('straightness') });
  if (enable_sampling || figuresOnly) {
    const collected = new FeatureCollector();
    row.samples = await drawSamples(model, config, {
      ...common,
      folder: join(folder, short),
      files: figuresOnly ? 'figures' : 'samples',
      checkpoint: checkpoint.path,
      onProgress: report('samples'),
      network: reference?.network,
      onBatch: (_images, _shape, features) => features && collected.add(features),
    });
    if (!isFirst) return row;
    if (reference && row.samples.count < LEAST_SAMPLES) onNotice?.('a single sample cannot be scored');
    else if (reference) {
      row.scores = scoreFeatures(reference.network.name, collected.all(), reference.statistics);
      if (reference.statistics.activations && !row.scores.kernelDistance)
        onNotice?.(`no kernel distance: ${row.samples.count} samples are too few for this data set`);
      await writeScores(row.samples.folder, reference.network.key, row.scores);
      await writeOfficialReport(join(folder, `${short.replace('ckpt_', 'report_')}.npz`), row.scores);
    }
  }
  if (isFirst) await writeReport(join(makeFolder(join(folder, short)), 'report.json'), row);
  return row;
}

function writeLosses(path: string, { batches, loss }: Evaluation): Promise<void> {
  return writeNpz(
    path,
    {
      all_losses: { shape: [batches.length], dtype: 'f64', data: Float64Array.from(batches) },
      mean_loss: { shape: [], dtype: 'f64', data: Float64Array.of(loss) },
    },
    { compress: true },
  );
}

function writeReport(
  path: string,
  { checkpoint, step, loss, bitsPerDimension, straightness, samples, scores }: EvalRow,
): Promise<void> {
  const figures = {
    checkpoint,
    step,
    ...(loss && { loss: loss.loss, images: loss.images, loss_by_time: loss.byTime }),
    ...(bitsPerDimension && { bits_per_dimension: bitsPerDimension }),
    ...(straightness && { straightness }),
    ...(samples && { samples }),
    ...(scores && { scores }),
  };
  return writeJson(path, figures);
}

type Numbered = { number: number; path: string };

/** Those from eval.begin_ckpt to eval.end_ckpt, the others, and the range in words. */
export function rangeOf(
  all: readonly Numbered[],
  { eval: { begin_ckpt: begin, end_ckpt: end } }: Config,
): { chosen: Numbered[]; outside: Numbered[]; range: string } {
  const inside = ({ number }: Numbered) => number >= begin && number <= end;
  return {
    chosen: all.filter(inside),
    outside: all.filter((one) => !inside(one)),
    range: `eval.begin_ckpt ${begin} to eval.end_ckpt ${end}`,
  };
}

export function snapshotAt(path: string): Snapshot {
  return { name: basename(path).replace(/\.(safetensors|pth)$/, ''), path };
}
