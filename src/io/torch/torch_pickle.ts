// The globals of PyTorch's pickles. A tensor in a pickle is a view of a storage, whose bytes are outside of the pickle:
//
// persistent id: ('storage', torch.FloatStorage, key, location, count)
// tensor:        _rebuild_tensor_v2(storage, offset, shape, strides, ..), counted in elements
//
// Source: torch/serialization.py and torch/_utils.py. Only tensors, shapes, dtypes and devices are supported.
import { checkArgument, isWhole, kind, kinds } from '../../arguments.ts';
import { FileError, formatShape } from '../../errors.ts';
import { type ArrayDtype, arrayDtypes, byteLengthOf } from '../array.ts';
import { numpyGlobals } from '../numpy/numpy_pickle.ts';
import { PickleGlobal, Tuple, type UnpickleOptions } from './pickle_machine.ts';
import { pythonGlobals } from './python_globals.ts';

/** Memory that tensors share: `count` elements of `dtype`, stored under `key`. */
export class TorchStorage {
  readonly key: string;
  readonly dtype: ArrayDtype;
  readonly count: number;
  /** Whether the storage is untyped: `count` is in bytes, and tensors of any dtype may view it. */
  readonly untyped: boolean;

  constructor(key: string, dtype: ArrayDtype, count: number, untyped: boolean) {
    this.key = key;
    this.dtype = dtype;
    this.count = count;
    this.untyped = untyped;
  }

  get bytes(): number {
    return this.count * arrayDtypes[this.dtype].bytes;
  }
}

