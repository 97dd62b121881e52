// NumPy's .npz files: a zip of .npy files, one an array, stored or deflated.
//
// What an archive unpacks to is bounded by zip.ts and unpack.ts. An array beyond 64 MiB must be as large as its own header says.
import { Readable } from 'node:stream';
import type { Entry } from 'yauzl';
import { checkArgument, checkOptions, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import { FileError, ValueError } from '../../errors.ts';
import { allowedBytes, alwaysAllowed, unpackLimit } from '../archives/unpack.ts';
import { withZip, type ZipArchive } from '../archives/zip.ts';
import { type ArrayFile, bytesOf, checkArrays } from '../array.ts';
import { writeFileAtomic } from '../atomic.ts';
import { hasSystemName } from '../system_names.ts';
import { checkElements, decodeNpy, npyHeader } from './npy.ts';
import { parseNpyHeader } from './npy_header.ts';

const MOST_BYTES = 2 ** 32;
/** More than the header of an array of numbers can have. */
const HEADER_BYTES = 2 ** 17;

export interface ReadNpzOptions {
  /** Reads these arrays only; a name that is not there is an error. Default: all. */
  names?: readonly string[];
  /** Refuses files that unpack to more. Default: 32 times the file, at least 64 MiB and at most 4 GiB. */
  maxBytes?: number;
}

const readOptions: OptionKinds<ReadNpzOptions> = { names: listOf(kinds.text, 'names'), maxBytes: kinds.number };

/**
 * The arrays of an .npz file by name (without `.npy`), in the file's order.
 * @throws FileError when damaged, cut off, encrypted, too large, or when an entry is no array
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

/** @throws FileError unless an entry is of the size that shape and dtype in its header say */
async function checkDeclared(archive: ZipArchive, entry: Entry): Promise<void> {
  const name = `${archive.path}, ${entry.fileName}`;
  const header = parseNpyHeader(await archive.beginning(entry, HEADER_BYTES), name);
  checkElements(entry.uncompressedSize - header.dataOffset, header, name);
}

/** The names of the arrays of an .npz file; none of them is read. @throws FileError as readNpz */
export function npzNames(path: string): Promise<string[]> {
  return withZip(path, '.npz', async (archive) => [...arrayEntries(archive).keys()]);
}

function arrayEntries({ path, entries }: ZipArchive): Map<string, Entry> {
  const arrays = new Map<string, Entry>();
  for (const [fileName, entry] of entries) {
    const isArray = fileName.endsWith('.npy') && !fileName.startsWith('__MACOSX/');
    // What macOS adds to an archive that is packed again. An array's own name may begin with a dot.
    if (!isArray && hasSystemName(fileName)) continue;
    if (!isArray) throw new FileError(path, `holds "${fileName}", which is no .npy array; is it an .npz file?`);
    arrays.set(fileName.slice(0, -'.npy'.length), entry);
  }
  return arrays;
}

function chooseEntries(archive: ZipArchive, { names, maxBytes }: ReadNpzOptions): [name: string, entry: Entry][] {
  const { path, bytes } = archive;
  const arrays = arrayEntries(archive);
  const missing = names?.find((name) => !arrays.has(name));
  if (missing !== undefined)
    throw new FileError(path, `holds no array "${missing}"; it holds ${[...arrays.keys()].join(', ')}`);
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
 * Writes the arrays as an .npz file, atomically. The same arrays give the same bytes.
 * @param options.compress deflates the entries (as numpy.savez_compressed); default false (as numpy.savez)
 * @throws FileError; ValueError for an array that .npy cannot hold or a name that zip cannot
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
