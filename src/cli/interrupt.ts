// Ctrl-C and SIGTERM. The first ends the work in good order: AbortSignal first, and a second later what is still being computed
// is dropped between two kernels. One that follows ends the process at once.
import { checkBetweenKernels } from '../device/interruption.ts';
import { watchSignals } from '../device/signals.ts';
import { holdsUnsaved } from '../run/workdir/unsaved.ts';
import { endBar, say } from './screen.ts';

/** How long what is running may go on after the first signal, in milliseconds. */
const GRACE_MS = 1000;

/** How long what is not computing, but waiting for a file, a compiler or the network, may go on after that. */
const PATIENCE_MS = 500;

/** Signals that come so soon after the first are the same one: npm passes on what the terminal has sent to all. */
const SAME_MS = 500;

/** How often signals are asked for between kernels, in milliseconds. */
const POLL_MS = 20;

/** Runs `work` with a signal that the first interrupt aborts. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let first = Number.POSITIVE_INFINITY;
  const onSignal = (signal: number) => {
    const now = performance.now();
    if (first === Number.POSITIVE_INFINITY) {
      first = now;
      say('stopping: what is running ends within about a second, then results are written; once more to stop at once');
      controller.abort();
    } else if (now - first > SAME_MS) {
      endBar();
      process.exit(128 + signal);
    }
  };
  using signals = watchSignals(['SIGINT', 'SIGTERM'], onSignal);
  let polled = performance.now();
  using _check = checkBetweenKernels(() => {
    const now = performance.now();
    if (now - polled < POLL_MS) return;
    polled = now;
    signals.poll();
    if (now - first > GRACE_MS) throw controller.signal.reason;
  });
  try {
    return await Promise.race([work(controller.signal), droppedWork(controller.signal)]);
  } finally {
    // What may still wait for a file or the network does not keep the process alive.
    if (controller.signal.aborted) setTimeout(() => process.exit(), PATIENCE_MS).unref();
  }
}

/** Rejects when work does not end by itself after the signal, unless it holds what is in no file yet. The work is then given up. */
function droppedWork(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      const drop = () => (holdsUnsaved() ? undefined : reject(signal.reason));
      setTimeout(() => setInterval(drop, PATIENCE_MS).unref(), GRACE_MS).unref();
    });
  });
}
