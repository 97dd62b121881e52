// The interface of image data sets: a number of 8-bit images of one size, read by index.
import { checkArgument, checkArguments, kind, kinds, oneOf, wholeNumbers } from '../arguments.ts';
import { formatShape, ValueError } from '../errors.ts';

export interface ImageDataset extends Disposable {
  readonly name: string;
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Class numbers 0..K-1, one per image, if the data set has any. */
  readonly labels?: Int32Array;
  /** Loads images by index, u8 [B, H, W, C]; the caller owns the array. */
  load(indices: Int32Array): Promise<Uint8Array>;
  /** Closes the underlying files, if any. */
  [Symbol.dispose](): void;
}

/** A data set whose images have labels. */
export interface LabelledImages extends ImageDataset {
  readonly labels: Int32Array;
}

export const partKind = oneOf(['train', 'heldOut']);

export const datasetKind = kind('a data set { name, count, height, width, channels, load }', (value) => {
  if (!kinds.object.accepts(value)) return false;
  const { count, height, width, channels, load } = value as ImageDataset;
  return [count, height, width, channels].every(kinds.count.accepts) && kinds.callback.accepts(load);
});

/**
 * Creates a data set of images in memory.
 * @param images u8 [N, H, W, C]
 * @throws ValueError if shape, images and labels do not match
 * @example
 * const pixels = Uint8Array.from({ length: 2 * 4 * 4 }, (_, i) => i);
 * const images = memoryDataset('ramps', pixels, [2, 4, 4, 1], Int32Array.of(7, 8));
 * images.count; // 2
 * images.labels; // [7, 8]
 * (await images.load(Int32Array.of(1)))[0]; // 16
 */
export function memoryDataset(
  name: string,
  images: Uint8Array,
  shape: readonly number[],
  labels: Int32Array,
): LabelledImages;
export function memoryDataset(
  name: string,
  images: Uint8Array,
  shape: readonly number[],
  labels?: Int32Array,
): ImageDataset;
export function memoryDataset(
  name: string,
  images: Uint8Array,
  shape: readonly number[],
  labels?: Int32Array,
): ImageDataset {
  checkArguments('memoryDataset', { name: [name, kinds.text], images: [images, kinds.bytes] });
  if (labels !== undefined) checkArgument('memoryDataset', 'labels', labels, kinds.int32s);
  const dims = wholeNumbers('memoryDataset', 'shape', shape);
  if (dims.length !== 4 || !dims.every((dim) => dim >= 1))
    throw new ValueError(`[memoryDataset] data set ${name} needs [N, H, W, C], got ${formatShape(dims)}`);
  const [count, height, width, channels] = dims;
  const imageBytes = height * width * channels;
  if (images.length !== count * imageBytes)
    throw new ValueError(`[memoryDataset] data set ${name} of ${formatShape(dims)} cannot have ${images.length} bytes`);
  if (labels && labels.length !== count)
    throw new ValueError(`[memoryDataset] data set ${name} has ${labels.length} labels for ${count} images`);
  return {
    name,
    count,
    height,
    width,
    channels,
    labels,
    async load(indices) {
      checkIndices(this, indices);
      const out = new Uint8Array(indices.length * imageBytes);
      indices.forEach((index, place) => {
        out.set(images.subarray(index * imageBytes, (index + 1) * imageBytes), place * imageBytes);
      });
      return out;
    },
    [Symbol.dispose]() {},
  };
}

/** @throws ArgumentError for anything but an Int32Array; ValueError unless 0 <= index < dataset.count */
export function checkIndices({ name, count }: Pick<ImageDataset, 'name' | 'count'>, indices: Int32Array): void {
  checkArgument('dataset.load', 'indices', indices, kinds.int32s);
  const wrong = indices.find((index) => index < 0 || index >= count);
  if (wrong !== undefined) throw new ValueError(`data set ${name} has ${count} items; index ${wrong} is out of range`);
}
