// MNIST and data sets in its format (Fashion-MNIST, KMNIST) from IDX files, plain or gzipped.
//
// IDX: 0, 0, type (8: unsigned byte), number of dimensions; each dimension as big-endian u32; the elements
//
// Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", file formats.
import { createGunzip } from 'node:zlib';
import { checkArguments, kinds, refuseExtra } from '../arguments.ts';
import { FileError, formatShape, RectiflowError } from '../errors.ts';
import { SizeError, unpackBeginning, unpackExactly, unpackOptions } from '../io/archives/unpack.ts';
import { allowedBytes, unpackLimit } from '../io/archives/unpack_limits.ts';
import { readWhole } from '../io/file.ts';
import { type LabelledImages, memoryDataset, partKind } from './dataset.ts';
import { describeLack, Listing } from './listing.ts';

const MAX_BYTES = 2 ** 30;
const UNSIGNED_BYTE = 8;

/** Folders below the given one that are searched: in torchvision's layout, it may be the outer folder or an inner one. */
const folders = ['', 'MNIST/raw', 'raw', 'MNIST'];
/** Data sets with files of the same names, next to MNIST in torchvision's folder. */
const similarSets = ['FashionMNIST/raw', 'KMNIST/raw'];

/**
 * Loads MNIST.
 * @param folder folder of the IDX files, or one that has them in MNIST/raw, as torchvision leaves them
 * @throws FileError if a file is missing, truncated or of another kind
 * @example
 * const mnist = await loadMnist('mnist', 'heldOut');
 * [mnist.height, mnist.width]; // [28, 28]
 * mnist.labels.subarray(0, 2); // [7, 2]
 */
export function loadMnist(folder: string, part: 'train' | 'heldOut'): Promise<LabelledImages>;
export async function loadMnist(
  folder: string,
  part: 'train' | 'heldOut',
  ...extra: unknown[]
): Promise<LabelledImages> {
  refuseExtra('loadMnist', extra);
  checkArguments('loadMnist', { folder: [folder, kinds.path], part: [part, partKind] });
  const prefix = part === 'train' ? 'train' : 't10k';
  const [imageNames, labelNames] = [`${prefix}-images-idx3-ubyte`, `${prefix}-labels-idx1-ubyte`].map(spellings);
  const root = await Listing.of(folder);
  for (const place of (await root?.folders(folders)) ?? []) {
    const imagePath = await find(place, imageNames);
    if (imagePath === undefined) continue;
    const images = await readIdx(imagePath, 3);
    const labelPath = await find(place, labelNames);
    if (labelPath === undefined) throw new FileError(place.path, `holds none of ${labelNames.join(', ')}`);
    return setOf(part, images, await readIdx(labelPath, 1));
  }
  const others: string[] = [];
  for (const name of similarSets) {
    const place = await root?.folder(name);
    if (place && (await find(place, imageNames)) !== undefined) others.push(place.path);
  }
  throw new FileError(
    folder,
    `${await describeLack(folder)} ${imageNames.join(', ')}, in itself or in ${folders.slice(1).join(', ')}; ` +
      `use --config.data.root_path to give ${others.length > 0 ? `another, such as ${others.join(' or ')}` : 'the folder'}`,
  );
}

function setOf(part: 'train' | 'heldOut', images: Idx, labels: Idx): LabelledImages {
  const [count, height, width] = images.shape;
  if (labels.shape[0] !== count)
    throw new FileError(labels.path, `has ${labels.shape[0]} labels for the ${count} images of ${images.path}`);
  return memoryDataset(`MNIST, ${part}`, images.data, [count, height, width, 1], Int32Array.from(labels.data));
}

/** The official names exist in two spellings, "-idx3-ubyte" and ".idx3-ubyte", each plain or gzipped. */
function spellings(name: string): string[] {
  return [name, name.replace('-idx', '.idx')].flatMap((plain) => [plain, `${plain}.gz`]);
}

/** Looks in the folder, and in subfolders with the name of the file, to which some programs unpack a .gz. */
async function find(place: Listing, names: readonly string[]): Promise<string | undefined> {
  const path = await place.file(names);
  if (path !== undefined) return path;
  for (const own of await place.folders(names)) {
    const within = await own.file(names);
    if (within !== undefined) return within;
  }
  return undefined;
}

interface Idx {
  path: string;
  shape: number[];
  data: Uint8Array;
}

async function readIdx(path: string, rank: number): Promise<Idx> {
  const file = await readWhole(path, MAX_BYTES);
  const headerBytes = 4 + 4 * rank;
  const isPacked = /\.gz$/i.test(path);
  const shape = shapeOf(path, isPacked ? await gunzip(path, file, { beginning: headerBytes }) : file, rank);
  const size = shape.reduce((product, dim) => product * dim, 1);
  if (isPacked && headerBytes + size > Math.min(allowedBytes(file.length), MAX_BYTES))
    throw new FileError(
      path,
      `declares ${formatShape(shape)} in a file of ${file.length} bytes; ${unpackLimit} are allowed; unpack it with gunzip`,
    );
  const whole = isPacked ? await gunzip(path, file, { whole: headerBytes + size }) : file;
  if (size === 0 || whole.length !== headerBytes + size)
    throw new FileError(path, `declares ${formatShape(shape)} but has ${whole.length - headerBytes} elements`);
  return { path, shape, data: whole.subarray(headerBytes) };
}

/** Reads the header. @throws FileError unless it declares unsigned bytes with that many dimensions */
function shapeOf(path: string, bytes: Uint8Array, rank: number): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 + 4 * rank || view.getUint16(0) !== 0 || bytes[2] !== UNSIGNED_BYTE || bytes[3] !== rank)
    throw new FileError(path, `is not an IDX file of unsigned bytes with ${rank} dimensions`);
  return Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
}

async function gunzip(
  path: string,
  packed: Uint8Array,
  want: { beginning: number } | { whole: number },
): Promise<Uint8Array> {
  try {
    return await ('whole' in want
      ? unpackExactly(packed, createGunzip(unpackOptions), want.whole, path)
      : unpackBeginning(packed, createGunzip(), want.beginning));
  } catch (cause) {
    if (cause instanceof RectiflowError) throw cause;
    const { message } = cause as Error;
    throw new FileError(path, cause instanceof SizeError ? message : `cannot be decompressed: ${message}`, { cause });
  }
}
