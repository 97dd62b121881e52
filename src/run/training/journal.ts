// The records of a training run, apart from its checkpoints:
//   log.jsonl                      one line per step; for evaluated steps, with the figures of diagnostics.ts
//   tensorboard/, metrics.csv      as training.loggers says: run/loggers
//   samples/iter_<step>/           sample.png, sample.npz, sample.np
//   <eval_folder>/ckpt_<k>/        evaluation.json and samples.png of each snapshot
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { removeLeftovers, requireWritable } from '../../io/atomic.ts';
import { makeFolder } from '../../io/file.ts';
import { imageGrid, writePng } from '../../io/index.ts';
import { writeJson } from '../../io/json.ts';
import type { TrainingStep } from '../checkpoints/training_step.ts';
import type { Config } from '../config/types.ts';
import { pixels } from '../data.ts';
import { LoggerList, type LoggerSession, openLoggers, type RunLogger, type SessionEnd } from '../loggers/index.ts';
import { sampleWriter } from '../sampling/output.ts';
import type { SampledImages } from '../sampling/sample.ts';
import { StepLog } from '../workdir/log.ts';
import type { Diagnostics } from './diagnostics.ts';
import type { Evaluation } from './evaluation.ts';

export class RunJournal {
  private readonly workdir: string;
  private readonly config: Config;
  private readonly log: StepLog;
  private readonly loggers: LoggerList;
  /** Notices that the loggers have not received yet. */
  private readonly notices: string[];
  private lastStep: number;
  private sinceLogged: TrainingStep[] = [];
  /** Figures of the step that is about to be logged. */
  private evaluated: Record<string, number> = {};

  private constructor(session: LoggerSession, config: Config, log: StepLog, loggers: LoggerList, notices: string[]) {
    this.workdir = session.workdir;
    this.lastStep = session.from;
    this.config = config;
    this.log = log;
    this.loggers = loggers;
    this.notices = notices;
  }

