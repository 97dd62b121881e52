// The tensors of a network's weights, wherever they are: one safetensors file, several with an index, or a PyTorch file.
// Headers are read first; the numbers follow tensor by tensor or piece by piece, so that a network is never twice in memory.
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileError, formatShape } from '../errors.ts';
import { type ArrayDtype, type ArrayFile, byteLengthOf } from './array.ts';
import { allocateBytes, asFileError, readWhole } from './file.ts';
import { parseJsonFile } from './json.ts';
import { readSafetensorsHeader, withSafetensors } from './safetensors.ts';
import { readPth } from './torch/pth.ts';
import type { TorchValue } from './torch/torch_values.ts';

/** A tensor without its numbers. */
export interface WeightEntry {
  dtype: ArrayDtype;
  shape: readonly number[];
  /** The file that holds it. */
  path: string;
}

export interface WeightFiles {
  /** The file that names them all. */
  path: string;
  tensors: ReadonlyMap<string, WeightEntry>;
  /** Reads tensors one by one, in the order of their files. @param names default: all */
  forEach(use: (name: string, array: ArrayFile) => void | Promise<void>, names?: ReadonlySet<string>): Promise<void>;
  /**
   * Reads tensors in pieces of about PIECE_BYTES: some rows of the first axis each. The memory of a piece is used again for the next
   * one. A tensor without axes or rows is one piece.
   * @param use gets the rows, and the number of the first one
   */
  forEachPiece(
    use: (name: string, rows: ArrayFile, first: number) => void | Promise<void>,
    names?: ReadonlySet<string>,
  ): Promise<void>;
}

/** Large enough for a disk and for kernels, small compared with a network. */
const PIECE_BYTES = 8 * 2 ** 20;

const MAX_INDEX_BYTES = 64 * 2 ** 20;

/**
 * Reads what a file says about its tensors: `.safetensors`, `.safetensors.index.json` with the shards that it names, or a
 * file of `torch.save`, by its ending.
 * @throws FileError for a file that is missing, damaged or truncated, and for an index that does not fit its files
 */
export async function openWeights(path: string): Promise<WeightFiles> {
  if (/\.index(\.[^./\\]+)?\.json$/.test(path)) return openIndex(path);
  if (path.endsWith('.safetensors')) return openSafetensors(path, [path]);
  return openTorch(path);
}

/** The tensors of safetensors files. @throws FileError for a name that two files hold */
async function openSafetensors(path: string, files: readonly string[]): Promise<WeightFiles> {
  const tensors = new Map<string, WeightEntry>();
  for (const file of files) {
    const header = await readSafetensorsHeader(file);
    for (const [name, { dtype, shape }] of header.tensors) {
      const other = tensors.get(name);
      if (other) throw new FileError(file, `holds the tensor "${name}", which ${other.path} holds too`);
      tensors.set(name, { dtype, shape, path: file });
    }
  }
  return {
    path,
    tensors,
    async forEach(use, names) {
      for (const file of files)
        await withSafetensors(file, async (header, read) => {
          for (const name of header.tensors.keys()) if (!names || names.has(name)) await use(name, await read(name));
        });
    },
    async forEachPiece(use, names) {
      let memory: Uint8Array = new Uint8Array(0);
      for (const file of files)
        await withSafetensors(file, async (header, read) => {
          for (const [name, entry] of header.tensors) {
            if (names && !names.has(name)) continue;
            const pieces = piecesOf(entry);
            if (pieces.length === 0) await use(name, await read(name), 0);
            for (const { first, count, bytes } of pieces) {
              if (memory.length < bytes) memory = allocateBytes(file, bytes);
              await use(name, await read(name, { first, count, into: memory }), first);
            }
          }
        });
    },
  };
}

/** Ranges of rows of about PIECE_BYTES; none for a tensor that has no rows to divide. */
function piecesOf({ shape, dtype }: Pick<WeightEntry, 'shape' | 'dtype'>) {
  const [rows = 0, ...rest] = shape;
  const row = byteLengthOf(rest, dtype) ?? 0;
  if (rows === 0 || row === 0) return [];
  const most = Math.max(1, Math.floor(PIECE_BYTES / row));
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => {
    const count = Math.min(most, rows - i * most);
    return { first: i * most, count, bytes: count * row };
  });
}

