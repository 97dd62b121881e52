// Reading from files with every failure named: a FileError says which file, what is wrong and what to do.
import { createHash } from 'node:crypto';
import { closeSync, constants, existsSync, fstatSync, openSync, statSync, writeSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { checkArgument, kinds } from '../arguments.ts';
import { FileError } from '../errors.ts';
import { makeFolders } from '../folders.ts';

const causes: Record<string, string> = {
  EACCES: 'permission denied; check the rights of the file and its folder',
  EPERM: 'operation not permitted; check the rights of the file and its folder',
  EEXIST: 'something else with that name exists',
  EISDIR: 'is a folder, not a file',
  ENOTDIR: 'a part of the path is a file, not a folder',
  ENOSPC: 'disk full; free some space and try again',
  EDQUOT: 'disk quota used up; free some space and try again',
  EFBIG: 'the file would be larger than the file system or the process limit allows',
  EROFS: 'the file system is read-only',
  EMFILE: 'too many open files in this process; raise the limit (ulimit -n)',
  ENAMETOOLONG: 'the name is too long for the file system',
  ELOOP: 'its symbolic links form a loop',
  EIO: 'the disk or network drive reports an input/output error',
};

/** Turns a system error into a FileError that says what to do; other errors pass through unchanged. */
export function asFileError(path: string, error: unknown): unknown {
  checkArgument('asFileError', 'path', path, kinds.text);
  if (!(error instanceof Error)) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return error;
  return new FileError(path, describeFailure(path, code, syscall) ?? error.message, { cause: error });
}

/** What is wrong with a path, in words; undefined for a code without words. */
function describeFailure(path: string, code: string, syscall: string): string | undefined {
  // Only folders are listed, and resolved before.
  const listing = ['scandir', 'opendir', 'realpath'].includes(syscall);
  if (code === 'ENOTDIR' && listing && existsSync(path)) return 'is a file, not a folder';
  if (code !== 'ENOENT') return causes[code];
  const missing = missingFolder(dirname(path));
  const what = listing ? 'no such folder' : 'no such file or folder';
  return missing === undefined ? `${what}; check the path` : `${what}: ${missing} does not exist`;
}

/** The first part of a path that does not exist; undefined if the path exists. */
function missingFolder(path: string): string | undefined {
  if (existsSync(path) || dirname(path) === path) return undefined;
  return missingFolder(dirname(path)) ?? path;
}

/** Flags for opening a regular file. There is no 'w': whole files are written by writeFileAtomic. */
const modes = {
  read: constants.O_RDONLY,
  append: constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT,
  update: constants.O_RDWR | constants.O_CREAT,
};
// Without it, opening a pipe would wait for its other end.
const NO_WAITING = constants.O_NONBLOCK ?? 0;

/**
 * Opens a regular file. The modes `append` and `update` create a missing file.
 * @throws FileError for a missing file; immediately, without waiting, for a folder, pipe, socket or device
 */
export async function openRegular(path: string, mode: keyof typeof modes): Promise<FileHandle> {
  let handle: FileHandle | undefined;
  try {
    // Also checked before opening: some devices take an open as a command.
    requireRegular(path, mode === 'read' ? await stat(path) : statSync(path, { throwIfNoEntry: false }));
    handle = await open(path, modes[mode] | NO_WAITING, 0o666);
    requireRegular(path, await handle.stat());
    return handle;
  } catch (error) {
    await handle?.close();
    throw asFileError(path, error);
  }
}

/** Appends to a regular file, which is created if it is missing. @throws FileError as openRegular */
export function appendText(path: string, text: string): void {
  let file: number | undefined;
  try {
    requireRegular(path, statSync(path, { throwIfNoEntry: false }));
    file = openSync(path, modes.append | NO_WAITING, 0o666);
    requireRegular(path, fstatSync(file));
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
  } catch (error) {
    throw asFileError(path, error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function requireRegular(path: string, found: { isFile(): boolean; isDirectory(): boolean } | undefined): void {
  if (found === undefined || found.isFile()) return;
  throw new FileError(path, found.isDirectory() ? 'is a folder, not a regular file' : 'is not a regular file');
}

/** Whether a folder is at `path`; false if that cannot be determined. */
export function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Returns whether something exists at `path`. @throws FileError if that cannot be determined */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw asFileError(path, error);
  }
}

/** A regular file open for reading, with its length in bytes. */
export interface ReadableFile {
  path: string;
  handle: FileHandle;
  bytes: number;
}

/** Opens the file, runs `body` on it and closes it. @throws FileError if it is missing or not a regular file */
export async function withFile<T>(path: string, body: (file: ReadableFile) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    handle = await openRegular(path, 'read');
    return await body({ path, handle, bytes: (await handle.stat()).size });
  } catch (error) {
    throw asFileError(path, error);
  } finally {
    await handle?.close();
  }
}

/**
 * Reads `length` bytes at byte `position`.
 * @param into memory for at least as many bytes; default: new memory
 * @throws FileError if the file ends before
 */
export async function readRange(
  file: ReadableFile,
  position: number,
  length: number,
  into?: Uint8Array,
): Promise<Uint8Array> {
  if (position + length > file.bytes)
    throw new FileError(file.path, `ends at byte ${file.bytes}, before byte ${position + length}; it is truncated`);
  const bytes = into ? into.subarray(0, length) : allocateBytes(file.path, length);
  let done = 0;
  while (done < length) {
    // One system call reads less than 2 GiB.
    const { bytesRead } = await file.handle
      .read(bytes, done, Math.min(length - done, 2 ** 30), position + done)
      .catch((error) => {
        throw asFileError(file.path, error);
      });
    if (bytesRead === 0) throw new FileError(file.path, 'became shorter while it was read');
    done += bytesRead;
  }
  return bytes;
}

const PIECE = 2 ** 20;

/** Yields the bytes of a file piece by piece; every piece reuses the same memory. */
async function* readPieces(file: ReadableFile): AsyncGenerator<Buffer> {
  const piece = Buffer.alloc(PIECE);
  for (let position = 0; ; ) {
    const { bytesRead } = await file.handle.read(piece, 0, PIECE, position).catch((error) => {
      throw asFileError(file.path, error);
    });
    if (bytesRead === 0) return;
    position += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}

/** Yields a file's lines without line breaks, several at a time; lines longer than 1 MiB are skipped. */
export async function* readLines(file: ReadableFile): AsyncGenerator<string[]> {
  let rest: Buffer = Buffer.alloc(0);
  // Whether the current line is too long and its beginning was dropped.
  let long = false;
  for await (const piece of readPieces(file)) {
    const end = piece.lastIndexOf(10);
    if (end < 0) {
      rest = long ? rest : Buffer.concat([rest, piece]);
      if (rest.length <= PIECE) continue;
      rest = Buffer.alloc(0);
      long = true;
      continue;
    }
    const lines = Buffer.concat([rest, piece.subarray(0, end)])
      .toString('utf8')
      .split('\n');
    yield long ? lines.slice(1) : lines;
    rest = Buffer.from(piece.subarray(end + 1));
    long = false;
  }
  if (rest.length > 0) yield [rest.toString('utf8')];
}

/** Allocates zeroed bytes. @throws FileError if there is not enough memory */
export function allocateBytes(path: string, length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (error) {
    throw new FileError(path, `cannot be read: there is no memory for ${length} bytes at once`, { cause: error });
  }
}

/** Reads the whole file. @throws FileError as withFile, or if it has more than `maxBytes` */
export function readWhole(path: string, maxBytes = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
  return withFile(path, (file) => {
    if (file.bytes > maxBytes) throw new FileError(path, `has ${file.bytes} bytes, more than the ${maxBytes} expected`);
    return readRange(file, 0, file.bytes);
  });
}

/** SHA-256 of a file's bytes, 64 hexadecimal digits. @throws FileError */
export async function sha256OfFile(path: string): Promise<string> {
  return withFile(path, async (file) => {
    const hash = createHash('sha256');
    for await (const piece of readPieces(file)) hash.update(piece);
    return hash.digest('hex');
  });
}

/** @throws FileError unless `path` is a folder */
export function requireFolder(path: string): void {
  let found: ReturnType<typeof statSync>;
  try {
    found = statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw asFileError(path, error);
  }
  if (found?.isDirectory()) return;
  if (found) throw new FileError(path, 'is a file, not a folder');
  const missing = missingFolder(dirname(path));
  throw new FileError(
    path,
    `no such folder${missing === undefined ? '; check the path' : `: ${missing} does not exist`}`,
  );
}

/** Makes a folder and its parents. @returns its path @throws FileError if it cannot be made */
export function makeFolder(path: string): string {
  checkArgument('makeFolder', 'path', path, kinds.path);
  try {
    makeFolders(path);
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    const why = { EEXIST: 'something else has that name', ENOENT: 'its file system does not take new folders' }[code];
    throw new FileError(
      path,
      `cannot make the folder (${code})${why || causes[code] ? `: ${why ?? causes[code]}` : ''}`,
      {
        cause,
      },
    );
  }
  return path;
}
