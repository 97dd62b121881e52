// Running another program to its end, within a limit of time.
import { spawn, spawnSync } from 'node:child_process';
import { isMainThread } from 'node:worker_threads';
import { atEnd, withSignals } from './ending.ts';

export interface Outcome {
  /** Null where a signal ended it, or where it did not start. */
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Why it did not start. */
  error?: NodeJS.ErrnoException;
  /** Whether it was stopped at the limit. */
  late: boolean;
}

/** How long what is killed may take to remove its temporary files. */
const GRACE_MS = 100;
/** Bytes of output that are kept; a program that writes more is heard to its end. */
const MOST_OUTPUT = 2 ** 22;
/** How long output is waited for that processes left behind by the program may hold open. */
const OUTPUT_MS = 1000;

/** Runs a program. The calling thread waits. @param limit in milliseconds */
export function runSync(command: string, words: readonly string[], limit: number): Outcome {
  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
  // In the group of this process: Ctrl-C in a terminal reaches it, while this thread waits.
  const ran = spawnSync(command, words, {
    encoding: 'utf8',
    stdio,
    timeout: limit,
    killSignal: 'SIGKILL',
    maxBuffer: 2 ** 26,
  });
  const { status, signal, stdout, stderr } = ran;
  const error = ran.error as NodeJS.ErrnoException | undefined;
  const late = error?.code === 'ETIMEDOUT';
  return { status, signal, stdout: stdout ?? '', stderr: stderr ?? '', error: late ? undefined : error, late };
}

/**
 * As runSync; meanwhile the event loop goes on. The program and all that it starts are one group of processes, which ends at the
 * limit, and with this process. A worker thread starts it in the group of the process, which a terminal's Ctrl-C ends.
 */
export function run(command: string, words: readonly string[], limit: number): Promise<Outcome> {
  return withSignals(
    () =>
      new Promise((resolve) => {
        const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], detached: isMainThread });
        const outcome: Outcome = { status: null, signal: null, stdout: '', stderr: '', late: false };
        for (const name of ['stdout', 'stderr'] as const)
          child[name].setEncoding('utf8').on('data', (text: string) => {
            if (outcome[name].length < MOST_OUTPUT) outcome[name] += text;
          });
        const stop = () => child.pid !== undefined && killGroup(isMainThread ? -child.pid : child.pid);
        const release = atEnd(stop);
        const closeOutput = () => {
          child.stdout.destroy();
          child.stderr.destroy();
        };
        const timers = [
          setTimeout(() => {
            outcome.late = true;
            stop();
            closeOutput();
          }, limit),
        ];
        child.on('error', (error: NodeJS.ErrnoException) => finish({ ...outcome, error }));
        child.on('exit', () => timers.push(setTimeout(closeOutput, OUTPUT_MS)));
        child.on('close', (status, signal) => finish({ ...outcome, status, signal }));
        const finish = (result: Outcome) => {
          for (const timer of timers) clearTimeout(timer);
          release();
          resolve(result);
        };
      }),
  );
}

/** Ends a group of processes, or a process. */
function killGroup(id: number): void {
  try {
    process.kill(id, 'SIGTERM');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, GRACE_MS);
    process.kill(id, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