/** A view of a storage. Offset and strides are in elements of `dtype`; all elements are within the storage. */
export class TorchTensor {
  readonly storage: TorchStorage;
  readonly dtype: ArrayDtype;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(
    storage: TorchStorage,
    dtype: ArrayDtype,
    offset: number,
    shape: readonly number[],
    strides: readonly number[],
  ) {
    this.storage = storage;
    this.dtype = dtype;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/**
 * A Python OrderedDict; it is written as an OrderedDict again.
 * @example
 * await writePth('options.pth', new OrderedDict([['lr', 0.5], ['steps', 100]]));
 * const options = await readPth('options.pth');
 * options instanceof OrderedDict; // true
 * options; // { lr: 0.5, steps: 100 }
 */
export class OrderedDict<K = unknown, V = unknown> extends Map<K, V> {
  /** Like Map's constructor. */
  constructor(entries?: Iterable<readonly [K, V]> | null) {
    if (entries !== undefined && entries !== null) checkArgument('OrderedDict', 'entries', entries, kinds.iterable);
    super();
    for (const entry of entries ?? []) {
      checkArgument('OrderedDict', 'an entry', entry, pairKind);
      this.set(entry[0], entry[1]);
    }
  }
}

const pairKind = kind('a pair of key and value', (v) => Array.isArray(v) && v.length === 2);

/** PyTorch's names of the dtypes; the first is used for writing. */
export const torchDtypes: { readonly [D in ArrayDtype]: readonly string[] } = {
  f32: ['float32', 'float'],
  f64: ['float64', 'double'],
  f16: ['float16', 'half'],
  bf16: ['bfloat16'],
  i64: ['int64', 'long'],
  i32: ['int32', 'int'],
  i16: ['int16', 'short'],
  i8: ['int8'],
  u8: ['uint8'],
  u16: ['uint16'],
  u32: ['uint32'],
  u64: ['uint64'],
  bool: ['bool'],
};

/** The storage type of a dtype in a pickle. u16, u32 and u64 have none and use untyped storages. */
export const storageTypes: Readonly<Partial<Record<ArrayDtype, string>>> = {
  f32: 'FloatStorage',
  f64: 'DoubleStorage',
  f16: 'HalfStorage',
  bf16: 'BFloat16Storage',
  i64: 'LongStorage',
  i32: 'IntStorage',
  i16: 'ShortStorage',
  i8: 'CharStorage',
  u8: 'ByteStorage',
  bool: 'BoolStorage',
};

const tensorClasses = ['torch.Tensor', 'torch.nn.parameter.Parameter', 'torch.nn.parameter.Buffer'];
const MAX_RANK = 64;
const untypedStorage = 'torch.storage.UntypedStorage';
const dtypes = Object.keys(torchDtypes) as ArrayDtype[];
const dtypeOfName = new Map(dtypes.flatMap((dtype) => torchDtypes[dtype].map((name) => [`torch.${name}`, dtype])));
const dtypeOfStorage = new Map(dtypes.map((dtype) => [`torch.${storageTypes[dtype]}`, dtype]));

/** Options of `unpickle` for a PyTorch file. `storages` receives the storages that the pickle refers to, by key. */
export function torchUnpickleOptions(path: string, storages: Map<string, TorchStorage>): UnpickleOptions {
  const refuse = (what: string) => new FileError(path, `holds ${what}; the file is damaged`);

  // Before torch 0.4 a storage could be part of another one; the id then has a last element that is otherwise absent.
  const storageOf = (id: unknown): TorchStorage => {
    const [kind, type, key, , count, part] = Array.isArray(id) ? id : [];
    if (kind !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string' || !isWhole(count))
      throw refuse('a reference to a storage without type, key and size');
    if (part !== undefined && part !== null) throw new FileError(path, 'holds parts of storages, as torch 0.3 wrote');
    const untyped = type.name === untypedStorage;
    const dtype = untyped ? 'u8' : dtypeOfStorage.get(type.name);
    if (!dtype) throw refuse(`a storage of type ${type.name}`);
    const storage = storages.get(key) ?? new TorchStorage(key, dtype, count, untyped);
    if (storage.dtype !== dtype || storage.count !== count || storage.untyped !== untyped)
      throw refuse(`two descriptions of storage "${key}"`);
    storages.set(key, storage);
    return storage;
  };

  const tensor = (storage: unknown, offset: unknown, shape: unknown, strides: unknown, type?: unknown) => {
    if (!(storage instanceof TorchStorage) || !isWhole(offset) || !isSizes(shape) || !isSizes(strides))
      throw refuse('a tensor without storage, offset, shape and strides');
    const dtype = type instanceof PickleGlobal ? dtypeOfName.get(type.name) : storage.dtype;
    if (!dtype || (!storage.untyped && dtype !== storage.dtype))
      throw refuse('a tensor of a type other than its storage');
    const { bytes } = arrayDtypes[dtype];
    const last = shape.reduce((sum, dim, axis) => sum + (dim - 1) * strides[axis], offset);
    const empty = shape.includes(0);
    if (
      shape.length !== strides.length ||
      byteLengthOf(shape, dtype) === undefined ||
      (!empty && (last + 1) * bytes > storage.bytes)
    )
      throw refuse(
        `a tensor of ${dtype} ${formatShape(shape)} with offset ${offset} and strides ${formatShape(strides)} ` +
          `that exceeds its storage of ${storage.count}`,
      );
    return new TorchTensor(storage, dtype, empty ? 0 : offset, [...shape], [...strides]);
  };
  const parameter = ([data]: readonly unknown[]) => {
    if (!(data instanceof TorchTensor)) throw refuse('a parameter that is not a tensor');
    return data;
  };

  // (function, class, arguments, attributes): a Buffer, a Parameter, a tensor with attributes. Only the tensor is kept.
  const rebuildTyped = ([rebuild, type, args]: readonly unknown[]) => {
    if (!(rebuild instanceof PickleGlobal) || !rebuild.name.startsWith('torch._utils._rebuild_') || !rebuild.make)
      throw refuse('a tensor with an unknown rebuild function');
    if (!(type instanceof PickleGlobal) || !tensorClasses.includes(type.name) || !Array.isArray(args))
      throw refuse('a tensor of an unknown class');
    return parameter([rebuild.make(args)]);
  };

  const globals = [
    ...numpyGlobals(path),
    ...pythonGlobals(path),
    ...tensorClasses.map((name) => new PickleGlobal(name)),
    new PickleGlobal('torch._tensor._rebuild_from_type_v2', rebuildTyped),
    ...[untypedStorage, ...dtypeOfStorage.keys(), ...dtypeOfName.keys()].map((name) => new PickleGlobal(name)),
    new PickleGlobal('torch._utils._rebuild_tensor', (args) => tensor(args[0], args[1], args[2], args[3])),
    new PickleGlobal('torch._utils._rebuild_tensor_v2', (args) => tensor(args[0], args[1], args[2], args[3])),
    // (storage, offset, shape, strides, requires_grad, hooks, dtype)
    new PickleGlobal('torch._utils._rebuild_tensor_v3', (args) => tensor(args[0], args[1], args[2], args[3], args[6])),
    new PickleGlobal('torch._utils._rebuild_parameter', parameter),
    new PickleGlobal('torch._utils._rebuild_parameter_with_state', parameter),
    new PickleGlobal('torch.Size', ([sizes]) => {
      if (!isSizes(sizes)) throw refuse('a torch.Size of something other than sizes');
      return Tuple.from(sizes);
    }),
    new PickleGlobal('torch.device', ([kind, index]) => {
      if (typeof kind !== 'string') throw refuse('a torch.device without a name');
      return isWhole(index) ? `${kind}:${index}` : kind;
    }),
    // A state_dict has an attribute with the versions of its modules, which does not affect the values.
    new PickleGlobal(
      'collections.OrderedDict',
      ([items]) => orderedDict(items, refuse),
      () => {},
    ),
  ];
  return { name: path, globals: new Map(globals.map((global) => [global.name, global])), persistent: storageOf };
}

// Python 2 pickled the items as a list of pairs.
function orderedDict(items: unknown, refuse: (what: string) => FileError): OrderedDict {
  const dict = new OrderedDict();
  for (const item of Array.isArray(items) ? items : []) {
    const [key, value] = Array.isArray(item) ? item : [];
    if (typeof key !== 'string' && typeof key !== 'number') throw refuse('an OrderedDict of items other than pairs');
    dict.set(key, value);
  }
  return dict;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= MAX_RANK && value.every((size) => isWhole(size));
}
