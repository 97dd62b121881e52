// The classifier of the two domains of a transfer, whose last features weigh the loss (training.feature_weight). It learns from images of
// both training parts and from blends x_t = t x_1 + (1 - t) x_0 with the soft label t, because the loss evaluates it there. Every draw is a
// function of (seed, step). Its weights are fixed while the flow is trained. The independent one of a report sees no blends.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { batchIndices, type ImageDataset, scalePixels, sequentialBatch } from '../../data/index.ts';
import { randomBlock } from '../../data/random.ts';
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { ConfigError, FileError, NonFiniteError } from '../../errors.ts';
import { Classifier, loadClassifier, saveClassifier } from '../../eval/index.ts';
import type { FeatureMap } from '../../flow/feature_loss.ts';
import { requireWritable } from '../../io/atomic.ts';
import { makeFolder } from '../../io/file.ts';
import { mul, neg } from '../../kernels/elementwise.ts';
import { argmax, mean, sum } from '../../kernels/reduce.ts';
import { logSoftmax } from '../../kernels/softmax.ts';
import { Adam } from '../../nn/adam.ts';
import { tensor } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { streams } from '../../tensor/streams.ts';
import { turn } from '../../turn.ts';
import { runOptions } from '../arguments.ts';
import { requireConfig } from '../config/require.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { loadDataset } from '../data.ts';
import { provenance } from '../machine/provenance.ts';
import { isTransfer, loadSource, smooth, sourceConfig } from '../source.ts';

/** Pairs of images of a batch. */
const PAIRS = 32;
/** Default number of updates, of 64 images and as many blends at most. */
export const DOMAIN_STEPS = 400;
const EVALUATED = 256;
const optimization = { learningRate: 2e-3, weightDecay: 1e-4, warmup: 20, gradientClip: 1, emaRate: 0.99 };

export interface DomainsOptions {
  device: Device;
  /** The file to write. */
  out: string;
  /** Whether it also learns from blends; default true. */
  blended?: boolean;
  /** Default: that of the configuration. */
  seed?: number;
  /** Number of updates; default 400. */
  steps?: number;
  signal?: AbortSignal;
  /** Called after each update. */
  onStep?: (step: { step: number; total: number; loss: number }) => void;
  /** Receives what is worth telling about the data. */
  onNotice?: (text: string) => void;
}

const optionKinds: OptionKinds<DomainsOptions> = {
  device: runOptions.device,
  out: kinds.path,
  blended: kinds.boolean,
  seed: kinds.whole,
  steps: kinds.count,
  signal: runOptions.signal,
  onStep: kinds.callback,
  onNotice: runOptions.onNotice,
};

/**
 * Trains a classifier of the domains of a transfer, class 0 for the source and 1 for the target, and writes it.
 * @returns its path, and the share of held-out images of both domains that it reads right
 * @throws ConfigError for a flow from noise, FileError for data that cannot be read or a file that cannot be written
 * @example
 * const config = await loadConfig('digits_bold');
 * const device = await openDevice('cpu');
 * const { accuracy } = await trainDomains(config, { device, out: 'domains.safetensors', steps: 4 });
 * accuracy >= 0 && accuracy <= 1; // true
 */
export async function trainDomains(
  config: Config,
  options: DomainsOptions,
): Promise<{ path: string; accuracy: number }> {
  requireConfig('trainDomains', config);
  const checked = checkOptions('trainDomains', options, optionKinds, ['device', 'out']);
  if (!isTransfer(config)) throw new ConfigError('trainDomains needs two domains, but sampling.init_type is gaussian');
  const { device, out, blended = true, seed = config.seed, steps = DOMAIN_STEPS, signal, onStep, onNotice } = checked;
  using source = await loadSource(config, 'train', onNotice);
  using target = await loadDataset(config, 'train', onNotice);
  makeFolder(dirname(out));
  await requireWritable(out);
  await device.prepare(declaredModules());
  const { image_size: imageSize, num_channels: channels, centered } = config.data;
  const network = new Classifier({ imageSize, channels, centered }, 2, { device, seed });
  const optimizer = new Adam(network, optimization);
  try {
    for (let step = 0; step < steps; step++) {
      await turn(signal);
      const batch = await batchOf(source, target, config, { step, seed, blended });
      const loss = update(network, optimizer, batch, config);
      if (!Number.isFinite(loss)) throw new NonFiniteError(`the loss is ${loss} at step ${step}; look at the data`);
      onStep?.({ step, total: steps, loss });
    }
    const accuracy = await optimizer.withEma(async () => {
      const share = await shareRight(network, config, signal);
      const stated = { domains: 'true', blended: String(blended), seed: String(seed), steps: String(steps) };
      await saveClassifier(out, network, share, { ...stated, ...provenance() });
      return share;
    });
    return { path: out, accuracy };
  } finally {
    optimizer.dispose();
    network.dispose();
  }
}

interface Batch {
  images: Float32Array;
  /** The share of each image's labels, [N, 2]. */
  labels: Float32Array;
  count: number;
}

