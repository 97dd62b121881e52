// Finds what a report on a folder covers: the completed flows of a chain, or the last snapshot of a run.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkArgument, kinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { numberedCheckpoints } from '../checkpoints/find.ts';
import { type Config, loadConfig } from '../config/index.ts';
import type { ReportedFlow } from '../report/measure.ts';
import { chainFile, chainStages, flowStages, reportConfig } from './stages.ts';

/** The configuration and flows of a folder. @throws FileError for a folder of neither kind, or without a checkpoint */
export async function reportedFlows(workdir: string): Promise<{ config: Config; flows: ReportedFlow[] }> {
  checkArgument('reportedFlows', 'workdir', workdir, kinds.path);
  if (existsSync(join(workdir, chainFile))) {
    const config = await loadConfig(join(workdir, chainFile));
    const stages = chainStages(config, workdir);
    const flows = flowStages(stages).filter(({ checkpoint }) => existsSync(checkpoint));
    if (flows.length === 0) throw new FileError(workdir, 'holds a chain without a completed flow; run it first');
    return { config: reportConfig(config, stages), flows };
  }
  const path = join(workdir, 'config.json');
  if (!existsSync(path))
    throw new FileError(
      workdir,
      `holds neither ${chainFile} nor config.json: it is not the folder of a chain or a run`,
    );
  const config = await loadConfig(path);
  const last = (await numberedCheckpoints(join(workdir, 'checkpoints'))).at(-1);
  if (!last) throw new FileError(workdir, 'has no checkpoint yet; train first');
  return { config, flows: [{ name: 'flow', folder: workdir, config, checkpoint: last.path }] };
}
