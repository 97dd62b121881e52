// One training stage in a work directory: opens it, goes on from the state that is there, runs the loop, and writes
// states, snapshots and records on the way. What is minimised, and how it is evaluated, is the stage's own.
import { existsSync } from 'node:fs';
import type { CompileProgress, Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { NonFiniteError } from '../../errors.ts';
import { Adam } from '../../nn/adam.ts';
import type { UNet } from '../../nn/unet.ts';
import { type Checkpoint, checkpointParts, requireMoments, saveCheckpoint } from '../checkpoints/checkpoint.ts';
import { requireFinite } from '../checkpoints/finite.ts';
import type { RunIdentity } from '../checkpoints/identity.ts';
import { buildModel, requireMemory } from '../checkpoints/model.ts';
import { openCheckpoint } from '../checkpoints/open.ts';
import type { TrainingStep } from '../checkpoints/training_step.ts';
import type { Config } from '../config/schema.ts';
import { NUMERICS } from '../machine/provenance.ts';
import { sampleModel } from '../sampling/sample.ts';
import { holdingUnsaved } from '../workdir/unsaved.ts';
import { WorkDirectory } from '../workdir/workdir.ts';
import type { Diagnostics } from './diagnostics.ts';
import type { Evaluation } from './evaluation.ts';
import { RunJournal } from './journal.ts';
import { trainingLoop, wasAborted } from './loop.ts';
import type { Objective } from './objective.ts';
import { planTraining, type TrainingPlan } from './plan.ts';

export interface TrainOptions {
  workdir: string;
  /** Where another stage has that folder: 'beside' takes one beside it (default), 'refuse' is an error. */
  otherStage?: 'beside' | 'refuse';
  device: Device;
  /** Stops after the step that is running, with a state to go on from. */
  signal?: AbortSignal;
  /** Told after each update. */
  onStep?: (step: TrainingStep) => void;
  /** Told as kernels are compiled, before the first step. */
  onCompile?: (progress: CompileProgress) => void;
  /** Told before the first step what the run will take. */
  onPlan?: (plan: TrainingPlan) => void;
  /**
   * Told of what is not as expected and no reason to stop: missing batches, a damaged state, a work directory of another
   * stage, going on from a step.
   */
  onNotice?: (text: string) => void;
}

export interface TrainResult {
  /** `workdir`, or the folder beside it where that one is of another stage. */
  workdir: string;
  /** Updates done, those of earlier sessions included. */
  steps: number;
  /** Mean loss over the last 50 steps of this session; NaN when there was none to do. */
  loss: number;
  /** Path of the last snapshot, or where it stopped early of the state to go on from. */
  checkpoint: string;
  /** Whether `signal` ended it early. */
  stopped: boolean;
  /** Bytes of device memory at the peak of this session's steps; 0 when there was none to do. */
  peakMemory: number;
}

/** What sets one kind of training apart from another. */
interface TrainingTask {
  objective: Objective;
  /** How many images or pairs there are to train on, where they are counted. */
  items?: number;
  /** Of the weights that the model holds now, in evaluation mode or not. */
  evaluate(signal?: AbortSignal): Promise<{ evaluation: Evaluation; diagnostics: Diagnostics }>;
  /** Frees what the stage opened. */
  close?(): Promise<void>;
}

/** Called once the network is there, before it is restored: may give it weights to start from. */
type OpenTask = (model: UNet) => Promise<TrainingTask>;

/**
 * Trains in options.workdir, or beside it where that one is of another stage. Every draw is a function of (seed, step, sample),
 * so a run that was interrupted, even by force, and goes on ends with the same bits as one that was not.
 * @throws ConfigError for a work directory of another configuration, FileError for one that is in use or unwritable,
 * NonFiniteError naming step and op; the states in the work directory stay
 */
export async function runTask(
  identity: RunIdentity,
  config: Config,
  options: TrainOptions,
  open: OpenTask,
): Promise<TrainResult> {
  const { device, otherStage = 'beside', onNotice = () => {} } = options;
  requireMemory(config, device, 'training');
  const workdir = await WorkDirectory.open(options.workdir, identity, otherStage, onNotice, options.signal);
  try {
    const own = await workdir.latestState(config, onNotice);
    await workdir.writeConfig(config);
    await device.prepare(declaredModules(), options.onCompile);
    const model = buildModel(config, device);
    let task: TrainingTask | undefined;
    let optimizer: Adam | undefined;
    try {
      task = await open(model);
      // After the stage has given the network its first weights: the average starts from them.
      optimizer = optimizerOf(model, config);
      const state = own ?? (await officialState(workdir, model, config, onNotice));
      if (state) restore(state, model, optimizer, config, onNotice);
      if (state?.items !== undefined && state.items !== task.items)
        onNotice(
          `there were ${state.items} images or pairs to train on, and there are ${task.items}: the order of batches is another, and for images what is held out`,
        );
      const from = state?.step ?? 0;
      if (from <= config.training.n_iters) {
        const plan = await planTraining({ model, optimizer, config, device, workdir: workdir.path, from });
        options.onPlan?.(plan);
      }
      const numerics = state?.numerics ?? NUMERICS;
      const { unevaluated } = state ?? {};
      const opened = { config, workdir, model, optimizer, task, from, numerics, unevaluated };
      // Opened before there is anything to save: a log may be long.
      const journal = await RunJournal.open(workdir.path, config, from, onNotice);
      return await holdingUnsaved(() => session({ ...options, ...opened, journal }));
    } finally {
      await task?.close?.();
      optimizer?.dispose();
      model.dispose();
    }
  } finally {
    await workdir.close();
  }
}

/** The state that the official code left in the work directory, if there is one. */
async function officialState(
  workdir: WorkDirectory,
  model: UNet,
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
  model: UNet,
  optimizer: Adam,
  config: Config,
  onNotice: (text: string) => void,
): void {
  const { path, step, ema, emaDecay } = state;
  const moments = requireMoments(state);
  model.loadStateDict(state.model, path);
  optimizer.restore(step, { ...moments, ema }, path);
  if (emaDecay !== undefined && emaDecay !== config.model.ema_rate) {
    // As the official restore: the file's decay, whatever the configuration says.
    optimizer.options.emaRate = emaDecay;
    onNotice(
      `the average keeps the decay ${emaDecay} of ${path}; model.ema_rate ${config.model.ema_rate} has no effect`,
    );
  }
  onNotice(`going on from step ${step}`);
  if (state.numerics !== undefined && state.numerics !== NUMERICS)
    onNotice(
      "this run was begun with another version of the arithmetic (Adam's constants, means of group norms); it goes on with the present one, and will not have the bits of a run of one version",
    );
}

interface Session extends Omit<TrainOptions, 'workdir'> {
  config: Config;
  workdir: WorkDirectory;
  model: UNet;
  optimizer: Adam;
  task: TrainingTask;
  journal: RunJournal;
  from: number;
  /** The version of the arithmetic that the run began with. */
  numerics: number;
  /** The last step of the session before, if that one was stopped before it was evaluated. */
  unevaluated: TrainingStep | undefined;
}

/** Steps from `from` to the end or the signal, with everything that is recorded on the way. */
async function session(options: Session): Promise<TrainResult> {
  const { config, workdir, model, optimizer, task, journal, from, numerics, device, signal } = options;
  const { n_iters: last, batch_size: batchSize, accumulation, ...every } = config.training;
  const total = last + 1;
  const recent: number[] = [];
  let peakMemory = 0;
  let { unevaluated } = options;

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
  };
  const evaluate = async (step: number) => {
    const { evaluation, diagnostics } = await optimizer.withEma(() => task.evaluate(signal));
    await journal.evaluation(step, evaluation, diagnostics);
    return evaluation;
  };
  /** A flow that cannot be sampled yet is trained on: its next snapshot may be sound. */
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

  const due = (step: number, frequency: number) => step > 0 && step % frequency === 0;
  const isPictured = (step: number) => due(step, every.snapshot_freq) || step === last;
  /** Takes the pictures of a step and evaluates it, then records it: its line of the log has what the evaluation says. */
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
    const steps = await trainingLoop({
      model,
      optimizer,
      device,
      objective: task.objective,
      batchSize,
      accumulation,
      from,
      total,
      signal,
      onNotice: options.onNotice,
      onStep: async (info) => {
        recent[info.step % 50] = info.loss;
        peakMemory = Math.max(peakMemory, device.memory().highWater);
        const { step } = info;
        const evaluated = isPictured(step) || step % every.eval_freq === 0;
        if (!evaluated) await journal.step(info);
        options.onStep?.(info);
        if (evaluated) await evaluateAndRecord(info);
        if (due(step, every.snapshot_freq_for_preemption) && step < last && !unevaluated) await saveState(step + 1);
      },
    });
    const stopped = steps < total || unevaluated !== undefined;
    if (steps > from || unevaluated !== options.unevaluated) {
      if (stopped) options.onNotice?.(`stopped after step ${steps - 1}; writing the state`);
      await saveState(steps);
    }
    const losses = recent.filter((loss) => loss !== undefined);
    const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
    const checkpoint = stopped ? workdir.state(steps) : workdir.snapshot(snapshotNumber(last, config));
    return { workdir: workdir.path, steps, loss, checkpoint, stopped, peakMemory };
  } finally {
    await journal.close();
  }
}

/** The number in the name of the snapshot written at a step; the one after the last step may replace one before. */
export function snapshotNumber(step: number, config: Config): number {
  return Math.floor(step / config.training.snapshot_freq);
}

/** Network and optimiser as the configuration describes them; the caller disposes both. */
export function trainingState(config: Config, device: Device): { model: UNet; optimizer: Adam } {
  const model = buildModel(config, device);
  return { model, optimizer: optimizerOf(model, config) };
}

export function optimizerOf(model: UNet, config: Config): Adam {
  const { optim } = config;
  return new Adam(model, {
    learningRate: optim.lr,
    beta1: optim.beta1,
    epsilon: optim.eps,
    weightDecay: optim.weight_decay,
    warmup: optim.warmup,
    gradientClip: optim.grad_clip,
    emaRate: config.model.ema_rate,
  });
}