/** Shards of safetensors, by the index next to them: { weight_map: { tensor: file } }. */
async function openIndex(path: string): Promise<WeightFiles> {
  const index = parseJsonFile(await readWhole(path, MAX_INDEX_BYTES), path) as { weight_map?: unknown } | null;
  const map = index?.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw new FileError(path, 'has no weight_map from tensors to files');
  const fileOf = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== 'string' || !/^[^/\\:\0]+\.safetensors$/.test(file))
      throw new FileError(path, `gives the tensor "${name}" a file that is not a name like NAME.safetensors`);
    fileOf.set(name, join(dirname(path), file));
  }
  if (fileOf.size === 0) throw new FileError(path, 'names no tensors');
  const files = [...new Set(fileOf.values())].sort();
  await refuseStrays(path, files);
  const weights = await openSafetensors(path, files);
  for (const [name, file] of fileOf)
    if (weights.tensors.get(name)?.path !== file)
      throw new FileError(path, `says that ${file} holds the tensor "${name}", which it does not`);
  for (const [name, entry] of weights.tensors)
    if (!fileOf.has(name)) throw new FileError(path, `does not name the tensor "${name}" of ${entry.path}`);
  return weights;
}

/** Refuses a shard next to those of the index that the index does not name: one of the two is not of this model. */
async function refuseStrays(path: string, files: readonly string[]): Promise<void> {
  const family = (file: string) => basename(file).replace(/-\d+(-of-\d+)/, '-*$1');
  const families = new Set(files.map(family));
  const named = new Set(files.map((file) => basename(file)));
  const present = await readdir(dirname(path)).catch((error) => {
    throw asFileError(dirname(path), error);
  });
  for (const file of present.sort())
    if (/-\d+-of-\d+/.test(file) && families.has(family(file)) && !named.has(file))
      throw new FileError(path, `does not name the shard ${file} in its folder`);
}

/** The tensors of a file of torch.save: a dict of tensors, which may be in "state_dict". It is read as a whole. */
async function openTorch(path: string): Promise<WeightFiles> {
  const arrays = arraysOf(await readPth(path), path);
  const entryOf = ({ dtype, shape }: ArrayFile): WeightEntry => ({ dtype, shape, path });
  return {
    path,
    tensors: new Map(Array.from(arrays, ([name, array]) => [name, entryOf(array)])),
    async forEach(use, names) {
      for (const [name, array] of arrays) if (!names || names.has(name)) await use(name, array);
    },
    async forEachPiece(use, names) {
      for (const [name, array] of arrays) {
        if (names && !names.has(name)) continue;
        const { shape, dtype, data } = array;
        const pieces = piecesOf(array);
        if (pieces.length === 0) await use(name, array, 0);
        for (const { first, count } of pieces) {
          const row = data.length / shape[0];
          const rows = data.subarray(first * row, (first + count) * row) as ArrayFile['data'];
          await use(name, { shape: [count, ...shape.slice(1)], dtype, data: rows }, first);
        }
      }
    },
  };
}

function arraysOf(value: TorchValue, path: string): Map<string, ArrayFile> {
  if (!(value instanceof Map)) throw new FileError(path, 'holds no dictionary of tensors');
  const inner = value.get('state_dict');
  if (inner instanceof Map) return arraysOf(inner, path);
  const arrays = new Map<string, ArrayFile>();
  for (const [name, item] of value) if (isArrayFile(item)) arrays.set(String(name), item);
  if (arrays.size === 0) throw new FileError(path, 'holds no tensors by name');
  return arrays;
}

function isArrayFile(value: TorchValue): value is ArrayFile {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Map);
}

/** "f16 [320, 4, 3, 3]" */
export function describeEntry({ dtype, shape }: Pick<WeightEntry, 'dtype' | 'shape'>): string {
  return `${dtype} ${formatShape(shape)}`;
}
