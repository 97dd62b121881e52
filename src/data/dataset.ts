// What a data set of images is to the rest of the package: a number of 8-bit images of one size, read by index.
import { ValueError } from '../errors.ts';
import { checkWhole } from './random.ts';

export interface ImageDataset {
  readonly name: string;
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Class numbers 0..K-1, one an image, where the set has any. */
  readonly labels?: Int32Array;
  /** Images by index, u8 [B, H, W, C], in memory of the caller. */
  load(indices: Int32Array): Promise<Uint8Array>;
  /** Closes what it reads from, for sets that hold a file open. */
  [Symbol.dispose]?(): void;
}

/**
 * A data set of images that lie in memory.
 * @param images u8 [N, H, W, C]
 * @throws ValueError when shape, images and labels do not fit together
 */
export function memoryDataset(
  name: string,
  images: Uint8Array,
  shape: readonly number[],
  labels?: Int32Array,
): ImageDataset {
  if (shape.length !== 4) throw new ValueError(`data set ${name} needs [N, H, W, C], got [${shape.join(', ')}]`);
  const [count, height, width, channels] = shape;
  for (const dim of shape) checkWhole(`a dimension of data set ${name}`, dim, 1);
  const imageBytes = height * width * channels;
  if (images.length !== count * imageBytes)
    throw new ValueError(`data set ${name} of [${shape.join(', ')}] cannot have ${images.length} bytes`);
  if (labels && labels.length !== count)
    throw new ValueError(`data set ${name} has ${labels.length} labels for ${count} images`);
  return {
    name,
    count,
    height,
    width,
    channels,
    labels,
    async load(indices) {
      const out = new Uint8Array(indices.length * imageBytes);
      indices.forEach((index, place) => {
        checkIndex(this, index);
        out.set(images.subarray(index * imageBytes, (index + 1) * imageBytes), place * imageBytes);
      });
      return out;
    },
  };
}

/** @throws ValueError unless 0 <= index < dataset.count */
export function checkIndex(dataset: ImageDataset, index: number): void {
  if (checkWhole('image index', index) >= dataset.count)
    throw new ValueError(`data set ${dataset.name} has ${dataset.count} images, none of index ${index}`);
}
