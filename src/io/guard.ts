// Write guards of folders. A process that has locked a folder registers a check here; writeFileAtomic runs the checks
// of all folders above a path directly before the new file gets its name.
import { resolve, sep } from 'node:path';

interface Guard {
  folder: string;
  check: () => void;
}

const guards = new Set<Guard>();

/**
 * Registers a check for a folder.
 * @param check throws if this process may no longer write below the folder
 * @returns a function that removes the check
 */
export function guardFolder(folder: string, check: () => void): () => void {
  const guard = { folder: resolve(folder), check };
  guards.add(guard);
  return () => guards.delete(guard);
}

/** Runs the checks of all folders above a path. @throws what they throw */
export function checkGuards(path: string): void {
  if (guards.size === 0) return;
  const absolute = resolve(path);
  for (const { folder, check } of guards)
    if (absolute === folder || absolute.startsWith(folder.endsWith(sep) ? folder : folder + sep)) check();
}
