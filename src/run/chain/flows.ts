// Finds what a report on a folder covers: the flows of a chain that have begun, or a run.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkArgument, kinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { requireFolder } from '../../io/file.ts';
import { numberedCheckpoints } from '../checkpoints/find.ts';
import { type Config, loadConfig } from '../config/index.ts';
import type { ReportedRun } from '../report/index.ts';
import type { ReportedFlow } from '../report/measure.ts';
import { snapshotNumber } from '../training/session.ts';
import { stageOf } from '../workdir/stage_folder.ts';
import { snapshotPath } from '../workdir/workdir.ts';
import { chainFile, chainStages, flowStages, reportConfig } from './stages.ts';
import { chainRun } from './times.ts';

export interface ReportedFolder {
  /** How to measure the flows. */
  config: Config;
  flows: ReportedFlow[];
  run: ReportedRun;
}

/**
 * The flows that a report on a folder covers, with their configuration: those of a chain that have begun, or that of a run.
 * @throws FileError for a folder of neither kind, or in which no training has begun
 * @example
 * const { flows, config } = await reportedFlows('runs/digits');
 * flows.map(({ name, source }) => [name, source]); // [['rectified flow', 'data']]
 * config.data.dataset; // 'DIGITS'
 */
export async function reportedFlows(workdir: string): Promise<ReportedFolder> {
  checkArgument('reportedFlows', 'workdir', workdir, kinds.path);
  requireFolder(workdir);
  const hasLog = (folder: string) => existsSync(join(folder, 'log.jsonl'));
  if (existsSync(join(workdir, chainFile))) {
    const config = await loadConfig(join(workdir, chainFile));
    const stages = chainStages(config, workdir);
    const flows = flowStages(stages).filter(({ checkpoint, folder }) => existsSync(checkpoint) || hasLog(folder));
    if (flows.length === 0) throw new FileError(workdir, 'holds a chain in which no flow has begun; run it first');
    return { config: reportConfig(config, stages), flows, run: await chainRun(config, stages, workdir) };
  }
  const path = join(workdir, 'config.json');
  if (!existsSync(path))
    throw new FileError(
      workdir,
      `holds neither ${chainFile} nor config.json: it is not the folder of a chain or a run`,
    );
  const config = await loadConfig(path);
  const folder = join(workdir, 'checkpoints');
  const last = existsSync(folder) ? (await numberedCheckpoints(folder)).at(-1) : undefined;
  if (!last && !hasLog(workdir)) throw new FileError(workdir, 'has neither a checkpoint nor a log yet; train first');
  const trained = (await stageOf(workdir))?.name ?? 'train';
  const source = trained === 'train' ? 'data' : 'pairs';
  const distilledTo = source === 'pairs' ? stepsOf(config) : undefined;
  const name = nameOf(source, distilledTo);
  const { n_iters } = config.training;
  const checkpoint = last?.path ?? snapshotPath(workdir, snapshotNumber(n_iters, config));
  const stage = { name: `training of the ${name}`, path: workdir, state: 'begun' as const };
  return {
    config,
    flows: [{ name, folder: workdir, config, source, checkpoint, distilledTo }],
    run: { command: source === 'data' ? 'train' : 'reflow', config, configFile: 'config.json', stages: [stage] },
  };
}

/** The number of Euler steps that a schedule of reflow distils to; undefined for reflow itself. */
function stepsOf({ reflow: { reflow_t_schedule: schedule } }: Config): number | undefined {
  if (typeof schedule === 'number') return schedule;
  return schedule === 't0' ? 1 : undefined;
}

function nameOf(source: ReportedFlow['source'], distilledTo: number | undefined): string {
  if (distilledTo !== undefined) return `flow distilled to ${distilledTo} step${distilledTo === 1 ? '' : 's'}`;
  return source === 'data' ? 'rectified flow' : 'reflowed flow';
}
