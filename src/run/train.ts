// `train`: a 1-rectified flow from a configuration, in a work directory, going on from the state that is there.
import type { ImageDataset } from '../data/index.ts';
import type { CompileProgress, Device } from '../device/device.ts';
import { declaredModules } from '../device/module.ts';
import { Adam } from '../nn/adam.ts';
import type { UNet } from '../nn/unet.ts';
import { saveCheckpoint } from './checkpoint.ts';
import type { Config } from './config/schema.ts';
import { closing, type ImageBatches, loadDataset, trainingBatches } from './data.ts';
import { evaluationLoss } from './evaluate.ts';
import { type TrainingStep, trainingLoop } from './loop.ts';
import { buildModel } from './model.ts';
import { planTraining, type TrainingPlan } from './plan.ts';
import { Recorder } from './recorder.ts';
import { sampleModel } from './sample.ts';
import { WorkDirectory } from './workdir.ts';

/** Pictures of a snapshot, at most. */
const SAMPLES = 64;
/** Held-out batches of an evaluation during training. */
const EVALUATED_BATCHES = 4;

export interface TrainOptions {
  workdir: string;
  device: Device;
  /** Stops after the step that is running, with a state to go on from. */
  signal?: AbortSignal;
  onStep?: (step: TrainingStep) => void;
  onCompile?: (progress: CompileProgress) => void;
  /** Told before the first step what the run will take. */
  onPlan?: (plan: TrainingPlan) => void;
  /** Told of what is not as expected and no reason to stop: missing batches, a damaged state, going on from a step. */
  onNotice?: (text: string) => void;
}

export interface TrainResult {
  /** Updates done, those of earlier sessions included. */
  steps: number;
  /** Mean loss over the last 50 steps of this session; NaN when there was none to do. */
  loss: number;
  /** Path of the last snapshot, or where it stopped early of the state to go on from. */
  checkpoint: string;
  /** Whether `signal` ended it early. */
  stopped: boolean;
}

/**
 * Every draw is a function of (seed, step, sample), so a run that was interrupted, even by force, and goes on ends with the
 * same bits as one that was not.
 * @throws ConfigError for a work directory of another configuration, FileError for one that is in use or unwritable,
 * NonFiniteError naming step and op; the states in the work directory stay
 */
export async function train(config: Config, options: TrainOptions): Promise<TrainResult> {
  const { device, onNotice = () => {} } = options;
  const batches = await trainingBatches(config, onNotice);
  using _batches = closing(batches);
  const heldOut = await loadDataset(config, 'heldOut', onNotice);
  using _heldOut = closing(heldOut);
  const workdir = await WorkDirectory.open(options.workdir);
  try {
    const state = await workdir.latestState(config, onNotice);
    await workdir.writeConfig(config);
    await device.prepare(declaredModules(), options.onCompile);
    const { model, optimizer } = trainingState(config, device);
    try {
      if (state?.moments) {
        model.loadStateDict(state.model, state.path);
        optimizer.restore(state.step, { ...state.moments, ema: state.ema }, state.path);
        onNotice(`going on from step ${state.step}`);
      }
      const from = state?.step ?? 0;
      if (from < config.training.n_iters) {
        const plan = await planTraining({ model, optimizer, config, device, workdir: workdir.path, from });
        options.onPlan?.(plan);
      }
      return await session({ ...options, config, workdir, model, optimizer, batches, heldOut, from });
    } finally {
      optimizer.dispose();
      model.dispose();
    }
  } finally {
    await workdir.close();
  }
}

interface Session extends Omit<TrainOptions, 'workdir'> {
  config: Config;
  workdir: WorkDirectory;
  model: UNet;
  optimizer: Adam;
  batches: ImageBatches;
  heldOut: ImageDataset;
  from: number;
}

/** Steps from `from` to the end or the signal, with everything that is recorded on the way. */
async function session(options: Session): Promise<TrainResult> {
  const { config, workdir, model, optimizer, batches, heldOut, from, device, signal } = options;
  const { n_iters: total, batch_size: batchSize, ...every } = config.training;
  const recorder = await Recorder.open(workdir.path, config, from);
  const recent: number[] = [];

  const saveState = async (step: number) => {
    await recorder.sync();
    await saveCheckpoint(workdir.state(step), { model, optimizer, config, step, moments: true });
    await workdir.pruneStates();
  };
  const evaluate = async (step: number) => {
    const evaluation = await optimizer.withEma(() =>
      evaluationLoss(model, heldOut, config, { device, batchSize, images: EVALUATED_BATCHES * batchSize }),
    );
    await recorder.evaluation(step, evaluation);
    return evaluation;
  };
  const snapshot = async (step: number) => {
    await saveCheckpoint(workdir.snapshot(step), { model, optimizer, config, step });
    if (!every.snapshot_sampling) return;
    const num = Math.min(batchSize, SAMPLES);
    const sampled = await optimizer.withEma(() => sampleModel(model, config, { num, device }));
    await recorder.snapshot(step, sampled, await evaluate(step));
    model.train();
  };

  try {
    const steps = await trainingLoop({
      model,
      optimizer,
      device,
      batches,
      seed: config.seed,
      batchSize,
      from,
      total,
      signal,
      onStep: async (info) => {
        recent[info.step % 50] = info.loss;
        await recorder.step(info);
        const done = info.step + 1;
        const due = (frequency: number) => done < total && done % frequency === 0;
        if (due(every.snapshot_freq)) await snapshot(done);
        else if (due(every.eval_freq)) await evaluate(done);
        if (due(every.snapshot_freq_for_preemption)) await saveState(done);
        options.onStep?.(info);
      },
    });
    const stopped = steps < total;
    if (steps > from) {
      if (!stopped) await snapshot(steps);
      await saveState(steps);
    }
    const losses = recent.filter((loss) => loss !== undefined);
    const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
    return { steps, loss, checkpoint: stopped ? workdir.state(steps) : workdir.snapshot(steps), stopped };
  } finally {
    await recorder.close();
  }
}

/** Network and optimiser as the configuration describes them; the caller disposes both. */
export function trainingState(config: Config, device: Device): { model: UNet; optimizer: Adam } {
  const model = buildModel(config, device);
  const { optim } = config;
  const optimizer = new Adam(model, {
    learningRate: optim.lr,
    beta1: optim.beta1,
    epsilon: optim.eps,
    weightDecay: optim.weight_decay,
    warmup: optim.warmup,
    gradientClip: optim.grad_clip,
    emaRate: config.model.ema_rate,
  });
  return { model, optimizer };
}
