// The logger that writes metrics.csv: a row for each value, with the columns step, name and value. A session that resumes
// from a step removes the rows from that step on.
import type { FileHandle } from 'node:fs/promises';
import { FileError } from '../../errors.ts';
import { asFileError, exists, openRegular, readLines, readRange, withFile } from '../../io/file.ts';
import { checkGuards } from '../../io/guard.ts';
import { writeFileAtomic } from '../../io/index.ts';
import type { RunLogger } from './logger.ts';

const HEADER = 'step,name,value\n';
const LINE_BREAK = 10;

/** Opens the file for appending. @throws FileError if it cannot be written, or holds something else */
export async function openCsv(path: string, from: number): Promise<RunLogger> {
  await cut(path, from);
  const handle: FileHandle = await openRegular(path, 'append');
  return {
    name: 'CSV',
    async scalars(step: number, values: Readonly<Record<string, number>>) {
      checkGuards(path);
      const rows = Object.entries(values).map(([name, value]) => `${step},${quoteCsv(name)},${value}\n`);
      await handle.appendFile(rows.join('')).catch((error) => {
        throw asFileError(path, error);
      });
    },
    async sync() {
      await handle.sync().catch((error) => {
        throw asFileError(path, error);
      });
    },
    close: () => handle.close(),
  };
}

/** Keeps the rows of the steps before `from`, in a new file, as the log of steps does. */
async function cut(path: string, from: number): Promise<void> {
  if (!(await exists(path))) return writeFileAtomic(path, [Buffer.from(HEADER)]);
  await withFile(path, async (file) => {
    const torn = file.bytes > 0 && (await readRange(file, file.bytes - 1, 1))[0] !== LINE_BREAK;
    const rowsOf = (lines: readonly string[]) =>
      Buffer.from(
        lines
          .filter((line) => isBefore(line, from))
          .map((line) => `${line}\n`)
          .join(''),
      );
    async function* kept() {
      yield Buffer.from(HEADER);
      let header: string | undefined;
      // The last line so far: without its line break, a write that was cut off may have left a part of it.
      let last: string | undefined;
      for await (const lines of readLines(file)) {
        header ??= lines[0];
        if (`${header}\n` !== HEADER)
          throw new FileError(path, `is not a table of a run: it begins with "${header.slice(0, 40)}"`);
        yield rowsOf(last === undefined ? lines.slice(0, -1) : [last, ...lines.slice(0, -1)]);
        last = lines.at(-1);
      }
      if (last !== undefined && !torn) yield rowsOf([last]);
    }
    return writeFileAtomic(path, kept());
  });
}

/** Whether a line is a whole row of an earlier step. */
function isBefore(line: string, from: number): boolean {
  const step = /^(\d{1,15}),(?:[^",]+|"(?:[^"]|"")*"),-?[\w.+-]+$/.exec(line)?.[1];
  return step !== undefined && Number(step) < from;
}

/** A field, in quotes if it contains what ends one (RFC 4180). */
export function quoteCsv(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
