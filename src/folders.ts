// Making a folder with those above it.
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder and the folders above it; one that is there will do. Node's own way tries for ever where a file system answers that
 * there is no such place below a folder that is there, as /proc does.
 * @param mode of the folders that are made, before the process's mask
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

/** Why the folder is not there now; undefined where it is. */
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
