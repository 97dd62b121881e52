// `eval --watch`: evaluates snapshots as training writes them. A snapshot appears complete, by a rename. The folder is
// polled every few seconds, because file system notifications do not work on network file systems.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { numberedCheckpoints } from '../checkpoints/find.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
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
  /** Ends the watch after this long without a new snapshot. */
  timeoutMinutes: number;
  /** Time between two polls; default 5. */
  pollSeconds?: number;
  /** Called with the results of each snapshot. */
  onRow?: (row: EvalRow) => void;
}

const optionKinds: OptionKinds<WatchOptions> = {
  ...evaluatorOptions,
  timeoutMinutes: kinds.notNegative,
  pollSeconds: kinds.notNegative,
  onRow: kinds.callback,
};

/**
 * Evaluates the snapshots in the range, present and future, until eval.end_ckpt is done, none has appeared for the
 * timeout, or `signal` is aborted. A replaced snapshot is evaluated again; a notice names one that is removed before
 * its turn. The best so far is recorded in <eval folder>/best.json.
 * @returns the latest results of each snapshot; empty if none appeared
 * @throws FileError for a snapshot that is damaged or of another network
 * @example
 * const config = await loadConfig('runs/digits/config.json', { eval: { enable_loss: true } });
 * const device = await openDevice('cpu');
 * // Waits this long for the next snapshot of a run in progress.
 * const rows = await watchSnapshots(config, { workdir: 'runs/digits', device, timeoutMinutes: 0 });
 * rows.map(({ name }) => name); // ['checkpoint_1']
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
          onNotice?.('best.json is not written: it requires scores of samples or --config.eval.enable_loss');
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

/** The folder <workdir>/checkpoints, and which of its snapshots were returned already. */
class SnapshotFolder {
  /** Whether the last snapshot of the range was returned. */
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

  /** The snapshots of the range that are new or were replaced. */
  async fresh(): Promise<Snapshot[]> {
    // Training creates the folder.
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
