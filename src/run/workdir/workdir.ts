// The folder of one training run. One process at a time writes to it, and only a run of the same stage
// (stage_folder.ts) and configuration can resume in it.
//   config.json                                      the merged configuration
//   run.json                                         how it was started, and its times: record.ts
//   checkpoints/checkpoint_<k>.safetensors           snapshots, k = step / snapshot_freq, all kept: model, EMA
//   checkpoints-meta/state_<updates>.safetensors     states to resume from, the last two: model, EMA, moments
//   checkpoints-meta/checkpoint.pth                  a state of the official code, read if there is none of ours
// and the files of run/training/journal.ts.
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, FileError } from '../../errors.ts';
import { removeLeftovers } from '../../io/atomic.ts';
import { makeFolder } from '../../io/file.ts';
import { checkGuards } from '../../io/guard.ts';
import { writeJson } from '../../io/json.ts';
import { type Checkpoint, checkpointParts, loadCheckpoint, requireMoments } from '../checkpoints/checkpoint.ts';
import { requireFinite } from '../checkpoints/finite.ts';
import { describeIdentity, type RunIdentity, sameIdentity } from '../checkpoints/identity.ts';
import { type Config, resolveConfig } from '../config/index.ts';
import { differences, keyProperties } from '../config/tree.ts';
import { lockFolder } from './lock.ts';
import { numberedFiles, stageFolder } from './stage_folder.ts';

const KEPT_STATES = 2;

/**
 * Files that are written atomically, by folder. Only their temporary files are removed after a killed process, because
 * a folder may be a link.
 */
const written = {
  '.': /^(config\.json|run\.json|log\.jsonl|metrics\.csv|report\.(html|json))$/,
  checkpoints: /^checkpoint_\d+\.safetensors$/,
  'checkpoints-meta': /^state_\d+\.safetensors$/,
};

export class WorkDirectory {
  readonly path: string;
  readonly stage: RunIdentity;
  private readonly unlock: () => Promise<void>;

  private constructor(path: string, stage: RunIdentity, unlock: () => Promise<void>) {
    this.path = path;
    this.stage = stage;
    this.unlock = unlock;
  }

  /**
   * @param asked the requested folder; see stageFolder for one that belongs to another stage
   * @param notice reports a folder other than `asked`
   * @param signal ends the wait for another process's lock
   * @throws FileError if the folder cannot be written or another process uses it, ConfigError for another stage with
   * 'refuse'
   */
  static async open(
    asked: string,
    stage: RunIdentity,
    otherStage: 'sibling' | 'refuse',
    notice: (text: string) => void,
    signal?: AbortSignal,
  ): Promise<WorkDirectory> {
    const path = await stageFolder(asked, stage, otherStage, notice);
    const folders = Object.entries(written).map(([name, files]) => [makeFolder(join(path, name)), files] as const);
    const workdir = new WorkDirectory(path, stage, await lockFolder(path, { signal, notice }));
    try {
      for (const [folder, files] of folders) await removeLeftovers(folder, files);
    } catch (error) {
      await workdir.close();
      throw error;
    }
    return workdir;
  }

  close(): Promise<void> {
    return this.unlock();
  }

  file(name: string): string {
    return join(this.path, name);
  }

  snapshot(number: number): string {
    return snapshotPath(this.path, number);
  }

  state(step: number): string {
    return join(this.path, 'checkpoints-meta', `state_${step}.safetensors`);
  }

  /** Path of the official code's state. */
  get officialState(): string {
    return join(this.path, 'checkpoints-meta', 'checkpoint.pth');
  }

  /**
   * Loads the newest readable state; undefined in a new directory.
   * @param notice reports a newer state that is damaged
   * @throws ConfigError if it belongs to another configuration, FileError if there are states and none can be read
   */
  async latestState(config: Config, notice: (text: string) => void): Promise<Checkpoint | undefined> {
    const steps = await this.stateSteps();
    for (const [i, step] of steps.entries()) {
      const path = this.state(step);
      try {
        const state = await loadCheckpoint(path);
        const own = await resolveConfig(state.config, path);
        requireMoments(state, own);
        // Another process may have started there since the folder was chosen.
        if (state.stage && !sameIdentity(state.stage, this.stage))
          throw new ConfigError(
            `${this.path} now holds a run of ${describeIdentity(state.stage)}; run the command again`,
          );
        requireFinite(path, checkpointParts(state));
        this.checkConfig(own, config);
        return state;
      } catch (error) {
        if (!(error instanceof FileError) || i === steps.length - 1) throw error;
        notice(`${error.message}; resuming from step ${steps[i + 1]} instead`);
      }
    }
    return undefined;
  }

  async writeConfig(config: Config): Promise<void> {
    await writeJson(this.file('config.json'), config);
  }

  /** Removes all states except the two newest. */
  async pruneStates(): Promise<void> {
    checkGuards(this.path);
    for (const step of (await this.stateSteps()).slice(KEPT_STATES)) await unlink(this.state(step)).catch(() => {});
  }

  /** The steps of all states, newest first. */
  private async stateSteps(): Promise<number[]> {
    return (await numberedFiles(join(this.path, 'checkpoints-meta'), 'state')).reverse();
  }

  private checkConfig(before: unknown, now: Config): void {
    const changed = differences(before, now).filter(({ path }) => keyProperties(path)?.binds !== 'nothing');
    if (changed.length === 0) return;
    const lines = changed.map(({ path, a, b }) => `  ${path}: ${JSON.stringify(a)} there, ${JSON.stringify(b)} now`);
    throw new ConfigError([
      `${this.path} holds a run of another configuration; give another --workdir or the same values:`,
      ...lines,
    ]);
  }
}

export function snapshotPath(workdir: string, number: number): string {
  return join(workdir, 'checkpoints', `checkpoint_${number}.safetensors`);
}
