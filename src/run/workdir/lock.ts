// One process in a folder at a time, on file systems of every kind: the lock is a file that names its owner (lock_owner.ts) and
// whose counter goes up while that one lives (lock_beat.ts). docs/decisions.md, "Locks", says why it is sound.
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
import { guardFolder } from '../../io/guard.ts';
import { asFileError } from '../../io/index.ts';
import { firstBeat, startBeat } from './lock_beat.ts';
import { newOwner, type Owner, ownerLine, parseOwner, stateOf } from './lock_owner.ts';

/** Milliseconds. Tests of the lock alone change them. */
export const lockTiming = {
  /** Between two heartbeats. */
  beat: 10_000,
  /** Without a heartbeat, until an owner of which nothing else is known counts as gone. */
  silence: 60_000,
  /** Between two looks at the lock of such an owner. */
  look: 500,
  /** How long a lock without a whole line may be one that is being written. */
  written: 2_000,
};

export interface LockOptions {
  /** What to do instead, for the error. */
  way?: string;
  /** Ends the waiting. */
  signal?: AbortSignal;
  /** Told of waiting, and of a heartbeat that fails. */
  notice?: (text: string) => void;
}

/**
 * Waits for the owner of a lock only where it cannot be known otherwise whether that one lives. From then on every atomic write
 * below the folder is refused once the lock is another's (io/guard.ts).
 * @returns what releases the lock
 * @throws FileError when another process that lives holds it, or what is there is no lock; the signal's reason
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
    options.notice?.(`${path}: the heartbeat has failed (${error.message}); another machine may take the folder over`),
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
 * Replaces the lock of an owner that is gone. Only who has made the claim on that very lock may: a claim becomes the lock by its
 * renaming. Whose it is then, the lock says.
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
    // Taken from us, since we stood still for too long.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asFileError(path, error);
  }
  return holds(path, me);
}

/** By way of a claim on the own lock: whoever is about to take it over has made that one. */
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
    // Its folder is gone or cannot be written: a lock that stays is that of a process that is gone.
  }
}

/** @throws LockLostError where the lock is another's or is gone, FileError where that cannot be known */
function requireLock(path: string, me: Owner): void {
  const owner = look(path)?.owner;
  if (owner?.token === me.token) return;
  throw new LockLostError(
    owner
      ? `${path}: ${describe(owner)} took the lock over while this process stood still; this one ends, and what was saved stays`
      : `${path}: the lock is gone; this process ends, since another may be writing, and what was saved stays`,
  );
}

/** What lies at the place of a lock. */
interface Seen {
  text: string;
  /** The first line, or what there is of it. */
  line: string;
  /** undefined for one that was never written whole, as after a power cut. */
  owner: Owner | undefined;
}

const MOST_BYTES = 1024;
const READ = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** undefined where there is nothing. @throws FileError for what is no lock of this program */
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
  // Blocks that never reached the disk are zeros.
  if (rest.length > 0 && !owner && !line.includes('\0')) throw notOurs(path, 'names no process');
  return { text, line, owner };
}

function regularFile(path: string) {
  const stat = lstatSync(path);
  if (!stat.isFile()) throw notOurs(path, 'is not a regular file');
  return stat;
}

function notOurs(path: string, what: string): FileError {
  return new FileError(path, `${what}: it is no lock of this program; move it away`);
}

/**
 * Returns the lock once its owner is gone, undefined once the lock is another one or none.
 * @throws FileError when the owner lives
 */
async function untilSilent(
  folder: string,
  path: string,
  first: Seen,
  { way = 'give another --workdir', signal, notice }: LockOptions,
): Promise<Seen | undefined> {
  const { owner } = first;
  const inUse = () =>
    new FileError(folder, `in use by ${describe(owner as Owner)}; ${way} or end that one (lock: ${path})`);
  const state = owner && stateOf(owner);
  if (state === 'gone') return first;
  if (state === 'lives') throw inUse();
  const limit = owner ? lockTiming.silence : lockTiming.written;
  if (owner) notice?.(`waiting up to ${limit / 1000} s for the lock of ${describe(owner)} (${path})`);
  // Time counts only while this process runs: it may have been stopped together with the owner.
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

function describe({ pid, host }: Owner): string {
  return `process ${pid} on ${host}`;
}

/** Whether it was made: not where there is something already. @throws FileError */
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

/** The file by which the lock with that line is taken over. */
function claimOn(path: string, line: string): string {
  return `${path}.${createHash('sha256').update(line).digest('hex').slice(0, 16)}`;
}

/** Claims on locks that are no more: who made one and was ended there cannot come back to it. */
function removeClaims(folder: string): void {
  for (const name of readdirSync(folder)) if (/^lock\.[0-9a-f]{16}$/.test(name)) remove(join(folder, name));
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Removed by another, or it stays and is looked at again.
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => signal?.throwIfAborted());
}
