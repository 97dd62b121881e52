// NumPy's .npz files in memory, without Node: for pages, which receive files as bytes. It reads the directory of the zip archive and
// unpacks by the platform's own inflate. npz.ts reads files of any size.
//
// Source: PKWARE, .ZIP File Format Specification, APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.16.
import { checkArgument, checkOptions, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { allowedBytes, unpackLimit } from '../archives/unpack_limits.ts';
import type { ArrayFile } from '../array.ts';
import { decodeNpy } from './npy.ts';

const END = 0x06054b50;
const END_BYTES = 22;
const ENTRY = 0x02014b50;
const ENTRY_BYTES = 46;
const LOCAL = 0x04034b50;
const LOCAL_BYTES = 30;
/** A value of 32 bits that says that the real one is in a record of zip64. */
const IN_ZIP64 = 0xffffffff;
const ENCRYPTED = 1;
const [STORED, DEFLATED] = [0, 8];

export interface DecodeNpzOptions {
  /** The arrays to decode; an unknown name is an error. Default: all. */
  names?: readonly string[];
  /** The file's name in errors; default 'npz'. */
  name?: string;
}

const decodeOptions: OptionKinds<DecodeNpzOptions> = { names: listOf(kinds.text, 'names'), name: kinds.text };

/** An entry of the directory. */
interface Entry {
  fileName: string;
  method: number;
  flags: number;
  crc: number;
  packed: number;
  unpacked: number;
  offset: number;
}

/**
 * Decodes an .npz file in memory, by the names of its arrays (without `.npy`), in the file's order; in browsers too. Source: numpy.lib.npyio.
 * @param bytes the whole file, such as `new Uint8Array(await response.arrayBuffer())`
 * @returns arrays; their memory is their own, or that of `bytes` where an array is stored without compression
 * @throws FileError if damaged, truncated, encrypted, of the large format zip64, or if an entry is not an array; if the arrays unpack to
 * more than 32 times the file and more than 64 MiB
 * @example
 * import { readFile } from 'node:fs/promises';
 * await writeNpz('pairs.npz', { x: { shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) } });
 * const bytes = new Uint8Array(await readFile('pairs.npz'));
 * const arrays = await decodeNpz(bytes);
 * arrays.get('x').data; // [1, 2]
 */
export async function decodeNpz(bytes: Uint8Array, options: DecodeNpzOptions = {}): Promise<Map<string, ArrayFile>> {
  checkArgument('decodeNpz', 'bytes', bytes, kinds.bytes);
  const { names, name = 'npz' } = checkOptions('decodeNpz', options, decodeOptions);
  const entries = new Map<string, Entry>();
  for (const entry of readDirectory(bytes, name)) {
    if (!entry.fileName.endsWith('.npy'))
      throw new FileError(name, `holds "${entry.fileName}", which is not a .npy array; is it an .npz file?`);
    entries.set(entry.fileName.slice(0, -'.npy'.length), entry);
  }
  const missing = names?.find((one) => !entries.has(one));
  if (missing !== undefined)
    throw new FileError(name, `has no array "${missing}"; it has ${[...entries.keys()].join(', ')}`);
  const chosen = [...entries].filter(([one]) => names?.includes(one) ?? true);
  const total = chosen.reduce((sum, [, { unpacked }]) => sum + unpacked, 0);
  if (total > allowedBytes(bytes.length))
    throw new FileError(name, `unpacks to ${total} bytes; at most ${unpackLimit} are allowed`);
  const arrays = new Map<string, ArrayFile>();
  for (const [one, entry] of chosen)
    arrays.set(one, decodeNpy(await unpack(bytes, entry, name), `${name}, ${entry.fileName}`));
  return arrays;
}

/** The entries of the archive, in the order of its directory. @throws FileError */
function readDirectory(bytes: Uint8Array, name: string): Entry[] {
  const view = viewOf(bytes);
  const damaged = (why: string) => new FileError(name, `is not a whole zip archive: ${why}`);
  // The record at the end may be followed by a comment of at most 65,535 bytes.
  let end = bytes.length - END_BYTES;
  const first = Math.max(0, end - 0xffff);
  while (end >= first && view.getUint32(end, true) !== END) end--;
  if (end < first) throw damaged('its directory is missing');
  const [count, size, start] = [
    view.getUint16(end + 10, true),
    view.getUint32(end + 12, true),
    view.getUint32(end + 16, true),
  ];
  if (start === IN_ZIP64 || count === 0xffff)
    throw new FileError(name, 'is a large archive (zip64), which is read from a path only');
  if (start + size > end) throw damaged('its directory is truncated');
  const entries: Entry[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    if (at + ENTRY_BYTES > end || view.getUint32(at, true) !== ENTRY)
      throw damaged(`entry ${i + 1} of its directory is damaged`);
    const [nameBytes, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    if (at + ENTRY_BYTES + nameBytes > end) throw damaged(`entry ${i + 1} of its directory is damaged`);
    const entry = {
      fileName: new TextDecoder().decode(bytes.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes)),
      flags: view.getUint16(at + 8, true),
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      packed: view.getUint32(at + 20, true),
      unpacked: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true),
    };
    if ([entry.packed, entry.unpacked, entry.offset].includes(IN_ZIP64))
      throw new FileError(name, `entry "${entry.fileName}" is large (zip64), which is read from a path only`);
    entries.push(entry);
    at += ENTRY_BYTES + nameBytes + extra + comment;
  }
  return entries;
}

/** The bytes of an entry, checked against its size and checksum. @throws FileError */
async function unpack(bytes: Uint8Array, entry: Entry, name: string): Promise<Uint8Array> {
  const { fileName, flags, method, crc, packed, unpacked, offset } = entry;
  const problem = (what: string) => new FileError(name, `entry "${fileName}" ${what}`);
  if (flags & ENCRYPTED || (method !== STORED && method !== DEFLATED))
    throw problem('is encrypted or compressed by a method other than deflate');
  const view = viewOf(bytes);
  if (offset + LOCAL_BYTES > bytes.length || view.getUint32(offset, true) !== LOCAL) throw problem('is damaged');
  const begin = offset + LOCAL_BYTES + view.getUint16(offset + 26, true) + view.getUint16(offset + 28, true);
  if (begin + packed > bytes.length) throw problem('is truncated');
  const part = bytes.subarray(begin, begin + packed);
  const whole = method === STORED ? part : await inflate(part, unpacked, problem);
  if (whole.length !== unpacked || checksum(whole) !== crc) throw problem('fails its checksum; the file is damaged');
  return whole;
}

async function inflate(part: Uint8Array, length: number, problem: (what: string) => FileError): Promise<Uint8Array> {
  const whole = new Uint8Array(length);
  let done = 0;
  const stream = new Blob([part as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new DecompressionStream('deflate-raw'));
  const reader = (stream as ReadableStream<Uint8Array>).getReader();
  try {
    for (;;) {
      const { value, done: ended } = await reader.read().catch((cause: Error) => {
        throw problem(`cannot be unpacked: ${cause.message}`);
      });
      if (ended) return whole.subarray(0, done);
      // Nothing beyond the declared size is kept.
      if (done + value.length > length) throw problem(`has more than the ${length} bytes declared`);
      whole.set(value, done);
      done += value.length;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

let table: Uint32Array | undefined;

/** CRC-32 of zip archives; Node's own is not in browsers. */
function checksum(bytes: Uint8Array): number {
  table ??= Uint32Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c;
  });
  let crc = 0xffffffff;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
