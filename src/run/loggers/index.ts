// Opens the loggers that a configuration names by training.loggers.
import { join } from 'node:path';
import type { Config } from '../config/types.ts';
import { openCsv } from './csv.ts';
import type { RunLogger } from './logger.ts';
import { openTensorBoard } from './tensorboard.ts';

export { LoggerList, type LoggerSession, type RunLogger, type SessionEnd } from './logger.ts';

/** @param from the first step of this session @throws FileError for files that cannot be written */
export async function openLoggers(workdir: string, config: Config, from: number): Promise<RunLogger[]> {
  const { loggers } = config.training;
  const opened: RunLogger[] = [];
  try {
    if (loggers.includes('tensorboard')) opened.push(await openTensorBoard(join(workdir, 'tensorboard'), from));
    if (loggers.includes('csv')) opened.push(await openCsv(join(workdir, 'metrics.csv'), from));
    return opened;
  } catch (error) {
    for (const logger of opened) await Promise.resolve(logger.close?.('failed')).catch(() => {});
    throw error;
  }
}
