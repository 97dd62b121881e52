// Atomic file writes: a reader of the path sees the old content or the new, never a part.
//
// temporary file in the same folder -> fsync -> rename -> fsync of the folder
import { randomBytes } from 'node:crypto';
import { type FileHandle, lstat, open, readdir, realpath, rename, stat, statfs, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { checkArgument, instanceOf, kinds } from '../arguments.ts';
import { FileError } from '../errors.ts';
import { asFileError } from './file.ts';
import { checkGuards } from './guard.ts';

/**
 * Writes the chunks, one after the other, to `path`. If `path` is a symbolic link, the file it points to is replaced.
 * @throws FileError with path and cause (such as a full disk); the old file is then unchanged and nothing else remains
 * @example
 * import { readFileSync } from 'node:fs';
 *
 * await writeFileAtomic('notes.txt', [Buffer.from('first line\n'), Buffer.from('second line\n')]);
 * readFileSync('notes.txt', 'utf8'); // 'first line\nsecond line\n'
 */
export async function writeFileAtomic(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  checkArgument('writeFileAtomic', 'path', path, kinds.path);
  checkArgument('writeFileAtomic', 'chunks', chunks, kinds.iterable);
  try {
    const target = await resolveTarget(path);
    const temporary = temporaryName(target);
    const handle = await open(temporary, 'wx');
    try {
      await writeSynced(handle, chunks);
      // Checked while the temporary file exists: a process that takes the folder over removes it, and the rename fails.
      checkGuards(path);
      await rename(temporary, target);
    } catch (error) {
      await unlink(temporary).catch(() => {});
      throw error;
    }
    await syncFolder(dirname(target));
  } catch (error) {
    checkGuards(path);
    throw asFileError(path, error);
  }
}

/**
 * Checks that `writeFileAtomic` could write to `path` now, before the work that produces the content. It also removes
 * temporary files that a killed process left of an earlier attempt to write the same file.
 * @param bytes number of bytes that will be written, if known
 * @throws FileError with path and cause, as the write itself would, and for a disk without enough free space
 */
export async function requireWritable(path: string, bytes = 0): Promise<void> {
  checkArgument('requireWritable', 'path', path, kinds.path);
  checkArgument('requireWritable', 'bytes', bytes, kinds.notNegative);
  try {
    const target = await resolveTarget(path);
    const trial = temporaryName(target);
    await (await open(trial, 'wx')).close();
    await unlink(trial);
    await removeAbandoned(target);
    const { bavail, bsize } = await statfs(dirname(target));
    if (bavail * bsize < bytes)
      throw new FileError(path, `needs ${bytes} bytes, but its disk has ${bavail * bsize} free; give another path`);
  } catch (error) {
    throw asFileError(path, error);
  }
}

/** The temporary file is next to the target, so that the rename stays within one file system. */
function temporaryName(target: string): string {
  return join(dirname(target), `.${stemOf(target)}.${randomBytes(6).toString('hex')}.tmp`);
}

function stemOf(target: string): string {
  return basename(target).slice(0, 50);
}

/** Milliseconds without a write after which a temporary file counts as abandoned. */
const ABANDONED_MS = 600_000;

/** Removes abandoned temporary files of this target. Files that cannot be removed stay. */
async function removeAbandoned(target: string): Promise<void> {
  const folder = dirname(target);
  for (const name of await readdir(folder).catch(() => [])) {
    if (/^\.(.+)\.[0-9a-f]{12}\.tmp$/.exec(name)?.[1] !== stemOf(target)) continue;
    const path = join(folder, name);
    const found = await lstat(path).catch(() => undefined);
    if (found && Date.now() - found.mtimeMs > ABANDONED_MS) await removeOwn(path).catch(() => {});
  }
}

/**
 * Removes temporary files that killed processes of this user left in a folder. The caller ensures that no process is
 * writing there.
 * @param names pattern of the target files' names; default: all
 */
export async function removeLeftovers(folder: string, names = /^/): Promise<void> {
  checkArgument('removeLeftovers', 'folder', folder, kinds.path);
  checkArgument('removeLeftovers', 'names', names, instanceOf(RegExp, 'a RegExp'));
  try {
    for (const name of await readdir(folder)) {
      const written = /^\.(.+)\.[0-9a-f]{12}\.tmp$/.exec(name)?.[1];
      if (written !== undefined && names.test(written)) await removeOwn(join(folder, name)).catch(unlessGone);
    }
  } catch (error) {
    throw asFileError(folder, error);
  }
}

function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

async function removeOwn(path: string): Promise<void> {
  const found = await lstat(path);
  if (found.isFile() && (process.getuid === undefined || found.uid === process.getuid())) await unlink(path);
}

// Only regular files are written: renaming over a device or a pipe would replace it.
async function resolveTarget(path: string): Promise<string> {
  const existing = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (existing === undefined) return path;
  if (existing.isDirectory()) throw new FileError(path, 'is a folder; give the name of a file in it');
  if (!existing.isFile()) throw new FileError(path, 'is not a regular file; give another path');
  return realpath(path);
}

async function writeSynced(
  handle: FileHandle,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  try {
    for await (const chunk of chunks) {
      checkArgument('writeFileAtomic', 'a chunk', chunk, kinds.bytes);
      // One system call writes less than 2 GiB.
      for (let done = 0; done < chunk.byteLength; ) {
        const length = Math.min(chunk.byteLength - done, 2 ** 30);
        done += (await handle.write(chunk, done, length)).bytesWritten;
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

// Makes the new name survive a power cut. Windows and some file systems cannot sync a folder and are left to
// themselves.
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EBADF'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await handle.close();
  }
}
