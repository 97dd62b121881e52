// The report on a chain or on one run: report.html, a self-contained page, and report.json with its figures.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkArgument,
  checkArguments,
  checkOptions,
  kind,
  kinds,
  listOf,
  type OptionKinds,
  oneOf,
} from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { ConfigError, FileError, ValueError } from '../../errors.ts';
import { loadClassifier } from '../../eval/index.ts';
import { requireWritable } from '../../io/atomic.ts';
import { writeFileAtomic, writePng } from '../../io/index.ts';
import { writeJson } from '../../io/json.ts';
import { runOptions } from '../arguments.ts';
import { captionsOf } from '../captions/captions.ts';
import { loadModel } from '../checkpoints/open.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { loadDataset } from '../data.ts';
import { FeatureCollector, type FeatureNetwork, openFeatures } from '../eval/feature_network.ts';
import { distanceOf, openScoreReference, type ScoreReference } from '../eval/score_reference.ts';
import { provenance } from '../machine/provenance.ts';
import { describeEstimate, times } from '../machine/timing.ts';
import { isTransfer } from '../source.ts';
import { probeEvaluation } from '../training/probe.ts';
import { readLog } from '../workdir/log.ts';
import { stageCosts } from './costs.ts';
import type { ReportFigures, StageFigures } from './figures.ts';
import type { Picture } from './html.ts';
import {
  evaluationsOfReport,
  type MeasuredFlow,
  type MeasureOptions,
  measureFlow,
  type ReportedFlow,
  samplers,
} from './measure.ts';
import { type FlowSamples, fewestSteps, SamplesProgress, samplesPicture } from './overview.ts';
import { type FlowResult, reportPage } from './page.ts';
import { strip, stripImages } from './pictures.ts';
import { type ReportedRun, repeatSection } from './repeat.ts';
import { measureTransfers } from './transfer.ts';
import { transferSection } from './transfer_page.ts';

export type { ReportFigures, StageFigures } from './figures.ts';
export type { ReportedFlow } from './measure.ts';
export type { FlowSamples } from './overview.ts';
export type { ReportedRun, ReportedStage } from './repeat.ts';

