// Lists the data files below a folder, each once, without the files that operating systems add (io/system_names.ts).
//
// Symbolic links to files and folders are followed. A file in the folder itself keeps its own name, and a link to
// something already seen adds nothing, so link cycles terminate. Pipes and devices are skipped.
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asFileError } from '../io/file.ts';
import { isSystemName } from '../io/system_names.ts';

/**
 * Lists the files below `root`.
 * @param notice called with one line about dangling links
 * @returns paths relative to `root`, with slashes, unsorted
 * @throws FileError if a folder cannot be read
 */
export async function listFiles(root: string, notice: (text: string) => void = () => {}): Promise<string[]> {
  const realRoot = await realpath(root).catch((error) => {
    throw asFileError(root, error);
  });
  const walk = new Walk(root);
  await walk.folder('', realRoot);
  await walk.followLinks(realRoot);
  reportBroken(root, walk.broken, notice);
  return walk.names;
}

function reportBroken(root: string, broken: readonly string[], notice: (text: string) => void): void {
  const { length } = broken;
  if (length === 1) notice(`${root}: the symbolic link ${broken[0]} is dangling and is skipped`);
  if (length > 1) notice(`${root}: ${length} symbolic links are dangling and are skipped, the first is ${broken[0]}`);
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

  /** Runs after the root has been walked, so that its own names take precedence over those of links. */
  async followLinks(realRoot: string): Promise<void> {
    if (this.links.length === 0) return;
    this.files = new Set(this.names.map((name) => join(realRoot, name)));
    // A linked folder may append further links.
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

/** The entries without system names, sorted by name, so that equal links give equal lists. */
async function entriesOf(path: string): Promise<Dirent[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error) => {
    throw asFileError(path, error);
  });
  return entries.filter(({ name }) => !isSystemName(name)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Lists the names of the folders in a folder, sorted, each folder once, including links to folders.
 * @param notice as for listFiles
 * @throws FileError if a folder cannot be read
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
  reportBroken(root, broken, notice);
  return names.sort();
}
