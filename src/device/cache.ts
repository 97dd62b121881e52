// The cache of compiled kernels: `<key>.so` beside `<key>.c`, the text it was made from, and `<key>.sum`, its SHA-256; of
// CUDA `<key>.cubin` or `.ptx` beside `<key>.cu`. Loading a library runs code, so the folder and each file in it must belong to this
// user and be writable by nobody else. Where the folder is not so, or cannot be written, a private temporary folder serves this
// process alone and `reason` says why. A file that is not so is compiled again.
// Files are written under another name and renamed: any number of processes may share the folder.
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { makeFolders } from '../folders.ts';
import { fromEnvironment, homeFolder } from './environment.ts';

/** Raised whenever the meaning of a cached file changes. */
const CACHE_VERSION = 1;

/** How the files of an entry end. */
export interface Endings {
  source: string;
  binary: string;
}

const BINARY = /\.(so|cubin|ptx)$/;

export class KernelCache {
  readonly folder: string;
  /** Why the usual folder is not in use; undefined when it is. */
  readonly reason: string | undefined;
  private readonly endings: Endings;

  constructor(folder = defaultFolder(), endings: Endings = { source: 'c', binary: 'so' }) {
    this.endings = endings;
    this.reason = reasonAgainst(folder);
    // Never relative: a compiler would take a path that begins with a dash for an option.
    this.folder = this.reason || folder === undefined ? privateFolder() : resolve(folder);
  }

  /** Where the binary of this key is, verified, or undefined: absent or damaged (then it is removed). */
  find(key: string): string | undefined {
    return this.read(key) && this.path(key, this.endings.binary);
  }

  /** The verified binary itself. */
  read(key: string): Uint8Array<ArrayBuffer> | undefined {
    const path = this.path(key, this.endings.binary);
    try {
      const expected = new TextDecoder().decode(readOwn(this.path(key, 'sum'))).trim();
      const binary = readOwn(path);
      if (expected === sha256(binary)) return binary;
      rmSync(path, { force: true });
    } catch {
      // Absent, or being replaced by another process: compile it.
    }
    return undefined;
  }

  /** Writes the source text and gives the places for a compiler: `commit` puts the binary where `find` sees it. */
  stage(key: string, source: string): { source: string; output: string; commit: () => string; discard: () => void } {
    const unique = `${process.pid}-${randomBytes(6).toString('hex')}`;
    const { endings } = this;
    const staged = {
      source: this.path(`${key}.${unique}`, endings.source),
      output: this.path(`${key}.${unique}`, endings.binary),
    };
    const sum = this.path(`${key}.${unique}`, 'sum');
    writeFileSync(staged.source, source, { mode: 0o600 });
    return {
      ...staged,
      commit: () => {
        writeFileSync(sum, sha256(readFileSync(staged.output)), { mode: 0o600 });
        chmodSync(staged.output, 0o700);
        renameSync(staged.source, this.path(key, endings.source));
        renameSync(staged.output, this.path(key, endings.binary));
        renameSync(sum, this.path(key, 'sum'));
        return this.path(key, endings.binary);
      },
      discard: () => {
        for (const file of [staged.source, staged.output, sum]) rmSync(file, { force: true });
      },
    };
  }

  /** Called when a binary has been loaded: a private folder has no further use for its files. */
  loaded(key: string): void {
    const { source, binary } = this.endings;
    if (this.reason) for (const ending of [binary, source, 'sum']) rmSync(this.path(key, ending), { force: true });
  }

  /** Number of binaries and their bytes. */
  usage(): { files: number; bytes: number } {
    const binaries = readdirSync(this.folder).filter((name) => BINARY.test(name));
    return {
      files: binaries.length,
      bytes: binaries.reduce((sum, name) => sum + statSync(join(this.folder, name)).size, 0),
    };
  }

  private path(key: string, ending: string): string {
    return join(this.folder, `${key}.${ending}`);
  }
}

/** A key for whatever goes into a binary; any difference gives another key. */
export function cacheKey(name: string, parts: readonly string[]): string {
  const hash = createHash('sha256').update(String(CACHE_VERSION));
  for (const part of parts) hash.update(`\0${part.length}\0`).update(part);
  return `${name.replace(/\W+/g, '_')}-${hash.digest('hex').slice(0, 32)}`;
}

/** Undefined for a user who has no home folder. */
function defaultFolder(): string | undefined {
  const named = fromEnvironment('RECTIFLOW_CACHE');
  if (named !== undefined) return named;
  const xdg = fromEnvironment('XDG_CACHE_HOME');
  // Its specification has relative ones ignored.
  if (xdg !== undefined && isAbsolute(xdg)) return join(xdg, 'rectiflow', 'kernels');
  const home = homeFolder();
  return home && join(home, '.cache', 'rectiflow', 'kernels');
}

/** Who may change what this entry of a file system holds, besides this user; undefined for nobody. */
function othersWho({ uid, mode }: Stats): string | undefined {
  if (!process.getuid) return undefined;
  if (uid !== process.getuid()) return 'belongs to another user';
  return mode & 0o022 ? 'can be written by other users' : undefined;
}

/** Reads a file that belongs to this user and that nobody else can write. @throws Error for any other, and for a link */
function readOwn(path: string): Buffer<ArrayBuffer> {
  const file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  try {
    // fstat, since the name may lead to another file by now.
    const info = fstatSync(file);
    const others = info.isFile() ? othersWho(info) : 'is not a file';
    if (others) throw new Error(`${path} ${others}`);
    return readFileSync(file) as Buffer<ArrayBuffer>;
  } finally {
    closeSync(file);
  }
}

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Why a folder does not serve, or undefined. */
function reasonAgainst(folder: string | undefined): string | undefined {
  if (folder === undefined) return 'this user has no home folder (RECTIFLOW_CACHE=DIR names another place)';
  return folder === 'off' ? 'RECTIFLOW_CACHE is off' : usableFolder(folder);
}

/** Makes the folder if need be; the reason why it cannot be trusted or written, or undefined. */
function usableFolder(folder: string): string | undefined {
  try {
    makeFolders(folder, 0o700);
    const info = lstatSync(folder);
    if (!info.isDirectory()) return `${folder} is not a folder`;
    const others = othersWho(info);
    if (others) return `${folder} ${others}, who may have put other code there (remove it, and it is made anew)`;
    const probe = join(folder, `.probe-${process.pid}-${randomBytes(4).toString('hex')}`);
    writeFileSync(probe, '');
    rmSync(probe);
    return undefined;
  } catch (error) {
    return `${folder} cannot be written (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`;
  }
}

let temporary: string | undefined;

/** One folder a process, mode 0700; its files are removed as soon as they are loaded, the folder at the end. */
function privateFolder(): string {
  if (temporary === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'rectiflow-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    temporary = made;
  }
  return temporary;
}
