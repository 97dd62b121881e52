// CIFAR-10 from wherever its official files lie: five batches for training, one held out, binary or pickled, unpacked or
// still in their archive. The first of these that holds a batch of the part is read:
//
// the folder itself, binary     data_batch_1.bin .. data_batch_5.bin, test_batch.bin
// its cifar-10-batches-bin      the same
// the folder itself, pickled    data_batch_1 .. data_batch_5, test_batch
// its cifar-10-batches-py       the same
// its archives                  cifar-10-binary.tar.gz, cifar-10-python.tar.gz
//
// Source: cs.toronto.edu/~kriz/cifar.html.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { checkArguments, kinds, refuseExtra } from '../arguments.ts';
import { FileError } from '../errors.ts';
import { readWhole } from '../io/file.ts';
import { tarGzFiles } from '../io/tar.ts';
import { type Cifar10Batch, cifar10, decodeBinaryBatch, decodePickledBatch, maxBatchBytes } from './cifar10_batch.ts';
import { type ImageDataset, memoryDataset, partKind } from './dataset.ts';

export interface Cifar10 {
  dataset: ImageDataset;
  /** Training batches that are not there. */
  missing: string[];
}

const parts = {
  train: ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5'],
  heldOut: ['test_batch'],
};
const archives = ['cifar-10-binary.tar.gz', 'cifar-10-python.tar.gz'];

/**
 * @param root the folder of the batches, a folder that holds it or an archive of it, or an archive itself
 * @throws FileError where no batch is found, or one is cut off or damaged
 */
export function loadCifar10(root: string, part: 'train' | 'heldOut'): Promise<Cifar10>;
export async function loadCifar10(root: string, part: 'train' | 'heldOut', ...extra: unknown[]): Promise<Cifar10> {
  refuseExtra('loadCifar10', extra);
  checkArguments('loadCifar10', { root: [root, kinds.path], part: [part, partKind] });
  const names = parts[part];
  const found = (await readFolders(root, names)) ?? (await readArchives(root, names));
  if (!found)
    throw new FileError(
      root,
      `holds none of ${names.map((name) => `${name}.bin`).join(', ')}, nor the same pickled (without .bin), nor ` +
        `${archives.join(' or ')}; set data.root_path to a folder that does, or download one with downloadCifar10`,
    );
  const { side, channels, batchImages } = cifar10;
  const { batches, ending } = found;
  const count = batches.size * batchImages;
  const images = new Uint8Array(count * side * side * channels);
  const labels = new Int32Array(count);
  const inOrder = names.flatMap((name) => batches.get(name) ?? []);
  inOrder.forEach((batch, i) => {
    images.set(batch.images, i * batch.images.length);
    labels.set(batch.labels, i * batchImages);
  });
  return {
    dataset: memoryDataset(`CIFAR-10, ${part}`, images, [count, side, side, channels], labels),
    missing: names.filter((name) => !batches.has(name)).map((name) => name + ending),
  };
}

interface Found {
  batches: Map<string, Cifar10Batch>;
  /** What the names of the files end in: ".bin" or nothing. */
  ending: string;
}

async function readFolders(root: string, names: readonly string[]): Promise<Found | undefined> {
  for (const [folder, ending, decode] of [
    [root, '.bin', decodeBinaryBatch],
    [join(root, 'cifar-10-batches-bin'), '.bin', decodeBinaryBatch],
    [root, '', decodePickledBatch],
    [join(root, 'cifar-10-batches-py'), '', decodePickledBatch],
  ] as const) {
    const batches = new Map<string, Cifar10Batch>();
    for (const name of names) {
      const path = join(folder, name + ending);
      if (existsSync(path)) batches.set(name, decode(await readWhole(path, maxBatchBytes), path));
    }
    if (batches.size > 0) return { batches, ending };
  }
  return undefined;
}

async function readArchives(root: string, names: readonly string[]): Promise<Found | undefined> {
  const isFile = statSync(root, { throwIfNoEntry: false })?.isFile();
  for (const path of isFile ? [root] : archives.map((name) => join(root, name))) {
    if (!existsSync(path)) continue;
    const found = await readArchive(path, names);
    if (found.batches.size > 0) return found;
  }
  return undefined;
}

async function readArchive(path: string, names: readonly string[]): Promise<Found> {
  const batches = new Map<string, Cifar10Batch>();
  let ending = '';
  const isBatch = (name: string) => names.includes(name.replace(/\.bin$/, ''));
  for await (const { name, bytes } of tarGzFiles(path, isBatch, maxBatchBytes)) {
    ending = name.endsWith('.bin') ? '.bin' : '';
    const batch = name.slice(0, name.length - ending.length);
    if (batches.has(batch)) throw new FileError(path, `holds ${batch} twice`);
    const decode = ending ? decodeBinaryBatch : decodePickledBatch;
    batches.set(batch, decode(bytes, `${path}, ${name}`));
    if (batches.size === names.length) break;
  }
  return { batches, ending };
}
