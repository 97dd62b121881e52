// Writes PyTorch's zip files, readable by torch.load, also with weights_only, and by the official code.
//
// archive/data.pkl, archive/byteorder, archive/data/0, archive/data/1, .., archive/version
//
// Source: torch/serialization.py (_save). Each array becomes a storage of its own, so that a view of a large buffer
// does not save all of it; arrays over the same bytes share one storage.
import { checkArgument, kinds, refuseExtra } from '../../arguments.ts';
import { ValueError } from '../../errors.ts';
import { type StoredEntry, storedZip } from '../archives/zip_writer.ts';
import { type ArrayFile, bytesOf, checkArray } from '../array.ts';
import { writeFileAtomic } from '../atomic.ts';
import { denseStrides } from '../strided.ts';
import { Tuple } from './pickle_machine.ts';
import { PickleWriter } from './pickle_writer.ts';
import { OrderedDict, storageTypes, torchDtypes } from './torch_pickle.ts';
import { Float, type TorchInput } from './torch_values.ts';

const MAX_DEPTH = 100;

/**
 * Writes a value as torch.save would, atomically. Integers become int (`new Float(1)` forces a float), other numbers
 * float; a Map becomes a dict, an OrderedDict an OrderedDict, an array a list, a Tuple a tuple. Equal values give equal
 * bytes, and arrays are restored bit for bit.
 * @throws FileError; ValueError for a value that cannot be written, or that contains itself
 * @example
 * const { weight, bias } = new Linear(2, 1);
 * await writePth('model.pth', new OrderedDict([
 *   ['weight', { shape: weight.shape, dtype: 'f32', data: await weight.data() }],
 *   ['bias', { shape: bias.shape, dtype: 'f32', data: await bias.data() }],
 * ]));
 * const state = await readPth('model.pth');
 * state instanceof Map && [...state.keys()]; // ['weight', 'bias']
 */
export function writePth(path: string, value: TorchInput): Promise<void>;
export async function writePth(path: string, value: TorchInput, ...extra: unknown[]): Promise<void> {
  refuseExtra('writePth', extra);
  checkArgument('writePth', 'path', path, kinds.path);
  const { pickle, storages } = pickleValue(value);
  const entries: StoredEntry[] = [
    { name: 'data.pkl', bytes: pickle },
    { name: 'byteorder', bytes: Buffer.from('little') },
    ...storages.map((bytes, i) => ({ name: `data/${i}`, bytes })),
    { name: 'version', bytes: Buffer.from('3\n') },
  ];
  await writeFileAtomic(path, storedZip(entries.map(({ name, bytes }) => ({ name: `archive/${name}`, bytes }))));
}

function pickleValue(root: TorchInput): { pickle: Uint8Array; storages: Uint8Array[] } {
  const pickle = new PickleWriter();
  const storages = new SharedStorages();

  const write = (value: TorchInput, where: readonly (string | number)[]): void => {
    if (where.length > MAX_DEPTH)
      throw new ValueError(`[writePth] a value nested deeper than ${MAX_DEPTH} cannot be written`);
    if (value === null) pickle.none();
    else if (typeof value === 'boolean') pickle.boolean(value);
    else if (typeof value === 'bigint') pickle.integer(value);
    else if (typeof value === 'string') pickle.text(value);
    else if (value instanceof Float) pickle.float(value.value);
    else if (typeof value === 'number') {
      if (Number.isSafeInteger(value) && !Object.is(value, -0)) pickle.integer(value);
      else pickle.float(value);
    } else if (Array.isArray(value)) {
      const items = () => value.forEach((item, i) => write(item, [...where, i]));
      if (value instanceof Tuple) pickle.tuple(items);
      else pickle.list(items);
    } else if (value instanceof Map) {
      const items = () => {
        for (const [key, item] of value) {
          write(key, where);
          write(item, [...where, key]);
        }
      };
      if (value instanceof OrderedDict) {
        emptyOrderedDict(pickle);
        pickle.setItems(items);
      } else pickle.dictionary(items);
    } else if (isArray(value)) writeTensor(pickle, value, where.join('.'), storages);
    else
      throw new ValueError(
        `[writePth] the value at "${where.join('.')}" is of a kind that a .pth file cannot hold; use a Map for a dict`,
      );
  };
  write(root, []);
  return { pickle: pickle.end(), storages: storages.bytes };
}

function writeTensor(pickle: PickleWriter, array: ArrayFile, name: string, storages: SharedStorages): void {
  const checked = checkArray('writePth', name, array);
  const { dtype, shape, data } = checked;
  const type = storageTypes[dtype];
  const numbers = (values: readonly number[]) => pickle.tuple(() => values.forEach((value) => pickle.integer(value)));
  pickle.call('torch._utils', type ? '_rebuild_tensor_v2' : '_rebuild_tensor_v3', () => {
    pickle.persistent(() =>
      pickle.tuple(() => {
        pickle.text('storage');
        pickle.global(type ? 'torch' : 'torch.storage', type ?? 'UntypedStorage');
        pickle.text(String(storages.key(checked)));
        pickle.text('cpu');
        pickle.integer(type ? data.length : data.byteLength);
      }),
    );
    pickle.integer(0);
    numbers(shape);
    numbers(denseStrides(shape));
    pickle.boolean(false);
    emptyOrderedDict(pickle); // no backward hooks
    if (!type) pickle.global('torch', torchDtypes[dtype][0]);
  });
}

function emptyOrderedDict(pickle: PickleWriter): void {
  pickle.call('collections', 'OrderedDict', () => {});
}

function isArray(value: unknown): value is ArrayFile {
  return (
    typeof value === 'object' &&
    value !== null &&
    'shape' in value &&
    'dtype' in value &&
    'data' in value &&
    Array.isArray(value.shape)
  );
}

/** The storages of a file. Arrays over the same bytes with the same dtype share one. */
class SharedStorages {
  readonly bytes: Uint8Array[] = [];
  private readonly keys = new Map<ArrayBufferLike, Map<string, number>>();

  key({ data, dtype }: ArrayFile): number {
    const ofBuffer = this.keys.get(data.buffer) ?? new Map<string, number>();
    this.keys.set(data.buffer, ofBuffer);
    const range = `${dtype} ${data.byteOffset} ${data.byteLength}`;
    const known = ofBuffer.get(range);
    if (known !== undefined) return known;
    ofBuffer.set(range, this.bytes.length);
    return this.bytes.push(bytesOf(data)) - 1;
  }
}
