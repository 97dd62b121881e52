// NumPy's .npy files: \x93NUMPY, version, header length, header literal, then the raw elements.
//
// file length = data offset + product(shape) * itemsize, data offset a multiple of 64
//
// Source: numpy.lib.format. Object arrays are pickles and are refused: no code in a file is ever run.
import { checkArgument, checkArguments, kinds, refuseExtra } from '../../arguments.ts';
import { FileError, formatShape, ValueError } from '../../errors.ts';
import { type ArrayFile, arrayDtypes, byteLengthOf, bytesOf, checkArray, elementsOf } from '../array.ts';
import { writeFileAtomic } from '../atomic.ts';
import { readWhole } from '../file.ts';
import { denseStrides, isRowMajor, swapBytes, toRowMajor } from '../strided.ts';
import { npyCode, parseNpyHeader } from './npy_header.ts';

/**
 * Decodes a .npy file of version 1 to 3, of either byte order, in C or Fortran order; the result is row-major. It
 * shares memory with `bytes` where layout and alignment allow.
 * @param name the file's name in errors
 * @throws FileError if damaged, truncated, or of a type this package does not read (object, complex, text, records)
 * @example
 * const bytes = encodeNpy({ shape: [2, 2], dtype: 'f32', data: Float32Array.of(1, 2, 3, 4) });
 * const { shape, dtype, data } = decodeNpy(bytes);
 * ({ shape, dtype, data }); // { shape: [2, 2], dtype: 'f32', data: [1, 2, 3, 4] }
 */
export function decodeNpy(bytes: Uint8Array, name = 'npy'): ArrayFile {
  checkArguments('decodeNpy', { bytes: [bytes, kinds.bytes], name: [name, kinds.text] });
  const header = parseNpyHeader(bytes, name);
  const { dtype, bigEndian, fortranOrder, shape, dataOffset } = header;
  checkElements(bytes.length - dataOffset, header, name);
  let data = bytes.subarray(dataOffset);
  const itemBytes = arrayDtypes[dtype].bytes;
  if (bigEndian && itemBytes > 1) data = swapBytes(data, itemBytes);
  const strides = denseStrides(shape, fortranOrder ? 'fortran' : 'row-major');
  if (!isRowMajor(shape, strides)) data = toRowMajor(data, shape, strides, itemBytes);
  return { shape, dtype, data: elementsOf(data, dtype) };
}

/** @throws FileError unless an array of that shape and dtype has this number of bytes */
export function checkElements(bytes: number, { dtype, shape }: Pick<ArrayFile, 'dtype' | 'shape'>, name: string): void {
  const needed = byteLengthOf(shape, dtype);
  if (needed === bytes) return;
  throw new FileError(
    name,
    `holds ${bytes} bytes of elements, but ${dtype} ${formatShape(shape)} needs ` +
      `${needed ?? 'more than is possible'}; the file is truncated or damaged`,
  );
}

/**
 * Encodes an array as a version 1.0 file, with the bytes that NumPy writes.
 * @throws ValueError for bf16, which .npy cannot hold, or if data and shape do not match
 * @example
 * const bytes = encodeNpy({ shape: [3], dtype: 'i32', data: Int32Array.of(1, 2, 3) });
 * bytes.length; // 140
 */
export function encodeNpy(array: ArrayFile): Uint8Array;
export function encodeNpy(array: ArrayFile, ...extra: unknown[]): Uint8Array {
  refuseExtra('encodeNpy', extra);
  const parts = npyParts('encodeNpy', 'npy', array);
  const bytes = new Uint8Array(parts[0].length + parts[1].length);
  bytes.set(parts[0]);
  bytes.set(parts[1], parts[0].length);
  return bytes;
}

/** Like encodeNpy, with header and elements separate, so that large arrays need no second copy. */
function npyParts(op: string, name: string, array: ArrayFile): [header: Uint8Array, elements: Uint8Array] {
  const { shape, dtype, data } = checkArray(op, name, array);
  return [npyHeader(name, { shape, dtype }), bytesOf(data)];
}

/** The header of a version 1.0 file: all bytes before the elements. @throws ValueError for bf16 */
export function npyHeader(name: string, { shape, dtype }: Pick<ArrayFile, 'shape' | 'dtype'>): Uint8Array {
  const code = npyCode(dtype);
  if (!code) throw new ValueError(`array "${name}" is ${dtype}, which .npy cannot hold; convert it to f32`);
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const literal = `{'descr': '${code}', 'fortran_order': False, 'shape': (${dims}), }`;
  const padded = literal.padEnd(Math.ceil((10 + literal.length + 1) / 64) * 64 - 11);
  const header = new Uint8Array(10 + padded.length + 1);
  header.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  new DataView(header.buffer).setUint16(8, padded.length + 1, true);
  header.set(new TextEncoder().encode(`${padded}\n`), 10);
  return header;
}

/**
 * Reads one .npy file.
 * @throws FileError
 * @example
 * await writeNpy('points.npy', { shape: [2, 2], dtype: 'f32', data: Float32Array.of(1, 2, 3, 4) });
 * const { shape, data } = await readNpy('points.npy');
 * tensor(toFloat32({ shape, dtype: 'f32', data }), { shape }); // [[1, 2], [3, 4]]
 */
export function readNpy(path: string): Promise<ArrayFile>;
export async function readNpy(path: string, ...extra: unknown[]): Promise<ArrayFile> {
  refuseExtra('readNpy', extra);
  checkArgument('readNpy', 'path', path, kinds.path);
  return decodeNpy(await readWhole(path), path);
}

/**
 * Writes one .npy file, atomically.
 * @throws FileError, ValueError
 * @example
 * const x = tensor([[1, 2], [3, 4]]);
 * await writeNpy('x.npy', { shape: x.shape, dtype: 'f32', data: await x.data() });
 * (await readNpy('x.npy')).data; // [1, 2, 3, 4]
 */
export function writeNpy(path: string, array: ArrayFile): Promise<void>;
export async function writeNpy(path: string, array: ArrayFile, ...extra: unknown[]): Promise<void> {
  refuseExtra('writeNpy', extra);
  checkArgument('writeNpy', 'path', path, kinds.path);
  await writeFileAtomic(path, npyParts('writeNpy', path, array));
}
