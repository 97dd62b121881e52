// Measures one flow for a report: pictures and scores for several numbers of steps from the same noise, straightness,
// and a few paths. Samples are written to {folder}/{eval folder}/ckpt_<k>/ and reused from there.
import { join } from 'node:path';
import type { Device } from '../../device/device.ts';
import { ValueError } from '../../errors.ts';
import { replayable, type Trajectory, trajectory } from '../../flow/index.ts';
import { makeFolder } from '../../io/file.ts';
import { writeNpz } from '../../io/index.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { FlowNetwork } from '../arguments.ts';
import { classInTurn } from '../captions/captions.ts';
import { sampledVelocity } from '../captions/velocity.ts';
import { evaluationName } from '../checkpoints/find.ts';
import { loadModel } from '../checkpoints/open.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { pixels } from '../data.ts';
import { drawSamples } from '../eval/draw_samples.ts';
import { evaluateStraightness, PATH_STEPS } from '../eval/evaluate_straightness.ts';
import { FeatureCollector, type FeatureNetwork } from '../eval/feature_network.ts';
import { distanceOf, type ScoreReference } from '../eval/score_reference.ts';
import { isTransfer, startImages } from '../source.ts';
import { assumedNfe } from '../training/plan.ts';
import { plural } from './figures.ts';
import type { Picture } from './html.ts';
import { pathsPicture, strip, stripImages } from './pictures.ts';

/** A flow to report on. */
export interface ReportedFlow {
  /** Display name, such as "1-rectified flow". */
  name: string;
  folder: string;
  config: Config;
  /** What it was trained on: the data set, or pairs of another flow. */
  source: 'data' | 'pairs';
  /** Path of its last snapshot. A report shows the log alone of a flow whose snapshot does not exist yet. */
  checkpoint: string;
  /** Number of Euler steps that it was distilled to; undefined for a flow, which works with any number. */
  distilledTo?: number;
}

export interface SampledRow {
  /** Number of Euler steps, "1" to "100", or "rk45". */
  sampler: string;
  /** Network evaluations per sample. */
  nfe: number;
  /** Frechet distance to the data set; absent if samples are not scored. */
  distance?: number;
  /** Share of the samples in which the reader reads the class of their caption; absent without a reader or captions. */
  read?: number;
  /** The first samples, u8 of `shape` [N, H, W, C]. */
  first: { images: Uint8Array; shape: readonly number[] };
  /** Picture of the first samples. */
  picture: Picture;
}

export interface MeasuredFlow {
  flow: ReportedFlow;
  parameters: number;
  /** Number of updates. */
  steps: number;
  rows: SampledRow[];
  /** Mean per dimension over `straightnessSteps` Euler steps: 100, or the number that it was distilled to. */
  straightness: number;
  straightnessSteps: number;
  /** Two rows for each of a few samples: Z_t, and where a straight path from it would end. */
  paths: Picture;
}

export interface MeasureOptions {
  device: Device;
  reference?: ScoreReference;
  /** A classifier that reads the classes of samples with captions. */
  reader?: FeatureNetwork;
  signal?: AbortSignal;
  /** Reports what is unusual but not an error. */
  onNotice?: (text: string) => void;
  /** Called with the number of samples done and their total, for each sampler. */
  onProgress?: (done: number, total: number, sampler: string) => void;
}

const EULER_STEPS = [1, 2, 4, 10, 100];
/** Most paths that straightness is averaged over. */
const STRAIGHTNESS_SAMPLES = 64;
export const PATHS = 4;
export const STOPS = 5;

/** Evaluations of the network for one sample of each sampler of a report, by its name. @param distilledTo see samplers */
export function evaluationsBySampler({ sampling }: Config, distilledTo?: number): Record<string, number> {
  const evaluations = ({ use_ode_sampler: solver, sample_N, ode_tol }: Config['sampling']): [string, number] =>
    solver === 'rk45' ? [solver, assumedNfe(ode_tol)] : [String(sample_N), sample_N];
  return Object.fromEntries(samplers(sampling, distilledTo).map(evaluations));
}

/** Network evaluations for one flow, as samples times steps. */
export function evaluationsOfReport(config: Config): number {
  const perSample = Object.values(evaluationsBySampler(config)).reduce((sum, evaluations) => sum + evaluations, 0);
  return config.eval.num_samples * perSample + 2 * PATH_STEPS * straightnessSamples(config) + PATHS * PATH_STEPS;
}

function straightnessSamples({ eval: { straightness_samples: samples } }: Config): number {
  return Math.min(samples, STRAIGHTNESS_SAMPLES);
}

/** Bytes of the samples that a report writes for one flow. */
export function samplesBytes({ data, eval: { num_samples: samples } }: Config): number {
  return (EULER_STEPS.length + 1) * samples * data.image_size ** 2 * data.num_channels;
}

/**
 * Measures one flow, on samples of a seed that no pair was made from.
 * @param report gives seed, eval and sampling; the flow's own configuration describes its network
 */
