// Folders for new runs: runs/<configuration>-<date>, with a number from the second of a day on.
import { mkdirSync, rmdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { FileError, UsageError } from '../../errors.ts';
import { asFileError, makeFolder } from '../../io/file.ts';

/** The folder of the folders of runs that have no other. */
export const RUNS = 'runs';

const MOST_A_DAY = 10_000;

/**
 * The path of a run with a name.
 * @throws UsageError for a name that is not that of one folder
 */
export function namedFolder(name: string): string {
  if (!/^[\p{L}\p{N}_][\p{L}\p{N}_.=+ -]{0,99}$/u.test(name) || /[. ]$/.test(name))
    throw new UsageError(
      `--name expects the name of a folder in ${RUNS}: letters, digits, _ . = + - and spaces, got "${name}"`,
    );
  return join(RUNS, name);
}

/**
 * Creates the folder of a new run.
 * @param config the name of the configuration, or the path of its file
 * @throws FileError if it cannot be created
 */
export function newFolder(config: string, now = new Date()): string {
  const parent = makeFolder(RUNS);
  for (let number = 1; number <= MOST_A_DAY; number++) {
    const path = join(parent, folderName(config, now, number));
    try {
      mkdirSync(path);
      return path;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw asFileError(path, error);
    }
  }
  throw new FileError(parent, `holds ${MOST_A_DAY} runs of today; give another --workdir or a --name`);
}

/** Removes the folder of a run that did not begin, if nothing is in it. */
export function removeUnused(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Something was written into it.
  }
}

/** "digits-2026-11-29", "digits-2026-11-29-2". The date is that of the local time. */
export function folderName(config: string, now: Date, number = 1): string {
  const stem = basename(config)
    .replace(/\.(json|[mc]?[jt]s|py)$/, '')
    .replace(/[^\p{L}\p{N}_.=+-]/gu, '_')
    .replace(/^\.+/, '');
  const [year, month, day] = [now.getFullYear(), now.getMonth() + 1, now.getDate()];
  const date = `${year}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`;
  return `${stem.slice(0, 80) || 'run'}-${date}${number === 1 ? '' : `-${number}`}`;
}
