// The cache of compiled kernels: `<key>.so` with its source `<key>.c` and its SHA-256 `<key>.sum`; for CUDA `<key>.cubin` or `.ptx`
// with `<key>.cu`. `<key>.txt` is a short text after its SHA-256, such as what a check of kernels found. Loading a library runs code,
// so the folder and each file in it must belong to this user and be writable by nobody else; the folders above it may also belong to
// root. If a folder fails this check, cannot be written or is mounted noexec, `reason` says why, and each file is compiled in a private
// temporary folder that is deleted once the library is loaded. A file that others may have written is compiled again. Files are
// written under a temporary name and renamed, so any number of processes may share the folder.
import { createHash, randomBytes } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { DeviceError } from '../errors.ts';
import { makeFolders } from '../folders.ts';
import { atEnd } from './ending.ts';
import { fromEnvironment, homeFolder } from './environment.ts';

/** Increased whenever the meaning of a cached file changes. */
const CACHE_VERSION = 1;

/** File extensions of an entry. */
interface Endings {
  source: string;
  binary: string;
}

const ANOTHER = 'RECTIFLOW_CACHE=DIR names another place';

const BINARY = /\.(so|cubin|ptx)$/;

/** The files of one entry while it is being compiled. */
export interface Staged {
  source: string;
  output: string;
  /** Moves the binary to where `find` sees it; a private folder keeps nothing. @returns the path of the source */
  commit(): string;
  /** Removes the temporary files. */
  discard(): void;
}

export class KernelCache {
  /** Undefined if no folder can be used: nothing is kept then. */
  readonly folder: string | undefined;
  /** Why the usual folder is not used; undefined when it is. */
  readonly reason: string | undefined;
  private readonly endings: Endings;

  constructor(folder = defaultFolder(), endings: Endings = { source: 'c', binary: 'so' }) {
    this.endings = endings;
    this.reason = reasonAgainst(folder, endings.binary === 'so');
    // Links are resolved once, here: the folders above the real path have been checked.
    this.folder = this.reason || folder === undefined ? undefined : realpathSync(folder);
  }

  /** The path of the verified binary; undefined if it is absent or damaged (a damaged one is removed). */
  find(key: string): string | undefined {
    return this.read(key) && this.path(key, this.endings.binary);
  }

  /** The verified binary itself. */
  read(key: string): Uint8Array<ArrayBuffer> | undefined {
    if (this.folder === undefined) return undefined;
    try {
      const expected = new TextDecoder().decode(readOwn(this.path(key, 'sum'))).trim();
      const binary = readOwn(this.path(key, this.endings.binary));
      if (expected === sha256(binary)) return binary;
      this.remove(key);
    } catch {
      // Absent, or another process is replacing it: the caller compiles it.
    }
    return undefined;
  }

  /** A text that `keep` wrote; undefined if it is absent or damaged, or if others may have written it. */
  kept(key: string): string | undefined {
    if (this.folder === undefined) return undefined;
    try {
      const [sum, ...lines] = readOwn(this.path(key, 'txt')).toString().split('\n');
      const text = lines.join('\n');
      return sum === sha256(Buffer.from(text)) ? text : undefined;
    } catch {
      return undefined;
    }
  }

  /** Keeps a text. @returns why it cannot, or undefined */
  keep(key: string, text: string): string | undefined {
    if (this.folder === undefined) return this.reason;
    const staged = this.path(`${key}.${uniqueName()}`, 'txt');
    const release = atEnd(() => rmSync(staged, { force: true }));
    try {
      writeFileSync(staged, `${sha256(Buffer.from(text))}\n${text}`, { mode: 0o600 });
      renameSync(staged, this.path(key, 'txt'));
      return undefined;
    } catch (error) {
      rmSync(staged, { force: true });
      return (error as Error).message;
    } finally {
      release();
    }
  }

  /** Removes a binary that cannot be loaded. */
  remove(key: string): void {
    if (this.folder === undefined) return;
    for (const ending of ['sum', this.endings.binary]) rmSync(this.path(key, ending), { force: true });
  }

  /**
   * Writes the source text and returns the paths for a compiler. Entries that are neither committed nor discarded are removed when
   * the process ends.
   * @throws DeviceError if no folder can be used, not even a temporary one
   */
  stage(key: string, source: string): Staged {
    const { folder, endings } = this;
    const own = folder === undefined ? privateFolder() : undefined;
    const unique = uniqueName();
    const place = (ending: string) => join(own ?? (folder as string), `${key}.${unique}.${ending}`);
    const staged = { source: place(endings.source), output: place(endings.binary) };
    const sum = place('sum');
    const remove = () => {
      for (const file of [staged.source, staged.output, sum]) rmSync(file, { force: true });
      if (own) rmSync(own, { recursive: true, force: true });
    };
    const release = atEnd(remove);
    writeFileSync(staged.source, source, { mode: 0o600 });
    return {
      ...staged,
      commit: () => {
        if (own) return staged.source;
        chmodSync(staged.output, 0o700);
        writeFileSync(sum, sha256(readOwn(staged.output)), { mode: 0o600 });
        renameSync(staged.source, this.path(key, endings.source));
        renameSync(staged.output, this.path(key, endings.binary));
        renameSync(sum, this.path(key, 'sum'));
        return this.path(key, endings.source);
      },
      discard: () => {
        remove();
        release();
      },
    };
  }

  /** The number of binaries and their total bytes. */
  usage(): { files: number; bytes: number } {
    const { folder } = this;
    const binaries = folder === undefined ? [] : readdirSync(folder).filter((name) => BINARY.test(name));
    return {
      files: binaries.length,
      bytes: binaries.reduce((sum, name) => sum + statSync(join(folder as string, name)).size, 0),
    };
  }

