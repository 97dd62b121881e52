// Reading zip archives that nobody vouches for. Nothing is unpacked to the disk; names are only looked up.
//
// Bombs are met by the sizes in the directory: they are summed and limited before anything is unpacked, deflated bytes
// cannot grow more than 1032 times, and unpacking stops where an entry exceeds what it declared.
import { crc32 } from 'node:zlib';
import type { Entry, ZipFile } from 'yauzl';
import { FileError, RectiflowError } from '../errors.ts';
import { asFileError, type ReadableFile, readRange, withFile } from './file.ts';

const deflateRatio = 1032;
const maxEntries = 65536;
const stored = 0;

/** The CRC-32 of bytes of any number: zlib's counts them in 32 bits. */
export function checksum(bytes: Uint8Array): number {
  let crc = 0;
  for (let start = 0; start < bytes.length; start += 2 ** 30) crc = crc32(bytes.subarray(start, start + 2 ** 30), crc);
  return crc;
}

/** An opened archive: its entries by name, in the order of its directory. */
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

  /** The length of the whole file. */
  get bytes(): number {
    return this.file.bytes;
  }

  /** The unpacked bytes of an entry, checked against its checksum, in memory of their own. */
  async read(entry: Entry): Promise<Uint8Array> {
    const problem = (what: string) => new FileError(this.path, `entry "${entry.fileName}" ${what}`);
    if (!entry.canDecodeFileData()) throw problem('is encrypted or packed by another method than deflate');
    const bytes = entry.compressionMethod === stored ? await this.readStored(entry) : await this.inflate(entry);
    if (bytes === undefined) throw problem('exceeds its size');
    if (bytes.length !== entry.uncompressedSize || checksum(bytes) !== entry.crc32)
      throw problem('fails its checksum; the file is damaged');
    return bytes;
  }

  private async readStored(entry: Entry): Promise<Uint8Array> {
    const { fileDataStart } = await this.zip.readLocalFileHeaderPromise(entry, { minimal: true });
    return readRange(this.file, fileDataStart, entry.uncompressedSize);
  }

  private async inflate(entry: Entry): Promise<Uint8Array | undefined> {
    const stream = await this.zip.openReadStreamPromise(entry);
    const bytes = new Uint8Array(entry.uncompressedSize);
    let length = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (length + chunk.length > bytes.length) return undefined;
      bytes.set(chunk, length);
      length += chunk.length;
    }
    return bytes.subarray(0, length);
  }
}

/**
 * Runs `body` on the opened archive and closes it.
 * @param kind stands in errors, such as ".npz"
 * @throws FileError when it is no zip file, damaged, has entries that overlap, or sizes that cannot be
 */
export function withZip<T>(path: string, kind: string, body: (archive: ZipArchive) => Promise<T>): Promise<T> {
  return withFile(path, async (file) => {
    const { openPromise } = await import('yauzl');
    let zip: ZipFile | undefined;
    try {
      zip = await openPromise(path, { lazyEntries: true, autoClose: false });
      return await body(new ZipArchive(file, zip, await listEntries(zip, file)));
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
  if (zip.entryCount > maxEntries)
    throw new FileError(path, `has ${zip.entryCount} entries; ${maxEntries} can be read`);
  const entries = new Map<string, Entry>();
  let packed = 0;
  for await (const entry of zip.eachEntry()) {
    const { fileName, compressedSize, uncompressedSize } = entry;
    if (entries.has(fileName)) throw new FileError(path, `holds "${fileName}" twice`);
    entries.set(fileName, entry);
    packed += compressedSize;
    if (uncompressedSize > compressedSize * deflateRatio)
      throw new FileError(path, `entry "${fileName}" declares a size that its data cannot have; the file is damaged`);
  }
  // Entries of an honest file do not share bytes.
  if (packed > bytes) throw new FileError(path, 'has entries that overlap; the file is damaged');
  return entries;
}