  /**
   * @param session its `from` is the first step; earlier records of later steps are removed
   * @param notice reports records that another program removed, and loggers that failed
   * @param others loggers of the caller
   * @param notices those of the run, which the loggers receive and which are then removed
   * @throws FileError for a file or folder that cannot be written, including those that only snapshots write
   */
  static async open(
    config: Config,
    session: LoggerSession,
    notice: (text: string) => void = () => {},
    others: readonly RunLogger[] = [],
    notices: string[] = [],
  ): Promise<RunJournal> {
    const { workdir, from } = session;
    if (config.training.snapshot_sampling) {
      await requireFolders(join(workdir, 'samples'), /^iter_\d+$/);
      await requireFolders(join(workdir, config.eval.folder), /^ckpt_\d+$/);
    }
    const log = await StepLog.open(join(workdir, 'log.jsonl'), from, notice);
    try {
      const loggers = new LoggerList(await openLoggers(workdir, config, from), others, notice);
      try {
        await loggers.config(config, session);
      } catch (error) {
        // What closing reports is less useful than the first error.
        await loggers.close('failed').catch(() => {});
        throw error;
      }
      return new RunJournal(session, config, log, loggers, notices);
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  /** Logs a step, after its evaluation if it has one; every training.log_freq steps, gives means to the loggers. */
  async step(info: TrainingStep): Promise<void> {
    const { step, loss, learningRate: lr, gradientNorm: grad_norm, imagesPerSecond: images_per_s } = info;
    await this.log.write({ step, loss, ...info.terms, lr, grad_norm, images_per_s, ...this.evaluated });
    this.evaluated = {};
    this.sinceLogged.push(info);
    this.lastStep = step;
    if ((step + 1) % this.config.training.log_freq !== 0 && step + 1 !== info.total) return;
    const mean = (value: (info: TrainingStep) => number) =>
      this.sinceLogged.reduce((sum, one) => sum + value(one), 0) / this.sinceLogged.length;
    await this.loggers.scalars(step, {
      'train/loss': mean((one) => one.loss),
      ...Object.fromEntries(
        Object.keys(info.terms ?? {}).map((name) => [`train/${name}`, mean((one) => one.terms?.[name] ?? Number.NaN)]),
      ),
      'train/learning_rate': lr,
      'train/gradient_norm': mean((one) => one.gradientNorm),
      'train/images_per_second': mean((one) => one.imagesPerSecond),
      'train/share_of_time_waiting_for_data': mean((one) => one.dataShare),
    });
    this.sinceLogged = [];
    await this.passNotices();
  }

  private async passNotices(): Promise<void> {
    for (const text of this.notices.splice(0)) await this.loggers.text(this.lastStep, 'notices', text);
  }

  /** Records an evaluation. @param step the update after which it was made */
  async evaluation(step: number, { loss, byTime, features }: Evaluation, diagnostics: Diagnostics): Promise<void> {
    const buckets = (diagnostics.byTime ?? byTime).flatMap((value, k) =>
      Number.isNaN(value) ? [] : [[`eval/loss_by_time/${k / 10}-${(k + 1) / 10}`, value] as const],
    );
    this.evaluated = {
      eval_loss: loss,
      ...(features !== undefined && { eval_features: features }),
      straightness: diagnostics.straightness,
      transport_cost: diagnostics.transportCost,
      ...(diagnostics.couplingError !== undefined && { coupling_error: diagnostics.couplingError }),
    };
    await this.loggers.scalars(step, {
      'eval/loss': loss,
      ...(features !== undefined && { 'eval/features': features }),
      'eval/straightness': diagnostics.straightness,
      'eval/transport_cost': diagnostics.transportCost,
      ...(diagnostics.couplingError !== undefined && { 'eval/coupling_error': diagnostics.couplingError }),
      ...Object.fromEntries(buckets),
    });
  }

  /** Writes a snapshot's samples, named by step as in the official code, and its evaluation, named by number. */
  async snapshot(taken: {
    step: number;
    number: number;
    sampled: SampledImages;
    evaluation: Evaluation;
  }): Promise<void> {
    const { step, number, evaluation } = taken;
    const { images, shape, nfe } = taken.sampled;
    const grid = imageGrid(pixels(images, this.config, 'nearest'), shape);
    const iteration = makeFolder(join(this.workdir, 'samples', `iter_${step}`));
    await removeLeftovers(iteration, /^sample\.(png|npz|np)$/);
    await writePng(join(iteration, 'sample.png'), grid);
    for (const name of ['sample.npz', 'sample.np'])
      await sampleWriter(name)(join(iteration, name), images, shape, this.config);
    await this.loggers.images(step, 'samples', grid);
    await this.loggers.scalars(step, { 'samples/nfe': nfe });
    const folder = makeFolder(join(this.workdir, this.config.eval.folder, `ckpt_${number}`));
    await removeLeftovers(folder, /^(samples\.png|evaluation\.json)$/);
    await writePng(join(folder, 'samples.png'), grid);
    const report = { checkpoint: number, step, nfe, loss: evaluation.loss, images: evaluation.images };
    await writeJson(join(folder, 'evaluation.json'), report);
  }

  /** Resolves when the log is on disk, so that no saved state is ahead of it. */
  async sync(): Promise<void> {
    await this.log.sync();
    await this.loggers.sync();
  }

  async close(end: SessionEnd): Promise<void> {
    try {
      await this.log.close();
      await this.passNotices();
    } finally {
      await this.loggers.close(end);
    }
  }
}

/**
 * Makes a folder.
 * @throws FileError if it cannot be written, or if an entry whose name matches `names` is not a folder
 */
async function requireFolders(folder: string, names: RegExp): Promise<void> {
  makeFolder(folder);
  await requireWritable(join(folder, 'trial'));
  for (const name of await readdir(folder)) if (names.test(name)) makeFolder(join(folder, name));
}
