// Turns of the event loop within long loops, so that timers, I/O and signals are served.
import { setImmediate as nextTurn } from 'node:timers/promises';

/**
 * Yields to the event loop (timers, I/O, signals) between two pieces of long work.
 * @throws the signal's reason when aborted
 */
export async function turn(signal?: AbortSignal): Promise<void> {
  await nextTurn();
  signal?.throwIfAborted();
}
