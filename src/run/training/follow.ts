// A run on several ranks: what they must have in common, how they begin, and the run of a rank that is not the first. The first rank runs
// session.ts; the others make the same steps and write nothing.
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import type { Optimizer } from '../../nn/optimizer.ts';
import { buildModel } from '../checkpoints/model.ts';
import { optimizerOf } from '../checkpoints/optimizer.ts';
import type { Config } from '../config/types.ts';
import { requireExchange } from '../ranks/exchange.ts';
import type { Ranks } from '../ranks/ranks.ts';
import { requireSameJob } from '../ranks/same.ts';
import { trainingLoop } from './loop.ts';
import type { OpenTask, TrainOptions, TrainResult } from './session.ts';

/**
 * Requires that the ranks can train this configuration together. All of them call it.
 * @throws ConfigError or DeviceError on all ranks
 */
export function requireJob(ranks: Ranks, config: Config, device: Device): void {
  requireExchange(ranks, config.training.accumulation, device);
  requireSameJob(ranks, config, device);
}

/** Gives all ranks the first one's weights and states. @returns the step at which they begin */
export async function shareStart(ranks: Ranks, optimizer: Optimizer, from: number): Promise<number> {
  await ranks.meet();
  const first = ranks.ofFirst(from);
  for (const state of optimizer.allStates()) ranks.broadcast(state);
  return first;
}

/** Runs the steps of a run whose work directory belongs to the first rank. */
export async function followRun(
  config: Config,
  options: TrainOptions,
  ranks: Ranks,
  open: OpenTask,
): Promise<TrainResult> {
  const { device, signal, workdir } = options;
  // The first rank has compiled the kernels by then.
  await ranks.meet();
  await device.prepare(declaredModules(), options.onCompile);
  const model = buildModel(config, device);
  let optimizer: Optimizer | undefined;
  try {
    const { objective } = await open(model, workdir);
    optimizer = optimizerOf(model, config);
    const from = await shareStart(ranks, optimizer, 0);
    optimizer.continueFrom(from);
    const { n_iters: last, batch_size: batchSize, accumulation } = config.training;
    const { isEvaluated, isSaved } = scheduleOf(config);
    const takesLong = (step: number) => isEvaluated(step) || isSaved(step);
    const total = last + 1;
    await ranks.meet();
    const work = { model, optimizer, device, objective, batchSize, accumulation };
    const steps = await trainingLoop({ ...work, from, total, signal, ranks, takesLong });
    const peakMemory = device.memory().highWater;
    return { workdir, steps, loss: Number.NaN, checkpoint: '', stopped: steps < total, peakMemory };
  } finally {
    optimizer?.dispose();
    model.dispose();
  }
}

/** The steps after which a run takes samples and evaluates, evaluates, and saves its state. */
export function scheduleOf({ training: { n_iters: last, ...every } }: Config) {
  const due = (step: number, frequency: number) => step > 0 && step % frequency === 0;
  const isPictured = (step: number) => due(step, every.snapshot_freq) || step === last;
  return {
    isPictured,
    isEvaluated: (step: number) => isPictured(step) || step % every.eval_freq === 0,
    isSaved: (step: number) => due(step, every.snapshot_freq_for_preemption) && step < last,
  };
}
