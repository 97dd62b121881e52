// Turns of the event loop within long loops, so that timers, I/O and signals are served.

/** Resolves in the next turn of the event loop. Browsers have no setImmediate, and delay nested timers by 4 ms. */
export const nextTurn: () => Promise<void> =
  typeof setImmediate === 'function'
    ? () => new Promise((resolve) => setImmediate(resolve))
    : () =>
        new Promise((resolve) => {
          const { port1, port2 } = new MessageChannel();
          // Node's types omit this property of a browser's port.
          Object.assign(port1, {
            onmessage() {
              port1.close();
              resolve();
            },
          });
          port2.postMessage(0);
        });

/**
 * Yields to the event loop (timers, I/O, signals) between two pieces of long work.
 * @throws the signal's reason when aborted
 */
export async function turn(signal?: AbortSignal): Promise<void> {
  await nextTurn();
  signal?.throwIfAborted();
}
