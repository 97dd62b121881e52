// Computes feature vectors of images on the host, batch by batch.
import { checkArguments, checkOptions, kind, kinds, listOf, type OptionKinds } from '../arguments.ts';
import type { Device } from '../device/device.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { tensor } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { turn } from '../turn.ts';
import type { FeatureRows } from './features.ts';

/** A network that maps pixels, u8 [N, H, W, C], to one or several named features, f32 [N, columns]. */
export interface FeatureExtractor<Names extends string> {
  readonly device: Device;
  /** The features of one batch of images. */
  forward(images: Tensor): Record<Names, Tensor>;
}

export interface ExtractOptions {
  /** Number of images per batch; default 32. */
  batchSize?: number;
  /** Called after each batch with the number of images done. */
  onBatch?: (done: number) => void;
  /** Stops between two batches, with the signal's reason. */
  signal?: AbortSignal;
}

const extractOptions: OptionKinds<ExtractOptions> = {
  batchSize: kinds.count,
  onBatch: kinds.callback,
  signal: kinds.signal,
};

const extractorKind = kind('a network with a method forward(images)', (value) => {
  return typeof (value as FeatureExtractor<string> | null)?.forward === 'function';
});

/**
 * Computes the features of images, in their order.
 * @param images u8, of the size of `shape`
 * @param shape [N, H, W, C], N at least 1
 * @returns the network's outputs over all images. For FidInception: pool3 [N, 2048] for the Frechet and kernel
 * distances, precision and recall, and logits [N, 1008] for the Inception score
 * @throws ShapeError for images of another shape; ArgumentError for a batch size that is not a whole number
 * @example
 * const device = await openDevice('cpu');
 * const network = new Classifier({ imageSize: 8, channels: 1, centered: true }, 10, { device });
 * const { images } = await loadDigits();
 * const { features } = await extractFeatures(network, images.subarray(0, 100 * 64), [100, 8, 8, 1]);
 * features.rows; // 100
 * features.columns; // 64
 */
export async function extractFeatures<Names extends string>(
  network: FeatureExtractor<Names>,
  images: Uint8Array,
  shape: readonly number[],
  options: ExtractOptions = {},
): Promise<Record<Names, FeatureRows>> {
  const { batchSize = 32, onBatch, signal } = checkOptions('extractFeatures', options, extractOptions);
  checkArguments('extractFeatures', {
    network: [network, extractorKind],
    images: [images, kinds.bytes],
    shape: [shape, listOf(kinds.whole, 'whole numbers')],
  });
  const [count, ...image] = shape;
  const pixels = image.reduce((product, extent) => product * extent, 1);
  if (shape.length !== 4 || count < 1 || count * pixels !== images.length)
    throw new ShapeError('features', `images [N, H, W, C] of ${images.length} values`, formatShape(shape));
  const found: Partial<Record<Names, FeatureRows>> = {};
  for (let start = 0; start < count; start += batchSize) {
    await turn(signal);
    const end = Math.min(start + batchSize, count);
    const outputs = scope(() => {
      const batch = images.subarray(start * pixels, end * pixels);
      return network.forward(tensor(batch, { shape: [end - start, ...image], dtype: 'u8', device: network.device }));
    });
    for (const [name, output] of Object.entries<Tensor>(outputs) as [Names, Tensor][]) {
      const columns = output.shape[1];
      found[name] ??= { values: new Float32Array(count * columns), rows: count, columns };
      found[name].values.set((await output.data()) as Float32Array, start * columns);
      output.dispose();
    }
    onBatch?.(end);
  }
  return found as Record<Names, FeatureRows>;
}
