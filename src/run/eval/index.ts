// `eval`: what a work directory's snapshots are worth, by what the configuration enables. Files as the official code names
// them, below workdir/<eval folder>:
//   ckpt_<k>_loss.npz                    all_losses (a batch each), mean_loss
//   <split>_ckpt_<k>_bpd_<round>.npz     bits per dimension of a batch's images
//   ckpt_<k>/<sampler>-<N>-<seed>/       samples_<round>.npz, u8 [B, H, W, C]; each sampler has its own
//   report_<k>.npz                       IS, fid, kid of those samples
//   ckpt_<k>/figs/<round>.png            sheets of samples, ten a row
//   ckpt_<k>/report.json                 ours: all figures, with the checkpoint they are of
import { basename, join } from 'node:path';
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { FileError } from '../../errors.ts';
import { writeFileAtomic, writeNpz } from '../../io/index.ts';
import type { Config } from '../config/schema.ts';
import { closing, loadDataset } from '../data.ts';
import { numberedCheckpoints } from '../find_checkpoint.ts';
import { loadModel } from '../open_checkpoint.ts';
import { makeFolder } from '../workdir.ts';
import { type BitsPerDimension, evaluateBitsPerDimension } from './bits_per_dimension.ts';
import { FeatureCollector } from './features.ts';
import { openJudge } from './judge.ts';
import { type Evaluation, evaluationLoss } from './loss.ts';
import { type DrawnSamples, drawSamples } from './samples.ts';
import { type Scores, scoreFeatures, writeOfficialReport } from './scores.ts';
import { evaluateStraightness, type Straightness } from './straightness.ts';

export interface EvalOptions {
  workdir: string;
  /** One checkpoint instead of the snapshots of the work directory. */
  checkpoint?: string;
  device: Device;
  /** Loads what fits of a checkpoint of another network. */
  partial?: boolean;
  signal?: AbortSignal;
  /** Told of snapshots outside the range, and of images that cannot be read. */
  onNotice?: (text: string) => void;
  /** Told after each batch. */
  onProgress?: (progress: EvalProgress) => void;
}

export interface EvalProgress {
  checkpoint: string;
  what: 'loss' | 'bits per dimension' | 'straightness' | 'samples' | 'statistics';
  done: number;
  total: number;
}

export interface EvalRow {
  /** Name without folder and ending, such as "checkpoint_3". */
  name: string;
  checkpoint: string;
  /** Updates done. */
  step: number;
  loss?: Evaluation;
  bitsPerDimension?: BitsPerDimension;
  straightness?: Straightness;
  samples?: DrawnSamples;
  /** Of those samples; absent where the features or the data cannot be had. */
  scores?: Scores;
}

/** @throws FileError where there is no snapshot in the range, or one is damaged or of another network */
export async function evaluateSnapshots(config: Config, options: EvalOptions): Promise<EvalRow[]> {
  const { device, workdir, onNotice = () => {} } = options;
  const chosen = options.checkpoint ? [chosenFile(options.checkpoint)] : await snapshotsInRange(config, options);
  const { enable_loss, enable_bpd, enable_straightness, enable_sampling, enable_figures_only } = config.eval;
  const figuresOnly = enable_figures_only;
  const heldOut = enable_loss && !figuresOnly ? await loadDataset(config, 'heldOut', onNotice) : undefined;
  using _heldOut = closing(heldOut ?? {});
  const split = config.eval.bpd_dataset;
  const dequantized =
    enable_bpd && !figuresOnly
      ? await loadDataset(config, split === 'train' ? 'train' : 'heldOut', onNotice)
      : undefined;
  using _dequantized = closing(dequantized ?? {});
  await device.prepare(declaredModules());
  const judge =
    enable_sampling && !figuresOnly
      ? await openJudge(config, {
          ...options,
          onStatistics: (done, total) =>
            options.onProgress?.({ checkpoint: 'data set', what: 'statistics', done, total }),
        })
      : undefined;
  using _judge = judge?.network;
  const folder = makeFolder(join(workdir, config.eval.folder));
  const rows: EvalRow[] = [];
  for (const { name, path } of chosen) {
    const { model: loaded, checkpoint } = await loadModel(path, config, { device, onNotice, partial: options.partial });
    using model = loaded;
    const row: EvalRow = { name, checkpoint: path, step: checkpoint.step };
    const common = { device, signal: options.signal };
    const report = (what: EvalProgress['what']) => (done: number, total: number) =>
      options.onProgress?.({ checkpoint: name, what, done, total });
    const short = name.replace(/^checkpoint[-_]/, 'ckpt_');
    if (heldOut) {
      row.loss = await evaluationLoss(model, heldOut, config, {
        ...common,
        batchSize: config.eval.batch_size,
        images: config.eval.max_images || undefined,
        onProgress: report('loss'),
      });
      await writeLosses(join(folder, `${short}_loss.npz`), row.loss);
    }
    if (dequantized)
      row.bitsPerDimension = await evaluateBitsPerDimension(model, dequantized, config, {
        ...common,
        onProgress: report('bits per dimension'),
        onBatch: (round, values) => writeNpz(join(folder, `${split}_${short}_bpd_${round}.npz`), { arr_0: values }),
      });
    if (enable_straightness && !figuresOnly)
      row.straightness = await evaluateStraightness(model, config, { ...common, onProgress: report('straightness') });
    if (enable_sampling || figuresOnly) {
      const collected = new FeatureCollector();
      row.samples = await drawSamples(model, config, {
        ...common,
        folder: makeFolder(join(folder, short)),
        files: figuresOnly ? 'figures' : 'samples',
        checkpoint: checkpoint.path,
        onProgress: report('samples'),
        onBatch:
          judge && (async (images, shape) => collected.add(await judge.network.extract(images, shape, options.signal))),
      });
      if (judge) {
        row.scores = scoreFeatures(judge.network.name, collected.all(), judge.statistics);
        await writeOfficialReport(join(folder, `${short.replace('ckpt_', 'report_')}.npz`), row.scores);
      }
    }
    await writeReport(join(makeFolder(join(folder, short)), 'report.json'), row);
    rows.push(row);
  }
  return rows;
}

function chosenFile(path: string): { name: string; path: string } {
  return { name: basename(path).replace(/\.(safetensors|pth)$/, ''), path };
}

/** Those from eval.begin_ckpt to eval.end_ckpt; the others are named. */
async function snapshotsInRange(
  config: Config,
  { workdir, onNotice }: EvalOptions,
): Promise<{ name: string; path: string }[]> {
  const { begin_ckpt: begin, end_ckpt: end } = config.eval;
  const folder = join(workdir, 'checkpoints');
  const all = await numberedCheckpoints(folder);
  const chosen = all.filter(({ number }) => number >= begin && number <= end);
  const outside = all.filter((one) => !chosen.includes(one)).map(({ number }) => number);
  const range = `eval.begin_ckpt ${begin} to eval.end_ckpt ${end}`;
  if (chosen.length === 0)
    throw new FileError(
      folder,
      all.length === 0
        ? 'holds no checkpoint_<k>.safetensors or .pth; train first'
        : `holds no checkpoint in ${range}, only ${outside.join(', ')}; change --config.eval.begin_ckpt or end_ckpt`,
    );
  if (outside.length > 0) onNotice?.(`not evaluated, outside ${range}: ${outside.join(', ')}`);
  return chosen.map(({ path }) => chosenFile(path));
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
  return writeFileAtomic(path, [Buffer.from(`${JSON.stringify(figures, null, 2)}\n`)]);
}
