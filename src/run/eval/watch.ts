// `eval --watch`: evaluates snapshots as training writes them. A snapshot appears whole, by a rename, so the folder is looked at
// every few seconds; notifications of the file system do not reach across networks.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { numberedCheckpoints } from '../checkpoints/find.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/schema.ts';
import { keepBest } from './best.ts';
import {
  type EvalRow,
  type EvaluatorOptions,
  evaluatorOptions,
  rangeOf,
  type Snapshot,
  snapshotAt,
  withEvaluator,
} from './evaluator.ts';

export interface WatchOptions extends EvaluatorOptions {
  /** Ends it when for so long no snapshot came. */
  timeoutMinutes: number;
  /** Between two looks; default 5. */
  pollSeconds?: number;
  /** Told of each as it is done. */
  onRow?: (row: EvalRow) => void;
}

const optionKinds: OptionKinds<WatchOptions> = {
  ...evaluatorOptions,
  timeoutMinutes: kinds.notNegative,
  pollSeconds: kinds.notNegative,
  onRow: kinds.callback,
};

/**
 * Those of the range, present and to come, until eval.end_ckpt is done, none came for the timeout, or `signal` is aborted. One that
 * is replaced is evaluated again, one that is removed before its turn is named. The best so far stands in <eval folder>/best.json.
 * @returns the latest of each; empty where none came
 * @throws FileError for a snapshot that is damaged or of another network
 */
export async function watchSnapshots(config: Config, options: WatchOptions): Promise<EvalRow[]> {
  requireConfig('watchSnapshots', config);
  const checked = checkOptions('watchSnapshots', options, optionKinds, ['workdir', 'device', 'timeoutMinutes']);
  const { workdir, signal, onRow, onNotice, timeoutMinutes, pollSeconds = 5 } = checked;
  return withEvaluator(config, checked, async (evaluate) => {
    const rows = new Map<string, EvalRow>();
    const folder = new SnapshotFolder(config, workdir, onNotice);
    let quietSince = performance.now();
    while (!signal?.aborted) {
      const fresh = await folder.fresh();
      for (const snapshot of fresh) {
        if (signal?.aborted) break;
        const row = await evaluate(snapshot).catch((error) => {
          if (signal?.aborted) return undefined;
          if (existsSync(snapshot.path)) throw error;
          onNotice?.(`${snapshot.path} was removed before it was evaluated; skipped`);
          return undefined;
        });
        if (!row) continue;
        onRow?.(row);
        rows.set(row.name, row);
        if (!(await keepBest(workdir, config, [...rows.values()])) && rows.size === 1)
          onNotice?.('no best.json, which needs scores of samples or --config.eval.enable_loss');
        quietSince = performance.now();
      }
      if (fresh.length > 0) continue;
      const left = 60_000 * timeoutMinutes - (performance.now() - quietSince);
      if (folder.ended || left <= 0) break;
      await pause(Math.min(1000 * pollSeconds, left), undefined, { signal }).catch(() => {});
    }
    return [...rows.values()];
  });
}

/** What lies in <workdir>/checkpoints, and what of it has been handed out. */
class SnapshotFolder {
  /** Whether the last of the range was handed out. */
  ended = false;
  private readonly path: string;
  private readonly config: Config;
  private readonly notice: (text: string) => void;
  private readonly seen = new Map<string, string>();

  constructor(config: Config, workdir: string, notice: (text: string) => void = () => {}) {
    this.path = join(workdir, 'checkpoints');
    this.config = config;
    this.notice = notice;
  }

  /** The snapshots of the range that are new, or not the file that they were. */
  async fresh(): Promise<Snapshot[]> {
    // Training makes the folder.
    if (!existsSync(this.path)) return [];
    const { chosen, outside, range } = rangeOf(await numberedCheckpoints(this.path), this.config);
    const strangers = outside.filter(({ path }) => this.isNew(path)).map(({ number }) => number);
    if (strangers.length > 0) this.notice(`not evaluated, outside ${range}: ${strangers.join(', ')}`);
    const fresh = chosen.filter(({ path }) => this.isNew(path));
    this.ended ||= chosen.some(({ number }) => number === this.config.eval.end_ckpt);
    return fresh.map(({ path }) => snapshotAt(path));
  }

  private isNew(path: string): boolean {
    const { ino, size, mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? {};
    const stamp = `${ino} ${size} ${mtimeMs}`;
    if (this.seen.get(path) === stamp) return false;
    this.seen.set(path, stamp);
    return true;
  }
}
