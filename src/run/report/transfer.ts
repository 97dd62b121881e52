// Measures a domain transfer for a report, in both directions, on held-out images:
//   forward  images of the source to the target; reverse: the same ODE backwards
// Classifiers that took no part in training read the results: one of the classes of each domain, and one of the two domains.

import { type ImageDataset, scalePixels } from '../../data/index.ts';
import type { Device } from '../../device/device.ts';
import { ConfigError } from '../../errors.ts';
import { loadClassifier } from '../../eval/index.ts';
import { networkVelocity, type Trajectory, trajectory, type Velocity } from '../../flow/index.ts';
import { neg, sub } from '../../kernels/elementwise.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { turn } from '../../turn.ts';
import type { FlowNetwork } from '../arguments.ts';
import { loadModel } from '../checkpoints/open.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { loadDataset, pixels } from '../data.ts';
import { PATH_STEPS } from '../eval/evaluate_straightness.ts';
import { FeatureCollector, type FeatureNetwork, openFeatures } from '../eval/feature_network.ts';
import { distanceOf, openScoreReference, type ScoreReference } from '../eval/score_reference.ts';
import { transferImages } from '../sampling/transfer.ts';
import { isTransfer, loadSource, sourceConfig } from '../source.ts';
import { PATHS, type ReportedFlow, STOPS } from './measure.ts';

/** Euler steps of a report on a transfer; RK45 is added. */
const STEPS = [1, 2, 10];
/** Most images of a direction. */
const MOST = 1000;

export type Direction = 'forward' | 'reverse';

/** What was measured with one number of steps. */
export interface TransferRow {
  /** Network evaluations per image. */
  nfe: number;
  /** Frechet distance of the transferred images to the training images of the domain that they come to. */
  fd?: number;
  /** Mean of (Z_1 - Z_0)^2 over images and dimensions. */
  cost: number;
  /** Share of the images that keep their class; absent if the domains are different classes or have none. */
  class_kept?: number;
  /** Share that the classifier of the domains reads as the domain that they come to. */
  read_as_domain?: number;
  /** Mean squared distance to the images that RK45 gives. */
  to_rk45: number;
  /** Mean squared distance to the true image, if it is known. */
  to_answer?: number;
  /** Peak signal-to-noise ratio of transferred images against their starts, in decibels. */
  psnr: number;
}

export interface TransferDirection {
  images: number;
  /** Frechet distances to the training images of the domain: of its own held-out images, and of those that are transferred. */
  anchors?: { own: number; other: number };
  /** Mean of (X_1 - X_0)^2 over random pairs of held-out images. */
  random_cost: number;
  /** Mean squared distance of the starts to the true images, if those are known. */
  starts_to_answer?: number;
  /** Share of the true images whose class is read right, if they are known: what a perfect transfer would keep. */
  answers_read?: number;
  /** Share of the own held-out images of the domain whose class its classifier reads right. */
  own_class_read?: number;
  /** By number of Euler steps, and for "rk45". */
  rows: Record<string, TransferRow>;
  /** Mean squared distance of images that went there and back with RK45 to where they began. */
  cycle: number;
}

/** What was measured of one flow. */
export interface TransferFigures {
  name: string;
  forward: TransferDirection;
  reverse: TransferDirection;
}

/** The first images of a direction, u8 [N, H, W, C]: starts, what they become by number of steps, and the nearest training images. */
export interface TransferPictures {
  starts: Uint8Array;
  ends: Record<string, Uint8Array>;
  nearest: Uint8Array;
  /** Paths of the first images, with their tangents: of the reverse direction, since a report has those of the other anyway. */
  paths?: Trajectory;
}

export interface MeasuredTransfer {
  figures: TransferFigures;
  pictures: Record<Direction, TransferPictures>;
}

interface TransferMeasures {
  device: Device;
  /** Images whose pictures are kept. */
  shown: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
}

/** One of the two domains, opened for measurements. */
interface Domain extends Disposable {
  images: Float32Array;
  labels?: Int32Array;
  train: ImageDataset;
  /** Features, class scores and statistics of the training images. */
  reference?: ScoreReference;
}

/** The configuration by which a domain is read. */
function domainConfig(config: Config, domain: 'source' | 'target'): Config {
  if (domain === 'target') return config;
  const { source_features: features } = config.eval;
  const own = sourceConfig(config);
  return { ...own, eval: { ...own.eval, statistics: '', features: features === '' ? own.eval.features : features } };
}

async function openDomain(config: Config, domain: 'source' | 'target', options: TransferMeasures): Promise<Domain> {
  const own = domainConfig(config, domain);
  const load = (part: 'train' | 'heldOut') =>
    domain === 'source' ? loadSource(config, part, options.onNotice) : loadDataset(config, part, options.onNotice);
  const reference = await openScoreReference(own, { ...options, onStatistics: () => {} });
  const train = await load('train');
  using held = await load('heldOut');
  const count = Math.min(held.count, config.eval.num_samples, MOST);
  const bytes = await held.load(Int32Array.from({ length: count }, (_, i) => i));
  return {
    images: scalePixels(bytes, { centered: config.data.centered }),
    labels: held.labels?.slice(0, count),
    train,
    reference,
    [Symbol.dispose]() {
      train[Symbol.dispose]();
      reference?.network[Symbol.dispose]();
    },
  };
}

