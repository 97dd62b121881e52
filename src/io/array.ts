// An array as files store it: shape, element type, values in row-major order.
//
// byte length = product(shape) * bytes(dtype)
//
// f16 and bf16 have no typed array of their own and are kept as raw 16-bit patterns; 64-bit integers are BigInt arrays.
// Hosts are little-endian (x64, arm64, WebAssembly); the bytes of big-endian files are swapped on reading.
import {
  checkArgument,
  copyOfList,
  describeValue,
  isDetached,
  isWhole,
  kind,
  kinds,
  wholeNumbers,
} from '../arguments.ts';
import { formatShape, ValueError } from '../errors.ts';

/** The typed arrays that hold the dtypes below. */
export type ArrayData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

export type ArrayDtype =
  | 'f32'
  | 'f64'
  | 'f16'
  | 'bf16'
  | 'i64'
  | 'i32'
  | 'i16'
  | 'i8'
  | 'u8'
  | 'u16'
  | 'u32'
  | 'u64'
  | 'bool';

/** One array of a file. `data` is row-major with product(shape) elements. */
export interface ArrayFile {
  shape: readonly number[];
  dtype: ArrayDtype;
  data: ArrayData;
}

interface DtypeFacts {
  bytes: number;
  array: new (buffer: ArrayBufferLike, byteOffset?: number, length?: number) => ArrayData;
}

export const arrayDtypes: { readonly [D in ArrayDtype]: DtypeFacts } = {
  f32: { bytes: 4, array: Float32Array },
  f64: { bytes: 8, array: Float64Array },
  f16: { bytes: 2, array: Uint16Array },
  bf16: { bytes: 2, array: Uint16Array },
  i64: { bytes: 8, array: BigInt64Array },
  i32: { bytes: 4, array: Int32Array },
  i16: { bytes: 2, array: Int16Array },
  i8: { bytes: 1, array: Int8Array },
  u8: { bytes: 1, array: Uint8Array },
  u16: { bytes: 2, array: Uint16Array },
  u32: { bytes: 4, array: Uint32Array },
  u64: { bytes: 8, array: BigUint64Array },
  bool: { bytes: 1, array: Uint8Array },
};

/**
 * The length in bytes of an array of this shape; undefined if a dimension or the product is not a safe integer >= 0.
 */
export function byteLengthOf(shape: readonly number[], dtype: ArrayDtype): number | undefined {
  let bytes = arrayDtypes[dtype].bytes;
  let empty = false;
  for (const dim of shape) {
    if (!isWhole(dim)) return undefined;
    if (dim === 0) empty = true;
    else bytes *= dim;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return empty ? 0 : bytes;
}

/** A view of a typed array's memory as bytes. */
export function bytesOf(data: ArrayData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Views `bytes` as elements of `dtype`, or copies them if they are not aligned. */
export function elementsOf(bytes: Uint8Array, dtype: ArrayDtype): ArrayData {
  const facts = arrayDtypes[dtype];
  const aligned = bytes.byteOffset % facts.bytes === 0 ? bytes : new Uint8Array(bytes);
  return new facts.array(aligned.buffer, aligned.byteOffset, aligned.byteLength / facts.bytes);
}

const arrayKind = kind('{ shape, dtype, data }', kinds.object.accepts);

/**
 * @param name the array's name, for errors
 * @returns a copy of the record; each property is read once
 * @throws ArgumentError for anything but an array; ValueError unless the data match the dtype and the shape
 */
export function checkArray(op: string, name: string, array: ArrayFile): ArrayFile {
  checkArgument(op, `array "${name}"`, array, arrayKind);
  const { dtype, data, shape: dims } = array;
  const shape = wholeNumbers(op, `the shape of array "${name}"`, dims);
  if (!Object.hasOwn(arrayDtypes, dtype))
    throw new ValueError(`[${op}] array "${name}" has the unknown dtype ${describeValue(dtype)}`);
  const facts = arrayDtypes[dtype];
  if (!(data instanceof facts.array) || isDetached(data))
    throw new ValueError(`[${op}] array "${name}" of dtype ${dtype} needs a ${facts.array.name}`);
  if (byteLengthOf(shape, dtype) !== data.byteLength)
    throw new ValueError(`[${op}] array "${name}" of shape ${formatShape(shape)} holds ${data.length} values`);
  return { shape, dtype, data };
}

/** Checks the arrays of a Map or of an object, by name. @throws ArgumentError, ValueError as checkArray */
export function checkArrays(
  op: string,
  arrays: ReadonlyMap<string, ArrayFile> | Record<string, ArrayFile>,
): [name: string, array: ArrayFile][] {
  checkArgument(op, 'arrays', arrays, arraysKind);
  return Array.from(arrays instanceof Map ? arrays : Object.entries(arrays), ([name, array]) => {
    checkArgument(op, 'the name of an array', name, kinds.text);
    return [name, checkArray(op, name, array)];
  });
}

const arraysKind = kind(
  'a Map or an object of arrays by name',
  (v) => kinds.object.accepts(v) && copyOfList(v) === undefined,
);

/**
 * Converts the values to f32; f64 and integers are rounded to nearest. An array that is f32 is returned as it is.
 * @example
 * toFloat32({ shape: [3], dtype: 'f64', data: Float64Array.of(0.5, 1, 2) }); // [0.5, 1, 2]
 */
export function toFloat32(array: ArrayFile): Float32Array {
  const { data, dtype } = checkArray('toFloat32', 'array', array);
  if (data instanceof Float32Array) return data;
  if (dtype === 'bf16') return new Float32Array(Uint32Array.from(data as Uint16Array, (bits) => bits << 16).buffer);
  if (dtype === 'f16') return halvesToFloat32(data as Uint16Array);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array)
    return Float32Array.from({ length: data.length }, (_, i) => Number(data[i]));
  return Float32Array.from(data);
}

/** Returns whether a dtype is floating-point. */
export function isFloatingArray(dtype: ArrayDtype): boolean {
  return ['f16', 'bf16', 'f32', 'f64'].includes(dtype);
}

/** The value of each 16-bit pattern, computed on first use. */
let halves: Float32Array | undefined;

function halvesToFloat32(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 2 ** 16 }, (_, pattern) => halfToNumber(pattern));
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = halves[bits[i]];
  return values;
}

// IEEE 754 binary16: sign 1, exponent 5, fraction 10 bits.
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
