// Data sets made from others: images changed as they are read, and those of some classes only.
//   bold      grey dilation by 2 x 2 pixels: each pixel becomes the brightest of itself, its left, its upper and its upper
//             left neighbour
//   inverted  255 minus each pixel
//   rotated   a quarter turn counterclockwise, as numpy.rot90
import { checkArgument, kinds, listOf, oneOf } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { checkIndices, datasetKind, type ImageDataset } from './dataset.ts';

export const imageChanges = ['bold', 'inverted', 'rotated'] as const;

/** A change of images that changedDataset makes. */
export type ImageChange = (typeof imageChanges)[number];

/** The place [row, column] that a pixel of the changed image takes its value from, or the places of which it is the brightest. */
const places: Record<Exclude<ImageChange, 'inverted'>, (y: number, x: number, side: number) => number[][]> = {
  bold: (y, x) => [0, 1].flatMap((up) => [0, 1].map((left) => [Math.max(0, y - up), Math.max(0, x - left)])),
  rotated: (y, x, side) => [[x, side - 1 - y]],
};

/**
 * A data set whose images are changed as they are loaded; it closes the other one.
 * @throws ValueError for a turn of images that are not square
 * @example
 * const dot = memoryDataset('dot', Uint8Array.of(0, 0, 0, 0, 9, 0, 0, 0, 0), [1, 3, 3, 1]);
 * const bold = changedDataset(dot, 'bold');
 * await bold.load(Int32Array.of(0)); // [0, 0, 0, 0, 9, 9, 0, 9, 9]
 */
export function changedDataset(dataset: ImageDataset, change: ImageChange): ImageDataset {
  checkArgument('changedDataset', 'dataset', dataset, datasetKind);
  checkArgument('changedDataset', 'change', change, oneOf(imageChanges));
  const { height, width, channels } = dataset;
  if (change === 'rotated' && height !== width)
    throw new ValueError(`[changedDataset] expected square images to rotate, got ${height} x ${width}`);
  const size = height * width * channels;
  const changed = (image: Uint8Array) => {
    if (change === 'inverted') return image.map((pixel) => 255 - pixel);
    const from = places[change];
    const out = new Uint8Array(size);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (const [row, column] of from(y, x, height))
          for (let c = 0; c < channels; c++) {
            const at = (y * width + x) * channels + c;
            out[at] = Math.max(out[at], image[(row * width + column) * channels + c]);
          }
    return out;
  };
  return {
    ...dataset,
    name: `${dataset.name}, ${change}`,
    async load(indices: Int32Array) {
      const images = await dataset.load(indices);
      for (let at = 0; at < images.length; at += size) images.set(changed(images.subarray(at, at + size)), at);
      return images;
    },
    [Symbol.dispose]: () => dataset[Symbol.dispose](),
  };
}

/**
 * The images of a data set with certain labels, in their order; it closes the other one.
 * @throws ValueError for a data set without labels, and if no image has one of them
 * @example
 * const images = memoryDataset('three', Uint8Array.of(10, 20, 30), [3, 1, 1, 1], Int32Array.of(4, 7, 4));
 * const fours = labelledSubset(images, [4]);
 * fours.count; // 2
 * await fours.load(Int32Array.of(1)); // [30]
 */
export function labelledSubset(dataset: ImageDataset, labels: readonly number[]): ImageDataset {
  checkArgument('labelledSubset', 'dataset', dataset, datasetKind);
  checkArgument('labelledSubset', 'labels', labels, listOf(kinds.whole, 'labels'));
  const all = dataset.labels;
  if (!all) throw new ValueError(`[labelledSubset] expected a data set with labels, got ${dataset.name}`);
  const members = Int32Array.from(all.keys()).filter((i) => labels.includes(all[i]));
  if (members.length === 0)
    throw new ValueError(
      `[labelledSubset] expected images with label ${labels.join(', ')}, but ${dataset.name} has none`,
    );
  return {
    ...dataset,
    name: `${dataset.name}, classes ${labels.join(', ')}`,
    count: members.length,
    labels: members.map((i) => all[i]),
    load(indices: Int32Array) {
      const own = { name: `${dataset.name}, classes ${labels.join(', ')}`, count: members.length };
      checkIndices(own, indices);
      return dataset.load(indices.map((i) => members[i]));
    },
    [Symbol.dispose]: () => dataset[Symbol.dispose](),
  };
}
