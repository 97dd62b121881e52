// What the stages of a run took: time from the run's log or the chain's record, and bytes on disk.
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoggedStep } from '../workdir/log.ts';
import type { FlowResult, StageCost } from './page.ts';
import type { ReportedStage } from './repeat.ts';

/** @param stages the stages of the run; without any, each flow is one */
export async function stageCosts(
  results: readonly FlowResult[],
  stages: readonly ReportedStage[],
): Promise<StageCost[]> {
  const all: readonly ReportedStage[] =
    stages.length > 0
      ? stages
      : results.map(({ flow: { name, folder } }) => ({ name, path: folder, state: 'complete' as const }));
  return Promise.all(
    all.map(async (stage): Promise<StageCost> => {
      const trained = results.find(({ flow }) => flow.folder === stage.path);
      const { seconds: steps, imagesPerSecond } = trained
        ? trainingTime(trained.log, trained.flow.config.training.batch_size)
        : {};
      // Both leave something out: the log evaluations between steps, the chain's record commands that were killed.
      const known = [stage.seconds, steps].filter((seconds) => seconds !== undefined);
      return {
        ...stage,
        seconds: known.length > 0 ? Math.max(...known) : undefined,
        imagesPerSecond,
        bytes: stage.state === 'not begun' ? undefined : await bytesOf(stage.path),
      };
    }),
  );
}

/** Seconds of all steps of a log, whose steps may be thinned, and images per second in the mean. */
function trainingTime(log: readonly LoggedStep[], batch: number): { seconds?: number; imagesPerSecond?: number } {
  const rates = log.flatMap(({ imagesPerSecond: rate }) => (rate !== undefined && rate > 0 ? [rate] : []));
  if (rates.length === 0) return {};
  const mean = rates.reduce((sum, rate) => sum + batch / rate, 0) / rates.length;
  const steps = (log.at(-1) as LoggedStep).step - log[0].step + 1;
  return { seconds: mean * steps, imagesPerSecond: batch / mean };
}

/** Bytes of a file, or of all files below a folder; links are not followed. Undefined if it cannot be read. */
async function bytesOf(path: string): Promise<number | undefined> {
  try {
    const entry = await lstat(path);
    if (!entry.isDirectory()) return entry.isFile() ? entry.size : 0;
    const inside = await Promise.all((await readdir(path)).map((name) => bytesOf(join(path, name))));
    return inside.reduce((sum: number, bytes) => sum + (bytes ?? 0), 0);
  } catch {
    return undefined;
  }
}
