// Cleans up what must not outlive this process: temporary files and running compilers. Signal handlers are installed only while a
// compiler runs and the event loop is free; at all other times a signal ends the process at once, which is the default.
import { setImmediate } from 'node:timers/promises';
import { isMainThread } from 'node:worker_threads';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const actions = new Set<() => void>();
let holders = 0;

function endAll(): void {
  for (const action of [...actions]) action();
}

function onSignal(signal: NodeJS.Signals): void {
  endAll();
  // Other listeners decide whether the process ends.
  if (process.listenerCount(signal) > 1) return;
  process.off(signal, onSignal);
  process.kill(process.pid, signal);
}

/** Runs the action when the process ends, unless the returned function is called first. */
export function atEnd(action: () => void): () => void {
  if (actions.size === 0) process.on('exit', endAll);
  actions.add(action);
  return () => {
    if (actions.delete(action) && actions.size === 0) process.off('exit', endAll);
  };
}

/** While `work` runs, SIGINT, SIGTERM and SIGHUP run the actions of `atEnd` before they end the process. Workers get no signals. */
export async function withSignals<Result>(work: () => Promise<Result>): Promise<Result> {
  if (!isMainThread) return work();
  if (holders++ === 0) for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    return await work();
  } finally {
    // Node reports a signal in the next turn of the event loop; without a listener it would be lost.
    await setImmediate();
    await setImmediate();
    if (--holders === 0) for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}
