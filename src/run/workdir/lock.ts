// Gives one process at a time exclusive use of a folder, on any file system. The lock is a file that names its owner
// (lock_owner.ts) and holds a counter that the owner increments while it lives (lock_beat.ts). docs/design.md, "The
// lock", proves it sound.
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FileError, LockLostError } from '../../errors.ts';
import { asFileError } from '../../io/file.ts';
import { guardFolder } from '../../io/guard.ts';
import { firstBeat, startBeat } from './lock_beat.ts';
import { newOwner, type Owner, ownerLine, parseOwner, stateOf } from './lock_owner.ts';

/** Intervals in milliseconds. Only tests of the lock change them. */
export const lockTiming = {
  /** Time between two heartbeats. */
  beat: 10_000,
  /** Time without a heartbeat after which an owner that cannot be checked otherwise counts as gone. */
  silence: 60_000,
  /** Time between two reads of such an owner's lock. */
  look: 500,
  /** Time for which a lock without a complete first line may still be being written. */
  written: 2_000,
};

export interface LockOptions {
  /** Advice for the error message; default: give another --workdir. */
  way?: string;
  /** Ends the wait for another process. */
  signal?: AbortSignal;
  /** Reports that it waits, and that the heartbeat failed. */
  notice?: (text: string) => void;
}

/**
 * Locks a folder. It waits for another owner only if nothing but its heartbeat can show whether it lives. While the
 * lock is held, every atomic write below the folder first checks that it still is (io/guard.ts).
 * @returns a function that releases the lock
 * @throws FileError if another live process holds the lock, or if the file is not a lock; the signal's reason when
 * aborted
 */
export async function lockFolder(folder: string, options: LockOptions = {}): Promise<() => Promise<void>> {
  const path = join(folder, 'lock');
  const me = newOwner();
  await acquire(folder, path, me, options);
  try {
    removeClaims(folder);
  } catch (error) {
    await release(path, me);
    throw asFileError(folder, error);
  }
  const stopBeat = startBeat(path, ownerLine(me), lockTiming.beat, (error) =>
    options.notice?.(`${path}: the heartbeat failed (${error.message}); another machine may take over the folder`),
  );
  const unguard = guardFolder(folder, () => requireLock(path, me));
  return async () => {
    await stopBeat();
    await release(path, me);
    unguard();
  };
}

async function acquire(folder: string, path: string, me: Owner, options: LockOptions): Promise<void> {
  for (;;) {
    if (create(path, me) && holds(path, me)) return;
    const seen = look(path);
    const silent = seen && (await untilSilent(folder, path, seen, options));
    if (silent && (await takeOver(folder, path, silent, me, options))) return;
    if (!silent) await pause(20, options.signal);
  }
}

/**
 * Replaces the lock of an owner that is gone. A process must first create the claim on that very lock; renaming the
 * claim makes it the lock. Which process won is then read from the lock.
 */
async function takeOver(folder: string, path: string, seen: Seen, me: Owner, options: LockOptions): Promise<boolean> {
  const claim = claimOn(path, seen.line);
  if (!create(claim, me)) {
    const other = look(claim);
    if (other && (await untilSilent(folder, claim, other, options))) remove(claim);
    return false;
  }
  if (look(path)?.text !== seen.text) {
    remove(claim);
    return false;
  }
  try {
    renameSync(claim, path);
  } catch (error) {
    // This process was suspended for so long that another one removed its claim.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asFileError(path, error);
  }
  return holds(path, me);
}

/** Removes the own lock under a claim on it, so that no other process is taking it over at that moment. */
async function release(path: string, me: Owner): Promise<void> {
  const claim = claimOn(path, ownerLine(me).trimEnd());
  try {
    for (let attempt = 0; attempt < 5 && holds(path, me); attempt++) {
      if (create(claim, me)) {
        if (holds(path, me)) remove(path);
        remove(claim);
      } else await sleep(100);
    }
  } catch {
    // The folder is gone or not writable. A lock that remains will count as that of a process that is gone.
  }
}

