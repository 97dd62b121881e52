// Reading from files with every failure named: a FileError says which file, what is wrong and what to do.
import { type FileHandle, open, stat } from 'node:fs/promises';
import { checkArgument, kinds } from '../arguments.ts';
import { FileError } from '../errors.ts';

const causes: Record<string, string> = {
  ENOENT: 'no such file or folder; check the path',
  EACCES: 'permission denied; check the rights of the file and its folder',
  EPERM: 'operation not permitted; check the rights of the file and its folder',
  EISDIR: 'is a folder, not a file',
  ENOTDIR: 'a part of the path is a file, not a folder',
  ENOSPC: 'disk full; free some space and try again',
  EDQUOT: 'disk quota used up; free some space and try again',
  EFBIG: 'the file would be larger than the file system or the process limit allows',
  EROFS: 'the file system is read-only',
  EMFILE: 'too many open files in this process; raise the limit (ulimit -n)',
  ENAMETOOLONG: 'the name is too long for the file system',
  EIO: 'the disk or network drive reports an input/output error',
};

/** The system's refusal as a FileError that says what to do; other errors pass through unchanged. */
export function asFileError(path: string, error: unknown): unknown {
  checkArgument('asFileError', 'path', path, kinds.text);
  if (!(error instanceof Error)) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) return error;
  return new FileError(path, causes[code] ?? error.message, { cause: error });
}

/** A regular file opened for reading, with its length in bytes. */
export interface ReadableFile {
  path: string;
  handle: FileHandle;
  bytes: number;
}

/** Runs `body` on the opened file and closes it. @throws FileError when it is missing or no regular file */
export async function withFile<T>(path: string, body: (file: ReadableFile) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    // Asked before opening: opening a pipe would wait for a writer.
    if (!(await stat(path)).isFile()) throw new FileError(path, 'is not a regular file');
    handle = await open(path, 'r');
    return await body({ path, handle, bytes: (await handle.stat()).size });
  } catch (error) {
    throw asFileError(path, error);
  } finally {
    await handle?.close();
  }
}

/** `length` bytes from byte `position` on, in memory of their own. @throws FileError when the file ends before */
export async function readRange(file: ReadableFile, position: number, length: number): Promise<Uint8Array> {
  if (position + length > file.bytes)
    throw new FileError(file.path, `ends at byte ${file.bytes}, before byte ${position + length}; it is cut off`);
  const bytes = allocateBytes(file.path, length);
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

/** @throws FileError where there is no memory for them */
export function allocateBytes(path: string, length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (error) {
    throw new FileError(path, `cannot be read: there is no memory for ${length} bytes at once`, { cause: error });
  }
}

/** The whole file. @throws FileError as withFile, or when it has more than `maxBytes` */
export function readWhole(path: string, maxBytes = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
  return withFile(path, (file) => {
    if (file.bytes > maxBytes) throw new FileError(path, `has ${file.bytes} bytes, more than the ${maxBytes} expected`);
    return readRange(file, 0, file.bytes);
  });
}
