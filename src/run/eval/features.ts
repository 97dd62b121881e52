// What samples are compared by: features of images, named in every report because scores of different features do not compare.
import { basename } from 'node:path';
import type { Device } from '../../device/device.ts';
import { ConfigError } from '../../errors.ts';
import { extractFeatures, type FeatureRows, FidInception, loadClassifier } from '../../eval/index.ts';
import { classifierImages } from '../classifier.ts';
import type { Config } from '../config/schema.ts';
import { weightsFile } from '../user_files.ts';

export interface Features {
  features: FeatureRows;
  /** Of the classes, for the Inception score. */
  logits?: FeatureRows;
}

export interface FeatureNetwork extends Disposable {
  /** For people: "inception", "pixels", "classifier digits.safetensors (1a2b3c4d)". */
  readonly name: string;
  /** What it computes, whatever its file is called: statistics are kept under it. */
  readonly key: string;
  /**
   * The features of images, in their order.
   * @param images u8 [N, H, W, C]
   */
  extract(images: Uint8Array, shape: readonly number[], signal?: AbortSignal): Promise<Features>;
}

interface OpenOptions {
  device: Device;
  onNotice?: (text: string) => void;
}

/**
 * As eval.features says.
 * @throws FileError for weights that cannot be had, saying where to get them; ConfigError for a classifier of other images
 */
export async function openFeatures(config: Config, options: OpenOptions): Promise<FeatureNetwork> {
  if (config.eval.features === 'pixels') return pixelFeatures;
  const path = classifierFile(config);
  return path === undefined ? inceptionFeatures(config, options) : classifierFeatures(path, config, options);
}

/** The file that eval.features names. */
export function classifierFile({ eval: { features } }: Config): string | undefined {
  return features.startsWith('classifier:') ? features.slice('classifier:'.length) : undefined;
}

async function inceptionFeatures(config: Config, options: OpenOptions): Promise<FeatureNetwork> {
  const path = await weightsFile('inception', config.eval.inception, options.onNotice);
  const network = await FidInception.load(path, options);
  return {
    name: 'inception',
    key: 'inception',
    async extract(images, shape, signal) {
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
      `eval.features: the classifier ${path} is of images ${of}; those of this configuration are ${wanted}`,
    );
  }
  return {
    name: `classifier ${basename(path)} (${hash.slice(0, 8)})`,
    key: `classifier-${hash.slice(0, 16)}`,
    extract: (images, shape, signal) => extractFeatures(network, images, shape, { signal, batchSize: 256 }),
    [Symbol.dispose]: () => network.dispose(),
  };
}

/** The image itself, each value in [0, 1]: for small images, and where no weights are at hand. */
const pixelFeatures: FeatureNetwork = {
  name: 'pixels',
  key: 'pixels',
  async extract(images, [rows]) {
    return {
      features: { values: Float32Array.from(images, (value) => value / 255), rows, columns: images.length / rows },
    };
  },
  [Symbol.dispose]() {},
};

/** Rows of several batches as one. */
export class FeatureCollector {
  private readonly batches: Features[] = [];

  /** Those of the next batch. */
  add(features: Features): void {
    this.batches.push(features);
  }

  /** @throws TypeError before the first batch */
  all(): Features {
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
