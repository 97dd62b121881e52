// Memory and disk of this machine, and formatting of sizes and durations.
import { statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { checkArgument, kinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { asFileError } from '../../io/file.ts';

/** Bytes of memory available to this process: the machine's memory or the limit of its container. */
export function machineMemory(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Bytes of memory that a device's tensors can use: the card's, or those available to this process. */
export function deviceMemory(device: Device): number {
  return device.totalMemory ?? machineMemory();
}

/** Free bytes of the file system that holds a folder. @throws FileError */
export async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    throw asFileError(folder, error);
  }
}

/** "12 MB" or "1.2 GB". */
export function megabytes(bytes: number): string {
  checkArgument('megabytes', 'bytes', bytes, kinds.number);
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** "40 s", "12 min", "3.5 h", "2.1 days". */
export function describeDuration(seconds: number): string {
  checkArgument('describeDuration', 'seconds', seconds, kinds.number);
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86_400).toFixed(1)} days`;
}
