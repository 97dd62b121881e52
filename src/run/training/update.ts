// One optimiser update from a batch: loss and gradient of its parts, then the update. What differs between steps (batch,
// sample indices, the optimiser's schedule) is written to device memory first. The rest is the same work in every step; it is
// recorded after the first step and then replayed.

import { checkFinite } from '../../autograd/mode.ts';
import type { Device, LateReads, Recording } from '../../device/device.ts';
import { withoutInterruption } from '../../device/interruption.ts';
import { NonFiniteError, RecordingError, ValueError } from '../../errors.ts';
import type { Optimizer } from '../../nn/optimizer.ts';
import { full, zeros } from '../../tensor/create.ts';
import { keep, scope } from '../../tensor/scope.ts';
import { requireTensor, type Tensor } from '../../tensor/tensor.ts';
import type { FlowNetwork } from '../arguments.ts';
import type { TrainingStep } from '../checkpoints/training_step.ts';
import { Exchange } from '../ranks/exchange.ts';
import type { Ranks } from '../ranks/ranks.ts';
import { DeviceBatch } from './batch.ts';
import type { Objective } from './objective.ts';

export interface UpdateOptions {
  model: FlowNetwork;
  optimizer: Optimizer;
  objective: Objective;
  device: Device;
  batchSize: number;
  /** Number of equal parts in which a batch is evaluated, one after another; default 1. */
  accumulation?: number;
  /** Reports why a step cannot be recorded; steps then run op by op. */
  onNotice?: (text: string) => void;
  /**
   * Whether a step may be launched before the figures of the step before it have been read. Where they turn out not to
   * be finite, that later step has changed nothing.
   */
  ahead?: boolean;
  /** The processes that compute the parts of a batch together. */
  ranks?: Ranks;
  /** Whether this rank wants to stop; asked once a step. */
  wantsToStop?: () => boolean;
}

/** The figures of an update. */
export interface UpdateResult extends Pick<TrainingStep, 'loss' | 'learningRate' | 'gradientNorm' | 'terms'> {
  /** Whether a rank wants to stop, the same on all ranks. */
  stop: boolean;
}

/**
 * Waits for a launched update and returns its figures. It must be called before the update after the next is launched.
 * @throws NonFiniteError as `run` does
 */
export type PendingUpdate = () => UpdateResult;

export class BatchUpdate {
  private readonly options: UpdateOptions;
  private readonly batch: DeviceBatch;
  /** First sample of each part. */
  private readonly parts: readonly number[];
  private readonly partSize: number;
  /**
   * A part's share of the batch, as a number and as the cotangent of its loss, so that gradients add up to that of the
   * mean.
   */
  private readonly share: number;
  private readonly cotangent: Tensor;
  /** The loss of each part, the gradient norm, and the terms of each part's loss. */
  private readonly results: Tensor;
  /** How `results` are read if steps may run ahead. */
  private readonly reads: LateReads | undefined;
  /** How gradients travel between ranks. */
  private readonly exchange: Exchange | undefined;
  /** undefined before the first step, 'none' if steps run op by op. */
  private recording: Recording | 'none' | undefined;

  /** @throws ValueError if the batch cannot be divided into equal parts */
  constructor(options: UpdateOptions) {
    const { objective, device, batchSize, accumulation = 1, ahead = false } = options;
    this.options = options;
    this.partSize = batchSize / accumulation;
    if (!Number.isInteger(this.partSize))
      throw new ValueError(`a batch of ${batchSize} cannot be divided into ${accumulation} equal parts`);
    this.parts = Array.from({ length: accumulation }, (_, i) => i * this.partSize);
    this.share = this.partSize / batchSize;
    const { ranks, optimizer } = options;
    this.exchange = ranks && new Exchange(ranks, optimizer.arena.gradients, accumulation, device);
    this.batch = new DeviceBatch(batchSize, objective.shapes, device);
    this.cotangent = keep(full([], this.share, { device }));
    this.results = keep(zeros([accumulation + 1 + accumulation * (objective.terms?.length ?? 0)], { device }));
    this.reads = ahead && !ranks ? device.lateReads?.(4 * this.results.size) : undefined;
    options.model.dropoutState.origin = this.batch.origin;
  }

  /** Whether a launched update may still be pending when the next is launched. */
  get runsAhead(): boolean {
    return this.reads !== undefined && this.recording !== undefined && this.recording !== 'none';
  }

  /**
   * Makes the update of a step. All tensors that it creates are freed.
   * @param arrays the arrays that the objective fetched
   * @throws NonFiniteError naming step and op; the update is skipped if its gradient is not finite. If an interrupt
   * between two kernels throws, the network keeps the weights of the step before
   */
  run(step: number, arrays: readonly Float32Array[]): UpdateResult {
    return this.launch(step, arrays)();
  }

  /** Enqueues the update of a step; the first is also waited for. @throws like `run`, for the first step */
  launch(step: number, arrays: readonly Float32Array[]): PendingUpdate {
    const { optimizer } = this.options;
    const { learningRate } = optimizer;
    this.batch.load(step, arrays);
    optimizer.advance();
    const { device } = this.options;
    const first = this.recording === undefined;
    if (first) device.resetHighWater();
    const { live } = device.memory();
    try {
      const { recording } = this;
      const work = () => (recording && recording !== 'none' ? recording.replay() : this.work());
      // A rank that left a step would leave the others waiting in it.
      if (this.exchange) withoutInterruption(work);
      else work();
    } catch (error) {
      optimizer.abandon();
      throw error;
    }
    const read = this.runsAhead ? this.reads?.read(this.results.address) : undefined;
    const pending = () => {
      const values = Array.from(read ? new Float32Array(read().buffer) : this.results.dataSync());
      return this.figuresOf(values, { step, arrays, learningRate });
    };
    if (!first) return pending;
    const figures = pending();
    // Recorded after a first step op by op, which has compiled and allocated everything outside the recording.
    this.recording = this.record(device.memory().highWater - live);
    return () => figures;
  }

