// LMDB databases, read through the system's liblmdb 0.9: the keys in their order, and the value of one of them.
//
// The library trusts the pages it reads, so lmdb_pages.ts checks all that are reached before the file is handed over. A
// file that is changed while it is open is beyond that check. Source: lmdb.h of LMDB 0.9.24.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { checkArgument, describeValue, kinds } from '../arguments.ts';
import { openSystemLibrary, readMemory } from '../device/system_library.ts';
import { FileError, ValueError } from '../errors.ts';
import { asFileError } from '../io/file.ts';
import { checkLmdb, type LmdbFigures } from './lmdb_pages.ts';

/** For `doctor` and for whoever opens a database. */
export const liblmdb = {
  name: 'liblmdb',
  purpose: 'reading LMDB databases (LSUN)',
  files:
    process.platform === 'darwin'
      ? ['liblmdb.dylib', '/opt/homebrew/lib/liblmdb.dylib', '/usr/local/lib/liblmdb.dylib']
      : ['liblmdb.so.0', 'liblmdb.so', 'liblmdb-0.9.so'],
  variable: 'LIBLMDB_PATH',
  install: 'Debian, Ubuntu: `apt-get install liblmdb0`; Fedora: `dnf install lmdb-libs`; macOS: `brew install lmdb`',
  functions: {
    mdb_strerror: 'i32 -> str',
    mdb_env_create: 'array -> i32',
    mdb_env_set_mapsize: 'ptr size -> i32',
    mdb_env_open: 'ptr str u32 u32 -> i32',
    mdb_env_close: 'ptr',
    mdb_txn_begin: 'ptr ptr u32 array -> i32',
    mdb_txn_abort: 'ptr',
    mdb_dbi_open: 'ptr ptr u32 array -> i32',
    mdb_cursor_open: 'ptr u32 array -> i32',
    mdb_cursor_get: 'ptr array array u32 -> i32',
    mdb_cursor_close: 'ptr',
  },
} as const;

// A path that is no folder (MDB_NOSUBDIR), no writing (MDB_RDONLY), no lock file, so that the folder may be read-only
// (MDB_NOLOCK), no reading ahead, because images are drawn at random (MDB_NORDAHEAD). Without locks a reader has no slot
// in a table, so there is none for MDB_NOTLS to free from its thread.
const OPEN_FLAGS = 0x4000 | 0x20000 | 0x400000 | 0x800000;
const READ_ONLY = 0x20000;
const [FIRST, NEXT] = [0, 8];
const NOT_FOUND = -30798;
const NULL = 0;

/** The file of a database that is given as a folder or as the file itself. */
function lmdbFile(path: string): string {
  try {
    return statSync(path).isDirectory() ? join(path, 'data.mdb') : path;
  } catch (error) {
    throw asFileError(path, error);
  }
}

/**
 * Opens a database for reading.
 * @param path its folder, or the file data.mdb in it
 * @throws FileError for a file that is missing, cut off, damaged or no LMDB database; RectiflowError without liblmdb
 */
export async function openLmdb(path: string): Promise<LmdbDatabase> {
  checkArgument('openLmdb', 'path', path, kinds.path);
  const file = lmdbFile(path);
  return new LmdbDatabase(file, await checkLmdb(file));
}

/** A database that is open until it is disposed; what it returns is in memory of the caller. */
export class LmdbDatabase implements Disposable {
  readonly path: string;
  /** Number of keys. */
  readonly count: number;
  private readonly library = openSystemLibrary(liblmdb);
  private environment = NULL;
  private transaction = NULL;
  // Where the transaction has them in the mapped file: nothing of a large database is held but 22 bytes an entry.
  private readonly keyAddress: Float64Array;
  private readonly keySize: Uint16Array;
  private readonly valueAddress: Float64Array;
  private readonly valueSize: Uint32Array;

