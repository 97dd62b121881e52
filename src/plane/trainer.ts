// Training of one network, update by update. An update is recorded after the first and then replayed: on networks this small most of the
// time would go into choosing what to launch.

import { randomBlock } from '../data/random.ts';
import type { Device, Recording } from '../device/device.ts';
import { NonFiniteError, RecordingError } from '../errors.ts';
import { Adam, cosineSchedule } from '../nn/index.ts';
import { empty, zeros } from '../tensor/create.ts';
import { keep, scope } from '../tensor/scope.ts';
import { streams } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Batches } from './couplings.ts';
import type { PlaneNetwork } from './networks.ts';

export interface TrainingPlan {
  rate: number;
  batch: number;
  l2: number;
  steps: number;
  seed: number;
  /** One unit of the network in the plane. */
  scale: number;
  device: Device;
  /** Trains at t = 0 alone, for one step. */
  atStart: boolean;
}

export class Trainer {
  /** Updates made so far. */
  step = 0;
  /** The loss of the last update, in the square of the session's scale. */
  loss = Number.NaN;
  private readonly plan: TrainingPlan;
  private readonly network: PlaneNetwork;
  private readonly batches: Batches;
  private readonly optimizer: Adam;
  private readonly x0: Tensor;
  private readonly x1: Tensor;
  private readonly t: Tensor;
  private readonly result: Tensor;
  /** undefined before the first update, 'none' where work cannot be recorded. */
  private recording: Recording | 'none' | undefined;

  constructor(network: PlaneNetwork, batches: Batches, plan: TrainingPlan) {
    const { rate, l2, steps, batch, device } = plan;
    this.plan = plan;
    this.network = network;
    this.batches = batches;
    const learningRate = cosineSchedule(rate, { steps });
    this.optimizer = new Adam(network.module, { learningRate, weightDecay: l2, gradientClip: 10 });
    const make = (shape: number[]) => keep(empty(shape, { device }));
    [this.x0, this.x1, this.t] = [make([batch, 2]), make([batch, 2]), make([batch])];
    this.result = keep(zeros([], { device }));
  }

  /** Makes one update. @throws NonFiniteError for a loss that is not finite */
  update(): void {
    const { batch, scale, seed, atStart } = this.plan;
    const { x0, x1 } = this.batches.batch(this.step, batch);
    this.x0.write(x0.map((value) => value / scale));
    this.x1.write(x1.map((value) => value / scale));
    this.t.write(atStart ? new Float32Array(batch) : timesOf(this.step, batch, seed));
    this.optimizer.advance();
    if (this.recording && this.recording !== 'none') this.recording.replay();
    else this.work();
    this.recording ??= this.record();
    this.step++;
    this.loss = this.result.item();
    if (!Number.isFinite(this.loss))
      throw new NonFiniteError(`the loss is ${this.loss} at step ${this.step}; lower the rate`);
  }

  private work(recorded = false): void {
    const { network, optimizer, result } = this;
    const { device } = this.plan;
    scope(() => {
      const loss = network.loss(this.x0, this.x1, this.t);
      device.copy(result.address, loss.address, 4);
      loss.backward();
    });
    // On a card, a replay writes gradients over those of the update before.
    scope(() => void optimizer.update({ keepGradients: recorded && device.kind === 'cuda' }));
  }

  private record(): Recording | 'none' {
    try {
      return this.plan.device.record(() => this.work(true));
    } catch (error) {
      if (error instanceof RecordingError) return 'none';
      throw error;
    }
  }

  /** Frees everything but the network, whose weights are copied first: the optimiser owns their memory. */
  dispose(): PlaneNetwork {
    const trained = this.network.copy();
    if (this.recording !== 'none') this.recording?.[Symbol.dispose]();
    for (const one of [this.x0, this.x1, this.t, this.result]) one.dispose();
    this.optimizer.dispose();
    return trained;
  }
}

/** The times of a batch, uniform in [0, 1): one in each of `count` equal parts, so that a batch covers the interval. */
function timesOf(step: number, count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const [u] = randomBlock(0, step * count + i, streams.times, seed);
    return (i + u / 2 ** 32) / count;
  });
}
