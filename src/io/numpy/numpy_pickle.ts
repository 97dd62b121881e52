// The globals of NumPy's pickles: numbers, element types and numeric arrays.
//
// scalar: scalar(dtype, bytes)    array: _reconstruct(ndarray, (0,), 'b'), then state (1, shape, dtype, fortran, bytes)
// dtype: dtype('f4', False, True), then state (3, '<', None, None, None, -1, -1, 0)
//
// Source: numpy/_core/src/multiarray (methods.c, descriptor.c) and numpy/_core/numeric.py (_frombuffer, protocol 5).
import { isWhole } from '../../arguments.ts';
import { FileError, formatShape } from '../../errors.ts';
import { type ArrayDtype, type ArrayFile, arrayDtypes, byteLengthOf, elementsOf, toFloat32 } from '../array.ts';
import { denseStrides, isRowMajor, swapBytes, toRowMajor } from '../strided.ts';
import { PickleGlobal } from '../torch/pickle_machine.ts';
import { dtypeOfNpyCode } from './npy_header.ts';

/** An element type in a pickle; its state sets the byte order. */
class NumpyDtype {
  readonly dtype: ArrayDtype;
  bigEndian = false;

  constructor(dtype: ArrayDtype) {
    this.dtype = dtype;
  }
}

/** An array in a pickle; its state sets `array`. */
export class NumpyArray {
  array: ArrayFile = { shape: [0], dtype: 'u8', data: new Uint8Array(0) };
}

const MAX_RANK = 64; // NumPy's limit

/** NumPy's globals, for `unpickle`. @param name the file's name in errors */
export function numpyGlobals(name: string): PickleGlobal[] {
  const refuse = (what: string) => new FileError(name, `holds ${what}`);

  const dtype = ([code]: readonly unknown[]) => {
    if (typeof code !== 'string') throw refuse('a NumPy element type that is not a string');
    const known = dtypeOfNpyCode(code);
    if (!known)
      throw refuse(
        `NumPy elements of type '${code.slice(0, 40)}', which cannot be read; save them as f4, f8, i8, u1..`,
      );
    return new NumpyDtype(known);
  };
  const setByteOrder = (made: unknown, state: unknown) => {
    const [, order] = isList(state) ? state : [];
    if (!(made instanceof NumpyDtype) || !['<', '>', '|', '='].includes(order as string))
      throw refuse('a NumPy element type of unknown byte order');
    made.bigEndian = order === '>';
  };

  const arrayOf = (shape: unknown, dtype: unknown, fortran: unknown, content: unknown): ArrayFile => {
    const bytes = bytesOfText(content);
    if (!(dtype instanceof NumpyDtype) || !isShape(shape) || !bytes)
      throw refuse('a NumPy array without type, shape and bytes');
    const length = byteLengthOf(shape, dtype.dtype);
    if (length !== bytes.length)
      throw refuse(`${bytes.length} bytes for a NumPy array of ${dtype.dtype} ${formatShape(shape)}`);
    const itemBytes = arrayDtypes[dtype.dtype].bytes;
    const strides = denseStrides(shape, fortran ? 'fortran' : 'row-major');
    const ordered = dtype.bigEndian ? swapBytes(bytes, itemBytes) : bytes;
    const data = isRowMajor(shape, strides) ? ordered : toRowMajor(ordered, shape, strides, itemBytes);
    return { shape: [...shape], dtype: dtype.dtype, data: elementsOf(data, dtype.dtype) };
  };
  const scalar = ([dtype, content]: readonly unknown[]) => singleValue(arrayOf([], dtype, false, content));

  // The arguments of protocol 5 begin with the bytes.
  const fromBuffer = ([content, dtype, shape, order]: readonly unknown[]) => {
    if (order !== 'C' && order !== 'F') throw refuse('a NumPy array of an order other than C or F');
    const made = new NumpyArray();
    made.array = arrayOf(shape, dtype, order === 'F', content);
    return made;
  };
  const setArray = (made: unknown, state: unknown) => {
    const [, shape, dtype, fortran, content] = isList(state) ? state : [];
    (made as NumpyArray).array = arrayOf(shape, dtype, fortran, content);
  };

  const encode = ([text, encoding]: readonly unknown[]) => {
    const bytes = encoding === 'latin1' ? bytesOfText(text) : undefined;
    if (!bytes) throw refuse('bytes in an encoding other than latin1');
    return bytes;
  };
  const emptyBytes = (args: readonly unknown[]) => {
    if (args.length > 0) throw refuse('bytes made of other values');
    return new Uint8Array(0);
  };

  return [
    new PickleGlobal('numpy.dtype', dtype, setByteOrder),
    new PickleGlobal('numpy.ndarray'),
    // NumPy 2 renamed "core" to "_core"; files of both versions exist.
    ...['core', '_core'].flatMap((core) => [
      new PickleGlobal(`numpy.${core}.multiarray.scalar`, scalar),
      new PickleGlobal(`numpy.${core}.multiarray._reconstruct`, () => new NumpyArray(), setArray),
      new PickleGlobal(`numpy.${core}.numeric._frombuffer`, fromBuffer),
    ]),
    // Python 3 writes bytes this way in protocols below 3, which have no opcode for them.
    new PickleGlobal('_codecs.encode', encode),
    new PickleGlobal('__builtin__.bytes', emptyBytes),
    new PickleGlobal('builtins.bytes', emptyBytes),
  ];
}

function singleValue(array: ArrayFile): number | bigint | boolean {
  const value = array.dtype === 'f16' ? toFloat32(array)[0] : array.data[0];
  if (array.dtype === 'bool') return value !== 0;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

// Python 2 pickles bytes as text with one character per byte.
function bytesOfText(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  return typeof value === 'string' && !/[^\0-\xff]/.test(value)
    ? new Uint8Array(Buffer.from(value, 'latin1'))
    : undefined;
}

function isShape(value: unknown): value is number[] {
  return isList(value) && value.length <= MAX_RANK && value.every((dim) => isWhole(dim));
}

function isList(value: unknown): value is unknown[] {
  return Array.isArray(value);
}
