// The files below a folder as data: without what systems put there (io/system_names.ts), each file once.
//
// Symbolic links are followed, to files and to folders. What lies below the folder itself keeps its own name; a link to
// something that was met already adds nothing, so links that lead in a circle end. Pipes and devices are no data.
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asFileError } from '../io/file.ts';
import { isSystemName } from '../io/system_names.ts';

/**
 * @param notice told in one line of links that lead nowhere
 * @returns paths from `root`, with slashes; the caller sorts them
 * @throws FileError for a folder that cannot be read
 */
export async function listFiles(root: string, notice: (text: string) => void = () => {}): Promise<string[]> {
  const realRoot = await realpath(root).catch((error) => {
    throw asFileError(root, error);
  });
  const walk = new Walk(root);
  await walk.folder('', realRoot);
  await walk.followLinks(realRoot);
  tellOfBroken(root, walk.broken, notice);
  return walk.names;
}

function tellOfBroken(root: string, broken: readonly string[], notice: (text: string) => void): void {
  const { length } = broken;
  if (length === 1) notice(`${root}: the symbolic link ${broken[0]} leads nowhere and is left out`);
  if (length > 1) notice(`${root}: ${length} symbolic links lead nowhere and are left out, the first ${broken[0]}`);
}

class Walk {
  readonly names: string[] = [];
  readonly broken: string[] = [];
  private readonly root: string;
  private readonly links: string[] = [];
  /** Real paths of folders. */
  private readonly folders = new Set<string>();
  /** Real paths of files, once there are links. */
  private files: Set<string> | undefined;

  constructor(root: string) {
    this.root = root;
  }

  async folder(name: string, real: string): Promise<void> {
    if (this.folders.has(real)) return;
    this.folders.add(real);
    for (const entry of await entriesOf(join(this.root, name))) {
      const below = name === '' ? entry.name : `${name}/${entry.name}`;
      if (entry.isSymbolicLink()) this.links.push(below);
      else if (entry.isDirectory()) await this.folder(below, join(real, entry.name));
      else if (entry.isFile()) this.file(below, join(real, entry.name));
    }
  }

  /** After the whole of the root: its own names come before those of links. */
  async followLinks(realRoot: string): Promise<void> {
    if (this.links.length === 0) return;
    this.files = new Set(this.names.map((name) => join(realRoot, name)));
    // A folder that is linked to may add links to the end.
    for (const link of this.links) await this.follow(link);
  }

  private async follow(link: string): Promise<void> {
    const path = join(this.root, link);
    const real = await realpath(path).catch(() => undefined);
    if (real === undefined) {
      this.broken.push(link);
      return;
    }
    const target = await stat(real).catch((error) => {
      throw asFileError(path, error);
    });
    if (target.isDirectory()) await this.folder(link, real);
    else if (target.isFile()) this.file(link, real);
  }

  private file(name: string, real: string): void {
    if (this.files?.has(real)) return;
    this.files?.add(real);
    this.names.push(name);
  }
}

/** Those that are no system's, in the order of their names, so that the same links give the same list. */
async function entriesOf(path: string): Promise<Dirent[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error) => {
    throw asFileError(path, error);
  });
  return entries.filter(({ name }) => !isSystemName(name)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Names of the folders in a folder, sorted, each folder once: those that links lead to are among them.
 * @param notice as for listFiles
 * @throws FileError for a folder that cannot be read
 */
export async function listFolders(root: string, notice: (text: string) => void = () => {}): Promise<string[]> {
  const entries = await entriesOf(root);
  const names = entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  const links = entries.flatMap((entry) => (entry.isSymbolicLink() ? [entry.name] : []));
  if (links.length === 0) return names;
  const seen = new Set(await Promise.all(names.map((name) => realpath(join(root, name)))));
  const broken: string[] = [];
  for (const link of links) {
    const real = await realpath(join(root, link)).catch(() => undefined);
    if (real === undefined) broken.push(link);
    else if (!seen.has(real) && (await stat(real)).isDirectory()) {
      seen.add(real);
      names.push(link);
    }
  }
  tellOfBroken(root, broken, notice);
  return names.sort();
}