/** Whether both domains have the same classes, so that a class can be kept. */
function haveSameClasses({ data, source }: Config): boolean {
  return data.dataset === source.dataset && data.category === source.category;
}

/** The images that the starts of a direction should become, if the domains are the same images, changed. */
async function answersOf(config: Config, direction: Direction, count: number): Promise<Float32Array | undefined> {
  const { data, source } = config;
  const same = data.dataset === source.dataset && data.root_path === source.root_path;
  if (!same || !haveSameClasses(config) || data.change === source.change) return undefined;
  const [from, to] = direction === 'forward' ? [source, data] : [data, source];
  if (from.change !== 'none' && direction === 'forward') return undefined;
  const changed = { ...config, data: { ...data, half: from.half, change: to.change } };
  using dataset = await loadDataset(changed, 'heldOut');
  const bytes = await dataset.load(Int32Array.from({ length: count }, (_, i) => i));
  return scalePixels(bytes, { centered: data.centered });
}

const meanSquare = (a: Float32Array, b: Float32Array) =>
  a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length;

interface Read {
  fd?: number;
  right?: number;
}

/** Frechet distance of images to a domain, and the share of them whose class is read right. */
async function readImages(
  images: Float32Array,
  labels: Int32Array | undefined,
  config: Config,
  { reference }: Domain,
  signal?: AbortSignal,
): Promise<Read> {
  if (!reference) return {};
  const { features, right } = await readWith(reference.network, images, labels, config, signal);
  return { fd: distanceOf(features, reference), right };
}

async function readWith(
  network: FeatureNetwork,
  images: Float32Array,
  labels: Int32Array | undefined,
  config: Config,
  signal?: AbortSignal,
): Promise<{ features: FeatureCollector; right?: number }> {
  const features = new FeatureCollector();
  const image = imageShape(config);
  const bytes = pixels(images, config, 'nearest');
  const found = await network.extract(bytes, [images.length / sizeOf(image), ...image], signal);
  features.add(found);
  const { logits } = found;
  if (!logits || !labels) return { features };
  let right = 0;
  for (let row = 0; row < logits.rows; row++) {
    const scores = logits.values.subarray(row * logits.columns, (row + 1) * logits.columns);
    if (scores.indexOf(Math.max(...scores)) === labels[row]) right++;
  }
  return { features, right: right / logits.rows };
}

/** The classifier of eval.domains. @throws ConfigError for one of other images or of more domains */
async function openDomains(config: Config, options: TransferMeasures): Promise<FeatureNetwork | undefined> {
  const { domains } = config.eval;
  if (domains === '') return undefined;
  const { network } = await loadClassifier(domains, { device: options.device });
  const { classes } = network;
  network.dispose();
  if (classes !== 2) throw new ConfigError(`eval.domains ${domains} reads ${classes} classes; expected 2 domains`);
  return openFeatures(
    { ...config, eval: { ...config.eval, features: `classifier:${domains}` } },
    {
      device: options.device,
      onNotice: options.onNotice,
    },
  );
}

/**
 * Measures flows between two sets of images, in both directions.
 * @throws ConfigError for a flow from noise; FileError for data and checkpoints that cannot be read
 */
export async function measureTransfers(
  flows: readonly ReportedFlow[],
  config: Config,
  options: TransferMeasures,
): Promise<MeasuredTransfer[]> {
  if (!isTransfer(config)) throw new ConfigError('sampling.init_type is gaussian: there is no transfer to measure');
  using source = await openDomain(config, 'source', options);
  using target = await openDomain(config, 'target', options);
  using domains = await openDomains(config, options);
  const measured: MeasuredTransfer[] = [];
  for (const flow of flows) {
    const context = { flow, config, options, domains };
    const forward = await measureDirection('forward', source, target, context);
    const reverse = await measureDirection('reverse', target, source, context);
    measured.push({
      figures: { name: flow.name, forward: forward.figures, reverse: reverse.figures },
      pictures: { forward: forward.pictures, reverse: reverse.pictures },
    });
  }
  return measured;
}

interface Context {
  flow: ReportedFlow;
  config: Config;
  options: TransferMeasures;
  domains?: FeatureNetwork;
}

