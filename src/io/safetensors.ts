// Safetensors files: a length, a JSON header, and the elements of all tensors without gaps.
//
// u64 n | n bytes {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {..}} | elements
//
// Source: the format description in huggingface/safetensors. Every size is checked before anything is allocated.
import { checkArgument, checkArguments, isWhole, kind, kinds, listOf } from '../arguments.ts';
import { FileError, formatShape, ValueError } from '../errors.ts';
import {
  type ArrayDtype,
  type ArrayFile,
  arrayDtypes,
  byteLengthOf,
  bytesOf,
  checkArrays,
  elementsOf,
} from './array.ts';
import { writeFileAtomic } from './atomic.ts';
import { type ReadableFile, readRange, withFile } from './file.ts';
import { parseStrictJson } from './json.ts';

const MAX_HEADER_BYTES = 100_000_000; // the format's own limit
const metadataKey = '__metadata__';

export interface TensorEntry {
  dtype: ArrayDtype;
  shape: number[];
  /** Position of the first byte in the file, and of the byte after the last. */
  begin: number;
  end: number;
}

export interface SafetensorsHeader {
  metadata: Record<string, string>;
  /** The tensors by name, in the order of their bytes in the file. */
  tensors: Map<string, TensorEntry>;
}

/**
 * Reads the header only, no elements.
 * @throws FileError if the file is damaged, truncated or has an unknown dtype
 * @example
 * await saveModule('network.safetensors', new MLP([2, 8, 1]));
 * const { tensors } = await readSafetensorsHeader('network.safetensors');
 * tensors.get('layers.0.weight').shape; // [8, 2]
 */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  checkArgument('readSafetensorsHeader', 'path', path, kinds.path);
  return withFile(path, readHeader);
}

/**
 * Reads metadata and tensors of a file, each tensor into memory of its own.
 * @param names the tensors to read; an unknown name is an error. Default: all
 * @throws FileError as readSafetensorsHeader
 * @example
 * await writeSafetensors('layer.safetensors', {
 *   weight: { shape: [2, 2], dtype: 'f32', data: Float32Array.of(1, 2, 3, 4) },
 * });
 * const { tensors } = await readSafetensors('layer.safetensors');
 * tensors.get('weight').data; // [1, 2, 3, 4]
 */
export async function readSafetensors(
  path: string,
  names?: readonly string[],
): Promise<{ metadata: Record<string, string>; tensors: Map<string, ArrayFile> }> {
  checkArgument('readSafetensors', 'path', path, kinds.path);
  if (names !== undefined) checkArgument('readSafetensors', 'names', names, listOf(kinds.text, 'names'));
  return withFile(path, async (file) => {
    const header = await readHeader(file);
    const tensors = new Map<string, ArrayFile>();
    for (const name of names ?? header.tensors.keys()) tensors.set(name, await readTensor(file, header, name));
    return { metadata: header.metadata, tensors };
  });
}

/** Rows of a tensor, which are those of its first axis, and memory to read them into; default: new memory. */
export interface ReadRows {
  first: number;
  count: number;
  into?: Uint8Array;
}

/**
 * Runs `body` with the header of a file and a function that reads one tensor of it, or some of its rows, so that large files need
 * not be in memory as a whole. The file is closed afterwards.
 * @throws FileError as readSafetensorsHeader
 */
export async function withSafetensors<T>(
  path: string,
  body: (header: SafetensorsHeader, read: (name: string, rows?: ReadRows) => Promise<ArrayFile>) => Promise<T>,
): Promise<T> {
  return withFile(path, async (file) => {
    const header = await readHeader(file);
    return body(header, (name, rows) => readTensor(file, header, name, rows));
  });
}

