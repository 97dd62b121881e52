// From images on the host to feature vectors on the host, a batch at a time.
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { tensor } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import type { FeatureRows } from './features.ts';
import { CLASSES, FEATURES, type FidInception } from './inception.ts';

export interface ExtractOptions {
  /** Images that go through the network at once; default 32. */
  batchSize?: number;
  /** Called after each batch with the number of images done. */
  onBatch?: (done: number) => void;
  /** Ends it between two batches, with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * The features of images, in their order.
 * @param images u8, as many as `shape` says
 * @param shape [N, H, W, 3]
 * @returns pool3 [N, 2048] for the Frechet and kernel distances, precision and recall; logits [N, 1008] for the Inception score
 * @throws ShapeError for images of another kind; ValueError for a batch size that is no whole number
 */
export async function extractFeatures(
  network: FidInception,
  images: Uint8Array,
  shape: readonly number[],
  options: ExtractOptions = {},
): Promise<{ pool3: FeatureRows; logits: FeatureRows }> {
  const { batchSize = 32, onBatch, signal } = options;
  const [count, ...image] = shape;
  const pixels = image.reduce((product, extent) => product * extent, 1);
  if (shape.length !== 4 || count * pixels !== images.length)
    throw new ShapeError('inception', `images [N, H, W, 3] of ${images.length} values`, formatShape(shape));
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new ValueError(`batchSize must be a whole number >= 1, got ${batchSize}`);
  const pool3 = new Float32Array(count * FEATURES);
  const logits = new Float32Array(count * CLASSES);
  for (let start = 0; start < count; start += batchSize) {
    signal?.throwIfAborted();
    const end = Math.min(start + batchSize, count);
    const features = scope(() => {
      const batch = images.subarray(start * pixels, end * pixels);
      return network.forward(tensor(batch, { shape: [end - start, ...image], dtype: 'u8', device: network.device }));
    });
    pool3.set(await features.pool3.data(), start * FEATURES);
    logits.set(await features.logits.data(), start * CLASSES);
    features.pool3.dispose();
    features.logits.dispose();
    onBatch?.(end);
  }
  return {
    pool3: { values: pool3, rows: count, columns: FEATURES },
    logits: { values: logits, rows: count, columns: CLASSES },
  };
}