  private path(key: string, ending: string): string {
    return join(this.folder as string, `${key}.${ending}`);
  }
}

/** A name that no other process and no other call uses. */
function uniqueName(): string {
  return `${process.pid}-${randomBytes(6).toString('hex')}`;
}

/** A hash of everything that determines a binary; any difference gives another key. */
export function cacheKey(name: string, parts: readonly string[]): string {
  const hash = createHash('sha256').update(String(CACHE_VERSION));
  for (const part of parts) hash.update(`\0${part.length}\0`).update(part);
  return `${name.replace(/\W+/g, '_')}-${hash.digest('hex').slice(0, 32)}`;
}

/** Undefined if the user has no home folder. */
function defaultFolder(): string | undefined {
  const named = fromEnvironment('RECTIFLOW_CACHE');
  if (named !== undefined) return named;
  const xdg = fromEnvironment('XDG_CACHE_HOME');
  // The XDG specification says to ignore relative paths.
  if (xdg !== undefined && isAbsolute(xdg)) return join(xdg, 'rectiflow', 'kernels');
  const home = homeFolder();
  return home && join(home, '.cache', 'rectiflow', 'kernels');
}

/** How somebody else could change this file or folder; undefined if only this user can. */
function othersWho({ uid, gid, mode }: Stats): string | undefined {
  if (!process.getuid) return undefined;
  if (uid !== process.getuid()) return 'belongs to another user';
  const byOthers = mode & 0o002 || (mode & 0o020 && !isPrivateGroup(gid));
  return byOthers ? 'can be written by other users' : undefined;
}

/**
 * Whether this user is the only member of a group, as on systems that give each user a group of the same number and make files
 * group-writable (umask 002). Always false for root, whose group may have other members.
 */
function isPrivateGroup(gid: number): boolean {
  const uid = process.getuid?.();
  if (gid === 0 || gid !== uid || gid !== process.getgid?.()) return false;
  try {
    const line = new RegExp(`^[^:]*:[^:]*:${gid}:(.*)$`, 'm').exec(readFileSync('/etc/group', 'utf8'));
    return line !== null && line[1].trim() === '';
  } catch {
    return false;
  }
}

/** The first folder above `path` in which somebody other than this user or root can replace entries. */
function openParent(path: string): string | undefined {
  if (!process.getuid) return undefined;
  for (let parent = dirname(path); ; parent = dirname(parent)) {
    const info = statSync(parent);
    const sticky = (info.mode & 0o1000) !== 0;
    const mine = othersWho(info) === undefined;
    const trusted = info.uid === process.getuid() || info.uid === 0;
    if (!mine && !(trusted && (sticky || (info.mode & 0o022) === 0))) return parent;
    if (parent === dirname(parent)) return undefined;
  }
}

/** Reads a file that belongs to this user and that nobody else can write. @throws Error for any other, and for a link */
function readOwn(path: string): Buffer<ArrayBuffer> {
  const file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  try {
    // The descriptor is checked, because the name may lead to another file by now.
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

/** Why a folder cannot be used, or undefined. */
function reasonAgainst(folder: string | undefined, forLibraries: boolean): string | undefined {
  if (folder === undefined) return `this user has no home folder (${ANOTHER})`;
  return folder === 'off' ? 'RECTIFLOW_CACHE is off' : unusable(resolve(folder), forLibraries);
}

/** Creates the folder if needed. @returns why it cannot be trusted or written, or undefined */
function unusable(folder: string, forLibraries: boolean): string | undefined {
  try {
    makeFolders(folder, 0o700);
    const info = lstatSync(folder);
    if (!info.isDirectory()) return `${folder} is not a folder`;
    const others = othersWho(info);
    if (others) return `${folder} ${others}, who may have put other code there (remove it; it is created again)`;
    const parent = openParent(realpathSync(folder));
    if (parent)
      return `${parent}, above ${folder}, can be changed by other users, who could put other code there (${ANOTHER})`;
    return refusal(folder, forLibraries);
  } catch (error) {
    return `${folder} cannot be written (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`;
  }
}

/** Writes a probe file as large as some kernels. @returns why libraries cannot be loaded from the folder, or undefined @throws the system's error */
function refusal(folder: string, forLibraries: boolean): string | undefined {
  const probe = join(folder, `.probe-${uniqueName()}`);
  try {
    writeFileSync(probe, new Uint8Array(1e5), { mode: 0o700 });
    // On a file system that is mounted noexec, X_OK fails even with the permission bit set, and no file can be mapped as code.
    if (forLibraries) accessSync(probe, constants.X_OK);
    return undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    return `${folder} is mounted noexec (${ANOTHER})`;
  } finally {
    rmSync(probe, { force: true });
  }
}

/**
 * Creates a folder of mode 0700 in the first temporary location that can be used.
 * @throws DeviceError with the reason for each location that cannot
 */
export function privateFolder(): string {
  const runtime = fromEnvironment('XDG_RUNTIME_DIR');
  const places = [tmpdir(), runtime && resolve(runtime), '/tmp', '/var/tmp', '/dev/shm'];
  const reasons: string[] = [];
  for (const place of new Set(places.filter((name) => name !== undefined))) {
    let made: string | undefined;
    try {
      made = mkdtempSync(join(place, 'rectiflow-'));
      const reason = refusal(made, true);
      if (!reason) return made;
      reasons.push(reason.replace(` (${ANOTHER})`, ''));
    } catch (error) {
      reasons.push(`${place} cannot be written (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`);
    }
    if (made) rmSync(made, { recursive: true, force: true });
  }
  throw new DeviceError(`no folder can hold compiled kernels: ${reasons.join('; ')} (${ANOTHER})`);
}
