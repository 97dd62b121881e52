// Compares runs: the keys in which their configurations differ, losses, scores, straightness and times, as a page and as a
// table of comma-separated values.
import { checkArgument, checkOptions, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import { ValueError } from '../../errors.ts';
import { requireWritable } from '../../io/atomic.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { isTree, leaves, type Tree } from '../config/tree.ts';
import type { Config } from '../config/types.ts';
import { quoteCsv } from '../loggers/csv.ts';
import { comparisonPage } from './compare_page.ts';
import { type ChangedKey, type Comparison, lastLoss, progressOf, readRuns, samplersOf, secondsOf } from './read.ts';

export interface CompareOptions {
  /** Path of the page. */
  out: string;
  /** Path of a table of comma-separated values; default: none. */
  csv?: string;
}

const optionKinds: OptionKinds<CompareOptions> = { out: kinds.path, csv: kinds.path };

/** Most runs on a page; more lines and columns would not be legible. */
export const MOST_COMPARED = 24;

/**
 * Compares runs, and the flows of chains, by what they wrote into their folders.
 * @throws FileError for a folder that is not a run's, and for a page that cannot be written; ValueError for too many runs
 * @example
 * const { runs, keys } = await compareRuns(['runs/digits', 'runs/faster'], { out: 'compare.html', csv: 'compare.csv' });
 * runs.map(({ name }) => name); // ['digits', 'faster']
 * keys; // [{ path: 'optim.lr', values: [0.002, 0.02] }]
 */
export async function compareRuns(folders: readonly string[], options: CompareOptions): Promise<Comparison> {
  checkArgument('compareRuns', 'folders', folders, listOf(kinds.path, 'paths'));
  const { out, csv } = checkOptions('compareRuns', options, optionKinds, ['out']);
  if (folders.length === 0) throw new ValueError('[compareRuns] expected at least one folder, got none');
  for (const path of [out, csv]) if (path !== undefined) await requireWritable(path);
  const runs = await readRuns(folders);
  if (runs.length > MOST_COMPARED)
    throw new ValueError(`a page compares at most ${MOST_COMPARED} runs, got ${runs.length}`);
  const comparison = { runs, keys: changedKeys(runs.map(({ config }) => config)) };
  await writeFileAtomic(out, [Buffer.from(comparisonPage(comparison))]);
  if (csv !== undefined) await writeFileAtomic(csv, [Buffer.from(comparisonCsv(comparison))]);
  return comparison;
}

/** The keys in which configurations differ, in the order of the schema. */
export function changedKeys(configs: readonly Config[]): ChangedKey[] {
  const paths = new Set(configs.flatMap((config) => leaves(config as Tree)));
  return [...paths].flatMap((path) => {
    const values = configs.map((config) => valueAt(config, path));
    const isSame = values.every((value) => JSON.stringify(value) === JSON.stringify(values[0]));
    return isSame ? [] : [{ path, values }];
  });
}

function valueAt(config: Config, path: string): unknown {
  return path.split('.').reduce<unknown>((at, key) => (isTree(at) ? at[key] : undefined), config);
}

/** A row for each run; its columns are facts, changed keys, and distances by sampler. */
export function comparisonCsv({ runs, keys }: Comparison): string {
  const samplers = samplersOf(runs);
  const header = [
    'run',
    'folder',
    'steps',
    'loss',
    'eval_loss',
    'straightness',
    'images_per_s',
    'seconds',
    'features',
    ...samplers.map((sampler) => `fd_${sampler}`),
    ...keys.map(({ path }) => path),
  ];
  const rows = runs.map((run, i) => {
    const { steps, evalLoss, straightness, imagesPerSecond } = progressOf(run);
    return [
      run.name,
      run.folder,
      steps,
      lastLoss(run),
      evalLoss,
      run.figures?.straightness ?? straightness,
      imagesPerSecond,
      secondsOf(run),
      run.report?.features,
      ...samplers.map((sampler) => run.figures?.fd[sampler]),
      ...keys.map(({ values }) => (typeof values[i] === 'object' ? JSON.stringify(values[i]) : values[i])),
    ];
  });
  return [header, ...rows].map((row) => `${row.map((cell) => quoteCsv(String(cell ?? ''))).join(',')}\n`).join('');
}

/** The path of the table next to a page. */
export function csvBeside(out: string): string {
  return out.replace(/\.html?$/i, '').concat('.csv');
}
