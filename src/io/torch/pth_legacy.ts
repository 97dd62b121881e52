// PyTorch files from before torch 1.6, which have no container:
//
// five pickles: magic number, protocol 1001, system information, the value given to torch.save, list of storage keys
// then, per key: u64 count | elements, little-endian
//
// Source: torch/serialization.py (_legacy_save, _legacy_load).
import { FileError } from '../../errors.ts';
import { type ReadableFile, readRange } from '../file.ts';
import { unpickle } from './pickle.ts';
import { PickleCutOff } from './pickle_input.ts';
import { type TorchStorage, torchUnpickleOptions } from './torch_pickle.ts';
import { type TorchValue, toTorchValue } from './torch_values.ts';

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
const FIRST_BYTES = 2 ** 20;
const MAX_PICKLE_BYTES = 2 ** 28;

interface Pickles {
  value: unknown;
  keys: string[];
  storages: Map<string, TorchStorage>;
  /** The byte after the pickles. */
  end: number;
}

/** @throws FileError as readPth */
export async function readLegacyPth(file: ReadableFile): Promise<TorchValue> {
  const { path } = file;
  const { value, keys, storages, end } = await readPickles(file);
  const memory = new Map<string, Uint8Array>();
  let at = end;
  for (const key of keys) {
    const storage = storages.get(key);
    const count = new DataView((await readRange(file, at, 8)).buffer).getBigUint64(0, true);
    if (!storage || memory.has(key) || count !== BigInt(storage.count))
      throw new FileError(path, `storage "${key}" does not match its description; the file is damaged`);
    memory.set(key, await readRange(file, at + 8, storage.bytes));
    at += 8 + storage.bytes;
  }
  for (const key of storages.keys())
    if (!memory.has(key)) throw new FileError(path, `has no storage "${key}"; the file is damaged`);
  return toTorchValue(value, memory, { path, fileBytes: file.bytes });
}

// The file does not state how long the pickles are, so parsing is tried on an ever longer beginning of the file.
async function readPickles(file: ReadableFile): Promise<Pickles> {
  for (let length = FIRST_BYTES; ; length *= 4) {
    const bytes = await readRange(file, 0, Math.min(length, file.bytes));
    try {
      return parsePickles(bytes, file.path);
    } catch (error) {
      if (!(error instanceof PickleCutOff) || length >= Math.min(file.bytes, MAX_PICKLE_BYTES)) throw error;
    }
  }
}

function parsePickles(bytes: Uint8Array, path: string): Pickles {
  const storages = new Map<string, TorchStorage>();
  const options = torchUnpickleOptions(path, storages);
  const first = unpickle(bytes, 0, options);
  if (first.value !== MAGIC) throw new FileError(path, 'is a pickle that torch.save did not write');
  const second = unpickle(bytes, first.end, options);
  if (second.value !== PROTOCOL) throw new FileError(path, `is not a file of torch.save's protocol ${PROTOCOL}`);
  const system = unpickle(bytes, second.end, options);
  const { value, end: valueEnd } = unpickle(bytes, system.end, options);
  const { value: keys, end } = unpickle(bytes, valueEnd, options);
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'string'))
    throw new FileError(path, 'has no list of its storages; the file is damaged');
  return { value, keys, storages, end };
}
