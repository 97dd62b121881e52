// A process that is asked by one line of JSON and answers by one: the two sides of the comparison, and its other opponents.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface WorkerOptions {
  /** How messages call it. */
  name: string;
  command: string;
  args: readonly string[];
  /** Added to this process's variables. */
  env?: Readonly<Record<string, string>>;
}

interface Waiting {
  resolve(answer: Record<string, unknown>): void;
  reject(error: Error): void;
}

/** Of what a process said on standard error so much is shown. */
const LAST_WORDS = 4000;

export class Worker {
  readonly name: string;
  private readonly child: ChildProcessWithoutNullStreams;
  private stderr = '';
  /** Who waits for an answer, in order. */
  private readonly waiting: Waiting[] = [];
  private failure: Error | undefined;

  constructor({ name, command, args, env }: WorkerOptions) {
    this.name = name;
    this.child = spawn(command, args, { env: { ...process.env, ...env } });
    this.child.stderr.on('data', (text) => {
      this.stderr = (this.stderr + text).slice(-LAST_WORDS);
    });
    this.child.on('error', ({ message }) => this.fail(`cannot be started: ${message}`));
    // A process that is gone cannot be written to; why it is gone is told by 'close'.
    this.child.stdin.on('error', () => {});
    this.child.on('close', (status, signal) => this.fail(`ended with ${signal ?? `status ${status}`}`));
    createInterface({ input: this.child.stdout }).on('line', (line) => this.answer(line));
  }

  /**
   * Its answer to one request; they are answered in order.
   * @throws Error with what it said on standard error, where it ended or answered anything but an object of JSON
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
      this.fail(`said "${line.slice(0, 200)}", which is no answer`);
      this.child.kill();
    }
  }

  private fail(what: string): void {
    const words = this.stderr.trim();
    this.failure ??= new Error(`${this.name} ${what}${words ? `:\n${words}` : ''}`);
    for (const { reject } of this.waiting.splice(0)) reject(this.failure);
  }

  /** Ends the process. */
  [Symbol.dispose](): void {
    this.child.kill();
  }
}