  /** @throws NonFiniteError */
  private figuresOf(
    values: number[],
    { step, arrays, learningRate }: { step: number; arrays: readonly Float32Array[]; learningRate: number },
  ): UpdateResult {
    const [gradientNorm] = values.splice(this.parts.length, 1);
    const stop = this.gatherLosses(values);
    const total = (first: number, every: number) =>
      this.parts.reduce((sum, _, part) => sum + values[first + part * every] * this.share, 0);
    const loss = total(0, 1);
    const { terms = [] } = this.options.objective;
    const finite = Number.isFinite(loss) && Number.isFinite(gradientNorm);
    if (!finite && this.reads) {
      // A later step may have been launched: it was skipped, but its batch is on the device.
      this.batch.load(step, arrays);
      this.results.write(new Float32Array(this.results.size));
    }
    if (!Number.isFinite(loss)) throw this.nonFinite(`the loss is ${loss}`, step);
    if (!Number.isFinite(gradientNorm)) throw this.nonFinite(`the norm of the gradient is ${gradientNorm}`, step);
    const named = terms.map((name, i) => [name, total(this.parts.length + i, terms.length)] as const);
    return { loss, learningRate, gradientNorm, stop, ...(named.length > 0 && { terms: Object.fromEntries(named) }) };
  }

  /** Fills in the losses, and their terms, of the parts that other ranks computed. @returns whether a rank wants to stop */
  private gatherLosses(values: number[]): boolean {
    const { ranks, wantsToStop } = this.options;
    if (!ranks) return false;
    const all = ranks.gather([Number(wantsToStop?.() ?? false), ...values]);
    const parts = this.parts.length;
    const { length: terms = 0 } = this.options.objective.terms ?? [];
    for (const i of values.keys()) {
      const part = i < parts ? i : Math.floor((i - parts) / terms);
      values[i] = all[part % ranks.size][1 + i];
    }
    return all.some(([flag]) => flag !== 0);
  }

  private record(expectedBytes: number): Recording | 'none' {
    const { device, onNotice } = this.options;
    try {
      return device.record(() => this.work(device.kind === 'cuda'), expectedBytes);
    } catch (error) {
      if (!(error instanceof RecordingError)) throw error;
      onNotice?.(`steps run op by op, which is slower: ${error.message}`);
      return 'none';
    }
  }

  /** @param keepGradients whether the gradients of the step stay where the next step's are written */
  private work(keepGradients = false): void {
    const { device, optimizer } = this.options;
    const { exchange } = this;
    const compute = (i: number) =>
      scope(() => {
        const loss = this.loss(this.parts[i], (...terms) => {
          const first = this.parts.length + 1 + i * terms.length;
          for (const [k, { address }] of terms.entries())
            device.copy(this.results.address + 4 * (first + k), address, 4);
        });
        device.copy(this.results.address + 4 * i, loss.address, 4);
        loss.backward(this.cotangent);
      });
    if (!exchange) for (const i of this.parts.keys()) compute(i);
    for (let round = 0; exchange && round < exchange.rounds; round++) {
      const part = exchange.partOf(round);
      if (part !== undefined) compute(part);
      exchange.finishRound(round);
    }
    // The update is skipped if the losses of this step or the norm of the step before are not finite.
    const guard = this.reads && this.results;
    scope(() =>
      device.copy(this.results.address + 4 * this.parts.length, optimizer.update({ guard, keepGradients }).address, 4),
    );
  }

  private loss(first: number, onTerms?: (...terms: Tensor[]) => void): Tensor {
    const { model, objective } = this.options;
    model.dropoutState.first = first;
    const loss: unknown = objective.loss(this.batch.part(first, this.partSize), onTerms);
    requireTensor('trainingLoop', loss, 'a tensor from objective.loss');
    return loss;
  }

  /** Repeats the step without the update and checks every result, to name the first op that is not finite. */
  private nonFinite(what: string, step: number): NonFiniteError {
    let op = '';
    try {
      checkFinite(() => {
        for (const first of this.ownParts()) scope(() => this.loss(first).backward(this.cotangent));
      });
    } catch (error) {
      if (!(error instanceof NonFiniteError)) throw error;
      op = `: ${error.message}`;
    }
    op = this.options.ranks?.gatherTexts(op).find((text) => text !== '') ?? op;
    return new NonFiniteError(`${what} at step ${step}${op}; lower optim.lr, or check the data`);
  }

  /** The parts that this rank computes. */
  private ownParts(): number[] {
    const { ranks } = this.options;
    return this.parts.filter((_, i) => !ranks || i % ranks.size === ranks.rank);
  }

  [Symbol.dispose](): void {
    const { arena } = this.options.optimizer;
    if (this.recording && !arena.gradients.disposed) withoutInterruption(() => arena.zeroGradients());
    if (this.recording !== 'none') this.recording?.[Symbol.dispose]();
    const { dropoutState } = this.options.model;
    if (dropoutState.origin === this.batch.origin) dropoutState.origin = undefined;
    this.exchange?.[Symbol.dispose]();
    this.batch[Symbol.dispose]();
    this.cotangent.dispose();
    this.results.dispose();
    this.reads?.[Symbol.dispose]();
  }
}
