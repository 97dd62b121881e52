// Training batches as pure functions of the step: a run that resumes at step s continues with exactly the same images.
//
// place b of step s is item s * batchSize + b of the run; epoch = floor(item / count), position = item mod count
//
// A batch may cross the end of an epoch. Each image occurs exactly once per epoch.
import { checkArgument, checkArguments, checkOptions, describeValue, kinds, type OptionKinds } from '../arguments.ts';
import { ArgumentError, ValueError } from '../errors.ts';
import { datasetKind, type ImageDataset } from './dataset.ts';
import { dequantizePixels, flipHorizontal, isFlipped, scalePixels } from './scaling.ts';
import { shuffledIndex } from './shuffle.ts';

/**
 * The item indices of step `step`, in the shuffled order of `count` items.
 * @throws ValueError for numbers out of range
 * @example
 * // Two batches of 3 visit each of 6 items once, in an order that seed and epoch decide.
 * const [first, second] = [0, 1].map((step) => batchIndices(step, 3, 6, 1));
 * [...first, ...second].sort(); // [0, 1, 2, 3, 4, 5]
 */
export function batchIndices(step: number, batchSize: number, count: number, seed: number): Int32Array {
  checkArguments('batchIndices', {
    step: [step, kinds.whole],
    batchSize: [batchSize, kinds.int32Count],
    count: [count, kinds.int32Count],
    seed: [seed, kinds.whole],
  });
  return Int32Array.from({ length: batchSize }, (_, place) => {
    const item = step * batchSize + place;
    return shuffledIndex(item % count, count, Math.floor(item / count), seed);
  });
}

export interface BatchOptions {
  seed: number;
  /** Whether values are in [-1, 1] rather than [0, 1]. */
  centered: boolean;
  /** Adds uniform noise below one pixel step. Default false. */
  dequantize?: boolean;
  /** Mirrors each image with probability 1/2. Default false. */
  flip?: boolean;
}

export interface Batch {
  /** f32 [B, H, W, C] */
  images: Float32Array;
  /** i32 [B], the indices of the images in the data set. */
  indices: Int32Array;
  /** i32 [B], if the data set has labels. */
  labels?: Int32Array;
}

const batchOptions: OptionKinds<BatchOptions> = {
  seed: kinds.whole,
  centered: kinds.boolean,
  dequantize: kinds.boolean,
  flip: kinds.boolean,
};

/**
 * The training batch of step `step`: shuffled, scaled and, depending on the options, flipped and dequantised. It is a function of
 * the step and the seed alone.
 * @throws ArgumentError for numbers out of range; FileError for images that cannot be read
 * @example
 * const digits = await digitsDataset('train');
 * const { images, indices } = await trainingBatch(digits, 100, 4, { seed: 1, centered: true, dequantize: true });
 * images.length; // 256
 * indices; // [933, 635, 5, 278]
 */
export async function trainingBatch(
  dataset: ImageDataset,
  step: number,
  batchSize: number,
  options: BatchOptions,
): Promise<Batch> {
  checkArgument('trainingBatch', 'dataset', dataset, datasetKind);
  const checked = checkOptions('trainingBatch', options, batchOptions, ['seed', 'centered']);
  const indices = batchIndices(step, batchSize, dataset.count, checked.seed);
  const first = step * batchSize;
  return makeBatch(dataset, indices, checked, (place) => first + place);
}

const sequentialOptions = { centered: kinds.boolean, dequantize: kinds.object };
const noiseOptions = { seed: kinds.whole, item: kinds.whole };

/**
 * Images `start` to `start + length - 1` in the data set's own order, scaled; for evaluation.
 * @param options.dequantize adds dequantisation noise of this seed; place b of the batch gets the noise of item number `item + b`
 * @throws ValueError for images beyond the end; FileError for images that cannot be read
 * @example
 * const digits = await digitsDataset('heldOut');
 * const { images, labels } = await sequentialBatch(digits, 0, 4, { centered: true });
 * images.length; // 256
 * labels; // [4, 9, 3, 8]
 */
export async function sequentialBatch(
  dataset: ImageDataset,
  start: number,
  length: number,
  options: Pick<BatchOptions, 'centered'> & { dequantize?: { seed: number; item: number } },
): Promise<Batch> {
  checkArgument('sequentialBatch', 'dataset', dataset, datasetKind);
  checkArguments('sequentialBatch', { start: [start, kinds.whole], length: [length, kinds.whole] });
  const { centered, dequantize } = checkOptions('sequentialBatch', options, sequentialOptions, ['centered']);
  const noise = dequantize && checkOptions('sequentialBatch', dequantize, noiseOptions, ['seed', 'item']);
  if (start + length > dataset.count)
    throw new ValueError(
      `[sequentialBatch] expected indices below ${dataset.count} (${dataset.name}), got ${start} to ${start + length - 1}`,
    );
  const indices = Int32Array.from({ length }, (_, place) => start + place);
  const made = { seed: noise?.seed ?? 0, centered, dequantize: noise !== undefined };
  return makeBatch(dataset, indices, made, (place) => (noise?.item ?? 0) + place);
}

/** The images of these indices as a batch; `itemAt` gives the number that the flip and the noise of a place depend on. */
export async function makeBatch(
  dataset: ImageDataset,
  indices: Int32Array,
  options: BatchOptions,
  itemAt: (place: number) => number,
): Promise<Batch> {
  const { centered } = options;
  const imageBytes = dataset.height * dataset.width * dataset.channels;
  const bytes = await dataset.load(indices);
  if (!kinds.bytes.accepts(bytes) || bytes.length !== indices.length * imageBytes)
    throw new ArgumentError('dataset.load', `${indices.length} images of ${imageBytes} bytes`, describeValue(bytes));
  const images = new Float32Array(indices.length * imageBytes);
  for (let place = 0; place < indices.length; place++) {
    const item = itemAt(place);
    const pixels = bytes.subarray(place * imageBytes, (place + 1) * imageBytes);
    if (options.flip && isFlipped(options.seed, item)) flipHorizontal(pixels, dataset.width, dataset.channels);
    const values = options.dequantize
      ? dequantizePixels(pixels, { centered }, options.seed, item)
      : scalePixels(pixels, { centered });
    images.set(values, place * imageBytes);
  }
  const { labels } = dataset;
  return { images, indices, labels: labels && indices.map((index) => labels[index]) };
}
