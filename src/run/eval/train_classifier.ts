// `classifier`: trains a small network to classify the labelled images of a configuration. Its last layer then provides
// features for scores (eval.features classifier:FILE). Every draw is a function of (seed, step), so a seed reproduces
// the weights.
import { dirname } from 'node:path';
import { checkOptions, kinds, type OptionKinds, oneOf } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { type ImageDataset, memoryDataset, sequentialBatch, trainingBatch } from '../../data/index.ts';
import type { CompileProgress, Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { ConfigError, NonFiniteError } from '../../errors.ts';
import { Classifier, type ClassifierImages, saveClassifier } from '../../eval/index.ts';
import { requireWritable } from '../../io/atomic.ts';
import { makeFolder } from '../../io/file.ts';
import { argmax } from '../../kernels/reduce.ts';
import { crossEntropy } from '../../kernels/softmax.ts';
import { Adam } from '../../nn/adam.ts';
import { tensor } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { turn } from '../../turn.ts';
import { runOptions } from '../arguments.ts';
import type { Config } from '../config/index.ts';
import { requireConfig } from '../config/require.ts';
import { imageShape } from '../config/schema.ts';
import { loadDataset } from '../data.ts';
import { provenance } from '../machine/provenance.ts';
import { type TimeEstimate, timeAsyncCalls, times, total } from '../machine/timing.ts';
import { DOMAIN_STEPS } from '../training/domains.ts';

const BATCH = 64;
/** Default passes over the training images, limited to MOST_STEPS updates. */
const EPOCHS = 30;
const MOST_STEPS = 3000;
/** Fewest updates by default on the held-out part, which is small. */
const LEAST_STEPS = 600;
/** Batch size for the part that it is tested on. */
const EVALUATED = 256;
/** Classes of the labelled data sets. */
const CLASSES = 10;
const optimization = { learningRate: 2e-3, weightDecay: 1e-4, warmup: 20, gradientClip: 1, emaRate: 0.99 };

/** Data sets whose images have labels, with their numbers of images. */
const labelled: { [Name in Config['data']['dataset']]?: { train: number; heldOut: number } } = {
  DIGITS: { train: 1400, heldOut: 397 },
  MNIST: { train: 60_000, heldOut: 10_000 },
  CIFAR10: { train: 50_000, heldOut: 10_000 },
};

export interface ClassifierOptions {
  device: Device;
  /** The file to write. */
  out: string;
  /**
   * What it is trained on; default 'train'. With 'heldOut' it is tested on the training images: a flow that was trained on those has not
   * seen what the classifier knows.
   */
  part?: 'train' | 'heldOut';
  /** Number of updates; default: 30 epochs, at most 3000, and at least 600 on the held-out images. */
  steps?: number;
  /** Ends training between two steps by throwing the signal's reason; nothing is written. */
  signal?: AbortSignal;
  /** Called after each update. */
  onStep?: (step: ClassifierStep) => void;
  /** Called while kernels are compiled, before the first step. */
  onCompile?: (progress: CompileProgress) => void;
  /** Reports images that cannot be read. */
  onNotice?: (text: string) => void;
}

export interface ClassifierStep {
  step: number;
  total: number;
  /** Mean loss of this batch. */
  loss: number;
  imagesPerSecond: number;
}

export interface TrainedClassifier {
  path: string;
  /** Accuracy on the images of the other part, 0 to 1. */
  accuracy: number;
  classes: number;
  steps: number;
}

const optionKinds: OptionKinds<ClassifierOptions> = {
  device: runOptions.device,
  out: kinds.path,
  part: oneOf(['train', 'heldOut']),
  steps: kinds.count,
  signal: runOptions.signal,
  onStep: kinds.callback,
  onCompile: kinds.callback,
  onNotice: runOptions.onNotice,
};

/**
 * Trains a classifier and writes it to `out`.
 * @throws ConfigError for a data set without labels, FileError for data that cannot be read or a file that cannot be
 * written
 * @example
 * const config = await loadConfig('digits');
 * const { accuracy, classes } = await trainClassifier(config, {
 *   device: await openDevice('cpu'),
 *   out: 'classifier.safetensors',
 *   steps: 10,
 * });
 * classes; // 10
 * accuracy > 0.1; // true
 */
export async function trainClassifier(config: Config, options: ClassifierOptions): Promise<TrainedClassifier> {
  requireConfig('trainClassifier', config);
  const checked = checkOptions('trainClassifier', options, optionKinds, ['device', 'out']);
  requireLabels(config);
  const { device, out, part = 'train', onNotice } = checked;
  using train = await loadDataset(config, part, onNotice);
  using tested = await loadDataset(config, part === 'train' ? 'heldOut' : 'train', onNotice);
  makeFolder(dirname(out));
  await requireWritable(out);
  await device.prepare(declaredModules(), checked.onCompile);
  const classes = labelsOf(train).reduce((most, label) => Math.max(most, label + 1), 2);
  const network = new Classifier(classifierImages(config), classes, { device, seed: config.seed });
  const optimizer = new Adam(network, optimization);
  try {
    const steps = checked.steps ?? stepsFor(train.count, part);
    for (let step = 0; step < steps; step++)
      await update(network, optimizer, train, config, { ...options, step, steps });
    const accuracy = await optimizer.withEma(async () => {
      const share = await shareRight(network, tested, config, checked.signal);
      const { root_path: _, ...data } = config.data;
      await saveClassifier(out, network, share, {
        data: JSON.stringify(data),
        seed: String(config.seed),
        part,
        steps: String(steps),
        ...provenance(),
      });
      return share;
    });
    return { path: out, accuracy, classes, steps };
  } finally {
    optimizer.dispose();
    network.dispose();
  }
}

function stepsFor(images: number, part: 'train' | 'heldOut'): number {
  const steps = Math.min(MOST_STEPS, Math.ceil((EPOCHS * images) / BATCH));
  return part === 'train' ? steps : Math.max(LEAST_STEPS, steps);
}

/** Measures the time and peak memory of a whole training and its test, on images that are zero. */
export async function probeClassifier(
  config: Config,
  device: Device,
  { part = 'train', reads }: { part?: 'train' | 'heldOut'; reads?: 'classes' | 'source' | 'domains' } = {},
): Promise<TimeEstimate & { memory: number; disk: number }> {
  const domains = reads === 'domains';
  if (!domains) requireLabels(config);
  const whole = labelled[config.data.dataset] ?? { train: 0, heldOut: 0 };
  const share = config.data.half === 'whole' ? 1 : 1 / 2;
  const counts = { train: share * whole.train, heldOut: share * whole.heldOut };
  const steps = domains ? DOMAIN_STEPS : stepsFor(counts[part], part);
  const blank = (count: number) => {
    const shape = [count, ...imageShape(config)];
    return memoryDataset('blank images', new Uint8Array(sizeOf(shape)), shape, new Int32Array(count));
  };
  const [trained, tested] = [blank(BATCH), blank(EVALUATED)];
  const network = new Classifier(classifierImages(config), CLASSES, { device, seed: config.seed });
  const optimizer = new Adam(network, optimization);
  try {
    const step = () => update(network, optimizer, trained, config, { step: 0, steps });
    await step();
    device.resetHighWater();
    const training = await timeAsyncCalls(step);
    const test = await timeAsyncCalls(() => shareRight(network, tested, config));
    const { highWater: memory } = device.memory();
    const batches = counts[part === 'train' ? 'heldOut' : 'train'] / EVALUATED;
    return { ...total([times(training, steps), times(test, batches)]), memory, disk: 4 * network.parameterCount() };
  } finally {
    optimizer.dispose();
    network.dispose();
  }
}

/** @throws ConfigError if the data set is not one of those with labels */
export function requireLabels(config: Config): void {
  requireConfig('requireLabels', config);
  const { dataset } = config.data;
  if (!(dataset in labelled))
    throw new ConfigError(
      `data.dataset ${dataset} has no labels to train a classifier on; ${Object.keys(labelled).join(', ')} have labels`,
    );
}

/** The images that a classifier for this configuration expects. */
export function classifierImages({ data }: Config): ClassifierImages {
  return { imageSize: data.image_size, channels: data.num_channels, centered: data.centered };
}

function labelsOf({ name, labels }: Pick<ImageDataset, 'name' | 'labels'>): Int32Array {
  if (!labels) throw new ConfigError(`${name} has no labels to train a classifier on`);
  return labels;
}

async function update(
  network: Classifier,
  optimizer: Adam,
  dataset: ImageDataset,
  config: Config,
  { signal, onStep, step, steps }: Pick<ClassifierOptions, 'signal' | 'onStep'> & { step: number; steps: number },
): Promise<void> {
  const { seed, data } = config;
  await turn(signal);
  const start = performance.now();
  const { centered, random_flip: flip } = data;
  const { images, labels } = await trainingBatch(dataset, step, BATCH, { seed, centered, flip });
  const loss = classifierStep(network, optimizer, images, labels as Int32Array, config);
  if (!Number.isFinite(loss)) throw new NonFiniteError(`the loss is ${loss} at step ${step}; look at the data`);
  const seconds = (performance.now() - start) / 1000;
  onStep?.({ step, total: steps, loss, imagesPerSecond: BATCH / seconds });
}

/** One update on a batch. @returns its loss; no update is made if that is not finite */
function classifierStep(
  network: Classifier,
  optimizer: Adam,
  images: Float32Array,
  labels: Int32Array,
  config: Config,
): number {
  const { device } = network;
  return scope(() => {
    const x = tensor(images, { shape: [BATCH, ...imageShape(config)], device });
    const { logits } = network.scores(x);
    const mean = crossEntropy(logits, tensor(labels, { shape: [BATCH], dtype: 'i32', device }));
    const value = mean.item();
    if (!Number.isFinite(value)) return value;
    mean.backward();
    optimizer.step();
    return value;
  });
}

/** Accuracy on a data set, 0 to 1. */
async function shareRight(
  network: Classifier,
  dataset: ImageDataset,
  config: Config,
  signal?: AbortSignal,
): Promise<number> {
  const { height, width, channels } = dataset;
  let right = 0;
  for (let first = 0; first < dataset.count; first += EVALUATED) {
    await turn(signal);
    const n = Math.min(EVALUATED, dataset.count - first);
    const { images, labels } = await sequentialBatch(dataset, first, n, { centered: config.data.centered });
    const guesses = scope(() =>
      noGrad(() => {
        const x = tensor(images, { shape: [n, height, width, channels], device: network.device });
        return argmax(network.scores(x).logits, { axis: 1 }).dataSync();
      }),
    );
    right += (labels as Int32Array).filter((label, i) => label === guesses[i]).length;
  }
  return right / dataset.count;
}
