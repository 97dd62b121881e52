// The cache of compiled kernels: `<key>.so` beside `<key>.c`, the text it was made from, and `<key>.sum`, its SHA-256; of
// CUDA `<key>.cubin` or `.ptx` beside `<key>.cu`. Loading a library is running code, so the folder must belong to this user and be writable by nobody else; where it is
// not, or cannot be written, a private temporary folder serves this process alone and `reason` says why.
// Files are written under another name and renamed: any number of processes may share the folder.
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { makeFolders } from '../folders.ts';
import { fromEnvironment } from './environment.ts';

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
    this.reason = folder === 'off' ? 'RECTIFLOW_CACHE is off' : usableFolder(folder);
    // Never relative: a compiler would take a path that begins with a dash for an option.
    this.folder = this.reason ? privateFolder() : resolve(folder);
  }

  /** Where the binary of this key is, verified, or undefined: absent or damaged (then it is removed). */
  find(key: string): string | undefined {
    return this.read(key) && this.path(key, this.endings.binary);
  }

  /** The verified binary itself. */
  read(key: string): Uint8Array<ArrayBuffer> | undefined {
    const path = this.path(key, this.endings.binary);
    try {
      const expected = readFileSync(this.path(key, 'sum'), 'utf8').trim();
      const binary = readFileSync(path);
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

function defaultFolder(): string {
  const named = fromEnvironment('RECTIFLOW_CACHE');
  if (named !== undefined) return named;
  const xdg = fromEnvironment('XDG_CACHE_HOME');
  // Its specification has relative ones ignored.
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.cache');
  return join(base, 'rectiflow', 'kernels');
}

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Makes the folder if need be; the reason why it cannot be trusted or written, or undefined. */
function usableFolder(folder: string): string | undefined {
  try {
    makeFolders(folder, 0o700);
    const info = lstatSync(folder);
    if (!info.isDirectory()) return `${folder} is not a folder`;
    if (process.getuid && info.uid !== process.getuid()) return `${folder} belongs to another user`;
    if (process.getuid && info.mode & 0o022) return `${folder} can be written by other users (chmod 700 it)`;
    const probe = join(folder, `.probe-${process.pid}-${randomBytes(4).toString('hex')}`);
    writeFileSync(probe, '');
    rmSync(probe);
    return undefined;
  } catch (error) {
    return `${folder} cannot be written (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`;
  }
}

let temporary: string | undefined;

/** One folder a process, mode 0700; its files are removed as soon as they are loaded. */
function privateFolder(): string {
  temporary ??= mkdtempSync(join(tmpdir(), 'rectiflow-'));
  return temporary;
}
