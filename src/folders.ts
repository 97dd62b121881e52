// Making folders. `mkdir` of Node with `recursive` never ends below a folder that refuses new ones with ENOENT, as /proc does.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * Makes a folder, and those that it lies in.
 * @param mode of those that are made
 * @throws the system's error
 */
export function makeFolders(path: string, mode?: number): void {
  make(resolve(path), mode);
}

function make(path: string, mode: number | undefined): void {
  if (isFolder(path)) return;
  const parent = dirname(path);
  if (!existsSync(parent)) make(parent, mode);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    // Another process may have made it meanwhile.
    if (!isFolder(path)) throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
