// The checkpoint that stands for the folder of a run: its newest snapshot, or the best one of its evaluations.
import { existsSync } from 'node:fs';
import { isAbsolute, join, normalize } from 'node:path';
import { FileError } from '../../errors.ts';
import { chainFile, chainStages, flowStages } from '../chain/stages.ts';
import { numberedCheckpoints } from '../checkpoints/find.ts';
import { loadConfig } from '../config/index.ts';
import { readBest } from '../eval/best.ts';

/**
 * The checkpoint of the folder of a run, of a chain, whose last complete flow is taken, or of numbered checkpoints.
 * @param best whether to take the snapshot that best.json names instead of the newest
 * @throws FileError if the folder has none
 */
export async function checkpointOfFolder(folder: string, best = false): Promise<string> {
  if (existsSync(join(folder, chainFile))) {
    const stages = flowStages(chainStages(await loadConfig(join(folder, chainFile)), folder));
    const last = stages.findLast(({ checkpoint }) => existsSync(checkpoint));
    if (!last) throw new FileError(folder, 'holds a chain in which no flow is complete; run it first');
    return best ? bestOf(last.folder) : last.checkpoint;
  }
  if (best) return bestOf(folder);
  const own = join(folder, 'checkpoints');
  const last = (await numberedCheckpoints(existsSync(own) ? own : folder)).at(-1);
  if (!last) throw new FileError(folder, 'holds no checkpoint yet; train first, or name a file');
  return last.path;
}

async function bestOf(folder: string): Promise<string> {
  const { eval: options } = existsSync(join(folder, 'config.json'))
    ? await loadConfig(join(folder, 'config.json'))
    : { eval: { folder: 'eval' } };
  const path = join(folder, options.folder, 'best.json');
  const best = await readBest(path);
  if (!best) throw new FileError(path, 'does not exist or names no snapshot; evaluate the run first: rectiflow eval');
  // The file may come from elsewhere: it names a file of the run.
  const name = normalize(best.checkpoint);
  if (isAbsolute(name) || name.startsWith('..'))
    throw new FileError(path, `names ${best.checkpoint}, outside of the run`);
  return join(folder, name);
}
