// Extracts chosen files of a .tar.gz archive in memory while it is read. Nothing is written to disk, and only the part
// of a name after its last slash counts, so a name such as ../../x is harmless.
//
// per file: header of 512 bytes | bytes, padded to a multiple of 512; two headers of zeros end the archive
// header: name 0..99, size 124..134 (octal), checksum 148..155 (octal), type 156, all as text
//
// A name of more than 100 bytes has an entry of its own before the file's: type L, the name (GNU), or type x, lines
// "<length> path=<name>" (pax). Entries of other types are skipped.
//
// Source: POSIX ustar and pax, GNU tar.
import { createGunzip } from 'node:zlib';
import { isWhole } from '../../arguments.ts';
import { FileError, RectiflowError } from '../../errors.ts';
import { asFileError, openRegular } from '../file.ts';
import { allowedBytes, unpackLimit } from './unpack_limits.ts';

const BLOCK = 512;
const MAX_UNPACKED_BYTES = 2 ** 28; // the archives of CIFAR-10 unpack to 186 MB
const MAX_NAME_BYTES = 2 ** 16;
const [longName, paxHeader] = [0x4c, 0x78];

interface TarFile {
  /** The name without folders. */
  name: string;
  bytes: Uint8Array;
}

/**
 * Yields the regular files whose name is `wanted`, in the archive's order.
 * @param maxBytes refuses a wanted file that is larger
 * @throws FileError if it is not a gzip or tar file, is truncated or damaged, or unpacks to more than 256 MiB or more
 * than unpack.ts allows
 */
export async function* tarGzFiles(
  path: string,
  wanted: (name: string) => boolean,
  maxBytes: number,
): AsyncGenerator<TarFile> {
  const file = await openRegular(path, 'read');
  const { size: fileBytes } = await file.stat();
  const input = file.createReadStream();
  const unpacked = createGunzip();
  input.once('error', (error) => unpacked.destroy(error));
  try {
    yield* tarFiles(new ByteQueue(input.pipe(unpacked), path, fileBytes), path, wanted, maxBytes);
  } catch (error) {
    const known = asFileError(path, error);
    if (known instanceof RectiflowError) throw known;
    throw new FileError(path, `cannot be unpacked as .tar.gz: ${(error as Error).message}`, { cause: error });
  } finally {
    input.destroy();
    unpacked.destroy();
  }
}

async function* tarFiles(
  queue: ByteQueue,
  path: string,
  wanted: (name: string) => boolean,
  maxBytes: number,
): AsyncGenerator<TarFile> {
  // The long name of the next file, if an entry before it gave one.
  let named: string | undefined;
  for (;;) {
    const header = await queue.take(BLOCK);
    if (header.every((byte) => byte === 0)) return;
    checkHeader(header, path);
    const type = header[156];
    const name = (named ?? text(header, 0, 100)).replace(/^.*\//s, '');
    const size = octal(header, 124, 12);
    if (size === undefined) throw new FileError(path, `file "${name}" has a malformed size; the archive is damaged`);
    const fill = (BLOCK - (size % BLOCK)) % BLOCK;
    if ((type === longName || type === paxHeader) && size <= MAX_NAME_BYTES) {
      const content = await queue.take(size);
      named = type === longName ? text(content, 0, size) : (paxPath(content) ?? named);
      await queue.skip(fill);
      continue;
    }
    named = undefined;
    const isFile = type === 0 || type === 0x30;
    if (!isFile || !wanted(name)) {
      await queue.skip(size + fill);
      continue;
    }
    if (size > maxBytes)
      throw new FileError(path, `file "${name}" has ${size} bytes, more than the ${maxBytes} expected`);
    yield { name, bytes: await queue.take(size) };
    await queue.skip(fill);
  }
}

// The checksum is the sum of all bytes of the header, with its own bytes taken as spaces.
function checkHeader(header: Uint8Array, path: string): void {
  const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  if (octal(header, 148, 8) !== sum)
    throw new FileError(path, 'is not a gzip of a tar archive, or is damaged (the checksum of a header is wrong)');
}

function text(header: Uint8Array, start: number, length: number): string {
  return Buffer.from(header.subarray(start, start + length))
    .toString('latin1')
    .replace(/\0.*$/s, '');
}

function octal(header: Uint8Array, start: number, length: number): number | undefined {
  const digits = text(header, start, length).trim();
  return /^[0-7]{1,12}$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

/** The value of the record "path" of a pax header; undefined if there is none. */
function paxPath(content: Uint8Array): string | undefined {
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(text(content, at, space - at));
    if (!isWhole(length, 1)) return undefined;
    const record = text(content, space + 1, at + length - space - 2);
    if (record.startsWith('path=')) return record.slice('path='.length);
    at += length;
  }
  return undefined;
}

/** Reads a stream of bytes from its front. */
class ByteQueue {
  private readonly chunks: AsyncIterator<Uint8Array>;
  private readonly path: string;
  private chunk: Uint8Array = new Uint8Array(0);
  private readonly most: number;
  private unpacked = 0;

  /** @param packedBytes size of the packed file, in bytes */
  constructor(source: AsyncIterable<Uint8Array>, path: string, packedBytes: number) {
    this.most = Math.min(MAX_UNPACKED_BYTES, allowedBytes(packedBytes));
    this.chunks = source[Symbol.asyncIterator]();
    this.path = path;
  }

  async take(length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let done = 0;
    await this.forward(length, (part) => {
      bytes.set(part, done);
      done += part.length;
    });
    return bytes;
  }

  skip(length: number): Promise<void> {
    return this.forward(length, () => {});
  }

  private async forward(length: number, use: (part: Uint8Array) => void): Promise<void> {
    for (let left = length; left > 0; ) {
      if (this.chunk.length === 0) await this.next();
      const part = this.chunk.subarray(0, left);
      use(part);
      this.chunk = this.chunk.subarray(part.length);
      left -= part.length;
    }
  }

  private async next(): Promise<void> {
    const { value, done } = await this.chunks.next();
    if (done) throw new FileError(this.path, 'ends within a file; the archive is truncated');
    this.chunk = value;
    this.unpacked += value.length;
    if (this.unpacked > this.most)
      throw new FileError(this.path, `unpacks to more than ${this.most} bytes, ${unpackLimit}; unpack it by hand`);
  }
}
