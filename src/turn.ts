import { setImmediate as nextTurn } from 'node:timers/promises';

/** Gives the event loop its turn between two pieces of long work: for timers, I/O and signals. @throws the signal's reason when aborted */
export async function turn(signal?: AbortSignal): Promise<void> {
  await nextTurn();
  signal?.throwIfAborted();
}
