// Items run in child processes, because a kernel that faults spoils the context of its process, and one that never ends blocks its
// process for ever. A child performs items until one fails; then the next item gets a new child.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { ItemResult } from './results_file.ts';

/** What the parent sends. */
export interface Request {
  part: string;
  name: string;
  /** The time that the whole run has left. */
  secondsLeft: number;
}

/** What the child answers. */
export type Answer = { ok: true; result: ItemResult } | { ok: false; message: string };

export class Children {
  private readonly program: string;
  private readonly args: readonly string[];
  private child: ChildProcess | undefined;

  /** @param program run with `args`; it calls `serveItems` */
  constructor(program: string, args: readonly string[]) {
    this.program = program;
    this.args = args;
  }

  /**
   * @param limit seconds after which the child is killed
   * @throws Error with the item's own message, or saying how the child ended
   */
  async run(request: Request, limit: number): Promise<ItemResult> {
    this.child ??= this.start();
    const { child } = this;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it did not end within ${limit} s and was stopped`)), 1000 * limit);
    });
    const waiting = new AbortController();
    const { signal: release } = waiting;
    const ended = once(child, 'exit', { signal: release }).then(([code, signal]): never => {
      throw new Error(`its process ended with ${signal ?? `code ${code}`}`);
    });
    const answer = once(child, 'message', { signal: release }).then(([message]) => message as Answer);
    // Those that lose the race are rejected when they are released.
    for (const promise of [late, ended, answer]) promise.catch(() => {});
    try {
      child.send(request);
      const answered = await Promise.race([answer, ended, late]);
      if (!answered.ok) throw new Error(answered.message);
      return answered.result;
    } catch (error) {
      this.close();
      throw error;
    } finally {
      clearTimeout(timer);
      waiting.abort();
    }
  }

  /** Kills the child and the programs that it has started. */
  close(): void {
    const { child } = this;
    this.child = undefined;
    if (child?.pid === undefined) return;
    child.removeAllListeners();
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }

  private start(): ChildProcess {
    // A group of its own, so that the programs which it starts can be killed with it.
    const child = fork(this.program, [...this.args], { detached: true });
    child.on('error', () => {});
    // The next item gets a new one.
    child.once('exit', () => {
      if (this.child === child) this.child = undefined;
    });
    return child;
  }
}

/** In a child: performs the items that the parent asks for, until the parent ends. */
export function serveItems(perform: (request: Request) => Promise<ItemResult>): void {
  process.on('message', async (request: Request) => {
    let answer: Answer;
    try {
      answer = { ok: true, result: await perform(request) };
    } catch (error) {
      answer = { ok: false, message: (error as Error).message };
    }
    process.send?.(answer);
  });
  process.on('disconnect', () => process.exit());
}
