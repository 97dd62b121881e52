// Lists the runs of a folder: what each is, how far it is and what it has reached. A run that is damaged has a line too.
import { closeSync, constants, existsSync, lstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { basename, join } from 'node:path';
import { checkArgument, kinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { asFileError, readRange, readWhole, withFile } from '../../io/file.ts';
import { parseJsonFile } from '../../io/json.ts';
import { parseOwner, stateOf } from '../workdir/lock_owner.ts';
import { readSessions } from '../workdir/record.ts';

export interface RunSummary {
  /** Relative to the listed folder; the stage of a chain is CHAIN/STAGE. */
  name: string;
  path: string;
  kind: 'run' | 'chain';
  /** `locked`: another machine may be running it. `damaged`: its configuration cannot be read. */
  state: 'running' | 'locked' | 'done' | 'stopped' | 'not begun' | 'damaged';
  /** The configuration as it was named, or the data set. */
  config: string;
  /** Number of steps done, and of all; undefined for a chain. */
  steps?: number;
  total?: number;
  /** The last logged loss. */
  loss?: number;
  /** The best score, lower is better, and what it is. */
  score?: { value: number; what: string };
  /** When it last changed. */
  changed: Date;
  bytes: number;
  /** Whether there are more files than were counted. */
  more: boolean;
}

const MAX_JSON = 2 ** 20;
/** Most runs that are listed, and files of a run that are counted. */
const MOST_RUNS = 1000;
const MOST_FILES = 20_000;

/**
 * The runs in a folder, or the folder itself if it is one; a chain comes before its stages.
 * @throws FileError if the folder cannot be read
 * @example
 * const [run] = await listRuns('runs/digits');
 * const { name, state, steps, total } = run;
 * ({ name, state, steps, total }); // { name: 'digits', state: 'done', steps: 5, total: 5 }
 */
export async function listRuns(folder: string): Promise<RunSummary[]> {
  checkArgument('listRuns', 'folder', folder, kinds.path);
  const found = isRun(folder) ? [folder] : foldersIn(folder).filter(isRun);
  const runs: RunSummary[] = [];
  for (const path of found) {
    runs.push(await summarize(path, basename(path)));
    if (!existsSync(join(path, 'chain.json'))) continue;
    for (const stage of foldersIn(path).filter((one) => existsSync(join(one, 'config.json'))))
      runs.push(await summarize(stage, `${basename(path)}/${basename(stage)}`));
  }
  return runs;
}

function isRun(folder: string): boolean {
  return ['config.json', 'chain.json', 'run.json'].some((name) => existsSync(join(folder, name)));
}

/** The folders in a folder, in the order of their names. Symbolic links are left out: they may lead anywhere. */
function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => join(folder, entry.name))
      .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
      .slice(0, MOST_RUNS);
  } catch (error) {
    throw asFileError(folder, error);
  }
}

async function summarize(path: string, name: string): Promise<RunSummary> {
  const kind = existsSync(join(path, 'chain.json')) ? 'chain' : 'run';
  const { bytes, more, changed } = sizeOf(path);
  const common = { name, path, kind, changed, bytes, more } as const;
  const config = await jsonOf(join(path, kind === 'chain' ? 'chain.json' : 'config.json'));
  const session = (await readSessions(path)).at(-1);
  const named = session?.config ?? textAt(config, 'data', 'dataset') ?? '';
  if (config === undefined) return { ...common, state: 'damaged', config: named };
  const lock = lockOf(path);
  if (kind === 'chain') {
    const score = bestOfReport(await jsonOf(join(path, 'report.json')));
    return { ...common, state: lock ?? (score ? 'done' : 'stopped'), config: named, score };
  }
  const { step, loss } = await lastStep(join(path, 'log.jsonl'));
  const last = numberAt(config, 'training', 'n_iters');
  const steps = step === undefined ? 0 : step + 1;
  const done = last !== undefined && steps > last;
  return {
    ...common,
    state: lock ?? (done ? 'done' : steps > 0 ? 'stopped' : 'not begun'),
    config: named,
    steps,
    total: last === undefined ? undefined : last + 1,
    loss,
    score: await bestOf(path, textAt(config, 'eval', 'folder') ?? 'eval'),
  };
}

