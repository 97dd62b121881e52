// Unpacking what nobody vouches for. A file of a megabyte can be made to unpack to a gigabyte; honest data rarely shrink to less
// than a tenth. So 64 MiB are always allowed, and beyond that 32 times the packed file, unless the caller allows more. What is
// unpacked goes into memory of the size that a header declared, once, and unpacking stops where it would exceed that.
import type { Transform } from 'node:stream';
import { allocateBytes } from '../file.ts';

const ALWAYS_BYTES = 2 ** 26;
const MOST_RATIO = 32;
const CHUNK_BYTES = 2 ** 18;

/** Options for zlib, so that a large result does not come in many small pieces. */
export const unpackOptions = { chunkSize: CHUNK_BYTES };

/** Bytes to which a file of `packedBytes` may unpack where the caller does not say. */
export function allowedBytes(packedBytes: number): number {
  return Math.max(ALWAYS_BYTES, MOST_RATIO * packedBytes);
}

/** Whether that many bytes are always allowed, so that no header is asked first. */
export function alwaysAllowed(bytes: number): boolean {
  return bytes <= ALWAYS_BYTES;
}

/** What messages call that limit. */
export const unpackLimit = `${MOST_RATIO} times the file or 64 MiB`;

/** What came was more, or less, than was declared. */
export class SizeError extends Error {
  /** Whether fewer came. */
  readonly missing: boolean;

  constructor(length: number, came: number) {
    const missing = came < length;
    super(missing ? `has ${came} of the ${length} bytes declared` : `has more than the ${length} bytes declared`);
    this.missing = missing;
  }
}

/**
 * Exactly `length` bytes of what `unpacker`, a stream of zlib, makes of the packed bytes, in memory of their own.
 * @param path stands in errors for the file
 * @throws SizeError where more or fewer come, FileError without memory; zlib's errors for damaged bytes
 */
export async function unpackExactly(
  packed: Uint8Array,
  unpacker: Transform,
  length: number,
  path: string,
): Promise<Uint8Array> {
  const bytes = allocateBytes(path, length);
  let done = 0;
  await checkUnpacked(packed, unpacker, length, (chunk) => {
    bytes.set(chunk, done);
    done += chunk.length;
  });
  return bytes;
}

/** At most the first `length` bytes; the rest is not unpacked. @throws as unpackExactly */
export async function unpackBeginning(packed: Uint8Array, unpacker: Transform, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  for await (const chunk of unpacked(packed, unpacker)) {
    const part = chunk.subarray(0, length - done);
    bytes.set(part, done);
    done += part.length;
    if (done === length) break;
  }
  return bytes.subarray(0, done);
}

/** As unpackExactly, and keeps nothing but what `use` does with each part. */
export async function checkUnpacked(
  packed: Uint8Array,
  unpacker: Transform,
  length: number,
  use: (part: Uint8Array) => void = () => {},
): Promise<void> {
  let done = 0;
  for await (const part of unpacked(packed, unpacker)) {
    done += part.length;
    if (done > length) throw new SizeError(length, done);
    use(part);
  }
  if (done < length) throw new SizeError(length, done);
}

async function* unpacked(packed: Uint8Array, unpacker: Transform): AsyncGenerator<Uint8Array> {
  unpacker.end(packed);
  try {
    yield* unpacker as AsyncIterable<Uint8Array>;
  } finally {
    unpacker.destroy();
  }
}
