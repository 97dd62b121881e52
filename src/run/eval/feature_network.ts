// Features of images that scores are computed from. Every report names them, because scores in different features
// cannot be compared.
import { basename } from 'node:path';
import { checkArgument, checkOptions, kind, kinds, type OptionKinds, wholeNumbers } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { ConfigError, formatShape, ShapeError, ValueError } from '../../errors.ts';
import { rowsKind } from '../../eval/features.ts';
import { extractFeatures, type FeatureRows, FidInception, loadClassifier } from '../../eval/index.ts';
import { runOptions } from '../arguments.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { weightsFile } from '../machine/user_files.ts';
import { classifierImages } from './train_classifier.ts';

export interface Features {
  features: FeatureRows;
  /** Class logits, for the Inception score. */
  logits?: FeatureRows;
}

export interface FeatureNetwork extends Disposable {
  /** Display name: "inception", "pixels", "classifier digits.safetensors (1a2b3c4d)". */
  readonly name: string;
  /** Identifies what the network computes, independent of its file name. Statistics are stored under it. */
  readonly key: string;
  /**
   * The features of images, in order.
   * @param images u8 [N, H, W, C]
   */
  extract(images: Uint8Array, shape: readonly number[], signal?: AbortSignal): Promise<Features>;
}

const wholeRows = kind(`${rowsKind.expected}, as many as rows * columns`, (value) => {
  if (!rowsKind.accepts(value)) return false;
  const { values, rows, columns } = value as FeatureRows;
  return columns >= 1 && values.length === rows * columns;
});
const featureKinds: OptionKinds<Features> = { features: wholeRows, logits: wholeRows };

/** @throws ArgumentError unless these are features with rows * columns values each */
export function checkFeatureVectors(op: string, features: Features): Features {
  return checkOptions(op, features, featureKinds, ['features']);
}

export const networkKind = kind('a feature network of openFeatures()', (value) => {
  if (!kinds.object.accepts(value)) return false;
  const { name, key, extract } = value as FeatureNetwork;
  return typeof name === 'string' && typeof key === 'string' && typeof extract === 'function';
});

/** @throws ArgumentError or ShapeError unless these are images u8 [N, H, W, C], N >= 1 */
function checkImages(images: Uint8Array, shape: readonly number[], signal?: AbortSignal): void {
  checkArgument('extract', 'images', images, kinds.bytes);
  const dims = wholeNumbers('extract', 'shape', shape);
  if (dims.length !== 4 || !dims.every((dim) => dim >= 1) || dims.reduce((a, b) => a * b) !== images.length)
    throw new ShapeError('extract', `images [N, H, W, C] of ${images.length} bytes`, formatShape(dims));
  if (signal !== undefined) checkArgument('extract', 'signal', signal, kinds.signal);
}

interface OpenOptions {
  device: Device;
  onNotice?: (text: string) => void;
}

const openOptions: OptionKinds<OpenOptions> = { device: runOptions.device, onNotice: runOptions.onNotice };

/**
 * Opens the feature network that eval.features selects.
 * @throws FileError for weights that cannot be read or downloaded, naming their source; ConfigError for a classifier of
 * other images
 * @example
 * const config = await loadConfig('digits', { eval: { features: 'pixels' } });
 * const network = await openFeatures(config, { device: await openDevice('cpu') });
 * const { features } = await network.extract(new Uint8Array(2 * 64).fill(255), [2, 8, 8, 1]);
 * features.columns; // 64
 * network[Symbol.dispose]();
 */
export async function openFeatures(config: Config, options: OpenOptions): Promise<FeatureNetwork> {
  requireConfig('openFeatures', config);
  const checked = checkOptions('openFeatures', options, openOptions, ['device']);
  if (config.eval.features === 'pixels') return pixelFeatures;
  const path = classifierFile(config);
  return path === undefined ? inceptionFeatures(config, checked) : classifierFeatures(path, config, checked);
}

/** The classifier file that eval.features names; undefined if it names none. */
export function classifierFile({ eval: { features } }: Config): string | undefined {
  return features.startsWith('classifier:') ? features.slice('classifier:'.length) : undefined;
}