  /** @param figures what checkLmdb found in that file */
  constructor(path: string, figures: LmdbFigures) {
    this.path = path;
    this.count = figures.entries;
    this.keyAddress = new Float64Array(this.count);
    this.keySize = new Uint16Array(this.count);
    this.valueAddress = new Float64Array(this.count);
    this.valueSize = new Uint32Array(this.count);
    try {
      this.open(figures.bytes);
      this.locateEntries();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The key of an index, in the order of the database: bytewise. @throws ValueError beyond `count` or when disposed */
  key(index: number): Uint8Array {
    this.checkIndex(index);
    return this.read(this.keyAddress[index], this.keySize[index]);
  }

  /** The value of the key of that index. @throws ValueError beyond `count` or when disposed */
  value(index: number): Uint8Array {
    this.checkIndex(index);
    return this.read(this.valueAddress[index], this.valueSize[index]);
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    if (this.transaction !== NULL) this.library.mdb_txn_abort(this.transaction);
    if (this.environment !== NULL) this.library.mdb_env_close(this.environment);
    this.transaction = NULL;
    this.environment = NULL;
  }

  private open(bytes: number): void {
    const { mdb_env_create, mdb_env_set_mapsize, mdb_env_open, mdb_txn_begin } = this.library;
    const result = new BigUint64Array(1);
    this.check('mdb_env_create', mdb_env_create(result));
    this.environment = Number(result[0]);
    // What the file states may be a terabyte, more than a limited process can map.
    this.check('mdb_env_set_mapsize', mdb_env_set_mapsize(this.environment, bytes));
    this.check('mdb_env_open', mdb_env_open(this.environment, this.path, OPEN_FLAGS, 0));
    this.check('mdb_txn_begin', mdb_txn_begin(this.environment, NULL, READ_ONLY, result));
    this.transaction = Number(result[0]);
  }

  private locateEntries(): void {
    const { mdb_dbi_open, mdb_cursor_open, mdb_cursor_get, mdb_cursor_close } = this.library;
    const database = new Uint32Array(1);
    this.check('mdb_dbi_open', mdb_dbi_open(this.transaction, NULL, 0, database));
    const result = new BigUint64Array(1);
    this.check('mdb_cursor_open', mdb_cursor_open(this.transaction, database[0], result));
    const cursor = Number(result[0]);
    // MDB_val: size, address.
    const [key, value] = [new BigUint64Array(2), new BigUint64Array(2)];
    try {
      let index = 0;
      let status = mdb_cursor_get(cursor, key, value, FIRST);
      for (; status === 0 && index < this.count; index++) {
        this.keySize[index] = Number(key[0]);
        this.keyAddress[index] = Number(key[1]);
        this.valueSize[index] = Number(value[0]);
        this.valueAddress[index] = Number(value[1]);
        status = mdb_cursor_get(cursor, key, value, NEXT);
      }
      if (status !== NOT_FOUND) this.check('mdb_cursor_get', status);
      if (status !== NOT_FOUND || index !== this.count) throw new FileError(this.path, 'changed while it was opened');
    } finally {
      mdb_cursor_close(cursor);
    }
  }

  private checkIndex(index: number): void {
    if (this.transaction === NULL) throw new ValueError(`${this.path} was read after it was closed`);
    if (!Number.isInteger(index) || index < 0 || index >= this.count)
      throw new ValueError(`${this.path} has ${this.count} keys, none of index ${describeValue(index)}`);
  }

  private read(address: number, bytes: number): Uint8Array {
    const copy = new Uint8Array(bytes);
    readMemory(address, copy);
    return copy;
  }

  /** @throws FileError with the library's own name and text for a status that is not 0 */
  private check(call: string, status: number): void {
    if (status === 0) return;
    // Errors of the system have no name in the library's text.
    const name = status > 0 ? `${getSystemErrorName(-status)}: ` : '';
    throw new FileError(this.path, `${call} of liblmdb failed: ${name}${this.library.mdb_strerror(status)}`);
  }
}
