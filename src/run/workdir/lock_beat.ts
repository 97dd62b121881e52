// The heartbeat of a lock: its second line counts up for as long as the process lives and is not stopped. It is counted on a
// thread of its own, since kernels block the event loop of the thread that runs them for as long as a training step takes.
import { Worker } from 'node:worker_threads';

/** As text: what runs on a thread must be found in a bundle and from TypeScript sources too. */
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
    // Into the file that was opened: one that has taken its place meanwhile is not touched.
    if (found.equals(owner)) writeSync(file, String(++count).padStart(12, '0') + '\\n', owner.length);
  } finally {
    closeSync(file);
  }
}
setInterval(() => {
  try {
    beat();
  } catch {
    // A beat that is missed is silence; the process asks for its lock itself before it writes.
  }
}, every);
`;

/** The second line of a lock that is new. */
export const firstBeat = `${'0'.repeat(12)}\n`;

/**
 * @param line the first line of the lock that is kept alive
 * @param every milliseconds
 * @param failed told when there is no heartbeat any more
 * @returns what ends it
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