async function measureDirection(
  direction: Direction,
  from: Domain,
  to: Domain,
  { flow, config, options, domains }: Context,
): Promise<{ figures: TransferDirection; pictures: TransferPictures }> {
  const { device, signal, shown, onNotice } = options;
  const { model: loaded } = await loadModel(flow.checkpoint, flow.config, { device, onNotice });
  using model = loaded;
  const { images: starts, labels } = from;
  const size = sizeOf(imageShape(config));
  const count = starts.length / size;
  const reverse = direction === 'reverse';
  const own: Config = { ...flow.config, seed: config.seed + 1, sampling: config.sampling };
  const move = (images: Float32Array, back: boolean, steps: number | 'rk45') =>
    transferImages(model, own, {
      ...{ images, device, signal, reverse: back },
      ...(steps === 'rk45' ? { solver: 'rk45' } : { solver: 'euler', steps }),
    });
  const kept = haveSameClasses(config) ? labels : undefined;
  const answers = await answersOf(config, direction, count);
  const wanted = new Int32Array(count).fill(reverse ? 0 : 1);
  const exact = await move(starts, reverse, 'rk45');
  const rows: Record<string, TransferRow> = {};
  const ends: Record<string, Uint8Array> = {};
  // A flow that was distilled to k steps is meant for that number alone, and for one direction.
  for (const steps of [...STEPS, 'rk45'] as const) {
    await turn(signal);
    const { images, nfe } = steps === 'rk45' ? exact : await move(starts, reverse, steps);
    const { fd, right } = await readImages(images, kept, config, to, signal);
    const domain = domains && (await readWith(domains, images, wanted, config, signal)).right;
    const cost = meanSquare(images, starts);
    rows[String(steps)] = {
      nfe,
      cost,
      to_rk45: meanSquare(images, exact.images),
      psnr: 10 * Math.log10((config.data.centered ? 4 : 1) / cost),
      ...(fd !== undefined && { fd }),
      ...(right !== undefined && { class_kept: right }),
      ...(domain !== undefined && { read_as_domain: domain }),
      ...(answers && { to_answer: meanSquare(images, answers) }),
    };
    ends[String(steps)] = pixels(images.subarray(0, shown * size), config, 'nearest');
  }
  const back = await move(exact.images, !reverse, 'rk45');
  const alone = await readImages(to.images, to.labels, config, to, signal);
  const other = await readImages(starts, undefined, config, to, signal);
  const truth = answers && (await readImages(answers, kept, config, to, signal)).right;
  return {
    figures: {
      images: count,
      ...(alone.fd !== undefined && other.fd !== undefined && { anchors: { own: alone.fd, other: other.fd } }),
      ...(alone.right !== undefined && { own_class_read: alone.right }),
      random_cost: randomCost(starts, to.images, size),
      ...(answers && { starts_to_answer: meanSquare(starts, answers) }),
      ...(truth !== undefined && { answers_read: truth }),
      rows,
      cycle: meanSquare(back.images, starts),
    },
    pictures: {
      starts: pixels(starts.subarray(0, shown * size), config, 'nearest'),
      ends,
      nearest: await nearestOf(ends.rk45, to.train, signal),
      ...(reverse && { paths: await pathsBack(model, starts, config, options) }),
    },
  };
}

/** Paths from images of the target to the source: those of the velocity -v(x, 1 - s), s = 1 - t. */
async function pathsBack(
  model: FlowNetwork,
  images: Float32Array,
  config: Config,
  { device, signal }: TransferMeasures,
): Promise<Trajectory> {
  const shape = imageShape(config);
  const latents = images.slice(0, PATHS * sizeOf(shape));
  const forward = networkVelocity(model.eval());
  const velocity: Velocity = (x, s) => neg(forward(x, sub(1, s)));
  const along = { shape, count: latents.length / sizeOf(shape), seed: 0, steps: PATH_STEPS, stops: STOPS, epsilon: 0 };
  return trajectory(velocity, { ...along, latents, device, signal });
}

/** Mean squared distance over all pairs of images of two sets. */
function randomCost(a: Float32Array, b: Float32Array, size: number): number {
  // E (x - y)^2 over independent x and y, by the moments of each pixel.
  const moments = (values: Float32Array) => {
    const [mean, square] = [new Float64Array(size), new Float64Array(size)];
    const count = values.length / size;
    values.forEach((value, i) => {
      mean[i % size] += value / count;
      square[i % size] += value ** 2 / count;
    });
    return { mean, square };
  };
  const [one, other] = [moments(a), moments(b)];
  return (
    one.square.reduce((sum, value, i) => sum + value + other.square[i] - 2 * one.mean[i] * other.mean[i], 0) / size
  );
}

/** Most training images that are searched for the nearest one. */
const SEARCHED = 5000;
const BATCH = 250;

/** The training image with the least squared distance to each image, u8. */
async function nearestOf(images: Uint8Array, train: ImageDataset, signal?: AbortSignal): Promise<Uint8Array> {
  const size = train.height * train.width * train.channels;
  const count = images.length / size;
  const least = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
  const nearest = new Uint8Array(images.length);
  const searched = Math.min(train.count, SEARCHED);
  for (let first = 0; first < searched; first += BATCH) {
    await turn(signal);
    const n = Math.min(BATCH, searched - first);
    const batch = await train.load(Int32Array.from({ length: n }, (_, i) => first + i));
    for (let i = 0; i < count; i++)
      for (let j = 0; j < n; j++) {
        let distance = 0;
        for (let k = 0; k < size && distance < least[i]; k++)
          distance += (images[i * size + k] - batch[j * size + k]) ** 2;
        if (distance >= least[i]) continue;
        least[i] = distance;
        nearest.set(batch.subarray(j * size, (j + 1) * size), i * size);
      }
  }
  return nearest;
}