async function readTensor(
  file: ReadableFile,
  header: SafetensorsHeader,
  name: string,
  rows?: ReadRows,
): Promise<ArrayFile> {
  const entry = header.tensors.get(name);
  if (!entry) throw new FileError(file.path, `holds no tensor "${name}"`);
  const { dtype, shape, begin, end } = entry;
  if (!rows) return { shape, dtype, data: elementsOf(await readRange(file, begin, end - begin), dtype) };
  const row = (end - begin) / shape[0];
  const bytes = await readRange(file, begin + rows.first * row, rows.count * row, rows.into);
  return { shape: [rows.count, ...shape.slice(1)], dtype, data: elementsOf(bytes, dtype) };
}

/**
 * The metadata and tensors of a file whose bytes are in memory, such as those of `fetch`. Tensors share that memory where their
 * alignment allows.
 * @param name the file's name in errors
 * @throws FileError as readSafetensorsHeader
 * @example
 * const bytes = encodeSafetensors({ w: { shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) } });
 * decodeSafetensors(bytes).tensors.get('w').data; // [1, 2]
 */
export function decodeSafetensors(
  bytes: Uint8Array,
  name = 'safetensors',
): { metadata: Record<string, string>; tensors: Map<string, ArrayFile> } {
  checkArguments('decodeSafetensors', { bytes: [bytes, kinds.bytes], name: [name, kinds.text] });
  const size = { path: name, bytes: bytes.length };
  const length = headerLength(size, bytes.subarray(0, 8));
  const header = parseHeader(size, bytes.subarray(8, 8 + length));
  const tensors = [...header.tensors].map(([key, { dtype, shape, begin, end }]): [string, ArrayFile] => {
    return [key, { shape, dtype, data: elementsOf(bytes.subarray(begin, end), dtype) }];
  });
  return { metadata: header.metadata, tensors: new Map(tensors) };
}

