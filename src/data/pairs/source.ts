// Pairs that start from images of a data set instead of noise (domain transfer). The file source.npy, i32 [count], has for each pair
// 2 index + flip: the number of its image in the training part of the source, and 1 if it is mirrored. Noise may be added to it:
//   z0 = image + scale * N(0, 1), by Philox from (seed, stream, number of the pair)
// A store in shards has no z0: it is made from the images, whose SHA-256 the manifest has.
import { createHash } from 'node:crypto';
import { checkArgument, checkArguments, kind, kinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { fillNormals } from '../../tensor/philox.ts';
import { datasetKind, type ImageDataset } from '../dataset.ts';
import { flipHorizontal, isFlipped, scalePixels } from '../scaling.ts';
import { shuffledIndex } from '../shuffle.ts';
import type { SourceLaw } from './manifest.ts';

/** Most images that the SHA-256 of a source is of, spread evenly over it. */
const HASHED = 4096;
/** Images that are hashed at once. */
const BATCH = 256;

/** The images that pairs start from. */
export interface PairSource {
  dataset: ImageDataset;
  /** Whether the network sees pixels in [-1, 1]. */
  centered: boolean;
  /** What sourceHash says of the data set. */
  sha256: string;
}

export const pairSourceKind = kind('a source { dataset, centered, sha256 }', (value) => {
  if (!kinds.object.accepts(value)) return false;
  const { dataset, centered, sha256 } = value as PairSource;
  return datasetKind.accepts(dataset) && typeof centered === 'boolean' && typeof sha256 === 'string';
});

/**
 * SHA-256 of number, shape and pixels of the images of a data set; of more than 4096 images, those of 4096 that are spread evenly.
 * @throws FileError for images that cannot be read
 * @example
 * const ramp = memoryDataset('ramp', Uint8Array.of(0, 1, 2, 3), [1, 2, 2, 1]);
 * (await sourceHash(ramp)).length; // 64
 */
export async function sourceHash(dataset: ImageDataset): Promise<string> {
  checkArgument('sourceHash', 'dataset', dataset, datasetKind);
  const { count, height, width, channels } = dataset;
  const hash = createHash('sha256').update(JSON.stringify([count, height, width, channels]));
  const chosen = Math.min(count, HASHED);
  const indices = Int32Array.from({ length: chosen }, (_, i) => Math.floor((i * count) / chosen));
  for (let first = 0; first < chosen; first += BATCH)
    hash.update(await dataset.load(indices.subarray(first, first + BATCH)));
  return hash.digest('hex');
}

/**
 * The column of pairs: the images of a source in a shuffled order, again for each pass over them, each mirrored with probability 1/2 if
 * `flip` is set. It is a function of the numbers alone.
 * @param images number of images of the source
 * @returns i32 [count], 2 index + flip
 * @example
 * const column = sourceColumn(6, 3, { seed: 1, flip: false });
 * [...column.subarray(0, 3)].sort(); // [0, 2, 4]
 */
export function sourceColumn(count: number, images: number, options: { seed: number; flip: boolean }): Int32Array {
  checkArguments('sourceColumn', {
    count: [count, kinds.int32Count],
    images: [images, kinds.int32Count],
    options: [options, kinds.object],
  });
  const { seed, flip } = options;
  return Int32Array.from(
    { length: count },
    (_, i) =>
      2 * shuffledIndex(i % images, images, Math.floor(i / images), seed) + (flip && isFlipped(seed, i) ? 1 : 0),
  );
}

/** z0 of a pair, f32 [H, W, C]. @param place 2 index + flip @param index number of the pair */
export async function sourceStart(
  { dataset, centered }: PairSource,
  place: number,
  index: number,
  { seed, stream, scale }: SourceLaw,
): Promise<Float32Array> {
  const image = scalePixels(await dataset.load(Int32Array.of(place >> 1)), { centered });
  if (place & 1) flipHorizontal(image, dataset.width, dataset.channels);
  if (scale === 0) return image;
  const noise = new Float32Array(image.length);
  fillNormals(noise, seed, index, stream);
  const factor = Math.fround(scale);
  for (let i = 0; i < image.length; i++) image[i] += Math.fround(factor * noise[i]);
  return image;
}

/** @throws FileError unless these are the images that a folder's pairs start from */
export function requireSource(path: string, law: SourceLaw, source: PairSource): void {
  if (source.sha256 !== law.source)
    throw new FileError(
      path,
      `starts from images with SHA-256 ${law.source.slice(0, 12)}, but the source has ${source.sha256.slice(0, 12)}: ` +
        'give the source.* that these pairs were generated with',
    );
}
