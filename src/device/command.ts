// Runs another program to its end, with a time limit.
import { spawn, spawnSync } from 'node:child_process';
import { isMainThread } from 'node:worker_threads';
import { atEnd, withSignals } from './ending.ts';

export interface Outcome {
  /** Null if a signal ended it, or if it did not start. */
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Why it did not start. */
  error?: NodeJS.ErrnoException;
  /** Whether it was stopped at the time limit. */
  late: boolean;
}

/** How long a killed program may take to remove its temporary files. */
const GRACE_MS = 100;
/** Bytes of output that are kept. What comes after is read and dropped. */
const MOST_OUTPUT = 2 ** 22;
/** How long to wait for output that orphaned child processes may hold open. */
const OUTPUT_MS = 1000;

/** Runs a program. The calling thread waits. @param limit in milliseconds */
export function runSync(command: string, words: readonly string[], limit: number): Outcome {
  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
  // The child stays in this process group, so that Ctrl-C in a terminal reaches it while this thread waits.
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
 * Same as runSync, without blocking the event loop. The program and its children form one process group, which is killed at the time
 * limit and when this process ends. A worker thread starts it in the parent's group, which a terminal's Ctrl-C ends.
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

/** Kills a process group or a process. */
function killGroup(id: number): void {
  try {
    process.kill(id, 'SIGTERM');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, GRACE_MS);
    process.kill(id, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}
