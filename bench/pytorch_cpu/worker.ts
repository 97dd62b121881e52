// A worker process that answers each line of JSON with one line of JSON: both sides of the comparison and the other opponents.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface WorkerOptions {
  /** Its name in messages. */
  name: string;
  command: string;
  args: readonly string[];
  /** Environment variables in addition to this process's. */
  env?: Readonly<Record<string, string>>;
}

interface Waiting {
  resolve(answer: Record<string, unknown>): void;
  reject(error: Error): void;
}

/** How much of a process's standard error an error message shows. */
const LAST_WORDS = 4000;

export class Worker {
  readonly name: string;
  private readonly child: ChildProcessWithoutNullStreams;
  private stderr = '';
  /** Pending requests, in order. */
  private readonly waiting: Waiting[] = [];
  private failure: Error | undefined;

  constructor({ name, command, args, env }: WorkerOptions) {
    this.name = name;
    this.child = spawn(command, args, { env: { ...process.env, ...env } });
    this.child.stderr.on('data', (text) => {
      this.stderr = (this.stderr + text).slice(-LAST_WORDS);
    });
    this.child.on('error', ({ message }) => this.fail(`cannot be started: ${message}`));
    // Writing to a process that has ended fails; 'close' reports why it ended.
    this.child.stdin.on('error', () => {});
    this.child.on('close', (status, signal) => this.fail(`ended with ${signal ?? `status ${status}`}`));
    createInterface({ input: this.child.stdout }).on('line', (line) => this.answer(line));
  }

  /**
   * Sends a request and returns the answer; requests are answered in order.
   * @throws Error with the process's standard error, if it ended or answered anything but a JSON object
   */
  ask<Answer>(command: string, request: object = {}): Promise<Answer> {
    if (this.failure) return Promise.reject(this.failure);
    return new Promise<Record<string, unknown>>((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      this.child.stdin.write(`${JSON.stringify({ do: command, ...request })}\n`);
    }) as Promise<Answer>;
  }

  private answer(line: string): void {
    let answer: unknown;
    try {
      answer = JSON.parse(line);
    } catch {
      answer = undefined;
    }
    const asker = this.waiting[0];
    if (typeof answer === 'object' && answer !== null && asker) {
      this.waiting.shift();
      asker.resolve(answer as Record<string, unknown>);
    } else {
      this.fail(`printed "${line.slice(0, 200)}", which is not an answer`);
      this[Symbol.dispose]();
    }
  }

  private fail(what: string): void {
    const words = this.stderr.trim();
    this.failure ??= new Error(`${this.name} ${what}${words ? `:\n${words}` : ''}`);
    for (const { reject } of this.waiting.splice(0)) reject(this.failure);
  }

  /** Ends the process. */
  [Symbol.dispose](): void {
    // Node sends signals for a child that did not start to a process id that was never set, often 0: this process and its group.
    if (this.child.pid !== undefined) this.child.kill();
  }
}
