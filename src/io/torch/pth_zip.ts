// PyTorch's zip files, written since torch 1.6. Entries are stored without compression, so that storages can be read in
// place:
//
// <name>/data.pkl    the value given to torch.save    <name>/data/<key>  the elements of a storage
// <name>/byteorder   "little" or "big"                <name>/version     "3"
//
// Source: torch/serialization.py (_save, _load).
import type { Entry } from 'yauzl';
import { FileError } from '../../errors.ts';
import type { ZipArchive } from '../archives/zip.ts';
import { arrayDtypes } from '../array.ts';
import { swapBytes } from '../strided.ts';
import { unpickle } from './pickle.ts';
import { type TorchStorage, torchUnpickleOptions } from './torch_pickle.ts';
import { type TorchValue, toTorchValue } from './torch_values.ts';

const MAX_PICKLE_BYTES = 2 ** 28;
const STORED = 0;

/** @throws FileError as readPth */
export async function readZipPth(archive: ZipArchive): Promise<TorchValue> {
  const { path } = archive;
  const names = [...archive.entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (names.length !== 1) throw new FileError(path, 'has no <name>/data.pkl; was it written by torch.save?');
  const folder = names[0].slice(0, -'data.pkl'.length);
  if (archive.entries.has(`${folder}constants.pkl`))
    throw new FileError(path, 'is a TorchScript program; save its state_dict() with torch.save');

  const storages = new Map<string, TorchStorage>();
  const pickle = await archive.read(entryOf(archive, names[0], MAX_PICKLE_BYTES));
  const { value } = unpickle(pickle, 0, torchUnpickleOptions(path, storages));

  const bigEndian = await isBigEndian(archive, `${folder}byteorder`);
  const memory = new Map<string, Uint8Array>();
  for (const [key, storage] of storages) {
    const entry = entryOf(archive, `${folder}data/${key}`, storage.bytes);
    if (entry.uncompressedSize !== storage.bytes)
      throw new FileError(path, `storage "${key}" has ${entry.uncompressedSize} bytes instead of ${storage.bytes}`);
    const bytes = await archive.read(entry);
    const itemBytes = arrayDtypes[storage.dtype].bytes;
    if (bigEndian && storage.untyped) throw new FileError(path, 'holds untyped storages in big-endian order');
    memory.set(key, bigEndian && itemBytes > 1 ? swapBytes(bytes, itemBytes) : bytes);
  }
  return toTorchValue(value, memory, { path, fileBytes: archive.bytes });
}

async function isBigEndian(archive: ZipArchive, name: string): Promise<boolean> {
  // Files from before torch 2.1 have no such entry and are little-endian.
  if (!archive.entries.has(name)) return false;
  const order = Buffer.from(await archive.read(entryOf(archive, name, 16))).toString();
  if (order !== 'little' && order !== 'big') throw new FileError(archive.path, 'has an unknown byte order');
  return order === 'big';
}

function entryOf({ path, entries }: ZipArchive, name: string, maxBytes: number): Entry {
  const entry = entries.get(name);
  if (!entry) throw new FileError(path, `has no entry "${name}"; it is truncated or damaged`);
  if (entry.compressionMethod !== STORED)
    throw new FileError(
      path,
      `entry "${name}" is compressed, which torch.save never does; unzip and store it (zip -0)`,
    );
  if (entry.uncompressedSize > maxBytes)
    throw new FileError(
      path,
      `entry "${name}" has ${entry.uncompressedSize} bytes, more than the ${maxBytes} expected`,
    );
  return entry;
}
