// Reads what runs wrote about themselves, for comparisons and figures: configuration, log, times and the report's figures.
import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { FileError } from '../../errors.ts';
import { readWhole, requireFolder } from '../../io/file.ts';
import { parseJsonFile } from '../../io/json.ts';
import { chainFile, chainStages, flowStages } from '../chain/stages.ts';
import { type Config, loadConfig } from '../config/index.ts';
import type { ReportFigures, StageFigures } from '../report/index.ts';
import { shellLine } from '../report/repeat.ts';
import { type LoggedStep, readLog } from '../workdir/log.ts';
import { readSessions, type SessionRecord } from '../workdir/record.ts';

/** A training run: one of its own, or a stage of a chain. */
export interface RunFacts {
  name: string;
  folder: string;
  config: Config;
  log: readonly LoggedStep[];
  sessions: readonly SessionRecord[];
  /** The stage of the report, if there is one. */
  figures?: StageFigures;
  /** The report that has the stage. */
  report?: ReportFigures;
}

/**
 * Reads a run, or the flows of a chain.
 * @throws FileError for a folder that holds neither, or files that cannot be read
 */
export async function readRun(folder: string): Promise<RunFacts[]> {
  requireFolder(folder);
  const name = basename(resolve(folder));
  if (existsSync(join(folder, chainFile))) {
    const config = await loadConfig(join(folder, chainFile));
    const report = await readReport(folder);
    const stages = flowStages(chainStages(config, folder)).filter((stage) => existsSync(stage.folder));
    if (stages.length === 0) throw new FileError(folder, 'holds a chain without a flow yet; run it first');
    return Promise.all(
      stages.map((stage) => factsOf(`${name}: ${stage.name}`, stage.folder, stage.config, stage.name, report)),
    );
  }
  if (!existsSync(join(folder, 'config.json')))
    throw new FileError(folder, `holds neither config.json nor ${chainFile}: it is not the folder of a run or a chain`);
  const config = await loadConfig(join(folder, 'config.json'));
  return [await factsOf(name, folder, config, undefined, await readReport(folder))];
}

/** @param stage the name of the stage in the report; default: its only one */
async function factsOf(
  name: string,
  folder: string,
  config: Config,
  stage: string | undefined,
  report: ReportFigures | undefined,
): Promise<RunFacts> {
  const figures = stage === undefined ? report?.stages[0] : report?.stages.find((one) => one.name === stage);
  const log = await readLog(join(folder, 'log.jsonl'));
  return { name, folder, config, log, sessions: await readSessions(folder), figures, report: figures && report };
}

/** Reads several; names that occur twice are preceded by their folder. */
export async function readRuns(folders: readonly string[]): Promise<RunFacts[]> {
  const found = await Promise.all(
    folders.map(async (folder) =>
      (await readRun(folder)).map((facts) => ({ facts, parent: basename(dirname(resolve(folder))) })),
    ),
  );
  // The flows of a single chain need no name of the chain.
  if (folders.length === 1)
    return found.flat().map(({ facts }) => ({ ...facts, name: facts.figures?.name ?? facts.name }));
  const all = found.flat();
  const count = (name: string) => all.filter(({ facts }) => facts.name === name).length;
  return all.map(({ facts, parent }) =>
    count(facts.name) > 1 ? { ...facts, name: `${parent}/${facts.name}` } : facts,
  );
}

const MAX_REPORT = 2 ** 24;

/**
 * The contents of report.json in a folder; undefined without one.
 * @throws FileError for a file that is not a report of this package
 */
export async function readReport(folder: string): Promise<ReportFigures | undefined> {
  const path = join(folder, 'report.json');
  if (!existsSync(path)) return undefined;
  const value = parseJsonFile(await readWhole(path, MAX_REPORT), path);
  if (!isReport(value))
    throw new FileError(path, `is not a report of this program; write it again: ${reportLine(folder)}`);
  return value;
}

/** The command that writes the report of a folder, as a shell reads it. */
export function reportLine(folder: string): string {
  return shellLine(['rectiflow', 'report', '--workdir', folder]);
}

function isReport(value: unknown): value is ReportFigures {
  if (typeof value !== 'object' || value === null) return false;
  const { stages, seed, samples, heldOut, features = '' } = value as Partial<ReportFigures>;
  const isNumber = (number: unknown) => typeof number === 'number' && Number.isFinite(number);
  return (
    isNumber(seed) &&
    isNumber(samples) &&
    typeof features === 'string' &&
    (heldOut === undefined || (typeof heldOut === 'object' && heldOut !== null && isNumber(heldOut.fd))) &&
    Array.isArray(stages) &&
    stages.every((stage: unknown) => {
      if (typeof stage !== 'object' || stage === null) return false;
      const { name, checkpoint, steps, straightness, straightness_steps, fd, nfe } = stage as Partial<StageFigures>;
      return (
        [name, checkpoint].every((text) => typeof text === 'string') &&
        [steps, straightness, straightness_steps, nfe].every(isNumber) &&
        typeof fd === 'object' &&
        fd !== null &&
        Object.values(fd).every(isNumber)
      );
    })
  );
}

/** Seconds of all sessions; undefined if nothing recorded them. */
export function secondsOf({ sessions }: RunFacts): number | undefined {
  return sessions.length === 0 ? undefined : sessions.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** Number of steps in the mean of a loss. */
const MEAN_OF = 50;

/** Mean loss of the last logged steps; undefined without any. */
export function lastLoss({ log }: RunFacts): number | undefined {
  const last = log.slice(-MEAN_OF);
  return last.length === 0 ? undefined : last.reduce((sum, { loss }) => sum + loss, 0) / last.length;
}

/** The samplers of the runs' reports, in their order. */
export function samplersOf(runs: readonly RunFacts[]): string[] {
  const names = new Set(runs.flatMap(({ figures }) => Object.keys(figures?.fd ?? {})));
  const order = (name: string) => (name === 'rk45' ? Number.POSITIVE_INFINITY : Number(name));
  return [...names].sort((a, b) => order(a) - order(b));
}

/** The last values that a run logged. */
export function progressOf({ log }: RunFacts) {
  const last = <Key extends 'evalLoss' | 'straightness' | 'imagesPerSecond'>(key: Key) =>
    log.findLast((step) => step[key] !== undefined)?.[key];
  return {
    steps: (log.at(-1)?.step ?? -1) + 1,
    evalLoss: last('evalLoss'),
    straightness: last('straightness'),
    imagesPerSecond: last('imagesPerSecond'),
  };
}

/** A key in which the configurations differ. */
export interface ChangedKey {
  path: string;
  /** Its value in each run, in their order. */
  values: readonly unknown[];
}

export interface Comparison {
  runs: readonly RunFacts[];
  keys: readonly ChangedKey[];
}
