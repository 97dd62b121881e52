// The heartbeat of a lock: its second line is a counter that increases while the process lives and is not suspended. A
// separate thread increments it, because kernels block the event loop of the main thread for as long as a training step
// takes.
import { Worker } from 'node:worker_threads';

/** The thread's program, as a string so that it works in a bundle and from TypeScript sources too. */
const program = `
const { closeSync, constants, openSync, readSync, writeSync } = require('node:fs');
const { path, line, every } = require('node:worker_threads').workerData;
const flags = constants.O_RDWR | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
const owner = Buffer.from(line);
let count = 0;
function beat() {
  const file = openSync(path, flags);
  try {
    const found = Buffer.alloc(owner.length);
    readSync(file, found, 0, found.length, 0);
    // Writes to the opened file, so that a file that replaced it in the meantime is not changed.
    if (found.equals(owner)) writeSync(file, String(++count).padStart(12, '0') + '\\n', owner.length);
  } finally {
    closeSync(file);
  }
}
setInterval(() => {
  try {
    beat();
  } catch {
    // A missed beat only looks like silence; the process checks its lock before it writes.
  }
}, every);
`;

/** The second line of a new lock. */
export const firstBeat = `${'0'.repeat(12)}\n`;

/**
 * Starts the heartbeat of a lock.
 * @param line first line of the lock
 * @param every milliseconds between beats
 * @param failed called if the heartbeat ends by an error
 * @returns a function that ends the heartbeat
 */
export function startBeat(
  path: string,
  line: string,
  every: number,
  failed: (error: Error) => void,
): () => Promise<unknown> {
  const worker = new Worker(program, { eval: true, execArgv: [], workerData: { path, line, every } });
  worker.on('error', failed);
  worker.unref();
  return () => worker.terminate();
}
