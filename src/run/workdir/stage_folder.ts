// Chooses the work directory of a training stage. The official README runs reflow on stored pairs and online reflow in
// one folder. A stage must never resume from the state of another, so the second stage gets a sibling folder:
//   logs/2_rectified_flow                        train_reflow, which came first
//   logs/2_rectified_flow_train_online_reflow    the second stage; further ones (with another teacher) add _2, _3, ...
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { ConfigError, FileError } from '../../errors.ts';
import { asFileError } from '../../io/file.ts';
import { readCheckpointHeader } from '../checkpoints/checkpoint.ts';
import { describeIdentity, type RunIdentity, sameIdentity } from '../checkpoints/identity.ts';

/**
 * The folder of a stage: `workdir`, or if that has checkpoints of another stage, the first sibling folder that belongs
 * to this stage or to none.
 * @param otherStage `'sibling'` uses a sibling folder, 'refuse' throws instead
 * @param notice reports, in one line, a folder other than `workdir`
 * @throws FileError for a folder that cannot be read, ConfigError for a folder of another stage with 'refuse'
 */
export async function stageFolder(
  workdir: string,
  stage: RunIdentity,
  otherStage: 'sibling' | 'refuse',
  notice: (text: string) => void,
): Promise<string> {
  const owner = await stageOf(workdir);
  if (!owner || sameIdentity(owner, stage)) return workdir;
  if (otherStage === 'refuse')
    throw new ConfigError(
      `${workdir} holds a run of ${describeIdentity(owner)}, not of ${describeIdentity(stage)}; remove it, or give another --workdir`,
    );
  const folder = await siblingFolder(workdir, stage);
  notice(`${workdir} holds a run of ${describeIdentity(owner)}; ${describeIdentity(stage)} uses ${folder}`);
  return folder;
}

async function siblingFolder(workdir: string, stage: RunIdentity): Promise<string> {
  // "." and ".." have no name to extend.
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

/** The stage of the newest readable state, or else snapshot, in a folder; undefined if none names a stage. */
export async function stageOf(workdir: string): Promise<RunIdentity | undefined> {
  for (const [folder, name] of [
    ['checkpoints-meta', 'state'],
    ['checkpoints', 'checkpoint'],
  ])
    for (const number of (await numberedFiles(join(workdir, folder), name)).reverse()) {
      const path = join(workdir, folder, `${name}_${number}.safetensors`);
      const header = await readCheckpointHeader(path).catch((error) => {
        // The file is damaged. A run that resumes from it reports that.
        if (error instanceof FileError) return undefined;
        throw error;
      });
      if (header?.stage) return header.stage;
    }
  return undefined;
}

/**
 * The numbers n of the files <name>_<n>.safetensors, ascending; empty if the folder does not exist. Numbers with
 * leading zeros or beyond the safe integers are skipped: this package does not write them.
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
