// The command `eval`: evaluates snapshots of a run and prints a table.
import { UsageError } from '../errors.ts';
import type { Task } from '../run/config/requirements.ts';
import type { Config } from '../run/config/schema.ts';
import { type EvalOptions, type EvalProgress, type EvalRow, evaluateSnapshots } from '../run/eval/index.ts';
import type { Scores } from '../run/eval/score_features.ts';
import { watchSnapshots } from '../run/eval/watch.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { joinedRanks, refuseJob } from './job.ts';
import { type Progress, startProgress } from './progress.ts';
import {
  configOf,
  deviceOf,
  namedCheckpoint,
  note,
  partialOption,
  requireKeys,
  showPlan,
  workOptions,
} from './shared.ts';

const kinds = {
  enable_loss: 'loss',
  enable_bpd: 'bits per dimension',
  enable_straightness: 'straightness',
  enable_sampling: 'samples',
  enable_figures_only: 'picture sheets',
} as const;

/** Default of --watch-timeout in minutes; snapshots may be hours apart. */
const WATCH_TIMEOUT = 240;

export const evalCommand: Command = {
  name: 'eval',
  details: 'The snapshots are those from eval.begin_ckpt to eval.end_ckpt.',
  overrides: 'all',
  ranks: true,
  options: {
    ...workOptions,
    checkpoint: { value: 'FILE', help: 'evaluate this checkpoint instead of the snapshots in the work directory' },
    partial: partialOption,
    watch: { help: 'also wait for the snapshots that training writes, up to eval.end_ckpt; best.json names the best' },
    'watch-timeout': {
      value: 'MINUTES',
      help: `end --watch after this long without a snapshot; default ${WATCH_TIMEOUT}`,
    },
  },
  async run(parsed) {
    const workdir = parsed.required('workdir');
    const config = await configOf(parsed);
    const wanted = Object.entries(kinds).flatMap(([key, what]) =>
      config.eval[key as keyof typeof kinds] ? [what] : [],
    );
    if (wanted.length === 0)
      throw new UsageError(
        `nothing to evaluate; add ${Object.keys(kinds)
          .map((key) => `--config.eval.${key}`)
          .join(', ')} or more than one of them`,
      );
    const checkpoint = parsed.text('checkpoint') === undefined ? undefined : await namedCheckpoint(parsed);
    if (parsed.has('watch')) refuseJob('--watch');
    const timeoutMinutes = parsed.positive('watch-timeout');
    const watch = parsed.has('watch');
    if (watch && checkpoint !== undefined)
      throw new UsageError(
        '--watch evaluates the snapshots of a work directory and cannot be combined with --checkpoint',
      );
    for (const key of ['eval.begin_ckpt', 'eval.end_ckpt'])
      if (checkpoint !== undefined && parsed.sets(key))
        throw new UsageError(`--config.${key} has no effect with --checkpoint`);
    if (!watch && timeoutMinutes !== undefined) throw new UsageError('--watch-timeout requires --watch');
    const { begin_ckpt: begin, end_ckpt: end } = config.eval;
    if (parsed.has('dry-run')) {
      const what = checkpoint ?? `the snapshots ${begin} to ${end} in ${workdir}${watch ? ' as they appear' : ''}`;
      return showPlan(config, `evaluate ${what}: ${wanted.join(', ')}`, taskOf(config));
    }
    requireKeys(config, taskOf(config));
    const device = await deviceOf(parsed, config);
    const bars = new Bars();
    const rows = await runInterruptible((signal) => {
      const common: EvalOptions = {
        workdir,
        device,
        partial: parsed.has('partial'),
        ranks: joinedRanks(),
        signal,
        onNotice: note,
        onProgress: (progress) => bars.update(progress),
        onRow: (row) => {
          bars.stop();
          for (const line of describe(row, workdir)) process.stdout.write(`${escapeText(line)}\n`);
        },
      };
      return watch
        ? watchSnapshots(config, { ...common, timeoutMinutes: timeoutMinutes ?? WATCH_TIMEOUT })
        : evaluateSnapshots(config, { ...common, checkpoint });
    }).finally(() => bars.stop());
    if (rows.length === 0)
      process.stderr.write(`no snapshot from ${begin} to ${end} appeared in ${escapeText(workdir)}\n`);
    return rows.length > 0 ? 0 : 1;
  },
};

/** The paths that the configuration must name: sample sheets alone need no data set. */
function taskOf({ eval: { enable_figures_only, enable_loss, enable_bpd } }: Config): Task {
  return !enable_figures_only && (enable_loss || enable_bpd) ? 'evaluate data' : 'evaluate samples';
}

/** Shows one progress bar at a time: a checkpoint's loss, then its likelihood, then its samples. */
class Bars {
  private bar: Progress | undefined;
  private title = '';

  update({ checkpoint, what, done, total }: EvalProgress): void {
    const title = `${checkpoint}, ${what}`;
    if (title !== this.title) {
      this.stop();
      this.bar = startProgress(title, total);
      this.title = title;
    }
    this.bar?.update(done, 'images');
  }

  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
    this.title = '';
  }
}

function describe(row: EvalRow, workdir: string): string[] {
  const { name, loss, bitsPerDimension: bits, straightness, samples, scores } = row;
  const lines = [];
  if (loss) lines.push(`${name}  loss ${loss.loss.toFixed(5)} over ${loss.images} images`);
  if (bits)
    lines.push(
      `${name}  ${bits.mean.toFixed(4)} +- ${bits.standardError.toFixed(4)} bits per dimension over ${bits.images} images, ` +
        `${bits.passes} passes, NFE ${bits.nfe.toFixed(1)}`,
    );
  if (straightness)
    lines.push(`${name}  straightness ${straightness.straightness.toFixed(5)} over ${straightness.samples} paths`);
  if (samples)
    lines.push(
      `${name}  ${samples.count} samples${samples.leftOut > 0 ? ` (${samples.leftOut} not finite, left out)` : ''}, NFE ${samples.nfe.toFixed(1)}, ${samples.files.length} files in ${workdir}`,
    );
  if (scores) lines.push(`${name}  ${describeScores(scores)}`);
  return lines;
}

function describeScores({
  features,
  frechetDistance,
  inceptionScore,
  kernelDistance,
  precision,
  recall,
}: Scores): string {
  // FID, IS and KID are names for scores in Inception features only.
  const [frechet, classes, kernel] =
    features === 'inception'
      ? ['FID', 'IS', 'KID']
      : [`Frechet distance of ${features}`, 'class score', 'kernel distance'];
  const parts = [`${frechet} ${frechetDistance.toFixed(4)}`];
  if (inceptionScore !== undefined) parts.push(`${classes} ${inceptionScore.toFixed(4)}`);
  if (kernelDistance) {
    const { mean, standardError } = kernelDistance;
    const error = standardError === undefined ? '' : ` +- ${standardError.toPrecision(2)}`;
    parts.push(`${kernel} ${mean.toPrecision(4)}${error}`);
  }
  if (precision !== undefined && recall !== undefined)
    parts.push(`precision ${precision.toFixed(3)}`, `recall ${recall.toFixed(3)}`);
  return parts.join('  ');
}
