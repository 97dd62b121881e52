// A .npy file by rows of its first axis, for arrays larger than memory: written as rows come, read where they are asked for.
import type { FileHandle } from 'node:fs/promises';
import { byOpen, checkArgument, checkArguments, checkByOpen, kinds, wholeNumbers } from '../arguments.ts';
import { FileError, formatShape, ValueError } from '../errors.ts';
import { byteLengthOf, bytesOf } from './array.ts';
import { writeFileAtomic } from './atomic.ts';
import { asFileError, openRegular, type ReadableFile, readRange } from './file.ts';
import { npyHeader } from './npy.ts';
import { parseNpyHeader } from './npy_header.ts';

const HEADER_BYTES = 2 ** 16;

/** Rows of an f32 .npy file in C order. Close it when done. */
export class NpyRows {
  readonly path: string;
  readonly shape: readonly number[];
  /** f32 numbers in a row. */
  readonly width: number;
  private readonly file: ReadableFile;
  private readonly dataOffset: number;

  private constructor(sign: symbol, file: ReadableFile, shape: readonly number[], dataOffset: number) {
    checkByOpen('NpyRows', sign);
    this.path = file.path;
    this.file = file;
    this.shape = shape;
    this.dataOffset = dataOffset;
    this.width = shape.slice(1).reduce((product, dim) => product * dim, 1);
  }

  /** @throws FileError for a file that is damaged, cut off, of another dtype than f32 or in Fortran order */
  static async open(path: string): Promise<NpyRows> {
    checkArgument('NpyRows.open', 'path', path, kinds.path);
    let handle: FileHandle | undefined;
    try {
      handle = await openRegular(path, 'read');
      const file = { path, handle, bytes: (await handle.stat()).size };
      const header = parseNpyHeader(await readRange(file, 0, Math.min(file.bytes, HEADER_BYTES)), path);
      const { dtype, bigEndian, fortranOrder, shape, dataOffset } = header;
      if (dtype !== 'f32' || bigEndian || fortranOrder || shape.length === 0)
        throw new FileError(path, `must hold little-endian f32 rows in C order, got ${dtype} ${formatShape(shape)}`);
      const length = byteLengthOf(shape, dtype);
      if (length !== file.bytes - dataOffset)
        throw new FileError(
          path,
          `holds ${file.bytes - dataOffset} bytes of elements, but f32 ${formatShape(shape)} needs ${length}; it is cut off`,
        );
      return new NpyRows(byOpen, file, shape, dataOffset);
    } catch (error) {
      await handle?.close();
      throw asFileError(path, error);
    }
  }

  get count(): number {
    return this.shape[0];
  }

  /** Row `index`, f32 [width], in memory of its own. @throws FileError when the file became shorter */
  row(index: number): Promise<Float32Array> {
    return this.rows(index, 1);
  }

  /** Rows first, first + 1, ..., f32 [count, width], in memory of their own. @throws as `row` */
  async rows(first: number, count: number): Promise<Float32Array> {
    checkArguments('NpyRows', { row: [first, kinds.whole], count: [count, kinds.whole] });
    if (first + count > this.count)
      throw new ValueError(`${this.path} has ${this.count} rows, none of index ${count === 1 ? first : this.count}`);
    const bytes = await readRange(this.file, this.dataOffset + first * this.width * 4, count * this.width * 4);
    return new Float32Array(bytes.buffer, bytes.byteOffset, count * this.width);
  }

  /** Closes the file. */
  close(): Promise<void> {
    return this.file.handle.close();
  }
}

/**
 * Writes an f32 .npy file whose rows come piece by piece; whole or not at all.
 * @param pieces f32 rows, one or more a piece
 * @throws FileError as writeFileAtomic; ValueError when the pieces do not add up to the shape
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
