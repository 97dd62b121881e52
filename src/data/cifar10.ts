// CIFAR-10 from its official files: five training batches and one held-out batch, binary or pickled, unpacked or still
// in their archive. The first of these places that has a batch of the requested part is read:
//
// the folder itself, binary     data_batch_1.bin .. data_batch_5.bin, test_batch.bin
// its cifar-10-batches-bin      the same
// the folder itself, pickled    data_batch_1 .. data_batch_5, test_batch
// its cifar-10-batches-py       the same
// its archives                  cifar-10-binary.tar.gz, cifar-10-python.tar.gz
//
// and then the same in its folder cifar10 or cifar-10. Names may be in capitals.
//
// Source: cs.toronto.edu/~kriz/cifar.html.
import { join } from 'node:path';
import { checkArgument, checkArguments, checkOptions, kinds, type OptionKinds, refuseExtra } from '../arguments.ts';
import { FileError } from '../errors.ts';
import { tarGzFiles } from '../io/archives/tar.ts';
import { type DownloadFileOptions, downloadFile, downloadFileOptions } from '../io/download.ts';
import { readWhole } from '../io/file.ts';
import { type Cifar10Batch, cifar10, decodeBinaryBatch, decodePickledBatch, MAX_BATCH_BYTES } from './cifar10_batch.ts';
import { type LabelledImages, memoryDataset, partKind } from './dataset.ts';
import { describeLack, kindOf, Listing } from './listing.ts';

export interface Cifar10 {
  dataset: LabelledImages;
  /** Names of missing batches. */
  missing: string[];
}

const parts = {
  train: ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5'],
  heldOut: ['test_batch'],
};
const archives = ['cifar-10-binary.tar.gz', 'cifar-10-python.tar.gz'];

/**
 * Loads CIFAR-10.
 * @param root the folder of the batches, a folder that contains it or an archive of it, or an archive itself
 * @throws FileError if no batch is found, or one is truncated or damaged
 * @example
 * const { dataset, missing } = await loadCifar10('cifar-10-batches-bin', 'heldOut');
 * dataset.count; // 10000
 * missing; // []
 * const pixels = await dataset.load(Int32Array.of(0, 1));
 * pixels.length; // 6144
 */
export function loadCifar10(root: string, part: 'train' | 'heldOut'): Promise<Cifar10>;
export async function loadCifar10(root: string, part: 'train' | 'heldOut', ...extra: unknown[]): Promise<Cifar10> {
  refuseExtra('loadCifar10', extra);
  checkArguments('loadCifar10', { root: [root, kinds.path], part: [part, partKind] });
  const names = parts[part];
  const found = await find(root, names);
  if (!found)
    throw new FileError(
      root,
      `${(await kindOf(root)) === 'file' ? 'holds none of' : await describeLack(root)} ${names.map((name) => `${name}.bin`).join(', ')}, in itself or in cifar-10-batches-bin, ` +
        `or the same pickled (without .bin, cifar-10-batches-py), or ${archives.join(' or ')}; ` +
        'use --config.data.root_path to give another folder or an archive; without it CIFAR-10 is downloaded',
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
  /** The extension of the files: ".bin" or nothing. */
  ending: string;
}

async function find(root: string, names: readonly string[]): Promise<Found | undefined> {
  if ((await kindOf(root)) === 'file') return readArchive(root, names);
  for (const place of (await (await Listing.of(root))?.folders(['', 'cifar10', 'cifar-10'])) ?? []) {
    const found = (await readFolders(place, names)) ?? (await readArchives(place, names));
    if (found) return found;
  }
  return undefined;
}

async function readFolders(place: Listing, names: readonly string[]): Promise<Found | undefined> {
  for (const [below, ending, decode] of [
    ['', '.bin', decodeBinaryBatch],
    ['cifar-10-batches-bin', '.bin', decodeBinaryBatch],
    ['', '', decodePickledBatch],
    ['cifar-10-batches-py', '', decodePickledBatch],
  ] as const) {
    const folder = await place.folder(below);
    const batches = new Map<string, Cifar10Batch>();
    for (const name of names) {
      const path = await folder?.file([name + ending]);
      if (path !== undefined) batches.set(name, decode(await readWhole(path, MAX_BATCH_BYTES), path));
    }
    if (batches.size > 0) return { batches, ending };
  }
  return undefined;
}

async function readArchives(place: Listing, names: readonly string[]): Promise<Found | undefined> {
  for (const name of archives) {
    const path = await place.file([name]);
    const found = path === undefined ? undefined : await readArchive(path, names);
    if (found) return found;
  }
  return undefined;
}

/** @returns undefined for an archive without such batches @throws FileError if it is damaged */
async function readArchive(path: string, names: readonly string[]): Promise<Found | undefined> {
  const batches = new Map<string, Cifar10Batch>();
  let ending = '';
  const isBatch = (name: string) => names.includes(name.toLowerCase().replace(/\.bin$/, ''));
  for await (const { name, bytes } of tarGzFiles(path, isBatch, MAX_BATCH_BYTES)) {
    ending = /\.bin$/i.test(name) ? '.bin' : '';
    const batch = name.slice(0, name.length - ending.length).toLowerCase();
    if (batches.has(batch)) throw new FileError(path, `holds ${batch} twice`);
    const decode = ending ? decodeBinaryBatch : decodePickledBatch;
    batches.set(batch, decode(bytes, `${path}, ${name}`));
    if (batches.size === names.length) break;
  }
  return batches.size > 0 ? { batches, ending } : undefined;
}

/** The authors' archive of the binary files. */
const published = {
  url: 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz',
  sha256: 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
};
const fileName = 'cifar-10-binary.tar.gz';

export interface DownloadOptions extends Partial<DownloadFileOptions> {
  /** A mirror. Its file must be the published one, unless `sha256` is given. */
  url?: string;
}

const downloadOptions: OptionKinds<DownloadOptions> = { ...downloadFileOptions, url: kinds.text };

/**
 * Downloads the archive (170 MB) into the folder, which is created if it is missing. Returns the file's path.
 * @throws as downloadFile
 * @example
 * const archive = await downloadCifar10('downloads', {
 *   onProgress: ({ bytes, total }) => console.log(`${bytes} of ${total} bytes`),
 * });
 * const { dataset } = await loadCifar10(archive, 'train');
 */
export async function downloadCifar10(folder: string, options: DownloadOptions = {}): Promise<string> {
  checkArgument('downloadCifar10', 'folder', folder, kinds.path);
  const checked = checkOptions('downloadCifar10', options, downloadOptions);
  const { url = published.url, sha256 = published.sha256, ...rest } = checked;
  const path = join(folder, fileName);
  await downloadFile(url, path, { sha256, ...rest });
  return path;
}
