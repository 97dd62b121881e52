// LMDB databases of format 1, LMDB 0.9: the keys in their order, and the value of one of them.
//
// The file is read, not mapped into memory: one that becomes shorter while it is open is an error, where a mapped one ends the
// process. What lies where is found once, by lmdb_pages.ts. No lock is taken, so a folder without rights to write will do; who
// writes to a database while it is read here may find an image replaced.
import { fstatSync, readSync, type Stats, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { checkArgument, describeValue, isWhole, kinds } from '../arguments.ts';
import { FileError, ValueError } from '../errors.ts';
import { asFileError } from '../io/file.ts';
import { type LmdbEntries, lmdbEntries } from './lmdb_pages.ts';

/** What is at a path. */
function infoOf(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw asFileError(path, error);
  }
}

/** The file of a database that is given as a folder or as the file itself. */
function lmdbFile(path: string): string {
  const file = infoOf(path).isDirectory() ? join(path, 'data.mdb') : path;
  // Asked before opening: opening a pipe would wait for a writer.
  if (!infoOf(file).isFile()) throw new FileError(file, 'is not a regular file');
  return file;
}

/**
 * Opens a database for reading.
 * @param path its folder, or the file data.mdb in it
 * @throws FileError for a file that is missing, cut off, damaged or no LMDB database
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

/** A database that is open until it is disposed; what it returns is in memory of the caller. */
export class LmdbDatabase implements Disposable {
  readonly path: string;
  /** Number of keys. */
  readonly count: number;
  private handle: FileHandle | undefined;
  private readonly entries: LmdbEntries;
  /** The page that the last key was on: keys that follow one another are together. */
  private page: { start: number; bytes: Uint8Array } | undefined;

  /** @param handle of the opened file, closed with the database */
  constructor(path: string, handle: FileHandle, entries: LmdbEntries) {
    this.path = path;
    this.count = entries.count;
    this.handle = handle;
    this.entries = entries;
  }

  /**
   * The key of an index, in the order of the database: bytewise.
   * @throws ValueError beyond `count` or when disposed, FileError for a file that became shorter
   */
  key(index: number): Uint8Array {
    const handle = this.opened(index);
    const { keyAt, keySize, pageSize } = this.entries;
    const at = keyAt[index];
    const start = at - (at % pageSize);
    if (this.page?.start !== start) this.page = { start, bytes: this.read(handle, start, pageSize) };
    return this.page.bytes.slice(at - start, at - start + keySize[index]);
  }

  /** The value of the key of that index. @throws as `key` */
  value(index: number): Uint8Array {
    const handle = this.opened(index);
    return this.read(handle, this.entries.valueAt[index], this.entries.valueSize[index]);
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    const { handle } = this;
    this.handle = undefined;
    // Nothing was written: there is nothing that closing could lose.
    void handle?.close();
  }

  private opened(index: number): FileHandle {
    if (!this.handle) throw new ValueError(`${this.path} was read after it was closed`);
    if (!isWhole(index, 0, this.count - 1))
      throw new ValueError(`${this.path} has ${this.count} keys, none of index ${describeValue(index)}`);
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
