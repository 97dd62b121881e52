// Reads LMDB databases of format 1 (LMDB 0.9): keys in their order, and values by index.
//
// The file is read rather than memory-mapped: if it becomes shorter while it is open, that is an error here, while a
// mapped file would crash the process. lmdb_pages.ts locates the entries once. No lock is taken, so a read-only folder
// is enough, but if another process writes to the database meanwhile, an image may be replaced by another one.
import { fstatSync, readSync, type Stats, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { checkArgument, describeValue, isWhole, kinds } from '../arguments.ts';
import { FileError, ValueError } from '../errors.ts';
import { asFileError } from '../io/file.ts';
import { type LmdbEntries, lmdbEntries } from './lmdb_pages.ts';

/** The file information of a path. @throws FileError */
function infoOf(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw asFileError(path, error);
  }
}

/** The file of a database that was given as a folder or as the file itself. */
function lmdbFile(path: string): string {
  const file = infoOf(path).isDirectory() ? join(path, 'data.mdb') : path;
  // Checked before opening, because opening a pipe would wait for a writer.
  if (!infoOf(file).isFile()) throw new FileError(file, 'is not a regular file');
  return file;
}

/**
 * Opens a database for reading.
 * @param path its folder, or the file data.mdb in it
 * @throws FileError if the file is missing, truncated, damaged or not an LMDB database
 * @example
 * const database = await openLmdb('lsun/church_outdoor_val_lmdb');
 * database.count; // 2
 * const jpeg = database.value(0);
 * database[Symbol.dispose]();
 */
export async function openLmdb(path: string): Promise<LmdbDatabase> {
  checkArgument('openLmdb', 'path', path, kinds.path);
  const file = lmdbFile(path);
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r');
    const entries = await lmdbEntries({ path: file, handle, bytes: (await handle.stat()).size });
    return new LmdbDatabase(file, handle, entries);
  } catch (error) {
    await handle?.close();
    throw asFileError(file, error);
  }
}

/**
 * A database that stays open until it is disposed. The caller owns the arrays it returns.
 * @example
 * const database = await openLmdb('lsun/church_outdoor_val_lmdb');
 * for (let i = 0; i < database.count; i++) console.log(Buffer.from(database.key(i)).toString(), database.value(i).length);
 * database.count; // 2
 * database[Symbol.dispose]();
 */
export class LmdbDatabase implements Disposable {
  readonly path: string;
  /** Number of keys. */
  readonly count: number;
  private handle: FileHandle | undefined;
  private readonly entries: LmdbEntries;
  /** The page of the last key read; consecutive keys share a page. */
  private page: { start: number; bytes: Uint8Array } | undefined;

  /** @param handle handle of the open file, which is closed with the database */
  constructor(path: string, handle: FileHandle, entries: LmdbEntries) {
    this.path = path;
    this.count = entries.count;
    this.handle = handle;
    this.entries = entries;
  }

  /**
   * The key of an index, in the bytewise order of the database.
   * @throws ValueError if the index is out of range or the database is disposed, FileError if the file became shorter
   */
  key(index: number): Uint8Array {
    const handle = this.requireOpen(index);
    const { keyAt, keySize, pageSize } = this.entries;
    const at = keyAt[index];
    const start = at - (at % pageSize);
    if (this.page?.start !== start) this.page = { start, bytes: this.read(handle, start, pageSize) };
    return this.page.bytes.slice(at - start, at - start + keySize[index]);
  }

  /** The value of an index. @throws as `key` */
  value(index: number): Uint8Array {
    const handle = this.requireOpen(index);
    return this.read(handle, this.entries.valueAt[index], this.entries.valueSize[index]);
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    const { handle } = this;
    this.handle = undefined;
    // Nothing was written, so a failing close loses nothing.
    void handle?.close();
  }

  private requireOpen(index: number): FileHandle {
    if (!this.handle) throw new ValueError(`${this.path} was read after it was closed`);
    if (!isWhole(index, 0, this.count - 1))
      throw new ValueError(`${this.path} has ${this.count} keys; index ${describeValue(index)} is out of range`);
    return this.handle;
  }

  private read({ fd }: FileHandle, position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    try {
      for (let done = 0; done < length; ) {
        const read = readSync(fd, bytes, done, Math.min(length - done, 2 ** 30), position + done);
        if (read === 0)
          throw new FileError(
            this.path,
            `became shorter while it was open: it ends at byte ${fstatSync(fd).size}, before byte ${position + length}`,
          );
        done += read;
      }
    } catch (error) {
      throw asFileError(this.path, error);
    }
    return bytes;
  }
}
