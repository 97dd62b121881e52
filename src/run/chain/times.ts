// What a chain took: times.json in its folder holds the seconds of each stage, summed over all commands that ran it.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FileError } from '../../errors.ts';
import { readWhole } from '../../io/file.ts';
import { parseJsonFile, writeJson } from '../../io/json.ts';
import type { Config } from '../config/types.ts';
import type { ReportedRun, ReportedStage } from '../report/index.ts';
import { type ChainStage, chainFile, isComplete } from './stages.ts';

const timesFile = 'times.json';
const MAX_BYTES = 2 ** 20;

/** Seconds by the name of the stage. A file that is missing or damaged counts as empty: it holds nothing that is needed. */
async function readTimes(workdir: string): Promise<Map<string, number>> {
  const path = join(workdir, timesFile);
  if (!existsSync(path)) return new Map();
  try {
    const entries = Object.entries((parseJsonFile(await readWhole(path, MAX_BYTES), path) ?? {}) as object);
    return new Map(entries.filter(([, seconds]) => Number.isFinite(seconds) && seconds >= 0));
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return new Map();
  }
}

/** Adds to the time of a stage. */
export async function addTime(workdir: string, name: string, seconds: number): Promise<void> {
  const times = await readTimes(workdir);
  times.set(name, (times.get(name) ?? 0) + seconds);
  await writeJson(join(workdir, timesFile), Object.fromEntries(times));
}

/** What a report says of a chain. */
export async function chainRun(config: Config, stages: readonly ChainStage[], workdir: string): Promise<ReportedRun> {
  const times = await readTimes(workdir);
  const reported = stages.map(async (stage): Promise<ReportedStage> => {
    const path = stage.kind === 'classifier' ? stage.path : stage.folder;
    const state = !existsSync(path) ? 'not begun' : (await isComplete(stage)) ? 'complete' : 'begun';
    return { name: stage.name, path, seconds: times.get(stage.name), state };
  });
  return { command: 'chain', config, configFile: chainFile, stages: await Promise.all(reported) };
}
