// Measures one flow for a report: pictures and scores for several numbers of steps from the same noise, straightness,
// and a few paths. Samples are written to {folder}/{eval folder}/ckpt_<k>/ and reused from there.
import { join } from 'node:path';
import type { Device } from '../../device/device.ts';
import { networkVelocity, replayable, type Trajectory, trajectory } from '../../flow/index.ts';
import { makeFolder } from '../../io/file.ts';
import { encodePng, imageGrid } from '../../io/index.ts';
import type { UNet } from '../../nn/unet.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { evaluationName } from '../checkpoints/find.ts';
import { loadModel } from '../checkpoints/open.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { pixels } from '../data.ts';
import { drawSamples } from '../eval/draw_samples.ts';
import { evaluateStraightness, PATH_STEPS } from '../eval/evaluate_straightness.ts';
import { FeatureCollector } from '../eval/feature_network.ts';
import { distanceOf, type ScoreReference } from '../eval/score_reference.ts';
import { assumedNfe } from '../training/plan.ts';
import type { LoggedStep } from '../workdir/log.ts';

/** A flow to report on. */
export interface ReportedFlow {
  /** Display name, such as "1-rectified flow". */
  name: string;
  folder: string;
  config: Config;
  /** Path of its last snapshot, which exists once it is complete. */
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
  /** PNG of the first samples. */
  picture: Uint8Array;
  /** The first samples, u8 of `shape` [N, H, W, C]. */
  first: { images: Uint8Array; shape: readonly number[] };
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
  /** PNG with two rows for each of a few samples: Z_t, and where a straight path from it would end. */
  paths: Uint8Array;
  losses: LoggedStep[];
}

export interface MeasureOptions {
  device: Device;
  reference?: ScoreReference;
  signal?: AbortSignal;
  /** Reports what is unusual but not an error. */
  onNotice?: (text: string) => void;
  /** Called with the number of samples done and their total, for each sampler. */
  onProgress?: (done: number, total: number, sampler: string) => void;
}

const EULER_STEPS = [1, 2, 4, 10, 100];
/** Most paths that straightness is averaged over. */
const STRAIGHTNESS_SAMPLES = 64;
const PICTURED = 36;
const PATHS = 4;
const STOPS = 5;
/** Approximate widths of pictures, which are at least as wide as their pixels. */
const SAMPLES_WIDTH = 144;
const PATHS_WIDTH = 288;

/** Evaluations of the network for one sample of each sampler of a report, by its name. */
export function evaluationsBySampler({ sampling }: Config): Record<string, number> {
  return Object.fromEntries([...EULER_STEPS.map((steps) => [steps, steps]), ['rk45', assumedNfe(sampling.ode_tol)]]);
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
export async function measureFlow(
  flow: ReportedFlow,
  report: Config,
  options: MeasureOptions,
): Promise<Omit<MeasuredFlow, 'losses'>> {
  const { device, signal, onNotice } = options;
  const { checkpoint: path, distilledTo = PATH_STEPS } = flow;
  const config: Config = { ...flow.config, eval: report.eval, sampling: report.sampling, seed: report.seed + 1 };
  const { model: loaded, checkpoint } = await loadModel(path, config, { device, onNotice });
  using model = loaded;
  model.eval();
  const rows: SampledRow[] = [];
  for (const sampling of samplers(config.sampling))
    rows.push(await sampledRow(model, flow, { ...config, sampling }, options));
  const shape = imageShape(config);
  const velocity = replayable(networkVelocity(model));
  const common = {
    shape,
    seed: config.seed,
    noiseScale: config.sampling.init_noise_scale,
    device,
    signal: options.signal,
  };
  const straight = { ...config, eval: { ...config.eval, straightness_samples: straightnessSamples(config) } };
  const measured = await evaluateStraightness(model, straight, { device, steps: distilledTo, signal });
  return {
    flow,
    parameters: model.parameterCount(),
    steps: checkpoint.step,
    rows,
    straightness: measured.straightness,
    straightnessSteps: distilledTo,
    paths: await pathsPicture(
      await trajectory(velocity, { ...common, count: PATHS, steps: PATH_STEPS, stops: STOPS }),
      config,
    ),
  };
}

/** The samplers of a report. */
export function samplers(sampling: Config['sampling']): Config['sampling'][] {
  const plain = { ...sampling, sigma_variance: 0 };
  return [
    ...EULER_STEPS.map((sample_N) => ({ ...plain, use_ode_sampler: 'euler' as const, sample_N })),
    { ...plain, use_ode_sampler: 'rk45' as const },
  ];
}

async function sampledRow(
  model: UNet,
  { folder, checkpoint }: ReportedFlow,
  config: Config,
  { device, reference, signal, onProgress }: MeasureOptions,
): Promise<SampledRow> {
  const collected = new FeatureCollector();
  let first: Uint8Array | undefined;
  const { use_ode_sampler: solver, sample_N } = config.sampling;
  const sampler = solver === 'rk45' ? solver : String(sample_N);
  const { nfe } = await drawSamples(model, config, {
    folder: makeFolder(join(folder, config.eval.folder, evaluationName(checkpoint))),
    files: 'samples',
    checkpoint,
    device,
    signal,
    onProgress: (done, total) => onProgress?.(done, total, sampler),
    onBatch: async (images, shape) => {
      first ??= images;
      if (reference) collected.add(await reference.network.extract(images, shape, signal));
    },
  });
  const images = first as Uint8Array;
  const image = imageShape(config);
  const shown = Math.min(PICTURED, images.length / sizeOf(image));
  return {
    sampler,
    nfe,
    distance: reference && distanceOf(collected, reference),
    first: { images: images.slice(0, shown * sizeOf(image)), shape: [shown, ...image] },
    picture: await picture(images, config, {
      count: PICTURED,
      columns: Math.sqrt(PICTURED),
      width: SAMPLES_WIDTH,
    }),
  };
}

async function pathsPicture({ points, ends }: Trajectory, config: Config): Promise<Uint8Array> {
  const width = points[0].length / PATHS;
  const strip = new Float32Array(2 * PATHS * points.length * width);
  let at = 0;
  for (let sample = 0; sample < PATHS; sample++)
    for (const row of [points, ends])
      for (const stop of row) {
        strip.set(stop.subarray(sample * width, (sample + 1) * width), at);
        at += width;
      }
  return picture(pixels(strip, config, 'nearest'), config, {
    count: 2 * PATHS * points.length,
    columns: points.length,
    width: PATHS_WIDTH,
  });
}

async function picture(
  images: Uint8Array,
  config: Config,
  { count, columns, width }: { count: number; columns: number; width: number },
): Promise<Uint8Array> {
  const shape = imageShape(config);
  const numbers = sizeOf(shape);
  const shown = Math.min(count, images.length / numbers);
  const scale = Math.max(1, Math.floor(width / (columns * config.data.image_size)));
  return encodePng(imageGrid(images.subarray(0, shown * numbers), [shown, ...shape], { columns, padding: 1, scale }));
}