export async function measureFlow(flow: ReportedFlow, report: Config, options: MeasureOptions): Promise<MeasuredFlow> {
  const { device, signal, onNotice } = options;
  const { checkpoint: path, distilledTo = PATH_STEPS } = flow;
  const config: Config = { ...flow.config, eval: report.eval, sampling: report.sampling, seed: report.seed + 1 };
  const { model: loaded, checkpoint } = await loadModel(path, config, { device, onNotice });
  using model = loaded;
  model.eval();
  const rows: SampledRow[] = [];
  for (const sampling of samplers(config.sampling, flow.distilledTo))
    rows.push(await sampledRow(model, flow, { ...config, sampling }, options));
  const shape = imageShape(config);
  using sampled = sampledVelocity(model, config, { count: PATHS });
  const velocity = replayable(sampled);
  const common = {
    shape,
    seed: config.seed,
    ...(isTransfer(config)
      ? { latents: await startImages(config, { num: PATHS }) }
      : { noiseScale: config.sampling.init_noise_scale }),
    device,
    signal: options.signal,
  };
  const straight = { ...config, eval: { ...config.eval, straightness_samples: straightnessSamples(config) } };
  const measured = await evaluateStraightness(model, straight, { device, steps: distilledTo, signal });
  const paths = await trajectory(velocity, { ...common, count: PATHS, steps: PATH_STEPS, stops: STOPS });
  await writePaths(join(evaluationFolder(flow, config), PATHS_FILE), paths, config);
  return {
    flow,
    parameters: model.parameterCount(),
    steps: checkpoint.step,
    rows,
    straightness: measured.straightness,
    straightnessSteps: distilledTo,
    paths: await pathsPicture(paths, config, { paths: PATHS, name: flow.name }),
  };
}

/** The folder of a flow's samples and paths. */
function evaluationFolder({ folder, checkpoint }: Pick<ReportedFlow, 'folder' | 'checkpoint'>, config: Config): string {
  return makeFolder(join(folder, config.eval.folder, evaluationName(checkpoint)));
}

/** The file in that folder that holds a few paths, for figures. */
export const PATHS_FILE = 'paths.npz';

/** Writes the points and the ends of their tangents as pixels, u8 [times, paths, H, W, C]. */
async function writePaths(path: string, { points, ends }: Trajectory, config: Config): Promise<void> {
  const shape = [points.length, PATHS, ...imageShape(config)];
  const array = (stops: readonly Float32Array[]) => {
    const all = new Float32Array(sizeOf(shape));
    for (const [i, stop] of stops.entries()) all.set(stop, i * stop.length);
    return { shape, dtype: 'u8' as const, data: pixels(all, config, 'nearest') };
  };
  await writeNpz(path, { points: array(points), ends: array(ends) });
}

/** The samplers of a report. @param distilledTo number of Euler steps that is added if it is not one of them */
export function samplers(sampling: Config['sampling'], distilledTo = 1): Config['sampling'][] {
  const plain = { ...sampling, sigma_variance: 0 };
  return [
    ...[...new Set([...EULER_STEPS, distilledTo])]
      .sort((a, b) => a - b)
      .map((sample_N) => ({ ...plain, use_ode_sampler: 'euler' as const, sample_N })),
    { ...plain, use_ode_sampler: 'rk45' as const },
  ];
}

async function sampledRow(
  model: FlowNetwork,
  { name, folder, checkpoint }: ReportedFlow,
  config: Config,
  { device, reference, reader, signal, onProgress }: MeasureOptions,
): Promise<SampledRow> {
  const collected = new FeatureCollector();
  const { use_ode_sampler: solver, sample_N } = config.sampling;
  const sampler = solver === 'rk45' ? solver : String(sample_N);
  const wanted = stripImages(config);
  const first: Uint8Array[] = [];
  let kept = 0;
  let right = 0;
  const { nfe, count, leftOut } = await drawSamples(model, config, {
    folder: evaluationFolder({ folder, checkpoint }, config),
    files: 'samples',
    checkpoint,
    device,
    signal,
    onProgress: (done, total) => onProgress?.(done, total, sampler),
    network: reference?.network,
    onBatch: async (images, shape, features) => {
      if (kept < wanted) first.push(images);
      if (reader) right += await readRight(reader, images, shape, kept, signal);
      kept += shape[0];
      if (features) collected.add(features);
    },
  });
  const what = `samples of the ${name}, ${samplerName(sampler)}`;
  const images = Buffer.concat(first);
  const image = imageShape(config);
  const shown = Math.min(wanted, images.length / sizeOf(image));
  return {
    sampler,
    nfe,
    distance: reference && distanceOf(collected, reference),
    // Which caption a sample has is known by its number, and those that are left out are not counted.
    read: reader && leftOut === 0 ? right / count : undefined,
    first: { images: images.subarray(0, shown * sizeOf(image)), shape: [shown, ...image] },
    picture: await strip(images, config, what),
  };
}

/** How many samples, of which the first is number `first`, a classifier reads as the class of their caption. */
async function readRight(
  reader: FeatureNetwork,
  images: Uint8Array,
  shape: readonly number[],
  first: number,
  signal?: AbortSignal,
): Promise<number> {
  const { logits } = await reader.extract(images, shape, signal);
  if (!logits) throw new ValueError('[reportFlows] expected a reader with classes');
  const { values, rows, columns } = logits;
  let right = 0;
  for (let row = 0; row < rows; row++) {
    const own = values.subarray(row * columns, (row + 1) * columns);
    if (own.indexOf(Math.max(...own)) === classInTurn(first + row, columns)) right++;
  }
  return right;
}

/** "1 step", "10 steps", "RK45". */
export function samplerName(sampler: string): string {
  return sampler === 'rk45' ? 'RK45' : plural(Number(sampler), 'step');
}
