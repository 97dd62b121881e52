// A small convolutional classifier whose last layer before the class scores serves as features for images unlike those
// that Inception was trained on: handwritten digits, small pictures.
//
//   pixels -> data range -> 3x3 to 32 -> (norm, SiLU, 3x3 to 64 at half the size) once or until the side is at most 4
//          -> norm, SiLU, mean over the image: features [64] -> linear: logits [classes]
//
// The description of its images (size, channels, range) and the number of classes are saved with the weights.

import { createHash } from 'node:crypto';
import {
  checkArgument,
  checkArguments,
  checkOptions,
  instanceOf,
  isWhole,
  kinds,
  type OptionKinds,
} from '../arguments.ts';
import { noGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { deviceKind } from '../device/device.ts';
import { FileError, formatShape, ShapeError } from '../errors.ts';
import { bytesOf } from '../io/array.ts';
import { type ArrayFile, readSafetensors, writeSafetensors } from '../io/index.ts';
import { cast } from '../kernels/cast.ts';
import { add, mul } from '../kernels/elementwise.ts';
import { checkOperands } from '../kernels/op.ts';
import { mean } from '../kernels/reduce.ts';
import { Initializer } from '../nn/init.ts';
import { Conv2d, GroupNorm, Linear } from '../nn/layers.ts';
import { Module } from '../nn/module.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';

const FORMAT = 'rectiflow-classifier-1';
const STEM = 32;
/** Length of a feature vector. */
const WIDTH = 64;
const LAST_SIDE = 4;
/** Limit of every size in a file, so that a file cannot request a network that exceeds the memory of any machine. */
const MOST = 2 ** 16;

/** The images that a classifier takes. */
export interface ClassifierImages {
  imageSize: number;
  channels: number;
  /** Whether pixels are scaled to [-1, 1] rather than [0, 1]. */
  centered: boolean;
}

interface ClassifierOptions {
  device: Device;
  /** Seed of the initial weights; default 0. */
  seed?: number;
}

const imagesOptions: OptionKinds<ClassifierImages> = {
  imageSize: kinds.int32Count,
  channels: kinds.int32Count,
  centered: kinds.boolean,
};
const classifierOptions: OptionKinds<ClassifierOptions> = { device: deviceKind, seed: kinds.whole };

export interface ClassScores {
  /** f32 [N, 64] */
  features: Tensor;
  /** f32 [N, classes] */
  logits: Tensor;
}

/**
 * A small convolutional classifier, whose last layer before the class scores serves as features of images unlike those that
 * Inception was trained on. It stays on its device until it is disposed.
 * @example
 * const device = await openDevice('cpu');
 * const network = new Classifier({ imageSize: 8, channels: 1, centered: true }, 10, { device, seed: 1 });
 * const { features, logits } = network.forward(zeros([2, 8, 8, 1], { dtype: 'u8' }));
 * features.shape; // [2, 64]
 * logits.shape; // [2, 10]
 * network.dispose();
 */
export class Classifier extends Module {
  readonly device: Device;
  readonly images: ClassifierImages;
  readonly classes: number;
  readonly stem: Conv2d;
  readonly norms: GroupNorm[] = [];
  readonly convs: Conv2d[] = [];
  readonly last: GroupNorm;
  readonly head: Linear;

  constructor(images: ClassifierImages, classes: number, options: ClassifierOptions) {
    super();
    checkOptions('Classifier', images, imagesOptions, ['imageSize', 'channels', 'centered']);
    const { device, seed } = checkOptions('Classifier', options, classifierOptions, ['device']);
    checkArgument('Classifier', 'classes', classes, kinds.int32Count);
    this.device = device;
    this.images = images;
    this.classes = classes;
    const init = new Initializer({ device, seed });
    this.stem = new Conv2d(images.channels, STEM, 3, init);
    let [width, side] = [STEM, images.imageSize];
    do {
      this.norms.push(new GroupNorm(width, init));
      this.convs.push(new Conv2d(width, WIDTH, 3, init));
      [width, side] = [WIDTH, Math.ceil(side / 2)];
    } while (side > LAST_SIDE);
    this.last = new GroupNorm(WIDTH, init);
    this.head = new Linear(WIDTH, classes, init);
  }

  /**
   * Computes features and logits of images in their data range.
   * @param x f32 [N, size, size, channels]
   */
  scores(x: Tensor): ClassScores {
    return scope(() => {
      const trunk = this.convs.reduce(
        (h, conv, i) => conv.forward(this.norms[i].forward(h, { activation: 'silu' }), { stride: 2 }),
        this.stem.forward(x),
      );
      const features = mean(this.last.forward(trunk, { activation: 'silu' }), { axes: [1, 2] });
      return { features, logits: this.head.forward(features) };
    });
  }

  /**
   * Computes features and logits of pixels without recording a graph.
   * @param images u8 [N, size, size, channels]
   * @throws ShapeError for images of another size
   */
  forward(images: Tensor): ClassScores {
    checkOperands('classifier', [images], 'u8');
    const { imageSize, channels, centered } = this.images;
    const expected = [imageSize, imageSize, channels];
    if (images.rank !== 4 || formatShape(images.shape.slice(1)) !== formatShape(expected))
      throw new ShapeError('classifier', `images [N, ${expected.join(', ')}]`, formatShape(images.shape));
    return noGrad(() =>
      scope(() => {
        const unit = mul(cast(images, 'f32'), 1 / 255);
        return { ...this.scores(centered ? add(mul(unit, 2), -1) : unit) };
      }),
    );
  }
}

/** A classifier loaded from its file. */
export interface StoredClassifier {
  network: Classifier;
  /** SHA-256 of the weights and the description of the images; it does not depend on the file's name. */
  hash: string;
  /** Accuracy on held-out images. */
  accuracy: number;
}

/**
 * Writes the network's current weights, atomically.
 * @param accuracy on held-out images, 0 to 1
 * @param metadata further entries of the file's metadata
 * @example
 * const device = await openDevice('cpu');
 * const network = new Classifier({ imageSize: 8, channels: 1, centered: true }, 10, { device });
 * await saveClassifier('classifier.safetensors', network, 0.1, { author: 'me' });
 * (await loadClassifier('classifier.safetensors', { device })).accuracy; // 0.1
 */
export async function saveClassifier(
  path: string,
  network: Classifier,
  accuracy: number,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  checkArguments('saveClassifier', {
    path: [path, kinds.path],
    network: [network, instanceOf(Classifier, 'a Classifier')],
    accuracy: [accuracy, kinds.number],
    metadata: [metadata, kinds.object],
  });
  const tensors = new Map<string, ArrayFile>();
  for (const [name, tensor] of network.namedTensors())
    tensors.set(name, { shape: [...tensor.shape], dtype: 'f32', data: (await tensor.data()) as Float32Array });
  await writeSafetensors(path, tensors, {
    ...metadata,
    format: FORMAT,
    images: JSON.stringify(network.images),
    classes: String(network.classes),
    accuracy: String(accuracy),
  });
}

/**
 * Loads a classifier that saveClassifier or trainClassifier wrote.
 * @throws FileError if the file is missing, damaged or not a classifier
 * @example
 * const device = await openDevice('cpu');
 * const config = await loadConfig('digits');
 * await trainClassifier(config, { device, out: 'classifier.safetensors', steps: 2 });
 * const { network, accuracy } = await loadClassifier('classifier.safetensors', { device });
 * network.classes; // 10
 * accuracy >= 0 && accuracy <= 1; // true
 * network.dispose();
 */
export async function loadClassifier(path: string, options: { device: Device }): Promise<StoredClassifier> {
  checkArgument('loadClassifier', 'path', path, kinds.path);
  const { device } = checkOptions('loadClassifier', options, { device: deviceKind }, ['device']);
  const { metadata, tensors } = await readSafetensors(path);
  if (metadata.format !== FORMAT)
    throw new FileError(
      path,
      `is not a classifier: its metadata has format ${JSON.stringify(metadata.format ?? null)}`,
    );
  const images = imagesOf(path, metadata.images);
  const [classes, accuracy] = [Number(metadata.classes), Number(metadata.accuracy)];
  if (!isWhole(classes, 2, MOST))
    throw new FileError(path, `its number of classes is ${JSON.stringify(metadata.classes)}`);
  if (!(accuracy >= 0 && accuracy <= 1))
    throw new FileError(path, `its accuracy is ${JSON.stringify(metadata.accuracy)}`);
  const values = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  const hash = createHash('sha256').update(JSON.stringify([images, classes]));
  for (const [name, { shape, data }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!(data instanceof Float32Array)) throw new FileError(path, `"${name}" is not float32`);
    const broken = data.findIndex((value) => !Number.isFinite(value));
    if (broken >= 0) throw new FileError(path, `value ${broken} of "${name}" is ${data[broken]}`);
    values.set(name, { shape, data });
    hash.update(JSON.stringify([name, shape])).update(bytesOf(data));
  }
  const network = new Classifier(images, classes, { device });
  try {
    network.loadStateDict(values, path);
  } catch (error) {
    network.dispose();
    throw error;
  }
  return { network, hash: hash.digest('hex'), accuracy };
}

function imagesOf(path: string, text: string | undefined): ClassifierImages {
  let value: Partial<Record<keyof ClassifierImages, unknown>> | null = null;
  try {
    value = JSON.parse(text ?? '');
  } catch {}
  const { imageSize, channels, centered } = value ?? {};
  if (!isWhole(imageSize, 1, MOST) || !isWhole(channels, 1, MOST) || typeof centered !== 'boolean')
    throw new FileError(path, `does not describe its images; the metadata "images" is ${JSON.stringify(text ?? null)}`);
  return { imageSize, channels, centered };
}
