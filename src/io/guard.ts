// Who may still write below a folder. A process that has locked a folder registers a check for it here; whatever is written
// atomically below that folder asks the check directly before the new file gets its name.
import { resolve, sep } from 'node:path';

interface Guard {
  folder: string;
  check: () => void;
}

const guards = new Set<Guard>();

/**
 * @param check throws where this process may no longer write below the folder
 * @returns what ends it
 */
export function guardFolder(folder: string, check: () => void): () => void {
  const guard = { folder: resolve(folder), check };
  guards.add(guard);
  return () => guards.delete(guard);
}

/** Asks every check of the folders above a path. @throws what they throw */
export function checkGuards(path: string): void {
  if (guards.size === 0) return;
  const absolute = resolve(path);
  for (const { folder, check } of guards)
    if (absolute === folder || absolute.startsWith(folder.endsWith(sep) ? folder : folder + sep)) check();
}
