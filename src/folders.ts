// Creates a folder and its parents.
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Creates a folder and its missing parents; an existing folder is fine. Node's recursive mkdir loops forever on file
 * systems such as /proc, which report ENOENT below a folder that exists.
 * @param mode mode of the created folders, before the process's umask
 * @throws the system's error
 */
export function makeFolders(path: string, mode = 0o777): void {
  const missing = attempt(path, mode);
  if (!missing) return;
  if (missing.code !== 'ENOENT' || dirname(path) === path) throw missing;
  makeFolders(dirname(path), mode);
  const failure = attempt(path, mode);
  if (failure) throw failure;
}

/** The error that kept the folder from being created; undefined if the folder exists now. */
function attempt(path: string, mode: number): NodeJS.ErrnoException | undefined {
  try {
    mkdirSync(path, { mode });
    return undefined;
  } catch (error) {
    const failure = error as NodeJS.ErrnoException;
    const there = failure.code === 'EEXIST' && statSync(path, { throwIfNoEntry: false })?.isDirectory();
    return there ? undefined : failure;
  }
}
