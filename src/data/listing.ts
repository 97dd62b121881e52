// Finds the files of a known data set in their usual places: in the given folder or below it, in upper or lower case,
// as archives, browsers and other file systems leave them.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asFileError } from '../io/file.ts';
import { isSystemName } from '../io/system_names.ts';

/** The entries of a folder. */
export class Listing {
  readonly path: string;
  private readonly names: readonly string[];

  private constructor(path: string, names: readonly string[]) {
    this.path = path;
    this.names = names;
  }

  /** @returns undefined if there is no such folder @throws FileError if it cannot be read */
  static async of(path: string): Promise<Listing | undefined> {
    try {
      const names = await readdir(path);
      return new Listing(path, names.filter((name) => !isSystemName(name)).sort());
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw asFileError(path, error);
    }
  }

  /** The path of the first of these names that is a file. */
  async file(names: readonly string[]): Promise<string | undefined> {
    for (const name of names) for (const path of this.spellings(name)) if ((await kindOf(path)) === 'file') return path;
    return undefined;
  }

  /** A folder below this one. @param path relative path with slashes; '' is this folder */
  async folder(path: string): Promise<Listing | undefined> {
    let at: Listing | undefined = this;
    for (const name of path.split('/').filter((part) => part !== '')) {
      let next: Listing | undefined;
      for (const spelling of at.spellings(name)) next ??= await Listing.of(spelling);
      if (!next) return undefined;
      at = next;
    }
    return at;
  }

  /** The folders among these paths that exist, in the given order. */
  async folders(paths: readonly string[]): Promise<Listing[]> {
    const found: Listing[] = [];
    for (const path of paths) found.push(...[await this.folder(path)].flatMap((folder) => folder ?? []));
    return found;
  }

  /** Paths of the entries with that name in any case, the exact spelling first. */
  private spellings(name: string): string[] {
    const others = this.names.filter((other) => other !== name && other.toLowerCase() === name.toLowerCase());
    return [...(this.names.includes(name) ? [name] : []), ...others].map((found) => join(this.path, found));
  }
}

/** The kind of a path, following symbolic links; 'other' also for a path that does not exist. */
export async function kindOf(path: string): Promise<'file' | 'folder' | 'other'> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isFile()) return 'file';
  return info?.isDirectory() ? 'folder' : 'other';
}

/** The beginning of an error message that continues with the names of the files that were looked for. */
export async function describeLack(path: string): Promise<string> {
  const kind = await kindOf(path);
  if (kind === 'folder') return 'holds none of';
  return kind === 'file' ? 'is a file; its folder must contain' : 'there is no such folder; it must contain';
}