export interface FlowReport {
  /** Path of report.html. */
  path: string;
  /** Path of samples.png, which shows `samples`: a row for each flow. Not written if there are none. */
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

export interface ReportOptions extends Omit<MeasureOptions, 'reference' | 'reader' | 'onProgress'> {
  /** Folder of the report. */
  workdir: string;
  device: Device;
  /** Number of samples of each sampler. Default: eval.num_samples, or at most 64 if they cannot be scored. */
  samples?: number;
  /** Most samples that the default may be; it is then also lowered as far as `budgetMinutes` requires. */
  mostSamples?: number;
  /** Most minutes that the samples may take; a longer report is refused. Default: no limit. */
  budgetMinutes?: number;
  /** The run that the flows belong to, for the sections about its stages and its command. */
  run?: ReportedRun;
  /** Price of an hour of the machine, for the column of costs. */
  price?: number;
  /** Called after each batch of images. */
  onProgress?: (progress: ReportProgress) => void;
}

const optionKinds: OptionKinds<ReportOptions> = {
  ...runOptions,
  workdir: kinds.path,
  samples: kinds.count,
  mostSamples: kinds.count,
  budgetMinutes: kinds.positive,
  run: kinds.object,
  price: kinds.positive,
};

/** Number of samples if they are not scored: enough for the pictures and to measure the NFE of RK45. */
const UNSCORED_SAMPLES = 64;
/** Fewest samples that a budget lowers the default to; a report that takes longer even so is refused. */
const LEAST_SAMPLES = 16;
const flowsKind = listOf(kind('a flow', kinds.object.accepts), 'flows of reportedFlows() or chainStages()');

function checkFlow({ name, folder, checkpoint, source, distilledTo, config }: ReportedFlow): void {
  checkArguments('reportFlows', {
    "a flow's name": [name, kinds.text],
    "a flow's folder": [folder, kinds.path],
    "a flow's source": [source, oneOf(['data', 'pairs'])],
    "a flow's checkpoint": [checkpoint, kinds.path],
  });
  if (distilledTo !== undefined) checkArgument('reportFlows', "a flow's distilledTo", distilledTo, kinds.count);
  requireConfig('reportFlows', config);
}

/**
 * Writes report.html and report.json on a list of flows. If a flow has a log but no snapshot yet, the page shows its
 * training so far.
 * @param config how they are measured: seed, data set, eval and sampling
 * @throws FileError for a flow with neither checkpoint nor log; ConfigError if the samples would take longer than the
 * budget; the signal's reason when aborted
 * @example
 * const { flows, config, run } = await reportedFlows('runs/digits');
 * const device = await openDevice('cpu');
 * const { path, figures } = await reportFlows(flows, config, { workdir: 'runs/digits', device, run, samples: 4 });
 * path; // 'runs/digits/report.html'
 * figures.stages.map(({ name, steps }) => [name, steps]); // [['rectified flow', 5]]
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
  const { workdir, device, run, price, onNotice } = checked;
  const path = join(workdir, 'report.html');
  await requireWritable(path);
  // Read before samples are drawn, so that an unreadable log fails early.
  const results = await Promise.all(
    flows.map(async (flow): Promise<FlowResult> => ({ flow, log: await readLog(join(flow.folder, 'log.jsonl')) })),
  );
  // A flow without a log is measured: its checkpoint may be missing, which is then an error.
  const ready = results.filter(({ flow, log }) => existsSync(flow.checkpoint) || log.length === 0);
  const { samples, features, heldOut, reader } =
    ready.length > 0 ? await measureAll(ready, config, checked) : { samples: 0 };
  const transfers =
    ready.length > 0 && isTransfer(config)
      ? await measureTransfers(
          ready.map(({ flow }) => flow).filter(({ distilledTo }) => distilledTo === undefined),
          config,
          { device, shown: stripImages(config), signal: checked.signal, onNotice },
        )
      : [];
  const figures: ReportFigures = {
    ...provenance(),
    created: new Date().toISOString(),
    device: `${device.name}, ${device.description}`,
    // No pair was made from this seed, so no flow has been trained on these starts.
    seed: config.seed + 1,
    samples,
    features,
    heldOut,
    captions: captionsOf(config)?.table.slice(1),
    reader,
    ...(transfers.length > 0 && { transfers: transfers.map((one) => one.figures) }),
    stages: ready.map(({ measured }) => figuresOf(measured as MeasuredFlow)),
  };
  const html = reportPage({
    results,
    figures,
    config,
    real: ready.length > 0 ? await realImages(config, onNotice) : undefined,
    transfer: await transferSection(transfers, config),
    stages: await stageCosts(results, run?.stages ?? []),
    price,
    repeat: run && (await repeatSection(run, workdir)),
  });
  await writeFileAtomic(path, [Buffer.from(html)]);
  await writeJson(join(workdir, 'report.json'), figures);
  const picture = join(workdir, 'samples.png');
  const overview = ready.map(({ measured }) => fewestSteps(measured as MeasuredFlow));
  if (overview.length > 0) await writePng(picture, samplesPicture(overview));
  return { path, picture, figures, samples: overview };
}

/** Measures the flows and adds what was measured to the results. */
async function measureAll(
  results: readonly FlowResult[],
  config: Config,
  options: ReportOptions,
): Promise<Pick<ReportFigures, 'samples' | 'features' | 'heldOut' | 'reader'>> {
  const { device, onProgress } = options;
  await device.prepare(declaredModules());
  const tell = (what: ReportProgress['what']) => (done: number, total: number) => onProgress?.({ what, done, total });
  const onStatistics = tell('statistics of the data set');
  const reference = await openScoreReference(config, { ...options, onStatistics });
  using _network = reference?.network;
  using reader = await openReader(config, options);
  const flows = results.map(({ flow }) => flow);
  const samples = await samplesInBudget(flows, config, options, reference !== undefined);
  const drawn: Config = { ...config, eval: { ...config.eval, num_samples: samples } };
  const progress = new SamplesProgress(flows, drawn, onProgress);
  for (const result of results)
    result.measured = await measureFlow(result.flow, drawn, {
      ...options,
      reference,
      reader: reader?.network,
      onProgress: progress.of(result.flow),
    });
  return {
    samples,
    features: reference?.network.name,
    heldOut: reference && (await heldOutDistance(drawn, reference, options)),
    reader: reader && { accuracy: reader.accuracy },
  };
}

/** The classifier of eval.reader, for flows with captions. @throws FileError for a file that is not one */
async function openReader(
  config: Config,
  { device, onNotice }: ReportOptions,
): Promise<({ network: FeatureNetwork; accuracy: number } & Disposable) | undefined> {
  const { reader } = config.eval;
  const captions = captionsOf(config);
  if (reader === '' || !captions) return undefined;
  const { accuracy, network: stored } = await loadClassifier(reader, { device });
  const { classes } = stored;
  stored.dispose();
  if (classes !== captions.table.length - 1)
    throw new FileError(reader, `reads ${classes} classes, but there are ${captions.table.length - 1} captions`);
  const features = { ...config, eval: { ...config.eval, features: `classifier:${reader}` } };
  const network = await openFeatures(features, { device, onNotice });
  return { network, accuracy, [Symbol.dispose]: () => network[Symbol.dispose]() };
}

/**
 * The number of samples, after a notice of the time that they take.
 * @throws ConfigError if that exceeds the budget
 */
async function samplesInBudget(
  flows: readonly ReportedFlow[],
  config: Config,
  options: ReportOptions,
  scored: boolean,
): Promise<number> {
  const { device, onNotice, mostSamples, budgetMinutes = Number.POSITIVE_INFINITY } = options;
  const most = Math.min(mostSamples ?? Number.POSITIVE_INFINITY, scored ? Number.POSITIVE_INFINITY : UNSCORED_SAMPLES);
  const wanted = options.samples ?? Math.min(config.eval.num_samples, most);
  const [{ checkpoint, config: own }] = flows;
  const { model: loaded } = await loadModel(checkpoint, own, { device });
  using model = loaded;
  const { batch_size: batch } = config.eval;
  const { perSample } = probeEvaluation(model, own, device, Math.min(batch, wanted));
  const timeOf = (samples: number) => {
    const drawn = { ...config, eval: { ...config.eval, num_samples: samples } };
    return times(perSample, flows.length * evaluationsOfReport(drawn));
  };
  const describe = (samples: number) =>
    `${samples} samples with each of ${samplers(config.sampling).length} samplers take about ${describeEstimate(timeOf(samples))}`;
  const limit = 60 * budgetMinutes;
  const fitting = Math.floor((limit * wanted) / timeOf(wanted).seconds);
  const lowers = options.samples === undefined && mostSamples !== undefined && fitting >= LEAST_SAMPLES;
  const samples = lowers ? Math.min(wanted, fitting) : wanted;
  if (samples < wanted || timeOf(samples).seconds <= limit) {
    const asked = config.eval.num_samples;
    const fewer = samples < asked ? `; eval.num_samples is ${asked}, --config.eval.num_samples ${asked} draws all` : '';
    onNotice?.(`${describe(samples)}${options.samples === undefined ? fewer : ''}`);
    return samples;
  }
  throw new ConfigError(
    `${describe(wanted)}, but the budget is ${budgetMinutes} min; lower eval.num_samples${fitting > 0 ? ` to ${fitting}` : ''} or raise the budget`,
  );
}

/** Real images for the page, from the held-out part of the data set; none, with a notice, if it cannot be read. */
async function realImages(config: Config, onNotice: ReportOptions['onNotice']): Promise<Picture | undefined> {
  try {
    using dataset = await loadDataset(config, 'heldOut');
    const images = Math.min(dataset.count, stripImages(config));
    const loaded = await dataset.load(Int32Array.from({ length: images }, (_, i) => i));
    return await strip(loaded, config, 'real images of the data set, which were not used for training');
  } catch (error) {
    if (!(error instanceof FileError || error instanceof ConfigError)) throw error;
    onNotice?.(`the report shows no real images: ${error.message}`);
    return undefined;
  }
}

function figuresOf({ flow, steps, straightness, straightnessSteps, rows }: MeasuredFlow): StageFigures {
  const scored = rows.flatMap(({ sampler, distance }) =>
    distance === undefined ? [] : [[sampler, distance] as const],
  );
  const read = rows.flatMap(({ sampler, read }) => (read === undefined ? [] : [[sampler, read] as const]));
  return {
    name: flow.name,
    checkpoint: flow.checkpoint,
    steps,
    straightness,
    straightness_steps: straightnessSteps,
    fd: Object.fromEntries(scored),
    nfe: rows.find(({ sampler }) => sampler === 'rk45')?.nfe as number,
    ...(read.length > 0 && { read: Object.fromEntries(read) }),
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
