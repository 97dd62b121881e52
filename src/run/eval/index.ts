// `eval`: evaluates the snapshots of a work directory from eval.begin_ckpt to eval.end_ckpt, or one named checkpoint.
import { join } from 'node:path';
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { numberedCheckpoints } from '../checkpoints/find.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import {
  type EvalRow,
  type EvaluatorOptions,
  evaluatorOptions,
  rangeOf,
  type Snapshot,
  snapshotAt,
  withEvaluator,
} from './evaluator.ts';

export type { EvalProgress, EvalRow } from './evaluator.ts';

export interface EvalOptions extends EvaluatorOptions {
  /** Evaluates this checkpoint instead of the snapshots of the work directory. */
  checkpoint?: string;
  /** Called with the results of each snapshot. */
  onRow?: (row: EvalRow) => void;
}

const optionKinds: OptionKinds<EvalOptions> = {
  ...evaluatorOptions,
  checkpoint: kinds.path,
  onRow: kinds.callback,
};

/**
 * Evaluates the snapshots of a run as the keys of `eval` say: scores of samples, loss, bits per dimension, straightness.
 * @throws FileError if there is none in the range, or if one is damaged or of another network
 * @example
 * const config = await loadConfig('runs/digits/config.json', { eval: { enable_sampling: true } });
 * const [row] = await evaluateSnapshots(config, { workdir: 'runs/digits', device: await openDevice('cpu') });
 * row.name; // 'checkpoint_1'
 * row.scores.frechetDistance > 0; // true
 */
export async function evaluateSnapshots(config: Config, options: EvalOptions): Promise<EvalRow[]> {
  requireConfig('evaluateSnapshots', config);
  const checked = checkOptions('evaluateSnapshots', options, optionKinds, ['workdir', 'device']);
  const chosen = checked.checkpoint ? [snapshotAt(checked.checkpoint)] : await snapshotsInRange(config, checked);
  return withEvaluator(config, checked, async (evaluate) => {
    const rows: EvalRow[] = [];
    for (const snapshot of chosen) {
      const row = await evaluate(snapshot);
      if (checked.ranks?.isFirst ?? true) checked.onRow?.(row);
      rows.push(row);
    }
    return rows;
  });
}

/** The snapshots from eval.begin_ckpt to eval.end_ckpt. A notice lists the others. */
async function snapshotsInRange(config: Config, { workdir, onNotice }: EvalOptions): Promise<Snapshot[]> {
  const folder = join(workdir, 'checkpoints');
  const { chosen, outside, range } = rangeOf(await numberedCheckpoints(folder), config);
  const others = outside.map(({ number }) => number).join(', ');
  if (chosen.length === 0)
    throw new FileError(
      folder,
      others === ''
        ? 'has no checkpoint_<k>.safetensors or .pth; train first'
        : `has no checkpoint in ${range}, only ${others}; change --config.eval.begin_ckpt or end_ckpt`,
    );
  if (others !== '') onNotice?.(`not evaluated, outside ${range}: ${others}`);
  return chosen.map(({ path }) => snapshotAt(path));
}
