// The report on a chain or on one run: report.html, a self-contained page, and report.json with its figures.
import { join } from 'node:path';
import { checkArgument, checkArguments, checkOptions, kind, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { ConfigError, ValueError } from '../../errors.ts';
import { requireWritable } from '../../io/atomic.ts';
import { writeFileAtomic, writePng } from '../../io/index.ts';
import { writeJson } from '../../io/json.ts';
import { runOptions } from '../arguments.ts';
import { loadModel } from '../checkpoints/open.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { loadDataset } from '../data.ts';
import { FeatureCollector } from '../eval/feature_network.ts';
import { distanceOf, openScoreReference, type ScoreReference } from '../eval/score_reference.ts';
import { provenance } from '../machine/provenance.ts';
import { describeEstimate, times } from '../machine/timing.ts';
import { probeEvaluation } from '../training/probe.ts';
import { readLog } from '../workdir/log.ts';
import {
  evaluationsOfReport,
  type MeasuredFlow,
  type MeasureOptions,
  measureFlow,
  type ReportedFlow,
  samplers,
} from './measure.ts';
import { type FlowSamples, fewestSteps, SamplesProgress, samplesPicture } from './overview.ts';
import { type ReportFigures, reportPage, type StageFigures } from './page.ts';

export type { ReportedFlow } from './measure.ts';
export type { FlowSamples } from './overview.ts';
export type { ReportFigures, StageFigures } from './page.ts';

export interface FlowReport {
  /** Path of report.html. */
  path: string;
  /** Path of samples.png, which shows `samples`: a row for each flow. */
  picture: string;
  figures: ReportFigures;
  /** The first samples of each flow in as few steps as it has a figure for, all from the same noise. */
  samples: FlowSamples[];
}

export interface ReportProgress {
  what: 'samples' | 'statistics of the data set';
  done: number;
  total: number;
  /** For samples: what they are of, and how much of the whole report has been drawn, 0 to 1. */
  of?: { flow: string; sampler: string; index: number; count: number; share: number };
}

export interface ReportOptions extends Omit<MeasureOptions, 'reference' | 'onProgress'> {
  /** Folder of the report. */
  workdir: string;
  device: Device;
  /** Most minutes that the samples may take; a longer report is refused. Default: no limit. */
  budgetMinutes?: number;
  /** Called after each batch of images. */
  onProgress?: (progress: ReportProgress) => void;
}

const optionKinds: OptionKinds<ReportOptions> = { ...runOptions, workdir: kinds.path, budgetMinutes: kinds.positive };

/** Number of samples if they are not scored: enough for the pictures and to measure the NFE of RK45. */
const UNSCORED_SAMPLES = 64;
const flowsKind = listOf(kind('a flow', kinds.object.accepts), 'flows of reportedFlows() or chainStages()');

function checkFlow({ name, folder, checkpoint, distilledTo, config }: ReportedFlow): void {
  checkArguments('reportFlows', {
    "a flow's name": [name, kinds.text],
    "a flow's folder": [folder, kinds.path],
    "a flow's checkpoint": [checkpoint, kinds.path],
  });
  if (distilledTo !== undefined) checkArgument('reportFlows', "a flow's distilledTo", distilledTo, kinds.count);
  requireConfig('reportFlows', config);
}

/**
 * Writes report.html and report.json on a list of flows.
 * @param config how they are measured: seed, data set, eval and sampling
 * @throws FileError for missing checkpoints; ConfigError if the samples would take longer than the budget; the signal's
 * reason when aborted
 */
export async function reportFlows(
  flows: readonly ReportedFlow[],
  config: Config,
  options: ReportOptions,
): Promise<FlowReport> {
  checkArgument('reportFlows', 'flows', flows, flowsKind);
  if (flows.length === 0) throw new ValueError('[reportFlows] expected at least one flow, got none');
  for (const flow of flows) checkFlow(flow);
  requireConfig('reportFlows', config);
  const checked = checkOptions('reportFlows', options, optionKinds, ['workdir', 'device']);
  const { workdir, device, onProgress } = checked;
  // Read before samples are drawn, so that an unreadable log fails early.
  const losses = await Promise.all(flows.map(({ folder }) => readLog(join(folder, 'log.jsonl'))));
  await device.prepare(declaredModules());
  const tell = (what: ReportProgress['what']) => (done: number, total: number) => onProgress?.({ what, done, total });
  const onStatistics = tell('statistics of the data set');
  const reference = await openScoreReference(config, { ...options, onStatistics });
  using _network = reference?.network;
  const path = join(workdir, 'report.html');
  await requireWritable(path);
  const asked = config.eval.num_samples;
  const samples = reference ? asked : Math.min(asked, UNSCORED_SAMPLES);
  const drawn: Config = { ...config, eval: { ...config.eval, num_samples: samples } };
  await sayTime(flows, drawn, checked);
  const measured: MeasuredFlow[] = [];
  const progress = new SamplesProgress(flows, drawn, onProgress);
  for (const [i, flow] of flows.entries()) {
    const figures = await measureFlow(flow, drawn, { ...options, reference, onProgress: progress.of(flow) });
    measured.push({ ...figures, losses: losses[i] });
  }
  const figures: ReportFigures = {
    ...provenance(),
    created: new Date().toISOString(),
    device: device.description,
    // No pair was made from this seed, so no flow has been trained on these starts.
    seed: config.seed + 1,
    samples,
    features: reference?.network.name,
    heldOut: reference && (await heldOutDistance(config, reference, checked)),
    stages: measured.map(figuresOf),
  };
  await writeFileAtomic(path, [Buffer.from(reportPage(measured, figures, drawn))]);
  await writeJson(join(workdir, 'report.json'), figures);
  const picture = join(workdir, 'samples.png');
  const overview = measured.map(fewestSteps);
  await writePng(picture, samplesPicture(overview));
  return { path, picture, figures, samples: overview };
}

/** Reports the estimated time of the samples. @throws ConfigError if it exceeds the budget */
async function sayTime(flows: readonly ReportedFlow[], config: Config, options: ReportOptions): Promise<void> {
  const { device, onNotice, budgetMinutes = Number.POSITIVE_INFINITY } = options;
  const [{ checkpoint, config: own }] = flows;
  const { model: loaded } = await loadModel(checkpoint, own, { device });
  using model = loaded;
  const { num_samples: samples, batch_size: batch } = config.eval;
  const { perSample } = probeEvaluation(model, own, device, Math.min(batch, samples));
  const time = times(perSample, flows.length * evaluationsOfReport(config));
  const { seconds } = time;
  const what = `${samples} samples with each of ${samplers(config.sampling).length} samplers take about ${describeEstimate(time)}`;
  if (seconds <= 60 * budgetMinutes) return onNotice?.(what);
  const fitting = Math.floor((60 * budgetMinutes * samples) / seconds);
  throw new ConfigError(
    `${what}, but the budget is ${budgetMinutes} min; lower eval.num_samples${fitting > 0 ? ` to ${fitting}` : ''} or raise the budget`,
  );
}

function figuresOf({ flow, steps, straightness, straightnessSteps, rows }: MeasuredFlow): StageFigures {
  const scored = rows.flatMap(({ sampler, distance }) =>
    distance === undefined ? [] : [[sampler, distance] as const],
  );
  return {
    name: flow.name,
    checkpoint: flow.checkpoint,
    steps,
    straightness,
    straightness_steps: straightnessSteps,
    fd: Object.fromEntries(scored),
    nfe: rows.find(({ sampler }) => sampler === 'rk45')?.nfe as number,
  };
}

/** The distance of real held-out images, as many as there are samples if possible. */
async function heldOutDistance(
  config: Config,
  { network, statistics }: ScoreReference,
  { signal, onNotice }: ReportOptions,
): Promise<{ images: number; fd: number }> {
  using dataset = await loadDataset(config, 'heldOut', onNotice);
  const images = Math.min(dataset.count, config.eval.num_samples);
  const collected = new FeatureCollector();
  for (let first = 0; first < images; first += config.eval.batch_size) {
    const n = Math.min(config.eval.batch_size, images - first);
    const batch = await dataset.load(Int32Array.from({ length: n }, (_, i) => first + i));
    collected.add(await network.extract(batch, [n, dataset.height, dataset.width, dataset.channels], signal));
  }
  return { images, fd: distanceOf(collected, { statistics }) };
}
