// Ctrl-C and SIGTERM. The first one stops the work cleanly: it aborts an AbortSignal, and a second later it also
// interrupts a computation between two kernels. The next one ends the process immediately.
import { checkBetweenKernels } from '../device/interruption.ts';
import { watchSignals } from '../device/signals.ts';
import { holdsUnsaved } from '../run/workdir/unsaved.ts';
import { joinedRanks } from './job.ts';
import { endBar, say } from './screen.ts';

/** Milliseconds that a computation may continue after the first signal. */
const GRACE_MS = 1000;

/** Further milliseconds for work that waits for a file, a compiler or the network. */
const PATIENCE_MS = 500;

/** Signals within this many milliseconds count as one: npm forwards a Ctrl-C that the terminal also sends directly. */
const SAME_MS = 500;
/** The same where a launcher forwards them to each of its processes. */
const SAME_IN_JOB_MS = 2000;

/** Milliseconds between two polls for signals while kernels run. */
const POLL_MS = 20;

/**
 * Runs `work` with a signal that the first interrupt aborts.
 * @param saves whether the work then saves what it has done, which the first interrupt says
 */
export async function runInterruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { saves = false } = {},
): Promise<T> {
  const controller = new AbortController();
  const ranks = joinedRanks();
  let first = Number.POSITIVE_INFINITY;
  const onSignal = (signal: number) => {
    const now = performance.now();
    if (first === Number.POSITIVE_INFINITY) {
      first = now;
      const when = ranks ? 'after this step or batch, on all ranks' : 'within about a second';
      say(`stopping ${when}${saves ? ', then saving' : ''}; interrupt again to stop now`);
      controller.abort();
    } else if (now - first > (ranks ? SAME_IN_JOB_MS : SAME_MS)) {
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
    // A rank that left a computation would leave the others waiting for it.
    if (!ranks && now - first > GRACE_MS) throw controller.signal.reason;
  });
  // Ranks leave their work together.
  if (ranks) return await work(controller.signal);
  try {
    return await Promise.race([work(controller.signal), rejectAfterGrace(controller.signal)]);
  } finally {
    // Abandoned work that still waits for a file or the network must not keep the process alive.
    if (controller.signal.aborted) setTimeout(() => process.exit(), PATIENCE_MS).unref();
  }
}

/**
 * Rejects if the work has not ended some time after the signal, unless it holds unsaved results; the work is then
 * abandoned.
 */
function rejectAfterGrace(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      const drop = () => (holdsUnsaved() ? undefined : reject(signal.reason));
      setTimeout(() => setInterval(drop, PATIENCE_MS).unref(), GRACE_MS).unref();
    });
  });
}