/**
 * Writes tensors and metadata, atomically. Wider dtypes come first, so that every tensor is aligned in the file;
 * otherwise the order is kept. Equal inputs give equal bytes.
 * @throws FileError; ValueError if data and shape do not match
 * @example
 * const x = tensor([[1, 2], [3, 4]]);
 * const weight = await x.data();
 * await writeSafetensors('layer.safetensors', { weight: { shape: x.shape, dtype: 'f32', data: weight } }, { step: '100' });
 * (await readSafetensorsHeader('layer.safetensors')).metadata.step; // '100'
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, ArrayFile> | Record<string, ArrayFile>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  checkArgument('writeSafetensors', 'path', path, kinds.path);
  await writeFileAtomic(path, partsOf('writeSafetensors', path, tensors, metadata));
}

/**
 * The bytes that writeSafetensors writes.
 * @throws ValueError if data and shape do not match
 * @example
 * const bytes = encodeSafetensors({ w: { shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) } });
 * bytes.length; // 72
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, ArrayFile> | Record<string, ArrayFile>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const parts = partsOf('encodeSafetensors', 'safetensors', tensors, metadata);
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The header, then the elements of each tensor. */
function partsOf(
  op: string,
  path: string,
  tensors: ReadonlyMap<string, ArrayFile> | Record<string, ArrayFile>,
  metadata: Readonly<Record<string, string>>,
): Uint8Array[] {
  const entries = checkArrays(op, tensors);
  if (entries.some(([name]) => name === metadataKey))
    throw new ValueError(`[${op}] a tensor cannot be named ${metadataKey}`);
  checkArgument(op, 'metadata', metadata, kind('an object of strings', isRecord));
  const texts = Object.entries(metadata);
  for (const [key, text] of texts) checkArgument(op, `metadata "${key}"`, text, kinds.text);
  entries.sort(([, a], [, b]) => arrayDtypes[b.dtype].bytes - arrayDtypes[a.dtype].bytes);

  // The JSON is assembled by hand: an object would put names that look like numbers first.
  const members = texts.length ? [`"${metadataKey}":${JSON.stringify(Object.fromEntries(texts))}`] : [];
  let offset = 0;
  for (const [name, { dtype, shape, data }] of entries) {
    const entry = { dtype: dtype.toUpperCase(), shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
    members.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  if (json.length > MAX_HEADER_BYTES)
    throw new ValueError(`${path}: names and metadata exceed ${MAX_HEADER_BYTES} bytes`);
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(json, 8);
  return [header, ...entries.map(([, { data }]) => bytesOf(data))];
}

/** A file's name and its length in bytes. */
type FileSize = Pick<ReadableFile, 'path' | 'bytes'>;

async function readHeader(file: ReadableFile): Promise<SafetensorsHeader> {
  const length = headerLength(file, await readRange(file, 0, Math.min(8, file.bytes)));
  return parseHeader(file, await readRange(file, 8, length));
}

/** The length of the JSON header. @param start the first 8 bytes of the file */
function headerLength(file: FileSize, start: Uint8Array): number {
  if (file.bytes < 8) throw new FileError(file.path, 'is not a safetensors file (shorter than 8 bytes)');
  const length = Number(new DataView(start.buffer, start.byteOffset).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || length > file.bytes - 8)
    throw new FileError(file.path, `declares a header of ${length} bytes; it is truncated or not a safetensors file`);
  return length;
}

function parseHeader(file: FileSize, bytes: Uint8Array): SafetensorsHeader {
  let header: unknown;
  try {
    if (bytes[0] !== 0x7b) throw new SyntaxError('it does not begin with {');
    header = parseStrictJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw new FileError(file.path, `has a damaged header: ${(error as Error).message}`, { cause: error });
  }
  return checkHeader(header as Record<string, unknown>, 8 + bytes.length, file);
}

function checkHeader(header: Record<string, unknown>, dataStart: number, file: FileSize): SafetensorsHeader {
  const tensors: [string, TensorEntry][] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === metadataKey) metadata = checkMetadata(value, file.path);
    else tensors.push([name, checkEntry(name, value, dataStart, file.path)]);
  }
  tensors.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let end = dataStart;
  for (const [name, entry] of tensors) {
    if (entry.begin !== end)
      throw new FileError(file.path, `tensor "${name}" ${entry.begin < end ? 'overlaps another' : 'follows a hole'}`);
    end = entry.end;
  }
  if (end !== file.bytes)
    throw new FileError(
      file.path,
      `has ${file.bytes} bytes, but its header describes ${end}; it is truncated or damaged`,
    );
  return { metadata, tensors: new Map(tensors) };
}

function checkMetadata(value: unknown, path: string): Record<string, string> {
  if (!isRecord(value) || !Object.values(value).every((text) => typeof text === 'string'))
    throw new FileError(path, `${metadataKey} is not an object of strings`);
  return value as Record<string, string>;
}

function checkEntry(name: string, value: unknown, dataStart: number, path: string): TensorEntry {
  const problem = (what: string) => new FileError(path, `tensor "${name}" ${what}`);
  if (!isRecord(value)) throw problem('has no description');
  const { dtype: code, shape, data_offsets: offsets, ...rest } = value;
  const unknownKey = Object.keys(rest)[0];
  if (unknownKey !== undefined) throw problem(`has the unknown key "${unknownKey}"`);
  const dtype = (Object.keys(arrayDtypes) as ArrayDtype[]).find((known) => known.toUpperCase() === code);
  if (!dtype) throw problem(`has dtype ${JSON.stringify(code)}, which cannot be read`);
  if (!isSizes(shape)) throw problem('has a shape that is not a list of sizes');
  if (!isSizes(offsets) || offsets.length !== 2) throw problem('has data_offsets that are not a pair of sizes');
  const [begin, end] = offsets;
  const length = byteLengthOf(shape, dtype);
  if (length === undefined || end - begin !== length)
    throw problem(`of ${dtype} ${formatShape(shape)} spans ${end - begin} bytes instead of ${length ?? 'any size'}`);
  return { dtype, shape, begin: dataStart + begin, end: dataStart + end };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => isWhole(size));
}
