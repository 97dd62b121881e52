// Files of a known data set where they usually lie: in the folder that is named or in one below it, in capitals or not, as
// archives, browsers and other file systems leave them.
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

  /** @returns undefined where there is no folder of that name @throws FileError for one that cannot be read */
  static async of(path: string): Promise<Listing | undefined> {
    try {
      const names = await readdir(path);
      return new Listing(path, names.filter((name) => !isSystemName(name)).sort());
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw asFileError(path, error);
    }
  }

  /** The path of the first of these that is a file. */
  async file(names: readonly string[]): Promise<string | undefined> {
    for (const name of names) for (const path of this.spelled(name)) if ((await kindOf(path)) === 'file') return path;
    return undefined;
  }

  /** A folder below this one. @param path with slashes; '' is this one */
  async folder(path: string): Promise<Listing | undefined> {
    let at: Listing | undefined = this;
    for (const name of path.split('/').filter((part) => part !== '')) {
      let next: Listing | undefined;
      for (const spelled of at.spelled(name)) next ??= await Listing.of(spelled);
      if (!next) return undefined;
      at = next;
    }
    return at;
  }

  /** Those of these folders that are there, in their order. */
  async folders(paths: readonly string[]): Promise<Listing[]> {
    const found: Listing[] = [];
    for (const path of paths) found.push(...[await this.folder(path)].flatMap((folder) => folder ?? []));
    return found;
  }

  /** Paths of the entries of that name, the one as written first. */
  private spelled(name: string): string[] {
    const others = this.names.filter((other) => other !== name && other.toLowerCase() === name.toLowerCase());
    return [...(this.names.includes(name) ? [name] : []), ...others].map((found) => join(this.path, found));
  }
}

/** What a path is, symbolic links followed; 'other' also for one that leads nowhere. */
export async function kindOf(path: string): Promise<'file' | 'folder' | 'other'> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isFile()) return 'file';
  return info?.isDirectory() ? 'folder' : 'other';
}

/** "there is no such folder", where there is none: how an error begins that says what was looked for. */
export async function lacking(path: string): Promise<string> {
  const kind = await kindOf(path);
  if (kind === 'folder') return 'holds none of';
  return kind === 'file' ? 'is a file; its folder is to hold' : 'there is no such folder; it is to hold';
}
