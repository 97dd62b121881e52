// CIFAR-10 in its official binary layout: data_batch_1.bin .. data_batch_5.bin for training, test_batch.bin held out.
//
// record = label (1 byte), 1024 red, 1024 green, 1024 blue pixels of a 32 x 32 image, row by row
//
// Source: cs.toronto.edu/~kriz/cifar.html, "binary version".
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FileError } from '../errors.ts';
import { readWhole } from '../io/file.ts';
import { type ImageDataset, memoryDataset } from './dataset.ts';

const side = 32;
const channels = 3;
const plane = side * side;
const recordBytes = 1 + channels * plane;
const batchRecords = 10_000;

export interface Cifar10 {
  dataset: ImageDataset;
  /** Training batches that the folder lacks. */
  missing: string[];
}

/** @throws FileError for a folder without batches, or a batch that is cut off or damaged */
export async function loadCifar10(folder: string, part: 'train' | 'heldOut'): Promise<Cifar10> {
  const names = part === 'train' ? [1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`) : ['test_batch.bin'];
  const found = names.filter((name) => existsSync(join(folder, name)));
  if (found.length === 0)
    throw new FileError(folder, `holds none of ${names.join(', ')}; set data.root_path to the CIFAR-10 binary folder`);
  const batches: { images: Uint8Array; labels: Int32Array }[] = [];
  for (const name of found) batches.push(await readBatch(join(folder, name)));
  const count = batches.length * batchRecords;
  const images = new Uint8Array(count * channels * plane);
  const labels = new Int32Array(count);
  batches.forEach((batch, i) => {
    images.set(batch.images, i * batch.images.length);
    labels.set(batch.labels, i * batchRecords);
  });
  return {
    dataset: memoryDataset(`CIFAR-10, ${part}`, images, [count, side, side, channels], labels),
    missing: names.filter((name) => !found.includes(name)),
  };
}

async function readBatch(path: string): Promise<{ images: Uint8Array; labels: Int32Array }> {
  const bytes = await readWhole(path, batchRecords * recordBytes);
  if (bytes.length !== batchRecords * recordBytes)
    throw new FileError(path, `has ${bytes.length} bytes instead of ${batchRecords * recordBytes}; it is cut off`);
  const images = new Uint8Array(batchRecords * channels * plane);
  const labels = new Int32Array(batchRecords);
  for (let record = 0; record < batchRecords; record++) {
    const from = record * recordBytes;
    labels[record] = bytes[from];
    if (labels[record] > 9) throw new FileError(path, `record ${record} has label ${labels[record]}, expected 0..9`);
    // Planes to interleaved channels.
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < plane; i++) images[(record * plane + i) * channels + c] = bytes[from + 1 + c * plane + i];
  }
  return { images, labels };
}
