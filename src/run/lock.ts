// One process in a work directory at a time. The lock is a file that names its owner; that of a process which is gone is
// taken over.
import { randomBytes } from 'node:crypto';
import { link, readFile, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FileError } from '../errors.ts';
import { asFileError } from '../io/index.ts';

/**
 * @param way what to do instead, for the error
 * @returns what releases the lock
 * @throws FileError when another process that lives holds it, or one on another machine of which that cannot be known
 */
export async function lockFolder(folder: string, way = 'give another --workdir'): Promise<() => Promise<void>> {
  const path = join(folder, 'lock');
  const mine = `${hostname()} ${process.pid} ${(await startOf(process.pid)) ?? '-'} ${randomBytes(8).toString('hex')}\n`;
  for (let attempt = 0; attempt < 3; attempt++) {
    if (await create(path, mine)) {
      // Two that both found a dead owner may both have come here; one of the files is left.
      await sleep(20);
      if ((await read(path)) === mine) return () => release(path, mine);
    }
    const owner = await ownerOf(path);
    if (owner !== undefined && (await lives(owner, path))) throw inUse(folder, owner, path, way);
    if (owner !== undefined) await unlink(path).catch(() => {});
  }
  throw inUse(folder, 'another process', path, way);
}

/** What file systems without hard links answer: exFAT, SMB, many of clouds and of virtual machines. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'];

/** Whole with its content, or not at all; where there are no hard links the content comes a moment later. */
async function create(path: string, text: string): Promise<boolean> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(draft, text, { flag: 'wx' });
    await link(draft, path).catch(async (error: NodeJS.ErrnoException) => {
      if (!NO_LINKS.includes(error.code ?? '')) throw error;
      await writeFile(path, text, { flag: 'wx' });
    });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw asFileError(path, error);
  } finally {
    await unlink(draft).catch(() => {});
  }
}

/** How long an empty lock may be one that is being written. */
const WRITTEN_WITHIN_MS = 2000;

/** Who holds the lock; a file that stays without a whole line, as after a power cut, is nobody's. */
async function ownerOf(path: string): Promise<string | undefined> {
  const end = performance.now() + WRITTEN_WITHIN_MS;
  for (;;) {
    const owner = await read(path);
    if (owner === undefined || owner.endsWith('\n')) return owner;
    if (performance.now() > end) break;
    await sleep(100);
  }
  await unlink(path).catch(() => {});
  return undefined;
}

function read(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}

async function release(path: string, mine: string): Promise<void> {
  if ((await read(path)) === mine) await unlink(path).catch(() => {});
}

async function lives(owner: string, path: string): Promise<boolean> {
  const [host, pid, start] = owner.split(' ');
  if (host !== hostname())
    throw new FileError(path, `held by process ${pid} on ${host}; if that one is gone, remove the file`);
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  // The number may have gone to another process since.
  const now = await startOf(Number(pid));
  return now === undefined || start === '-' || now === start;
}

/** When a process started, in ticks since boot; undefined where the system does not say. */
async function startOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

function inUse(folder: string, owner: string, path: string, way: string): FileError {
  const [host, pid] = owner.split(' ');
  return new FileError(folder, `in use by process ${pid} on ${host}; ${way} or end that one (lock: ${path})`);
}
