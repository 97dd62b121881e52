// The training loop: one optimiser update per step. It prints nothing.
// Every draw (batch, noise, time, dropout) is a function of (seed, step, sample), so repeated runs are bit-identical.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { checkArgument, checkOptions, kind, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import { optimizerKind } from '../../nn/optimizer.ts';
import { runOptions, unetKind } from '../arguments.ts';
import type { TrainingStep } from '../checkpoints/training_step.ts';
import { ranksKind } from '../ranks/ranks.ts';
import { Watchdog } from '../ranks/watchdog.ts';
import type { Objective } from './objective.ts';
import { BatchUpdate, type PendingUpdate, type UpdateOptions } from './update.ts';

interface LoopOptions extends Omit<UpdateOptions, 'ahead' | 'wantsToStop'> {
  /** First step, and the step at which to stop, exclusive. */
  from: number;
  total: number;
  /** Ends the loop before the next step, or drops the step that is running. */
  signal?: AbortSignal;
  /** Called after each update; the loop waits for its promise, so that records are written in order. */
  onStep?: (step: TrainingStep) => void | Promise<void>;
  /**
   * Whether the step after this one may be launched before onStep has been called for this one, which then must not use
   * the network; default: never. Only CUDA devices do so, once steps are recorded.
   */
  mayRunAhead?: (step: number) => boolean;
  /** With ranks: whether the first one is busy for long after a step, so that the others wait for it. */
  takesLong?: (step: number) => boolean;
}

const arraysKind = kind('a list of arrays', Array.isArray);
const shapesKind = listOf(listOf(kinds.whole, 'sizes'), 'shapes');

const optionKinds: OptionKinds<LoopOptions> = {
  model: unetKind,
  optimizer: optimizerKind,
  objective: kind('an objective { shapes, fetch, loss }', (value) => {
    if (!kinds.object.accepts(value)) return false;
    const { shapes, fetch, loss } = value as Objective;
    return shapesKind.accepts(shapes) && typeof fetch === 'function' && typeof loss === 'function';
  }),
  device: runOptions.device,
  batchSize: kinds.int32Count,
  accumulation: kinds.int32Count,
  from: kinds.whole,
  total: kinds.whole,
  signal: runOptions.signal,
  onNotice: runOptions.onNotice,
  onStep: kinds.callback,
  mayRunAhead: kinds.callback,
  ranks: ranksKind,
  takesLong: kinds.callback,
};
const required = ['model', 'optimizer', 'objective', 'device', 'batchSize', 'from', 'total'] as const;

/** Resolves like `promise`, but rejects as soon as the signal is aborted: data may load slowly. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** Whether an error is the reason of this aborted signal. */
export function wasAborted(signal: AbortSignal | undefined, error: unknown): boolean {
  return signal?.aborted === true && error === signal.reason;
}

/** A step that has been launched and whose figures have not been read. */
interface Launched {
  step: number;
  /** When it began, in milliseconds, and how much of its time went into data. */
  start: number;
  dataSeconds: number;
  figures: PendingUpdate;
}

/**
 * Runs the steps from `from` to `total`.
 * @returns the next step to run: `total`, or less if `signal` was aborted. A step that is interrupted by the signal
 * leaves network and optimiser as they were before it
 */
export async function trainingLoop(options: LoopOptions): Promise<number> {
  const checked = checkOptions('trainingLoop', options, optionKinds, required);
  const { model, objective, from, total, batchSize, mayRunAhead, ranks, takesLong } = checked;
  // Ranks stop together, after a step in which one of them said that it wants to.
  const signal = ranks ? undefined : checked.signal;
  const wantsToStop = () => checked.signal?.aborted ?? false;
  model.train();
  using update = new BatchUpdate({ ...checked, ahead: mayRunAhead !== undefined, wantsToStop });
  using watchdog = ranks && new Watchdog(ranks.title);
  let reported = -Infinity;
  let pending: Launched | undefined;
  const report = async ({ step, start, dataSeconds, figures }: Launched) => {
    const { stop, ...result } = figures();
    watchdog?.end();
    const now = performance.now();
    const seconds = (now - Math.max(start, reported)) / 1000;
    reported = now;
    const shares = { imagesPerSecond: batchSize / seconds, dataShare: Math.min(1, dataSeconds / seconds) };
    await checked.onStep?.({ step, total, ...shares, ...result });
    if (takesLong?.(step)) await ranks?.meet();
    return stop;
  };
  const reportPending = async () => {
    const last = pending;
    pending = undefined;
    if (last) await report(last);
  };
  for (let step = from; step < total; step++) {
    // Lets signals and timers run, because steps block the event loop.
    await nextTurn();
    const start = performance.now();
    let dataSeconds = 0;
    let figures: PendingUpdate;
    try {
      signal?.throwIfAborted();
      const arrays = await unlessAborted(objective.fetch(step), signal);
      checkArgument('trainingLoop', 'what fetch returns', arrays, arraysKind);
      dataSeconds = (performance.now() - start) / 1000;
      // The first step compiles and records, at a speed of its own on each rank.
      if (step > from) watchdog?.begin(step);
      figures = update.launch(step, arrays);
    } catch (error) {
      // What failed here came after the step before.
      await reportPending();
      if (wasAborted(signal, error)) return step;
      throw error;
    }
    await reportPending();
    const launched = { step, start, dataSeconds, figures };
    if (update.runsAhead && step + 1 < total && mayRunAhead?.(step)) pending = launched;
    else if (await report(launched)) return step + 1;
  }
  return total;
}
