// The owner of a lock as its file names it, and whether that process is known to be alive or gone.
//
// First line: HOST PID START TOKEN BOOT SPACE JOB, with "-" for what the system does not provide. START is in clock ticks
// since boot (/proc/PID/stat), BOOT the kernel's boot id, SPACE the inode of the process's pid namespace, JOB the job of
// Slurm and how often it was started again. Second line: a counter.
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { wholeEnvironment } from '../../device/environment.ts';

export interface Owner {
  host: string;
  pid: number;
  start: string;
  /** Random, so that no two locks are equal. */
  token: string;
  boot: string;
  space: string;
  /** "4711.2": job 4711 of Slurm, started again twice. */
  job: string;
}

/** This process as an owner, with a new token. */
export function newOwner(): Owner {
  return {
    host: hostname().replace(/\s/g, '_') || '-',
    pid: process.pid,
    start: (procIsOurs() && processAt('self')?.start) || '-',
    token: randomBytes(8).toString('hex'),
    boot: bootId(),
    space: pidNamespace(),
    job: slurmJob(),
  };
}

/** The first line of the owner's lock, with the line break. */
export function ownerLine({ host, pid, start, token, boot, space, job }: Owner): string {
  return `${host} ${pid} ${start} ${token} ${boot} ${space} ${job}\n`;
}

/** Parses a first line; undefined if it is not valid. Earlier versions wrote neither boot nor namespace, or no job. */
export function parseOwner(line: string): Owner | undefined {
  const [host, pid, start, token, boot = '-', space = '-', job = '-', ...rest] = line.split(' ');
  if (!host || !/^[1-9]\d{0,9}$/.test(pid) || !start || !/^[0-9a-f]{1,64}$/.test(token ?? '') || rest.length > 0)
    return undefined;
  return { host, pid: Number(pid), start, token, boot, space, job };
}

/**
 * Whether an owner lives. 'gone' and 'lives' are certain. 'unknown' is a process on another machine or in another
 * container, or one whose start time this system does not provide: its pid may belong to another process by now. Slurm
 * ends all processes of a job before it starts the job again, perhaps elsewhere.
 */
export function stateOf(owner: Owner): 'lives' | 'gone' | 'unknown' {
  if (isBefore(owner.job, slurmJob())) return 'gone';
  if (!onThisSystem(owner)) return 'unknown';
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return 'gone';
  }
  const now = procIsOurs() ? processAt(owner.pid) : undefined;
  if (!now || owner.start === '-') return 'unknown';
  // Z and X: it has exited, and its parent has not waited for it yet.
  return now.start === owner.start && !/[ZX]/.test(now.state) ? 'lives' : 'gone';
}

/** Whether the owner's pid refers to the same process on this system. */
function onThisSystem({ host, boot, space }: Owner): boolean {
  if (boot !== '-') return boot === bootId() && space === pidNamespace();
  return bootId() === '-' || space === '-' ? host === hostname() : false;
}

function slurmJob(): string {
  const { SLURM_JOB_ID: id, SLURM_RESTART_COUNT: restarts = '0' } = wholeEnvironment();
  return /^\d{1,15}$/.test(id ?? '') && /^\d{1,9}$/.test(restarts) ? `${id}.${restarts}` : '-';
}

/** Whether a job is an earlier start of another one. */
function isBefore(job: string, other: string): boolean {
  const [[id, restarts], [otherId, otherRestarts]] = [job, other].map((text) => text.split('.').map(Number));
  return id === otherId && restarts < otherRestarts;
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

/** Whether /proc shows the pid namespace of this process; in another namespace, pids refer to other processes. */
function procIsOurs(): boolean {
  return readText('/proc/self/stat')?.split(' ', 1)[0] === String(process.pid);
}

/** State and start time of a process; undefined if the system does not provide them. */
function processAt(pid: number | 'self'): { state: string; start: string } | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  // The process name, in parentheses before these fields, may contain any character.
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
