// Runs one training stage in a work directory: resumes from its state if there is one, runs the loop, and writes
// states, snapshots and records. The TrainingTask provides the objective and its evaluation.
import { existsSync } from 'node:fs';
import type { OptionKinds } from '../../arguments.ts';
import type { CompileProgress, Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { listenToNotices } from '../../device/notices.ts';
import { NonFiniteError } from '../../errors.ts';
import type { Optimizer } from '../../nn/optimizer.ts';
import { type FlowNetwork, trainingOptions } from '../arguments.ts';
import { type Checkpoint, checkpointParts, requireMoments, saveCheckpoint } from '../checkpoints/checkpoint.ts';
import { requireFinite } from '../checkpoints/finite.ts';
import type { RunIdentity } from '../checkpoints/identity.ts';
import { buildModel, requireMemory } from '../checkpoints/model.ts';
import { openCheckpoint } from '../checkpoints/open.ts';
import { optimizerOf } from '../checkpoints/optimizer.ts';
import type { TrainingStep } from '../checkpoints/training_step.ts';
import type { Config } from '../config/types.ts';
import type { RunLogger, SessionEnd } from '../loggers/index.ts';
import { NUMERICS, provenance } from '../machine/provenance.ts';
import { type Ranks, ranksKind } from '../ranks/ranks.ts';
import { sampleModel } from '../sampling/sample.ts';
import { type RunOrigin, SessionWriter } from '../workdir/record.ts';
import { withUnsavedWork } from '../workdir/unsaved.ts';
import { WorkDirectory } from '../workdir/workdir.ts';
import type { Diagnostics } from './diagnostics.ts';
import type { Evaluation } from './evaluation.ts';
import { followRun, requireJob, scheduleOf, shareStart } from './follow.ts';
import { RunJournal } from './journal.ts';
import { trainingLoop, wasAborted } from './loop.ts';
import type { Objective } from './objective.ts';
import { planTraining, type TrainingPlan } from './plan.ts';

export interface TrainOptions {
  workdir: string;
  /** What to do if another stage owns that folder: `'sibling'` uses a sibling folder (default), 'refuse' throws. */
  otherStage?: 'sibling' | 'refuse';
  device: Device;
  /** Stops after the current step and saves a state to resume from. */
  signal?: AbortSignal;
  /** Called after each update. */
  onStep?: (step: TrainingStep) => void;
  /** Called while kernels are compiled, before the first step. */
  onCompile?: (progress: CompileProgress) => void;
  /** Called before the first step with the estimated needs of the run. */
  onPlan?: (plan: TrainingPlan) => void;
  /**
   * Reports what is unusual but not an error: missing files, a damaged state, another stage's folder, resuming from a
   * step.
   */
  onNotice?: (text: string) => void;
  /** How the run was started, for run.json. */
  origin?: RunOrigin;
  /** Loggers besides those of training.loggers, such as an adapter to a tracker. */
  loggers?: readonly RunLogger[];
  /**
   * The processes that train together, of `openRanks`. Each calls the same function; the first one alone uses the work directory, and its
   * result has the loss and the checkpoint.
   */
  ranks?: Ranks;
}

export const trainOptionKinds: OptionKinds<TrainOptions> = { ...trainingOptions, ranks: ranksKind };

export interface TrainResult {
  /** `workdir`, or its sibling if `workdir` belongs to another stage. */
  workdir: string;
  /** Number of updates so far, including earlier sessions. */
  steps: number;
  /** Mean loss over the last 50 steps of this session; NaN if it had no steps. */
  loss: number;
  /** Path of the last snapshot or, if stopped, of the state to resume from. */
  checkpoint: string;
  /** Whether `signal` ended the run early. */
  stopped: boolean;
  /** Peak bytes of device memory during this session's steps; 0 if it had no steps. */
  peakMemory: number;
}

/** What differs between kinds of training. */
interface TrainingTask {
  objective: Objective;
  /** Number of images or pairs in the training set, if it is finite. */
  items?: number;
  /** Evaluates the weights that the model holds now, in training or evaluation mode. */
  evaluate(signal?: AbortSignal): Promise<{ evaluation: Evaluation; diagnostics: Diagnostics }>;
}

/** Called with the new network before a state is restored. It may set the initial weights. */
export type OpenTask = (model: FlowNetwork) => Promise<TrainingTask>;

/**
 * Trains in options.workdir, or in a sibling folder if that belongs to another stage. Every draw is a function of
 * (seed, step, sample), so an interrupted run, even a killed one, resumes to bit-identical results.
 * @throws ConfigError for a work directory of another configuration, FileError for one that is in use or not writable,
 * NonFiniteError naming step and op. Saved states remain
 */
export async function runTask(
  identity: RunIdentity,
  config: Config,
  options: TrainOptions,
  open: OpenTask,
): Promise<TrainResult> {
  const { device, otherStage = 'sibling' } = options;
  const notices: string[] = [];
  const onNotice = (text: string) => {
    notices.push(text);
    options.onNotice?.(text);
  };
  using _heard = listenToNotices(onNotice);
  requireMemory(config, device, 'training');
  const { ranks } = options;
  if (ranks) requireJob(ranks, config, device);
  if (ranks && !ranks.isFirst) return withUnsavedWork(() => followRun(config, options, ranks, open));
  const workdir = await WorkDirectory.open(options.workdir, identity, otherStage, onNotice, options.signal);
  try {
    const own = await workdir.latestState(config, onNotice);
    await workdir.writeConfig(config);
    await device.prepare(declaredModules(), options.onCompile);
    // The others then find the compiled kernels.
    await ranks?.meet();
    const model = buildModel(config, device);
    let optimizer: Optimizer | undefined;
    try {
      const task = await open(model);
      // Created after the task has set the initial weights, because the average starts from them.
      optimizer = optimizerOf(model, config);
      const state = own ?? (await officialState(workdir, model, config, onNotice));
      if (state) restore(state, model, optimizer, config, onNotice);
      if (state?.items !== undefined && state.items !== task.items)
        onNotice(
          `the training set had ${state.items} images or pairs and now has ${task.items}: the order of batches changes and, for images, the held-out part`,
        );
      const from = state?.step ?? 0;
      if (ranks) await shareStart(ranks, optimizer, from);
      if (from <= config.training.n_iters) {
        const { objective } = task;
        const plan = await planTraining({ model, optimizer, config, device, objective, workdir: workdir.path, from });
        options.onPlan?.(plan);
      }
      const numerics = state?.numerics ?? NUMERICS;
      const { unevaluated } = state ?? {};
      const opened = { config, workdir, model, optimizer, task, from, numerics, unevaluated };
      // Opened while there is nothing to save yet, because reading a long log takes time.
      const started = { workdir: workdir.path, from, device: `${device.kind}, ${device.description}`, ...provenance() };
      const record = await SessionWriter.open(workdir.path, options.origin ?? {}, started);
      // Last, because it holds files open.
      const opening = RunJournal.open(config, started, onNotice, options.loggers, notices);
      const journal = await opening.catch(async (error) => {
        await record.update(from, 'failed').catch(() => {});
        throw error;
      });
      return await withUnsavedWork(() => session({ ...options, ...opened, journal, record, onNotice }));
    } finally {
      optimizer?.dispose();
      model.dispose();
    }
  } finally {
    await workdir.close();
  }
}

/** The state of the official code in the work directory, if there is one. */
async function officialState(
  workdir: WorkDirectory,
  model: FlowNetwork,
  config: Config,
  onNotice: (text: string) => void,
): Promise<Checkpoint | undefined> {
  const path = workdir.officialState;
  if (!existsSync(path)) return undefined;
  const state = await openCheckpoint(path, model, config, { onNotice });
  requireFinite(path, checkpointParts(state));
  return state;
}

function restore(
  state: Checkpoint,
  model: FlowNetwork,
  optimizer: Optimizer,
  config: Config,
  onNotice: (text: string) => void,
): void {
  const { path, step, ema, emaDecay } = state;
  const moments = requireMoments(state, config);
  model.loadStateDict(state.model, path);
  optimizer.restore(step, { ...moments, ema }, path);
  if (emaDecay !== undefined && emaDecay !== config.model.ema_rate) {
    // As in the official restore, the decay in the file overrides the configuration.
    optimizer.options.emaRate = emaDecay;
    onNotice(
      `the average keeps the decay ${emaDecay} of ${path}; model.ema_rate ${config.model.ema_rate} has no effect`,
    );
  }
  onNotice(`resuming from step ${step}`);
  if (state.numerics !== undefined && state.numerics !== NUMERICS)
    onNotice(
      "this run started with another version of the arithmetic (Adam's constants, means of group norms); it continues with the present version, so its results will not be bit-identical to a run with either",
    );
}

interface Session extends Omit<TrainOptions, 'workdir'> {
  config: Config;
  workdir: WorkDirectory;
  model: FlowNetwork;
  optimizer: Optimizer;
  task: TrainingTask;
  journal: RunJournal;
  record: SessionWriter;
  from: number;
  /** Version of the arithmetic that the run started with. */
  numerics: number;
  /** The last step of the previous session, if that was stopped before the step was evaluated. */
  unevaluated: TrainingStep | undefined;
}

/** Runs and records the steps from `from` until the end or the signal. */
async function session(options: Session): Promise<TrainResult> {
  const { config, workdir, model, optimizer, task, journal, record, from, numerics, device, ranks } = options;
  const { n_iters: last, batch_size: batchSize, accumulation, ...every } = config.training;
  // With ranks, an evaluation is completed: the others wait for it.
  const signal = ranks ? undefined : options.signal;
  const total = last + 1;
  const recent: number[] = [];
  let peakMemory = 0;
  let { unevaluated } = options;
  let end: SessionEnd = 'failed';
  let done = from;

  const saveState = async (updates: number) => {
    await journal.sync();
    await saveCheckpoint(workdir.state(updates), {
      model,
      optimizer,
      config,
      stage: workdir.stage,
      step: updates,
      moments: true,
      numerics,
      unevaluated,
      items: task.items,
    });
    await workdir.pruneStates();
    await record.update(updates);
  };
  const evaluate = async (step: number) => {
    const { evaluation, diagnostics } = await optimizer.withEma(() => task.evaluate(signal));
    await journal.evaluation(step, evaluation, diagnostics);
    return evaluation;
  };
  /** Training continues if a snapshot gives no finite samples, because the next one may. */
  const withoutSamples = (number: number, error: unknown): undefined => {
    if (!(error instanceof NonFiniteError)) throw error;
    options.onNotice?.(`snapshot ${number} has no samples: ${error.message}`);
  };
  const snapshot = async (step: number) => {
    const number = snapshotNumber(step, config);
    await saveCheckpoint(workdir.snapshot(number), {
      model,
      optimizer,
      config,
      stage: workdir.stage,
      step: step + 1,
      numerics,
    });
    if (!every.snapshot_sampling) return;
    const sampled = await optimizer
      .withEma(() => sampleModel(model, config, { num: batchSize, device, signal }))
      .catch((error) => withoutSamples(number, error));
    const evaluation = await evaluate(step);
    if (sampled) await journal.snapshot({ step, number, sampled, evaluation });
    model.train();
  };

  const { isPictured, isEvaluated, isSaved } = scheduleOf(config);
  /** Samples and evaluates a step, then logs it, so that its line includes the results of the evaluation. */
  const evaluateAndRecord = async (info: TrainingStep) => {
    const { step } = info;
    unevaluated = info;
    try {
      if (isPictured(step)) await snapshot(step);
      else await evaluate(step);
    } catch (error) {
      if (wasAborted(signal, error)) return;
      throw error;
    }
    await journal.step(info);
    unevaluated = undefined;
  };

  try {
    if (unevaluated) await evaluateAndRecord(unevaluated);
    await ranks?.meet();
    const steps = await trainingLoop({
      model,
      optimizer,
      device,
      objective: task.objective,
      batchSize,
      accumulation,
      from,
      total,
      signal: options.signal,
      ranks,
      onNotice: options.onNotice,
      mayRunAhead: (step) => !isEvaluated(step) && !isSaved(step),
      takesLong: (step) => isEvaluated(step) || isSaved(step),
      onStep: async (info) => {
        recent[info.step % 50] = info.loss;
        peakMemory = Math.max(peakMemory, device.memory().highWater);
        const { step } = info;
        done = step + 1;
        const evaluated = isEvaluated(step);
        if (!evaluated) await journal.step(info);
        options.onStep?.(info);
        if (evaluated) await evaluateAndRecord(info);
        if (isSaved(step) && !unevaluated) await saveState(step + 1);
      },
    });
    const stopped = steps < total || unevaluated !== undefined;
    if (steps > from || unevaluated !== options.unevaluated) {
      if (stopped) options.onNotice?.(`stopped after step ${steps - 1}; writing the state`);
      await saveState(steps);
    }
    const losses = recent.filter((loss) => loss !== undefined);
    const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
    end = stopped ? 'stopped' : 'done';
    const checkpoint = stopped ? workdir.state(steps) : workdir.snapshot(snapshotNumber(last, config));
    return { workdir: workdir.path, steps, loss, checkpoint, stopped, peakMemory };
  } finally {
    try {
      await journal.close(end);
    } finally {
      await record.update(done, end);
    }
  }
}

/** Number of the snapshot written at a step. That of the last step may replace an earlier one. */
export function snapshotNumber(step: number, config: Config): number {
  return Math.floor(step / config.training.snapshot_freq);
}

/** New network and optimiser of a configuration. The caller disposes both. */
export function trainingState(config: Config, device: Device): { model: FlowNetwork; optimizer: Optimizer } {
  const model = buildModel(config, device);
  return { model, optimizer: optimizerOf(model, config) };
}
