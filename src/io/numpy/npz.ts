// NumPy's .npz files: a zip archive with one .npy file per array, stored or deflated.
//
// zip.ts and unpack.ts limit the unpacked size. An array beyond 64 MiB must be as large as its own header says.
import { Readable } from 'node:stream';
import type { Entry } from 'yauzl';
import { checkArgument, checkOptions, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import { FileError, ValueError } from '../../errors.ts';
import { allowedBytes, alwaysAllowed, unpackLimit } from '../archives/unpack_limits.ts';
import { withZip, type ZipArchive } from '../archives/zip.ts';
import { type ArrayFile, bytesOf, checkArrays } from '../array.ts';
import { writeFileAtomic } from '../atomic.ts';
import { hasSystemName } from '../system_names.ts';
import { checkElements, decodeNpy, npyHeader } from './npy.ts';
import { parseNpyHeader } from './npy_header.ts';

const MOST_BYTES = 2 ** 32;
/** An upper bound for the header of a numeric array. */
const HEADER_BYTES = 2 ** 17;

export interface ReadNpzOptions {
  /** The arrays to read; an unknown name is an error. Default: all. */
  names?: readonly string[];
  /** Refuses files that unpack to more bytes. Default: 32 times the file, at least 64 MiB and at most 4 GiB. */
  maxBytes?: number;
}

const readOptions: OptionKinds<ReadNpzOptions> = { names: listOf(kinds.text, 'names'), maxBytes: kinds.number };

/**
 * Reads the arrays of an .npz file by name (without `.npy`), in the file's order.
 * @throws FileError if damaged, truncated, encrypted, too large, or if an entry is not an array
 * @example
 * await writeNpz('pairs.npz', { x: { shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) } });
 * const arrays = await readNpz('pairs.npz');
 * arrays.get('x').data; // [1, 2]
 */
export async function readNpz(path: string, options: ReadNpzOptions = {}): Promise<Map<string, ArrayFile>> {
  checkArgument('readNpz', 'path', path, kinds.path);
  const checked = checkOptions('readNpz', options, readOptions);
  return withZip(path, '.npz', async (archive) => {
    const arrays = new Map<string, ArrayFile>();
    const chosen = chooseEntries(archive, checked);
    for (const [, entry] of chosen) if (!alwaysAllowed(entry.uncompressedSize)) await checkDeclared(archive, entry);
    for (const [name, entry] of chosen)
      arrays.set(name, decodeNpy(await archive.read(entry), `${path}, ${entry.fileName}`));
    return arrays;
  });
}

/** @throws FileError unless an entry has the size that the shape and dtype in its header imply */
async function checkDeclared(archive: ZipArchive, entry: Entry): Promise<void> {
  const name = `${archive.path}, ${entry.fileName}`;
  const header = parseNpyHeader(await archive.readBeginning(entry, HEADER_BYTES), name);
  checkElements(entry.uncompressedSize - header.dataOffset, header, name);
}

/** Lists the names of the arrays of an .npz file without reading them. @throws FileError as readNpz */
export function npzNames(path: string): Promise<string[]> {
  return withZip(path, '.npz', async (archive) => [...arrayEntries(archive).keys()]);
}

function arrayEntries({ path, entries }: ZipArchive): Map<string, Entry> {
  const arrays = new Map<string, Entry>();
  for (const [fileName, entry] of entries) {
    const isArray = fileName.endsWith('.npy') && !fileName.startsWith('__MACOSX/');
    // Skip what macOS adds to a repacked archive. The name of an array may itself begin with a dot.
    if (!isArray && hasSystemName(fileName)) continue;
    if (!isArray) throw new FileError(path, `holds "${fileName}", which is not a .npy array; is it an .npz file?`);
    arrays.set(fileName.slice(0, -'.npy'.length), entry);
  }
  return arrays;
}

function chooseEntries(archive: ZipArchive, { names, maxBytes }: ReadNpzOptions): [name: string, entry: Entry][] {
  const { path, bytes } = archive;
  const arrays = arrayEntries(archive);
  const missing = names?.find((name) => !arrays.has(name));
  if (missing !== undefined)
    throw new FileError(path, `has no array "${missing}"; it has ${[...arrays.keys()].join(', ')}`);
  const chosen = [...arrays].filter(([name]) => names?.includes(name) ?? true);
  const unpacked = chosen.reduce((sum, [, entry]) => sum + entry.uncompressedSize, 0);
  const most = maxBytes ?? Math.min(allowedBytes(bytes), MOST_BYTES);
  if (unpacked > most) {
    const allowed = `at most ${most} are allowed${maxBytes === undefined ? `, ${unpackLimit}` : ''}`;
    throw new FileError(
      path,
      `unpacks to ${unpacked} bytes; ${allowed}; pass maxBytes, or save it unpacked (numpy.savez)`,
    );
  }
  return chosen;
}

/**
 * Writes the arrays as an .npz file, atomically. Equal arrays give equal bytes.
 * @param options.compress whether to deflate the entries (as numpy.savez_compressed); default false (as numpy.savez)
 * @throws FileError; ValueError for an array that .npy cannot hold or a name that zip cannot hold
 * @example
 * const x = tensor([[1, 2], [3, 4]]);
 * const y = tensor([0, 1], { dtype: 'i32' });
 * await writeNpz('set.npz', {
 *   x: { shape: x.shape, dtype: 'f32', data: await x.data() },
 *   y: { shape: y.shape, dtype: 'i32', data: await y.data() },
 * });
 * [...(await readNpz('set.npz')).keys()]; // ['x', 'y']
 */
export async function writeNpz(
  path: string,
  arrays: ReadonlyMap<string, ArrayFile> | Record<string, ArrayFile>,
  options: { compress?: boolean } = {},
): Promise<void> {
  checkArgument('writeNpz', 'path', path, kinds.path);
  const checked = checkArrays('writeNpz', arrays);
  const { compress = false } = checkOptions('writeNpz', options, { compress: kinds.boolean });
  const { ZipFile: ZipWriter } = await import('yazl');
  const zip = new ZipWriter();
  const output = zip.outputStream as Readable;
  zip.once('error', (error: Error) => output.destroy(error));
  for (const [name, array] of checked) {
    const parts = [npyHeader(name, array), bytesOf(array.data)];
    const settings = {
      compress,
      size: parts[0].length + parts[1].length,
      mtime: new Date(1980, 0, 1), // the first date that zip can store, so that the bytes do not depend on the day
      forceDosTimestamp: true,
    };
    try {
      zip.addReadStream(Readable.from(slices(parts), { objectMode: false }), `${name}.npy`, settings);
    } catch (error) {
      throw new ValueError(`array name "${name}" cannot be used in a zip file: ${(error as Error).message}`);
    }
  }
  zip.end();
  await writeFileAtomic(path, output);
}

function* slices(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const part of parts)
    for (let start = 0; start < part.length; start += 2 ** 20) yield part.subarray(start, start + 2 ** 20);
}
