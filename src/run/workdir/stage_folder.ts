// Which stage of a chain a work directory belongs to. The official README runs reflow on stored pairs and online reflow in
// one folder; a stage must never go on from the state of another, so the second takes a folder beside it:
//   logs/2_rectified_flow                        train_reflow, the first one there
//   logs/2_rectified_flow_train_online_reflow    the other; one more (another teacher's) would add _2, _3, ...
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { ConfigError, FileError } from '../../errors.ts';
import { asFileError } from '../../io/index.ts';
import { readCheckpointHeader } from '../checkpoints/checkpoint.ts';
import { describeIdentity, type RunIdentity, sameIdentity } from '../checkpoints/identity.ts';

/**
 * The folder of a stage: `workdir` itself, or where another stage has checkpoints there, the first folder beside it that is
 * this stage's or nobody's.
 * @param otherStage 'refuse' takes no folder beside it
 * @param notice told of a folder other than `workdir`, in one line
 * @throws FileError for a folder that cannot be read, ConfigError for another stage's that is refused
 */
export async function stageFolder(
  workdir: string,
  stage: RunIdentity,
  otherStage: 'beside' | 'refuse',
  notice: (text: string) => void,
): Promise<string> {
  const owner = await stageOf(workdir);
  if (!owner || sameIdentity(owner, stage)) return workdir;
  if (otherStage === 'refuse')
    throw new ConfigError(
      `${workdir} holds a run of ${describeIdentity(owner)}, not of ${describeIdentity(stage)}; remove it, or give another --workdir`,
    );
  const folder = await folderBeside(workdir, stage);
  notice(`${workdir} holds a run of ${describeIdentity(owner)}; ${describeIdentity(stage)} has its own in ${folder}`);
  return folder;
}

async function folderBeside(workdir: string, stage: RunIdentity): Promise<string> {
  // "." and ".." have no name to add to.
  const stem = /^\.{0,2}$/.test(basename(workdir)) ? resolve(workdir) : workdir.replace(/[\\/]+$/, '');
  let free: string | undefined;
  for (let number = 1; ; number++) {
    const folder = `${stem}_${stage.name}${number === 1 ? '' : `_${number}`}`;
    const owner = await stageOf(folder);
    if (owner && sameIdentity(owner, stage)) return folder;
    if (!owner) free ??= folder;
    if (!existsSync(folder)) return free as string;
  }
}

/** By its newest readable state, else snapshot; undefined for a folder without checkpoints of ours that name a stage. */
async function stageOf(workdir: string): Promise<RunIdentity | undefined> {
  for (const [folder, name] of [
    ['checkpoints-meta', 'state'],
    ['checkpoints', 'checkpoint'],
  ])
    for (const number of (await numberedFiles(join(workdir, folder), name)).reverse()) {
      const path = join(workdir, folder, `${name}_${number}.safetensors`);
      const header = await readCheckpointHeader(path).catch((error) => {
        // Damaged: whoever goes on from there is told.
        if (error instanceof FileError) return undefined;
        throw error;
      });
      if (header?.stage) return header.stage;
    }
  return undefined;
}

/**
 * The numbers n of the files <name>_<n>.safetensors, ascending; none in a folder that is not there. A file whose number has zeros
 * in front, or is beyond the whole numbers, is none that this package wrote.
 */
export async function numberedFiles(folder: string, name: string): Promise<number[]> {
  if (!existsSync(folder)) return [];
  const files = await readdir(folder).catch((error) => {
    throw asFileError(folder, error);
  });
  const pattern = new RegExp(`^${name}_(0|[1-9]\\d{0,14})\\.safetensors$`);
  return files
    .flatMap((file) => pattern.exec(file)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}
