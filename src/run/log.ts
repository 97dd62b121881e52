// log.jsonl: one line a step. Going on from a step, lines from there on are cut, so that each step is there once.
import { type FileHandle, open, readFile } from 'node:fs/promises';
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
    try {
      await cut(path, from);
      return new StepLog(path, await open(path, 'a'));
    } catch (error) {
      throw asFileError(path, error);
    }
  }

  async write(entry: { step: number } & Record<string, number>): Promise<void> {
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

async function cut(path: string, from: number): Promise<void> {
  const text = await readText(path);
  if (text === undefined) return;
  const kept = text
    .split('\n')
    .filter((line) => stepOf(line) < from)
    .map((line) => `${line}\n`)
    .join('');
  if (kept !== text) await writeFileAtomic(path, [Buffer.from(kept)]);
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

/** The steps of a run's log; none where there is no log. @throws FileError for one that cannot be read */
export async function readLog(path: string): Promise<LoggedStep[]> {
  const text = await readText(path);
  return (text ?? '').split('\n').flatMap((line) => {
    const entry = parseLine(line);
    return typeof entry?.step === 'number' && typeof entry.loss === 'number' ? [entry as unknown as LoggedStep] : [];
  });
}

/** undefined where there is no such file. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw asFileError(path, error);
  }
}

/** undefined for a line that was cut off. */
function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