/** The value at a path of keys of plain values. */
function at(tree: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key)
        ? (value as Record<string, unknown>)[key]
        : undefined,
    tree,
  );
}

function numberAt(tree: unknown, ...path: readonly string[]): number | undefined {
  const value = at(tree, ...path);
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

function textAt(tree: unknown, ...path: readonly string[]): string | undefined {
  const value = at(tree, ...path);
  return typeof value === 'string' ? value : undefined;
}

/** The object in a JSON file; undefined if it is missing or damaged. */
async function jsonOf(path: string): Promise<unknown> {
  if (!existsSync(path)) return undefined;
  try {
    const value = parseJsonFile(await readWhole(path, MAX_JSON), path);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch (error) {
    if (error instanceof FileError) return undefined;
    throw error;
  }
}

function lockOf(path: string): 'running' | 'locked' | undefined {
  const lock = join(path, 'lock');
  try {
    const stat = lstatSync(lock, { throwIfNoEntry: false });
    if (!stat?.isFile()) return undefined;
  } catch {
    return undefined;
  }
  const owner = parseOwner(firstLine(lock) ?? '');
  const state = owner && stateOf(owner);
  if (state === 'lives') return 'running';
  return state === 'unknown' ? 'locked' : undefined;
}

const MOST_LINE = 1024;

/** The first line of a small regular file; undefined if it cannot be read. */
function firstLine(path: string): string | undefined {
  let file: number | undefined;
  try {
    file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
    const bytes = Buffer.alloc(MOST_LINE);
    return bytes.toString('utf8', 0, readSync(file, bytes, 0, MOST_LINE, 0)).split('\n', 1)[0];
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

async function bestOf(path: string, folder: string): Promise<RunSummary['score']> {
  if (folder.includes('/') || folder.includes('\\') || folder.startsWith('.')) return undefined;
  const best = await jsonOf(join(path, folder, 'best.json'));
  const value = numberAt(best, 'value');
  return value === undefined ? undefined : { value, what: textAt(best, 'score') ?? 'score' };
}

/** The lowest distance of a report. */
function bestOfReport(report: unknown): RunSummary['score'] {
  const stages = at(report, 'stages');
  if (!Array.isArray(stages)) return undefined;
  const distances = stages.flatMap((stage) => Object.values((at(stage, 'fd') as object | undefined) ?? {}));
  const values = distances.filter((value): value is number => typeof value === 'number' && Number.isFinite(value));
  if (values.length === 0) return undefined;
  return { value: Math.min(...values), what: `Frechet distance (${textAt(report, 'features') ?? 'unknown features'})` };
}

const TAIL = 2 ** 16;

/** Step and loss of the last whole line of a log. */
export async function lastStep(path: string): Promise<{ step?: number; loss?: number }> {
  if (!existsSync(path)) return {};
  try {
    const text = await withFile(path, async (file) => {
      const length = Math.min(file.bytes, TAIL);
      return Buffer.from(await readRange(file, file.bytes - length, length)).toString('utf8');
    });
    for (const line of text.split('\n').reverse())
      try {
        const { step, loss } = JSON.parse(line) as { step?: unknown; loss?: unknown };
        if (Number.isSafeInteger(step) && (step as number) >= 0)
          return { step: step as number, loss: typeof loss === 'number' ? loss : undefined };
      } catch {
        // Cut off, by a killed process or by the beginning of the part that was read.
      }
    return {};
  } catch (error) {
    if (error instanceof FileError) return {};
    throw error;
  }
}

/** Bytes of the files below a folder, without those that symbolic links lead to, and the time of the last change. */
function sizeOf(folder: string): { bytes: number; more: boolean; changed: Date } {
  let [bytes, files, changed] = [0, 0, 0];
  const waiting = [folder];
  for (let next = waiting.pop(); next !== undefined && files < MOST_FILES; next = waiting.pop())
    try {
      for (const entry of readdirSync(next, { withFileTypes: true })) {
        const path = join(next, entry.name);
        if (entry.isDirectory()) waiting.push(path);
        if (!entry.isFile()) continue;
        const { size, mtimeMs } = lstatSync(path);
        bytes += size;
        changed = Math.max(changed, mtimeMs);
        files++;
      }
    } catch {
      // Removed in the meantime, or not readable.
    }
  return { bytes, more: files >= MOST_FILES, changed: new Date(changed) };
}
