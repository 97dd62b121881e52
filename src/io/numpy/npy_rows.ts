// Reads and writes a .npy file by rows of its first axis, for arrays larger than memory.
import type { FileHandle } from 'node:fs/promises';
import { byOpen, checkArgument, checkArguments, checkByOpen, kinds, wholeNumbers } from '../../arguments.ts';
import { FileError, formatShape, ValueError } from '../../errors.ts';
import { arrayDtypes, byteLengthOf, bytesOf, elementsOf, isFloatingArray, toFloat32 } from '../array.ts';
import { writeFileAtomic } from '../atomic.ts';
import { asFileError, openRegular, type ReadableFile, readRange } from '../file.ts';
import { denseStrides, isRowMajor, swapBytes, toRowMajor } from '../strided.ts';
import { npyHeader } from './npy.ts';
import { type NpyHeader, parseNpyHeader } from './npy_header.ts';

const HEADER_BYTES = 2 ** 16;
/** A file in Fortran order is read whole, because each row is spread over the whole file. */
const MOST_FORTRAN_BYTES = 2 ** 30;

/**
 * Reads rows of a .npy file of floating-point numbers as f32, whatever their dtype and byte order. Close it when done.
 * Rows are read on request, except that a file in Fortran order is read whole when it is opened.
 * @example
 * await writeNpyRows('points.npy', [3, 2], [Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6)]);
 * const points = await NpyRows.open('points.npy');
 * points.count; // 3
 * await points.row(2); // [5, 6]
 * await points.rows(0, 2); // [1, 2, 3, 4]
 * await points.close();
 */
export class NpyRows {
  readonly path: string;
  readonly shape: readonly number[];
  /** Number of elements per row. */
  readonly width: number;
  private readonly file: ReadableFile;
  private readonly header: NpyHeader;
  /** The elements of a file in Fortran order, converted to row-major. */
  private readonly rowMajor: Uint8Array | undefined;

  private constructor(token: symbol, file: ReadableFile, header: NpyHeader, rowMajor: Uint8Array | undefined) {
    checkByOpen('NpyRows', token);
    this.path = file.path;
    this.file = file;
    this.header = header;
    this.shape = header.shape;
    this.rowMajor = rowMajor;
    this.width = this.shape.slice(1).reduce((product, dim) => product * dim, 1);
  }

  /** @throws FileError if the file is damaged, truncated, of integers, or in Fortran order and larger than 1 GiB */
  static async open(path: string): Promise<NpyRows> {
    checkArgument('NpyRows.open', 'path', path, kinds.path);
    let handle: FileHandle | undefined;
    try {
      handle = await openRegular(path, 'read');
      const file = { path, handle, bytes: (await handle.stat()).size };
      const header = parseNpyHeader(await readRange(file, 0, Math.min(file.bytes, HEADER_BYTES)), path);
      const { dtype, shape, dataOffset } = header;
      if (!isFloatingArray(dtype) || shape.length === 0)
        throw new FileError(path, `must hold rows of floating-point numbers, got ${dtype} ${formatShape(shape)}`);
      const length = byteLengthOf(shape, dtype);
      if (length !== file.bytes - dataOffset)
        throw new FileError(
          path,
          `holds ${file.bytes - dataOffset} bytes of elements, but ${dtype} ${formatShape(shape)} needs ${length}; it is truncated`,
        );
      return new NpyRows(byOpen, file, header, await rowMajorOf(file, header));
    } catch (error) {
      await handle?.close();
      throw asFileError(path, error);
    }
  }

  get count(): number {
    return this.shape[0];
  }

  /** Reads row `index` into new memory, f32 [width]. @throws FileError if the file became shorter */
  row(index: number): Promise<Float32Array> {
    return this.rows(index, 1);
  }

  /** Reads `count` rows from row `first` on into new memory, f32 [count, width]. @throws as `row` */
  async rows(first: number, count: number): Promise<Float32Array> {
    checkArguments('NpyRows', { row: [first, kinds.whole], count: [count, kinds.whole] });
    if (first + count > this.count)
      throw new ValueError(
        `${this.path} has ${this.count} rows; row ${count === 1 ? first : this.count} is out of range`,
      );
    const { dtype, bigEndian, dataOffset } = this.header;
    const itemBytes = arrayDtypes[dtype].bytes;
    const [at, length] = [first, count].map((rows) => rows * this.width * itemBytes);
    const bytes = this.rowMajor?.slice(at, at + length) ?? (await readRange(this.file, dataOffset + at, length));
    const data = elementsOf(bigEndian ? swapBytes(bytes, itemBytes) : bytes, dtype);
    return toFloat32({ shape: [count * this.width], dtype, data });
  }

  /** Closes the file. */
  close(): Promise<void> {
    return this.file.handle.close();
  }
}

/**
 * Reads a file in Fortran order as row-major elements, in the file's byte order; undefined if it is row-major already.
 */
async function rowMajorOf(
  file: ReadableFile,
  { shape, dtype, fortranOrder, dataOffset }: NpyHeader,
): Promise<Uint8Array | undefined> {
  const strides = denseStrides(shape, fortranOrder ? 'fortran' : 'row-major');
  if (isRowMajor(shape, strides)) return undefined;
  const length = file.bytes - dataOffset;
  if (length > MOST_FORTRAN_BYTES)
    throw new FileError(
      file.path,
      `is in Fortran order, which is read up to 1 GiB, and has ${length} bytes; save numpy.ascontiguousarray(array)`,
    );
  return toRowMajor(await readRange(file, dataOffset, length), shape, strides, arrayDtypes[dtype].bytes);
}

/**
 * Writes an f32 .npy file from pieces, atomically.
 * @param pieces f32, one or more rows per piece
 * @throws FileError as writeFileAtomic; ValueError if the pieces do not add up to the shape
 * @example
 * function* rows() {
 *   for (let i = 0; i < 1000; i++) yield Float32Array.of(i, i ** 2);
 * }
 * await writeNpyRows('squares.npy', [1000, 2], rows());
 * (await readNpy('squares.npy')).shape; // [1000, 2]
 */
export async function writeNpyRows(
  path: string,
  shape: readonly number[],
  pieces: Iterable<Float32Array> | AsyncIterable<Float32Array>,
): Promise<void> {
  checkArguments('writeNpyRows', { path: [path, kinds.path], pieces: [pieces, kinds.iterable] });
  const dims = wholeNumbers('writeNpyRows', 'shape', shape);
  const total = dims.reduce((product, dim) => product * dim, 1);
  async function* chunks() {
    yield npyHeader(path, { shape: dims, dtype: 'f32' });
    let written = 0;
    for await (const piece of pieces) {
      checkArgument('writeNpyRows', 'a piece', piece, kinds.float32);
      written += piece.length;
      yield bytesOf(piece);
    }
    if (written !== total) throw new ValueError(`${path}: ${written} numbers for f32 ${formatShape(dims)}`);
  }
  await writeFileAtomic(path, chunks());
}
