// Unpacks untrusted files within limits (unpack_limits.ts). The result is allocated once, with the size that a header
// declares; unpacking stops if it would exceed that.
import type { Transform } from 'node:stream';
import { allocateBytes } from '../file.ts';

const CHUNK_BYTES = 2 ** 18;

/** Options for zlib: large chunks, so that a large result does not arrive in many small pieces. */
export const unpackOptions = { chunkSize: CHUNK_BYTES };

/** The data were more, or less, than declared. */
export class SizeError extends Error {
  /** Whether there were fewer bytes than declared. */
  readonly missing: boolean;

  constructor(length: number, got: number) {
    const missing = got < length;
    super(missing ? `has ${got} of the ${length} bytes declared` : `has more than the ${length} bytes declared`);
    this.missing = missing;
  }
}

/**
 * Unpacks bytes through `unpacker`, a zlib stream, into new memory of exactly `length` bytes.
 * @param path the file's path in errors
 * @throws SizeError if there are more or fewer bytes, FileError if there is not enough memory; zlib's errors for
 * damaged data
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

/** Unpacks at most the first `length` bytes; the rest stays packed. @throws as unpackExactly */
export async function unpackBeginning(packed: Uint8Array, unpacker: Transform, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  for await (const chunk of unpack(packed, unpacker)) {
    const part = chunk.subarray(0, length - done);
    bytes.set(part, done);
    done += part.length;
    if (done === length) break;
  }
  return bytes.subarray(0, done);
}

/** Unpacks like unpackExactly, but passes each part to `use` instead of keeping it. */
export async function checkUnpacked(
  packed: Uint8Array,
  unpacker: Transform,
  length: number,
  use: (part: Uint8Array) => void = () => {},
): Promise<void> {
  let done = 0;
  for await (const part of unpack(packed, unpacker)) {
    done += part.length;
    if (done > length) throw new SizeError(length, done);
    use(part);
  }
  if (done < length) throw new SizeError(length, done);
}

async function* unpack(packed: Uint8Array, unpacker: Transform): AsyncGenerator<Uint8Array> {
  unpacker.end(packed);
  try {
    yield* unpacker as AsyncIterable<Uint8Array>;
  } finally {
    unpacker.destroy();
  }
}
