// Who holds a lock, as its file says it, and whether that process is known to live or to be gone.
//
// First line: HOST PID START TOKEN BOOT SPACE, with "-" for what a system does not say. START is in clock ticks since boot
// (/proc/PID/stat), BOOT the kernel's id of this boot, SPACE the inode of the process's pid namespace. Second line: a counter.
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

export interface Owner {
  host: string;
  pid: number;
  start: string;
  /** Random: two locks are never alike. */
  token: string;
  boot: string;
  space: string;
}

/** This process, with a token of its own. */
export function newOwner(): Owner {
  return {
    host: hostname().replace(/\s/g, '_') || '-',
    pid: process.pid,
    start: (procIsOurs() && processAt('self')?.start) || '-',
    token: randomBytes(8).toString('hex'),
    boot: bootId(),
    space: pidNamespace(),
  };
}

/** Its line in the file, with the line break. */
export function ownerLine({ host, pid, start, token, boot, space }: Owner): string {
  return `${host} ${pid} ${start} ${token} ${boot} ${space}\n`;
}

/** undefined for a line that is none; earlier versions wrote neither boot nor namespace. */
export function parseOwner(line: string): Owner | undefined {
  const [host, pid, start, token, boot = '-', space = '-', ...rest] = line.split(' ');
  if (!host || !/^[1-9]\d{0,9}$/.test(pid) || !start || !/^[0-9a-f]{1,64}$/.test(token ?? '') || rest.length > 0)
    return undefined;
  return { host, pid: Number(pid), start, token, boot, space };
}

/**
 * 'gone' and 'lives' are proofs; 'unknown' is a process of another machine or container, or one of which this system does not
 * say when it started: its number may be another process's by now.
 */
export function stateOf(owner: Owner): 'lives' | 'gone' | 'unknown' {
  if (!onThisSystem(owner)) return 'unknown';
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return 'gone';
  }
  const now = procIsOurs() ? processAt(owner.pid) : undefined;
  if (!now || owner.start === '-') return 'unknown';
  // Z and X: it has ended, and its parent has not asked yet.
  return now.start === owner.start && !/[ZX]/.test(now.state) ? 'lives' : 'gone';
}

/** Whether its number means the same process here. */
function onThisSystem({ host, boot, space }: Owner): boolean {
  if (boot !== '-') return boot === bootId() && space === pidNamespace();
  return bootId() === '-' || space === '-' ? host === hostname() : false;
}

function bootId(): string {
  return readText('/proc/sys/kernel/random/boot_id')?.trim() || '-';
}

function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '-';
  } catch {
    return '-';
  }
}

/** Not where /proc is that of another pid namespace: its numbers are other processes'. */
function procIsOurs(): boolean {
  return readText('/proc/self/stat')?.split(' ', 1)[0] === String(process.pid);
}

/** State and start of a process; undefined where the system does not say. */
function processAt(pid: number | 'self'): { state: string; start: string } | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  // The name before it may hold anything.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields && fields.length > 19 ? { state: fields[0], start: fields[19] } : undefined;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