/** @throws LockLostError if another process owns the lock or it is gone, FileError if it cannot be read */
function requireLock(path: string, me: Owner): void {
  const owner = look(path)?.owner;
  if (owner?.token === me.token) return;
  throw new LockLostError(
    owner
      ? `${path}: ${describe(owner)} took over the lock while this process was suspended; this process stops, saved files stay`
      : `${path}: the lock is gone and another process may be writing; this process stops, saved files stay`,
  );
}

/** The contents of a lock file. */
interface Seen {
  text: string;
  /** The first line, possibly incomplete. */
  line: string;
  /** undefined for a lock that was not written completely, for example after a power failure. */
  owner: Owner | undefined;
}

const MOST_BYTES = 1024;
const READ = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Reads a lock; undefined if there is no file. @throws FileError for a file that is not a lock of this program */
function look(path: string): Seen | undefined {
  let text: string;
  try {
    const { size } = regularFile(path);
    if (size > MOST_BYTES) throw notOurs(path, `has ${size} bytes`);
    const file = openSync(path, READ);
    try {
      const bytes = Buffer.alloc(MOST_BYTES);
      text = bytes.toString('utf8', 0, readSync(file, bytes, 0, MOST_BYTES, 0));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw asFileError(path, error);
  }
  const [line, ...rest] = text.split('\n');
  const owner = rest.length > 0 ? parseOwner(line) : undefined;
  // A block that never reached the disk reads as zeros.
  if (rest.length > 0 && !owner && !line.includes('\0')) throw notOurs(path, 'names no process');
  return { text, line, owner };
}

function regularFile(path: string) {
  const stat = lstatSync(path);
  if (!stat.isFile()) throw notOurs(path, 'is not a regular file');
  return stat;
}

function notOurs(path: string, what: string): FileError {
  return new FileError(path, `${what}: it is not a lock of this program; move it away`);
}

/**
 * Waits until the owner of a lock is known to be gone.
 * @returns the lock; undefined if it was replaced or removed in the meantime
 * @throws FileError if the owner lives
 */
async function untilSilent(
  folder: string,
  path: string,
  first: Seen,
  { way = 'give another --workdir', signal, notice }: LockOptions,
): Promise<Seen | undefined> {
  const { owner } = first;
  const inUse = () =>
    new FileError(folder, `in use by ${describe(owner as Owner)}; ${way} or end that process (lock: ${path})`);
  const state = owner && stateOf(owner);
  if (state === 'gone') return first;
  if (state === 'lives') throw inUse();
  const limit = owner ? lockTiming.silence : lockTiming.written;
  if (owner) notice?.(`waiting up to ${limit / 1000} s for the lock of ${describe(owner)} (${path})`);
  // Counts only time in which this process runs, because it may have been suspended together with the owner.
  for (let silent = 0, before = performance.now(); silent < limit; ) {
    await pause(Math.min(lockTiming.look, limit), signal);
    const seen = look(path);
    if (seen?.line !== first.line) return undefined;
    if (seen.text !== first.text) throw inUse();
    const now = performance.now();
    silent += Math.min(now - before, 2 * lockTiming.look);
    before = now;
  }
  return first;
}

function describe({ pid, host, job }: Owner): string {
  const [id] = job.split('.');
  return `process ${pid} on ${host}${id === '-' ? '' : ` (Slurm job ${id})`}`;
}

/** Creates a lock or claim. @returns false if the file exists already @throws FileError */
function create(path: string, owner: Owner): boolean {
  let file: number;
  try {
    file = openSync(path, 'wx');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw asFileError(path, error);
  }
  try {
    const bytes = Buffer.from(ownerLine(owner) + firstBeat);
    for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
  } catch (error) {
    remove(path);
    throw asFileError(path, error);
  } finally {
    closeSync(file);
  }
  return true;
}

function holds(path: string, me: Owner): boolean {
  return look(path)?.owner?.token === me.token;
}

/** Path of the claim on the lock with the given first line. */
function claimOn(path: string, line: string): string {
  return `${path}.${createHash('sha256').update(line).digest('hex').slice(0, 16)}`;
}

/** Removes claims on earlier locks, left by processes that were killed in a takeover. */
function removeClaims(folder: string): void {
  for (const name of readdirSync(folder)) if (/^lock\.[0-9a-f]{16}$/.test(name)) remove(join(folder, name));
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another process removed it, or it remains and will be read again.
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => signal?.throwIfAborted());
}