async function inceptionFeatures(config: Config, options: OpenOptions): Promise<FeatureNetwork> {
  const path = await weightsFile('inception', config.eval.inception, options.onNotice);
  const network = await FidInception.load(path, { device: options.device });
  return {
    name: 'inception',
    key: 'inception',
    async extract(images, shape, signal) {
      checkImages(images, shape, signal);
      const { pool3, logits } = await extractFeatures(network, inColour(images, shape), [...shape.slice(0, 3), 3], {
        signal,
      });
      return { features: pool3, logits };
    },
    [Symbol.dispose]: () => network[Symbol.dispose](),
  };
}

/** Grey images as three equal channels. */
function inColour(images: Uint8Array, shape: readonly number[]): Uint8Array {
  if (shape[3] !== 1) return images;
  return Uint8Array.from({ length: 3 * images.length }, (_, i) => images[Math.floor(i / 3)]);
}

async function classifierFeatures(path: string, config: Config, { device }: OpenOptions): Promise<FeatureNetwork> {
  const { network, hash } = await loadClassifier(path, { device });
  const [of, wanted] = [network.images, classifierImages(config)].map(({ imageSize, channels, centered }) => {
    return `${imageSize} x ${imageSize} of ${channels} channels in ${centered ? '[-1, 1]' : '[0, 1]'}`;
  });
  if (of !== wanted) {
    network.dispose();
    throw new ConfigError(
      `eval.features: the classifier ${path} expects images ${of}, but this configuration has ${wanted}`,
    );
  }
  return {
    name: `classifier ${basename(path)} (${hash.slice(0, 8)})`,
    key: `classifier-${hash.slice(0, 16)}`,
    extract: (images, shape, signal) => extractFeatures(network, images, shape, { signal, batchSize: 256 }),
    [Symbol.dispose]: () => network.dispose(),
  };
}

/** The pixels themselves, each in [0, 1], for small images or if no weights are available. */
const pixelFeatures: FeatureNetwork = {
  name: 'pixels',
  key: 'pixels',
  async extract(images, shape, signal) {
    checkImages(images, shape, signal);
    const [rows] = shape;
    return {
      features: { values: Float32Array.from(images, (value) => value / 255), rows, columns: images.length / rows },
    };
  },
  [Symbol.dispose]() {},
};

/** "features of 64 columns, 10 classes" */
function columnsOf({ features, logits }: Features): string {
  return `features of ${features.columns} columns, ${logits ? `${logits.columns} classes` : 'no classes'}`;
}

/**
 * Collects the feature rows of several batches.
 * @example
 * const collector = new FeatureCollector();
 * collector.add({ features: { values: Float32Array.of(1, 2), rows: 1, columns: 2 } });
 * collector.add({ features: { values: Float32Array.of(3, 4), rows: 1, columns: 2 } });
 * collector.all().features; // { values: [1, 2, 3, 4], rows: 2, columns: 2 }
 */
export class FeatureCollector {
  private readonly batches: Features[] = [];

  /** Appends the features of a batch. */
  add(features: Features): void {
    const batch = checkFeatureVectors('FeatureCollector.add', features);
    const before = this.batches[0] ?? batch;
    if (columnsOf(batch) !== columnsOf(before))
      throw new ValueError(`[FeatureCollector.add] expected ${columnsOf(before)}, got ${columnsOf(batch)}`);
    this.batches.push(batch);
  }

  /** All rows so far. @throws ValueError before the first batch */
  all(): Features {
    if (this.batches.length === 0) throw new ValueError('[FeatureCollector.all] expected at least one batch, got none');
    const joined = (pick: (features: Features) => FeatureRows | undefined): FeatureRows | undefined => {
      const parts = this.batches.map(pick);
      if (parts.length === 0 || parts.some((part) => part === undefined)) return undefined;
      const rows = (parts as FeatureRows[]).reduce((sum, part) => sum + part.rows, 0);
      const { columns } = parts[0] as FeatureRows;
      const values = new Float32Array(rows * columns);
      let at = 0;
      for (const part of parts as FeatureRows[]) {
        values.set(part.values, at);
        at += part.values.length;
      }
      return { values, rows, columns };
    };
    return { features: joined(({ features }) => features) as FeatureRows, logits: joined(({ logits }) => logits) };
  }
}
