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
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return;
  const kept = text
    .split('\n')
    .filter((line) => stepOf(line) < from)
    .map((line) => `${line}\n`)
    .join('');
  if (kept !== text) await writeFileAtomic(path, [Buffer.from(kept)]);
}

/** The last line may be cut off in the middle. */
function stepOf(line: string): number {
  try {
    const { step } = JSON.parse(line) as { step?: unknown };
    return typeof step === 'number' ? step : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