/** Images of both domains and, if wanted, blends of them. */
async function batchOf(
  source: ImageDataset,
  target: ImageDataset,
  config: Config,
  { step, seed, blended }: { step: number; seed: number; blended: boolean },
): Promise<Batch> {
  const { centered } = config.data;
  const size = sizeOf(imageShape(config));
  const chosen = (set: ImageDataset, own: number) => set.load(batchIndices(step, PAIRS, set.count, own));
  const x0 = scalePixels(await chosen(source, sourceConfig({ ...config, seed }).seed), { centered });
  const x1 = scalePixels(await chosen(target, seed), { centered });
  smooth(x0, config, { seed, first: step * PAIRS, stream: streams.domains });
  const count = (blended ? 3 : 2) * PAIRS;
  const images = new Float32Array(count * size);
  const labels = new Float32Array(count * 2);
  images.set(x0);
  images.set(x1, PAIRS * size);
  for (let i = 0; i < PAIRS; i++) {
    labels[2 * i] = 1;
    labels[2 * (PAIRS + i) + 1] = 1;
    if (!blended) continue;
    const t = randomBlock(0, step * PAIRS + i, streams.domains, seed)[0] / 2 ** 32;
    labels[2 * (2 * PAIRS + i)] = 1 - t;
    labels[2 * (2 * PAIRS + i) + 1] = t;
    for (let j = i * size; j < (i + 1) * size; j++) images[2 * PAIRS * size + j] = t * x1[j] + (1 - t) * x0[j];
  }
  return { images, labels, count };
}

/** One update. @returns its loss; no update is made if that is not finite */
function update(network: Classifier, optimizer: Adam, { images, labels, count }: Batch, config: Config): number {
  const { device } = network;
  return scope(() => {
    const x = tensor(images, { shape: [count, ...imageShape(config)], device });
    const wanted = tensor(labels, { shape: [count, 2], device });
    const loss = neg(mean(sum(mul(wanted, logSoftmax(network.scores(x).logits)), { axes: [1] })));
    const value = loss.item();
    if (!Number.isFinite(value)) return value;
    loss.backward();
    optimizer.step();
    return value;
  });
}

/** Share of the held-out images of both domains that are read right, the mean of the two. */
async function shareRight(network: Classifier, config: Config, signal?: AbortSignal): Promise<number> {
  const shares: number[] = [];
  for (const [label, load] of [loadSource, loadDataset].entries()) {
    using dataset = await load(config, 'heldOut');
    let right = 0;
    for (let first = 0; first < dataset.count; first += EVALUATED) {
      await turn(signal);
      const n = Math.min(EVALUATED, dataset.count - first);
      const { images } = await sequentialBatch(dataset, first, n, { centered: config.data.centered });
      const guesses = scope(() =>
        noGrad(() => {
          const x = tensor(images, { shape: [n, ...imageShape(config)], device: network.device });
          return argmax(network.scores(x).logits, { axis: 1 }).dataSync();
        }),
      );
      for (const guess of guesses) if (guess === label) right++;
    }
    shares.push(right / dataset.count);
  }
  return (shares[0] + shares[1]) / 2;
}

/** The features of a network with weights that get no gradients. */
export function featuresOf(network: Classifier): FeatureMap {
  for (const [, weight] of network.namedTensors()) weight.requiresGrad = false;
  return (x) => network.scores(x).features;
}

/** @throws ConfigError for ranks that would each train the classifier */
export function requireSharedFeatures({ training }: Config, ranks: unknown): void {
  if (ranks && training.feature_weight > 0 && training.feature_network === '')
    throw new ConfigError(
      'training.feature_network: expected a file where several ranks train, since each of them reads it; make it with trainDomains()',
    );
}

/** The file of that classifier in the folder of a run. */
export const domainsFile = (workdir: string): string => join(workdir, 'domains.safetensors');

/**
 * The features of the classifier of training.feature_network or, if that is empty, of `out`, which is trained if it does not exist.
 * @throws FileError for a file that is not a classifier of two domains and of these images
 */
export async function openDomainFeatures(
  config: Config,
  options: DomainsOptions,
): Promise<{ features: FeatureMap } & Disposable> {
  const { device, out, onNotice } = options;
  const named = config.training.feature_network;
  const path = named === '' ? out : named;
  if (named === '' && !existsSync(out)) {
    onNotice?.('training the classifier of the two domains, which weighs the loss');
    const { accuracy } = await trainDomains(config, options);
    onNotice?.(`the classifier of the domains has ${(100 * accuracy).toFixed(1)} % accuracy on held-out images`);
  }
  const { network } = await loadClassifier(path, { device });
  const { imageSize, channels, centered } = network.images;
  const { data } = config;
  const fits = imageSize === data.image_size && channels === data.num_channels && centered === data.centered;
  if (network.classes !== 2 || !fits) {
    network.dispose();
    throw new FileError(
      path,
      `expected a classifier of 2 domains of images ${data.image_size} x ${data.image_size} of ${data.num_channels} channels in ` +
        `${data.centered ? '[-1, 1]' : '[0, 1]'}, got one of ${network.classes} classes of ${imageSize} x ${imageSize} of ${channels} channels in ${centered ? '[-1, 1]' : '[0, 1]'}`,
    );
  }
  return { features: featuresOf(network), [Symbol.dispose]: () => network.dispose() };
}
