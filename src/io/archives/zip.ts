// Reads untrusted zip archives. Nothing is unpacked to disk; names are only looked up.
//
// Against zip bombs, the caller limits the sizes in the directory before anything is unpacked (unpack.ts); a declared
// ratio above 1032, which deflate cannot reach, is refused; and unpacking stops if an entry exceeds its declared size.
import { crc32, createInflateRaw } from 'node:zlib';
import type { Entry, ZipFile } from 'yauzl';
import { FileError, RectiflowError } from '../../errors.ts';
import { asFileError, type ReadableFile, readRange, withFile } from '../file.ts';
import { SizeError, unpackBeginning, unpackExactly, unpackOptions } from './unpack.ts';

const DEFLATE_RATIO = 1032;
const MAX_ENTRIES = 65536;
const STORED = 0;

/** CRC-32 of any number of bytes; zlib's own function counts them in 32 bits. */
export function checksum(bytes: Uint8Array): number {
  let crc = 0;
  for (let start = 0; start < bytes.length; start += 2 ** 30) crc = crc32(bytes.subarray(start, start + 2 ** 30), crc);
  return crc;
}

/** An open archive with its entries by name, in the order of its directory. */
export class ZipArchive {
  readonly path: string;
  readonly entries: ReadonlyMap<string, Entry>;
  private readonly file: ReadableFile;
  private readonly zip: ZipFile;

  constructor(file: ReadableFile, zip: ZipFile, entries: ReadonlyMap<string, Entry>) {
    this.path = file.path;
    this.file = file;
    this.zip = zip;
    this.entries = entries;
  }

  /** The length of the whole file, in bytes. */
  get bytes(): number {
    return this.file.bytes;
  }

  /** Unpacks an entry into new memory and checks its checksum. */
  async read(entry: Entry): Promise<Uint8Array> {
    const { uncompressedSize: size, crc32: sum } = entry;
    const packed = await this.readPacked(entry);
    const bytes =
      entry.compressionMethod === STORED
        ? packed
        : await unpackExactly(packed, createInflateRaw(unpackOptions), size, this.path).catch((error) => {
            throw this.asProblem(entry, error);
          });
    if (bytes.length !== size || checksum(bytes) !== sum)
      throw this.problem(entry, 'fails its checksum; the file is damaged');
    return bytes;
  }

  /** Unpacks at most the first `length` bytes of an entry, without checking its checksum. */
  async readBeginning(entry: Entry, length: number): Promise<Uint8Array> {
    const packed = await this.readPacked(entry);
    if (entry.compressionMethod === STORED) return packed.subarray(0, length);
    return unpackBeginning(packed, createInflateRaw(), length).catch((error) => {
      throw this.asProblem(entry, error);
    });
  }

  private async readPacked(entry: Entry): Promise<Uint8Array> {
    if (!entry.canDecodeFileData())
      throw this.problem(entry, 'is encrypted or compressed by a method other than deflate');
    const { fileDataStart } = await this.zip.readLocalFileHeaderPromise(entry, { minimal: true });
    return readRange(this.file, fileDataStart, entry.compressedSize);
  }

  private problem({ fileName }: Entry, what: string): FileError {
    return new FileError(this.path, `entry "${fileName}" ${what}`);
  }

  private asProblem(entry: Entry, error: unknown): unknown {
    if (error instanceof RectiflowError) return error;
    const { message } = error as Error;
    if (!(error instanceof SizeError)) return this.problem(entry, `cannot be unpacked: ${message}`);
    return this.problem(entry, error.missing ? message : `exceeds its size: it ${message}`);
  }
}

/**
 * Opens the archive, runs `body` on it and closes it.
 * @param kind the kind of file for errors, such as ".npz"
 * @throws FileError if it is not a zip file, is damaged, has overlapping entries, or declares impossible sizes
 */
export function withZip<T>(path: string, kind: string, body: (archive: ZipArchive) => Promise<T>): Promise<T> {
  return withFile(path, async (file) => {
    const { fromRandomAccessReaderPromise, RandomAccessReader } = await import('yauzl');
    let fail: (error: unknown) => void = () => {};
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    // For positions beyond the file, yauzl's own readers throw outside of any promise, which ends the process.
    class Reader extends RandomAccessReader {
      override read(buffer: Buffer, offset: number, length: number, position: number, done: (e: Error | null) => void) {
        readRange(file, position, length)
          .then((bytes) => buffer.set(bytes, offset))
          .then(
            () => done(null),
            (error: Error) => done(error),
          )
          .catch(fail);
      }
    }
    let zip: ZipFile | undefined;
    const work = async () => {
      zip = await fromRandomAccessReaderPromise(new Reader(), file.bytes, { lazyEntries: true, autoClose: false });
      return body(new ZipArchive(file, zip, await listEntries(zip, file)));
    };
    try {
      return await Promise.race([work(), failed]);
    } catch (error) {
      const known = asFileError(path, error);
      if (known instanceof RectiflowError) throw known;
      throw new FileError(path, `cannot be read as ${kind}: ${(error as Error).message}`, { cause: error });
    } finally {
      zip?.close();
    }
  });
}

async function listEntries(zip: ZipFile, { path, bytes }: ReadableFile): Promise<Map<string, Entry>> {
  if (zip.entryCount > MAX_ENTRIES)
    throw new FileError(path, `has ${zip.entryCount} entries; at most ${MAX_ENTRIES} can be read`);
  const entries = new Map<string, Entry>();
  let packed = 0;
  for await (const entry of zip.eachEntry()) {
    const { fileName, compressedSize, uncompressedSize } = entry;
    if (entries.has(fileName)) throw new FileError(path, `holds "${fileName}" twice`);
    entries.set(fileName, entry);
    packed += compressedSize;
    if (uncompressedSize > compressedSize * DEFLATE_RATIO)
      throw new FileError(path, `entry "${fileName}" declares a size that its data cannot have; the file is damaged`);
  }
  // The entries of a valid file do not share bytes.
  if (packed > bytes) throw new FileError(path, 'has overlapping entries; the file is damaged');
  return entries;
}
