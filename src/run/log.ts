// log.jsonl: one line a step. Going on from a step, lines from there on are cut, so that each step is there once.
import type { FileHandle } from 'node:fs/promises';
import { exists, openRegular, readLines, withFile } from '../io/file.ts';
import { checkGuards } from '../io/guard.ts';
import { asFileError, writeFileAtomic } from '../io/index.ts';

export class StepLog {
  private readonly path: string;
  private readonly handle: FileHandle;

  private constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.handle = handle;
  }

  /** @param from the next step to be written */
  static async open(path: string, from: number): Promise<StepLog> {
    await cut(path, from);
    return new StepLog(path, await openRegular(path, 'append'));
  }

  async write(entry: { step: number } & Record<string, number>): Promise<void> {
    checkGuards(this.path);
    try {
      // appendFile: on a disk that fills up, one write may store a part and report no error.
      await this.handle.appendFile(`${JSON.stringify(entry)}\n`);
    } catch (error) {
      throw asFileError(this.path, error);
    }
  }

  /** Returns when all lines are on the disk: no saved state is ahead of its log. */
  async sync(): Promise<void> {
    await this.handle.sync().catch((error) => {
      throw asFileError(this.path, error);
    });
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/**
 * Keeps the steps before `from`, in a new file always: a process that lost this folder and still has the old one open adds
 * nothing here.
 */
async function cut(path: string, from: number): Promise<void> {
  if (!(await exists(path))) return;
  await withFile(path, (file) => {
    async function* kept() {
      for await (const lines of readLines(file))
        yield Buffer.from(
          lines
            .filter((line) => stepOf(line) < from)
            .map((line) => `${line}\n`)
            .join(''),
        );
    }
    return writeFileAtomic(path, kept());
  });
}

/** Infinite for a line that is none, as the last one may be. */
function stepOf(line: string): number {
  const step = parseLine(line)?.step;
  return typeof step === 'number' ? step : Number.POSITIVE_INFINITY;
}

export interface LoggedStep {
  step: number;
  loss: number;
}

const MOST_STEPS = 2 ** 20;

/**
 * The steps of a run's log; of more than a million every second one, or every fourth, and so on. None where there is no log.
 * @throws FileError for one that cannot be read
 */
export async function readLog(path: string): Promise<LoggedStep[]> {
  if (!(await exists(path))) return [];
  return withFile(path, async (file) => {
    let steps: LoggedStep[] = [];
    let [every, read] = [1, 0];
    for await (const lines of readLines(file))
      for (const line of lines) {
        const { step, loss } = parseLine(line) ?? {};
        if (!Number.isSafeInteger(step) || !Number.isFinite(loss) || read++ % every !== 0) continue;
        if (steps.length === MOST_STEPS) {
          steps = steps.filter((_, i) => i % 2 === 0);
          every *= 2;
        }
        steps.push({ step: step as number, loss: loss as number });
      }
    return steps;
  });
}

/** undefined for a line that was cut off. */
function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
