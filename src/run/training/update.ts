// One optimiser update from a batch: loss and gradient of its parts, Adam. What differs from step to step (batch,
// sample numbers, Adam's schedule) is put into device memory first; the rest is the same work each time, recorded after
// the first step and replayed from then on.

import { checkFinite } from '../../autograd/mode.ts';
import type { Device, Recording } from '../../device/device.ts';
import { NonFiniteError, RecordingError, ValueError } from '../../errors.ts';
import type { Adam } from '../../nn/adam.ts';
import type { UNet } from '../../nn/unet.ts';
import { empty, full } from '../../tensor/create.ts';
import { keep, scope } from '../../tensor/scope.ts';
import { requireTensor, type Tensor } from '../../tensor/tensor.ts';
import type { TrainingStep } from '../checkpoints/training_step.ts';
import { DeviceBatch } from './batch.ts';
import type { Objective } from './objective.ts';

export interface UpdateOptions {
  model: UNet;
  optimizer: Adam;
  objective: Objective;
  device: Device;
  batchSize: number;
  /** Parts, one after the other, in which a batch is evaluated; default 1. */
  accumulation?: number;
  /** Called with the reason if a step cannot be recorded; steps then run op by op. */
  onNotice?: (text: string) => void;
}

/** The figures of one update. */
export type UpdateResult = Pick<TrainingStep, 'loss' | 'learningRate' | 'gradientNorm'>;

export class BatchUpdate {
  private readonly options: UpdateOptions;
  private readonly batch: DeviceBatch;
  /** First sample of each part. */
  private readonly parts: readonly number[];
  private readonly partSize: number;
  /** What share of the batch a part is, and the same as the cotangent of its loss: the gradient of a mean is a mean. */
  private readonly share: number;
  private readonly cotangent: Tensor;
  /** The loss of each part, then the gradient's norm. */
  private readonly results: Tensor;
  /** undefined before the first step, 'none' if steps run op by op. */
  private recording: Recording | 'none' | undefined;

  /** @throws ValueError when the batch cannot be cut into equal parts */
  constructor(options: UpdateOptions) {
    const { objective, device, batchSize, accumulation = 1 } = options;
    this.options = options;
    this.partSize = batchSize / accumulation;
    if (!Number.isInteger(this.partSize))
      throw new ValueError(`a batch of ${batchSize} cannot be cut into ${accumulation} equal parts`);
    this.parts = Array.from({ length: accumulation }, (_, i) => i * this.partSize);
    this.share = this.partSize / batchSize;
    this.batch = new DeviceBatch(batchSize, objective.shapes, device);
    this.cotangent = keep(full([], this.share, { device }));
    this.results = keep(empty([accumulation + 1], { device }));
    options.model.dropoutState.origin = this.batch.origin;
  }

  /**
   * The update of a step; everything it makes is freed when it returns.
   * @param arrays what the objective fetched
   * @throws NonFiniteError naming step and op; an update whose gradient is not finite is not applied. An error that
   * interrupts the work between two kernels leaves network and optimiser as they were before the step.
   */
  run(step: number, arrays: readonly Float32Array[]): UpdateResult {
    const { optimizer } = this.options;
    const { learningRate } = optimizer;
    this.batch.load(step, arrays);
    optimizer.advance();
    const { device } = this.options;
    const first = this.recording === undefined;
    if (first) device.resetHighWater();
    const { live } = device.memory();
    try {
      if (this.recording && this.recording !== 'none') this.recording.replay();
      else this.work();
    } catch (error) {
      optimizer.abandon();
      throw error;
    }
    const values = Array.from(this.results.dataSync());
    const gradientNorm = values.pop() as number;
    const loss = values.reduce((sum, value) => sum + value * this.share, 0);
    if (!Number.isFinite(loss)) throw this.nonFinite(`the loss is ${loss}`, step);
    if (!Number.isFinite(gradientNorm)) throw this.nonFinite(`the norm of the gradient is ${gradientNorm}`, step);
    // The first step ran op by op: it has compiled and allocated everything that cannot be made inside the recording.
    if (first) this.recording = this.record(device.memory().highWater - live);
    return { loss, learningRate, gradientNorm };
  }

  private record(expectedBytes: number): Recording | 'none' {
    const { device, onNotice } = this.options;
    try {
      return device.record(() => this.work(), expectedBytes);
    } catch (error) {
      if (!(error instanceof RecordingError)) throw error;
      onNotice?.(`steps are done op by op, which is slower: ${error.message}`);
      return 'none';
    }
  }

  private work(): void {
    const { device, optimizer } = this.options;
    this.parts.forEach((first, i) => {
      scope(() => {
        const loss = this.loss(first);
        device.copy(this.results.address + 4 * i, loss.address, 4);
        loss.backward(this.cotangent);
      });
    });
    scope(() => device.copy(this.results.address + 4 * this.parts.length, optimizer.update().address, 4));
  }

  private loss(first: number): Tensor {
    const { model, objective } = this.options;
    model.dropoutState.first = first;
    const loss: unknown = objective.loss(this.batch.part(first, this.partSize));
    requireTensor('trainingLoop', loss, 'a tensor from objective.loss');
    return loss;
  }

  /** Finds the first op whose result is not finite, by computing loss and gradient again with every result checked. */
  private nonFinite(what: string, step: number): NonFiniteError {
    let op = '';
    try {
      checkFinite(() => {
        for (const first of this.parts) scope(() => this.loss(first).backward(this.cotangent));
      });
    } catch (error) {
      if (!(error instanceof NonFiniteError)) throw error;
      op = `: ${error.message}`;
    }
    return new NonFiniteError(`${what} at step ${step}${op}. Lower optim.lr, or look at the data`);
  }

  [Symbol.dispose](): void {
    if (this.recording !== 'none') this.recording?.[Symbol.dispose]();
    const { dropoutState } = this.options.model;
    if (dropoutState.origin === this.batch.origin) dropoutState.origin = undefined;
    this.batch[Symbol.dispose]();
    this.cotangent.dispose();
    this.results.dispose();
  }
}
