// NumPy's .npz files: a zip of .npy files, one an array, stored or deflated.
//
// Zip bombs are met by the sizes in the directory: they are summed and limited before anything is unpacked, deflated
// bytes cannot grow more than 1032 times, and unpacking stops where an entry exceeds what it declared.
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import type { Entry, ZipFile } from 'yauzl';
import { FileError, ValueError } from '../errors.ts';
import type { ArrayFile } from './array.ts';
import { writeFileAtomic } from './atomic.ts';
import { asFileError, withFile } from './file.ts';
import { decodeNpy, npyParts } from './npy.ts';

const deflateRatio = 1032;
const maxEntries = 65536;

export interface ReadNpzOptions {
  /** Reads these arrays only; a name that is not there is an error. Default: all. */
  names?: readonly string[];
  /** Refuses files that unpack to more. Default 4 GiB. */
  maxBytes?: number;
}

/**
 * The arrays of an .npz file by name (without `.npy`), in the file's order.
 * @throws FileError when damaged, cut off, encrypted, too large, or when an entry is no array
 */
export async function readNpz(path: string, options: ReadNpzOptions = {}): Promise<Map<string, ArrayFile>> {
  const { openPromise } = await import('yauzl');
  const fileBytes = await withFile(path, async (file) => file.bytes);
  let zip: ZipFile | undefined;
  try {
    zip = await openPromise(path, { lazyEntries: true, autoClose: false });
    const arrays = new Map<string, ArrayFile>();
    for (const [name, entry] of await listEntries(zip, path, fileBytes, options)) {
      const bytes = await unpack(zip, entry, path);
      arrays.set(name, decodeNpy(bytes, `${path}, ${entry.fileName}`));
    }
    return arrays;
  } catch (error) {
    if (error instanceof FileError) throw error;
    const known = asFileError(path, error);
    if (known instanceof FileError) throw known;
    throw new FileError(path, `cannot be read as .npz: ${(error as Error).message}`, { cause: error });
  } finally {
    zip?.close();
  }
}

async function listEntries(
  zip: ZipFile,
  path: string,
  fileBytes: number,
  { names, maxBytes = 2 ** 32 }: ReadNpzOptions,
): Promise<Map<string, Entry>> {
  if (zip.entryCount > maxEntries)
    throw new FileError(path, `has ${zip.entryCount} entries; ${maxEntries} can be read`);
  const entries = new Map<string, Entry>();
  let packed = 0;
  let unpacked = 0;
  for await (const entry of zip.eachEntry()) {
    if (!entry.fileName.endsWith('.npy'))
      throw new FileError(path, `holds "${entry.fileName}", which is no .npy array; is it an .npz file?`);
    const name = entry.fileName.slice(0, -'.npy'.length);
    if (entries.has(name)) throw new FileError(path, `holds "${name}" twice`);
    entries.set(name, entry);
    packed += entry.compressedSize;
    unpacked += names && !names.includes(name) ? 0 : entry.uncompressedSize;
    if (entry.uncompressedSize > entry.compressedSize * deflateRatio)
      throw new FileError(path, `entry "${name}" declares a size that its data cannot have; the file is damaged`);
  }
  // Entries of an honest file do not share bytes.
  if (packed > fileBytes) throw new FileError(path, 'has entries that overlap; the file is damaged');
  if (unpacked > maxBytes)
    throw new FileError(path, `unpacks to ${unpacked} bytes; pass maxBytes to allow more than ${maxBytes}`);
  const missing = names?.find((name) => !entries.has(name));
  if (missing !== undefined)
    throw new FileError(path, `holds no array "${missing}"; it holds ${[...entries.keys()].join(', ')}`);
  return names ? new Map([...entries].filter(([name]) => names.includes(name))) : entries;
}

async function unpack(zip: ZipFile, entry: Entry, path: string): Promise<Uint8Array> {
  if (!entry.canDecodeFileData())
    throw new FileError(path, `entry "${entry.fileName}" is encrypted or packed by another method than deflate`);
  const stream = await zip.openReadStreamPromise(entry);
  const bytes = new Uint8Array(entry.uncompressedSize);
  let length = 0;
  let checksum = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (length + chunk.length > bytes.length) throw new FileError(path, `entry "${entry.fileName}" exceeds its size`);
    bytes.set(chunk, length);
    length += chunk.length;
    checksum = crc32(chunk, checksum);
  }
  if (length !== bytes.length || checksum !== entry.crc32)
    throw new FileError(path, `entry "${entry.fileName}" fails its checksum; the file is damaged`);
  return bytes;
}

/**
 * Writes the arrays as an .npz file, atomically. The same arrays give the same bytes.
 * @param options.compress deflates the entries (as numpy.savez_compressed); default false (as numpy.savez)
 * @throws FileError; ValueError for an array that .npy cannot hold or a name that zip cannot
 */
export async function writeNpz(
  path: string,
  arrays: ReadonlyMap<string, ArrayFile> | Record<string, ArrayFile>,
  options: { compress?: boolean } = {},
): Promise<void> {
  const { ZipFile: ZipWriter } = await import('yazl');
  const zip = new ZipWriter();
  const output = zip.outputStream as Readable;
  zip.once('error', (error: Error) => output.destroy(error));
  for (const [name, array] of arrays instanceof Map ? arrays : Object.entries(arrays)) {
    const parts = npyParts(name, array);
    const settings = {
      compress: options.compress ?? false,
      size: parts[0].length + parts[1].length,
      mtime: new Date(1980, 0, 1), // the first day of zip's calendar, for equal bytes on every day
      forceDosTimestamp: true,
    };
    try {
      zip.addReadStream(Readable.from(slices(parts), { objectMode: false }), `${name}.npy`, settings);
    } catch (error) {
      throw new ValueError(`array name "${name}" cannot stand in a zip file: ${(error as Error).message}`);
    }
  }
  zip.end();
  await writeFileAtomic(path, output);
}

function* slices(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const part of parts)
    for (let start = 0; start < part.length; start += 2 ** 20) yield part.subarray(start, start + 2 ** 20);
}
