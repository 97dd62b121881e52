// log.jsonl, one line per step. Resuming from a step removes the lines from that step on, so that each step appears
// once.
import { type FileHandle, stat } from 'node:fs/promises';
import { asFileError, exists, openRegular, readLines, withFile } from '../../io/file.ts';
import { checkGuards } from '../../io/guard.ts';
import { writeFileAtomic } from '../../io/index.ts';

export class StepLog {
  private readonly path: string;
  private handle: FileHandle;
  private readonly notice: (text: string) => void;

  private constructor(path: string, handle: FileHandle, notice: (text: string) => void) {
    this.path = path;
    this.handle = handle;
    this.notice = notice;
  }

  /**
   * @param from the next step to be written
   * @param notice reports that another program removed or replaced the file
   */
  static async open(path: string, from: number, notice: (text: string) => void = () => {}): Promise<StepLog> {
    await cut(path, from);
    return new StepLog(path, await openRegular(path, 'append'), notice);
  }

  async write(entry: { step: number } & Record<string, number>): Promise<void> {
    checkGuards(this.path);
    try {
      // Not write(), which on a full disk may store only a part and report no error.
      await this.handle.appendFile(`${JSON.stringify(entry)}\n`);
    } catch (error) {
      throw asFileError(this.path, error);
    }
  }

  /**
   * Resolves when all lines are on disk, so that no saved state is ahead of its log. If another program removed or
   * replaced the file, a notice says so and further lines go to the file that now has its name.
   */
  async sync(): Promise<void> {
    checkGuards(this.path);
    try {
      await this.handle.sync();
      if (await this.isInPlace()) return;
      const handle = await openRegular(this.path, 'append');
      await this.handle.close();
      this.handle = handle;
    } catch (error) {
      throw asFileError(this.path, error);
    }
    this.notice(`${this.path} was removed or replaced; the steps so far are no longer in it`);
  }

  private async isInPlace(): Promise<boolean> {
    const [own, there] = await Promise.all([
      this.handle.stat({ bigint: true }),
      stat(this.path, { bigint: true }).catch(() => undefined),
    ]);
    return there !== undefined && own.ino === there.ino && own.dev === there.dev;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/**
 * Keeps the steps before `from`. It always writes a new file, so that a process that lost this folder and still has the
 * old file open adds nothing to the new one.
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

/** The step of a line; infinite if the line is invalid, as the last one may be. */
function stepOf(line: string): number {
  const step = parseLine(line)?.step;
  return typeof step === 'number' ? step : Number.POSITIVE_INFINITY;
}

export interface LoggedStep {
  step: number;
  loss: number;
  /** Absent in a line that does not have it, like the figures below. */
  imagesPerSecond?: number;
  /** Loss of held-out images, of evaluated steps. */
  evalLoss?: number;
  straightness?: number;
}

const MOST_STEPS = 2 ** 20;

/**
 * Reads the steps of a run's log. Above a million steps, it keeps every second, every fourth, and so on. Empty without
 * a log.
 * @throws FileError for a log that cannot be read
 */
export async function readLog(path: string): Promise<LoggedStep[]> {
  if (!(await exists(path))) return [];
  return withFile(path, async (file) => {
    let steps: LoggedStep[] = [];
    let [every, read] = [1, 0];
    for await (const lines of readLines(file))
      for (const line of lines) {
        const { step, loss, images_per_s, eval_loss, straightness } = parseLine(line) ?? {};
        if (!Number.isSafeInteger(step) || !Number.isFinite(loss) || read++ % every !== 0) continue;
        if (steps.length === MOST_STEPS) {
          steps = steps.filter((_, i) => i % 2 === 0);
          every *= 2;
        }
        steps.push({
          step: step as number,
          loss: loss as number,
          ...numbers({ imagesPerSecond: images_per_s, evalLoss: eval_loss, straightness }),
        });
      }
    return steps;
  });
}

/** The entries that are finite numbers. */
function numbers<Name extends string>(values: Record<Name, unknown>): Partial<Record<Name, number>> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => Number.isFinite(value))) as Partial<
    Record<Name, number>
  >;
}

/** Parses a line; undefined if it is truncated. */
function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
