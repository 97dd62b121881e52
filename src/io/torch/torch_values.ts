// The values of a PyTorch file as JavaScript values, and the conversion of an unpickled tree to them.
import { checkArgument, kinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { type ArrayFile, arrayDtypes, byteLengthOf, elementsOf } from '../array.ts';
import { NumpyArray } from '../numpy/numpy_pickle.ts';
import { isRowMajor, toRowMajor } from '../strided.ts';
import { PickleGlobal, Tuple } from './pickle_machine.ts';
import { OrderedDict, TorchStorage, TorchTensor } from './torch_pickle.ts';

/**
 * A value of a .pth file: tensors as row-major arrays, a dict as Map, a list as array, a tuple as Tuple, an OrderedDict
 * as OrderedDict (a Map). Python's int and float both become number, or bigint if a number would not be exact.
 */
export type TorchValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | TorchValue[]
  | Map<string | number, TorchValue>
  | ArrayFile;

/**
 * Writes an integer as a Python float, such as a learning rate of 1.
 * @example
 * // In PyTorch this is 1.0; the number 1 would be the int 1.
 * await writePth('options.pth', new Map([['lr', new Float(1)]]));
 * await readPth('options.pth'); // { lr: 1 }
 */
export class Float {
  readonly value: number;

  constructor(value: number) {
    checkArgument('Float', 'value', value, kinds.number);
    this.value = value;
  }
}

/** A value that writePth accepts. Integers become int. */
export type TorchInput =
  | null
  | boolean
  | number
  | bigint
  | string
  | Float
  | readonly TorchInput[]
  | ReadonlyMap<string | number, TorchInput>
  | ArrayFile;

const MAX_DEPTH = 100;
// A file of a few bytes can refer to the same part many times, or repeat one element with strides of zero.
const MAX_PARTS = 10_000_000;
const MAX_COPIED_BYTES = 2 ** 27;

interface Part {
  value: TorchValue;
  /** Number of parts within it, counting a part once per reference. */
  parts: number;
}

/**
 * Converts an unpickled tree and fills in its tensors. A part that is referred to twice is one object in the result
 * too, and row-major tensors of one storage share its memory.
 * @param memory bytes by storage key
 * @param fileBytes size of the file; copies may take this many bytes plus 128 MiB
 * @throws FileError for a tree that contains itself, is too deep, or contains something that is not a TorchValue
 */
export function toTorchValue(
  root: unknown,
  memory: ReadonlyMap<string, Uint8Array>,
  { path, fileBytes }: { path: string; fileBytes: number },
): TorchValue {
  const done = new Map<unknown, Part>();
  const open = new Set<unknown>();
  let copied = 0;

  const arrayOf = ({ storage, dtype, offset, shape, strides }: TorchTensor): ArrayFile => {
    const { bytes: itemBytes } = arrayDtypes[dtype];
    const length = byteLengthOf(shape, dtype) ?? 0;
    let bytes = (memory.get(storage.key) as Uint8Array).subarray(offset * itemBytes);
    if (isRowMajor(shape, strides)) bytes = bytes.subarray(0, length);
    else {
      copied += length;
      if (copied > fileBytes + MAX_COPIED_BYTES)
        throw new FileError(path, `expands to more than ${fileBytes + MAX_COPIED_BYTES} bytes by repeating elements`);
      bytes = toRowMajor(bytes, shape, strides, itemBytes);
    }
    return { shape: [...shape], dtype, data: elementsOf(bytes, dtype) };
  };

  const wholeStorage = (storage: TorchStorage) =>
    arrayOf(new TorchTensor(storage, storage.dtype, 0, [storage.count], [1]));

  const leaf = (raw: unknown): TorchValue => {
    if (raw === null || ['boolean', 'number', 'bigint', 'string'].includes(typeof raw)) return raw as TorchValue;
    if (raw instanceof TorchTensor) return arrayOf(raw);
    if (raw instanceof TorchStorage) return wholeStorage(raw);
    if (raw instanceof NumpyArray) return raw.array;
    if (raw instanceof PickleGlobal) return raw.name;
    throw new FileError(path, 'holds bytes or another object that is neither data nor tensor');
  };

  const convert = (raw: unknown): Part => {
    if (!Array.isArray(raw) && !(raw instanceof Map) && typeof raw !== 'object') return { value: leaf(raw), parts: 1 };
    const known = done.get(raw);
    if (known) return known;
    if (open.has(raw)) throw new FileError(path, 'holds a value that contains itself');
    if (open.size >= MAX_DEPTH) throw new FileError(path, `is nested deeper than ${MAX_DEPTH}`);
    open.add(raw);
    let parts = 1;
    const inner = (child: unknown) => {
      const part = convert(child);
      parts += part.parts;
      if (parts > MAX_PARTS)
        throw new FileError(path, `has more than ${MAX_PARTS} parts, counting repeated references`);
      return part.value;
    };
    let value: TorchValue;
    if (Array.isArray(raw)) {
      const list: TorchValue[] = raw instanceof Tuple ? new Tuple<TorchValue>() : [];
      for (const child of raw) list.push(inner(child));
      value = list;
    } else if (raw instanceof Map) {
      const map: Map<string | number, TorchValue> = raw instanceof OrderedDict ? new OrderedDict() : new Map();
      for (const [key, child] of raw) {
        if (typeof key === 'bigint') throw new FileError(path, `has the dictionary key ${key}, beyond exact numbers`);
        map.set(key, inner(child));
      }
      value = map;
    } else value = leaf(raw);
    open.delete(raw);
    done.set(raw, { value, parts });
    return { value, parts };
  };
  return convert(root).value;
}
