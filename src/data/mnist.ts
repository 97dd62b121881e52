// MNIST and its like (Fashion-MNIST, KMNIST) in their IDX files, plain or gzipped.
//
// IDX: 0, 0, type (8: unsigned byte), number of dimensions; each dimension as big-endian u32; the elements
//
// Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", file formats.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { checkArguments, kinds, refuseExtra } from '../arguments.ts';
import { FileError, formatShape } from '../errors.ts';
import { readWhole } from '../io/file.ts';
import { type ImageDataset, memoryDataset, partKind } from './dataset.ts';

const MAX_BYTES = 2 ** 30;
const UNSIGNED_BYTE = 8;

/** @throws FileError for a missing file, or one that is cut off or of another kind */
export function loadMnist(folder: string, part: 'train' | 'heldOut'): Promise<ImageDataset>;
export async function loadMnist(folder: string, part: 'train' | 'heldOut', ...extra: unknown[]): Promise<ImageDataset> {
  refuseExtra('loadMnist', extra);
  checkArguments('loadMnist', { folder: [folder, kinds.path], part: [part, partKind] });
  const prefix = part === 'train' ? 'train' : 't10k';
  const images = await readIdx(folder, `${prefix}-images-idx3-ubyte`, 3);
  const labels = await readIdx(folder, `${prefix}-labels-idx1-ubyte`, 1);
  const [count, height, width] = images.shape;
  if (labels.shape[0] !== count)
    throw new FileError(labels.path, `has ${labels.shape[0]} labels for the ${count} images of ${images.path}`);
  return memoryDataset(`MNIST, ${part}`, images.data, [count, height, width, 1], Int32Array.from(labels.data));
}

async function readIdx(folder: string, name: string, rank: number) {
  // Both spellings of the official names are about: "-idx3-ubyte" and ".idx3-ubyte".
  const names = [name, name.replace('-idx', '.idx')].flatMap((plain) => [plain, `${plain}.gz`]);
  const path = names.map((candidate) => join(folder, candidate)).find(existsSync);
  if (!path) throw new FileError(folder, `holds none of ${names.join(', ')}`);
  const file = await readWhole(path, MAX_BYTES);
  const bytes = path.endsWith('.gz') ? gunzip(path, file) : file;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = 4 + 4 * rank;
  if (bytes.length < header || view.getUint16(0) !== 0 || bytes[2] !== UNSIGNED_BYTE || bytes[3] !== rank)
    throw new FileError(path, `is no IDX file of unsigned bytes with ${rank} dimensions`);
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const size = shape.reduce((product, dim) => product * dim, 1);
  if (size === 0 || bytes.length !== header + size)
    throw new FileError(path, `says ${formatShape(shape)} and has ${bytes.length - header} elements`);
  return { path, shape, data: bytes.slice(header) };
}

function gunzip(path: string, bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_BYTES });
  } catch (cause) {
    throw new FileError(path, `cannot be decompressed: ${(cause as Error).message}`, { cause });
  }
}
