// The training loop: one optimiser update a step from an objective. It prints nothing.
// Every draw (batch, noise, time, dropout) is a function of (seed, step, sample), so a run can be repeated bit by bit.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { checkFinite } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { NonFiniteError, ValueError } from '../errors.ts';
import type { Adam } from '../nn/adam.ts';
import type { UNet } from '../nn/unet.ts';
import { full } from '../tensor/create.ts';
import { scope } from '../tensor/scope.ts';
import type { BatchLoss, Objective } from './objective.ts';

export interface TrainingStep {
  step: number;
  total: number;
  /** Mean over this batch. */
  loss: number;
  learningRate: number;
  /** Global norm of the gradient before clipping. */
  gradientNorm: number;
  imagesPerSecond: number;
  /** Share of the step's time that went into waiting for its batch. */
  dataShare: number;
}

export interface LoopOptions {
  model: UNet;
  optimizer: Adam;
  objective: Objective;
  device: Device;
  batchSize: number;
  /** Parts, one after the other, in which a batch is evaluated; default 1. */
  accumulation?: number;
  /** First step and the number of the step to stop before. */
  from: number;
  total: number;
  signal?: AbortSignal;
  onStep?: (step: TrainingStep) => void | Promise<void>;
}

/** @returns the step it stopped before: `total`, or less when `signal` was aborted */
export async function trainingLoop(options: LoopOptions): Promise<number> {
  const { model, from, total, batchSize, signal } = options;
  model.train();
  for (let step = from; step < total; step++) {
    // Lets signals and timers in between two steps, which block the event loop.
    await nextTurn();
    if (signal?.aborted) return step;
    const start = performance.now();
    const lossOf = await options.objective(step);
    const dataSeconds = (performance.now() - start) / 1000;
    const info = trainingStep(options, step, lossOf);
    const seconds = (performance.now() - start) / 1000;
    const shares = { imagesPerSecond: batchSize / seconds, dataShare: dataSeconds / seconds };
    await options.onStep?.({ step, total, ...shares, ...info });
  }
  return total;
}

/**
 * One update from the loss of a batch, evaluated in `accumulation` parts that draw what the undivided batch would; everything
 * it makes is freed when it returns.
 */
export function trainingStep(
  options: Omit<LoopOptions, 'from' | 'total'>,
  step: number,
  lossOf: BatchLoss,
): Pick<TrainingStep, 'loss' | 'learningRate' | 'gradientNorm'> {
  const { model, optimizer, device, batchSize, accumulation = 1 } = options;
  const part = batchSize / accumulation;
  if (!Number.isInteger(part))
    throw new ValueError(`a batch of ${batchSize} cannot be cut into ${accumulation} equal parts`);
  // The gradient of a mean over the batch is the sum of those of its parts, each times its share.
  const share = part / batchSize;
  let loss = 0;
  for (let first = 0; first < batchSize; first += part) {
    model.dropoutState.sample = step * batchSize + first;
    scope(() => {
      const lossNow = () => lossOf(first, part);
      const partLoss = lossNow();
      const value = partLoss.item();
      if (!Number.isFinite(value)) throw nonFinite(`the loss is ${value}`, step, lossNow);
      loss += value * share;
      partLoss.backward(full([], share, { device }));
    });
  }
  const { learningRate } = optimizer;
  const gradientNorm = scope(() => optimizer.step().item());
  if (!Number.isFinite(gradientNorm)) throw nonFinite(`the norm of the gradient is ${gradientNorm}`, step);
  return { loss, learningRate, gradientNorm };
}

/** Looks for the op that made it first by running `again` with every result checked. */
function nonFinite(what: string, step: number, again?: () => unknown): NonFiniteError {
  let op = '';
  try {
    if (again) checkFinite(again);
  } catch (error) {
    if (!(error instanceof NonFiniteError)) throw error;
    op = `: ${error.message}`;
  }
  return new NonFiniteError(`${what} at step ${step}${op}. Lower optim.lr, or look at the data`);
}
