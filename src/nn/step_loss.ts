// The losses of an optimiser's last steps. Each is copied within device memory when its step is enqueued, and is read
// back only on request: a training loop that prints every hundredth loss waits for the device only every hundredth
// step.
import { noGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { UseAfterFreeError, ValueError } from '../errors.ts';
import { cast } from '../kernels/cast.ts';
import { checkOperands } from '../kernels/op.ts';
import { allocate } from '../tensor/allocate.ts';
import { keep, scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';

/**
 * Number of losses that an optimiser keeps; a handle can be read until this number of further steps has been enqueued.
 */
export const LOSSES_KEPT = 128;

/**
 * The loss of one step of an optimiser, in its device's memory. It holds no tensor and needs no dispose.
 * @example
 * const layer = new Linear(1, 1);
 * const optimizer = new SGD(layer, { learningRate: 0.1 });
 * const loss = optimizer.minimize(() => mse(layer.forward(zeros([4, 1])), ones([4, 1])));
 * // Only this call waits for the device.
 * loss.item(); // 1
 * optimizer.dispose();
 */
export class StepLoss {
  // Fields that scope() can look into: a handle may be what a scope returns.
  private readonly ring: LossRing;
  private readonly step: number;

  /** Made by `minimize` of an optimiser. @internal */
  constructor(ring: LossRing, step: number) {
    this.ring = ring;
    this.step = step;
  }

  /**
   * Returns the loss, waiting until the device has computed it.
   * @throws ValueError after 128 further steps, because the loss has been overwritten; UseAfterFreeError if the
   * optimiser is disposed; RecordingError while work is recorded
   */
  item(): number {
    return this.ring.read(this.step);
  }
}

/** A ring buffer of the last losses: the loss of step n is at index n modulo its length. */
export class LossRing {
  private readonly values: Tensor;
  private readonly op: string;
  private count = 0;

  /** @param op the name of the function that records losses, for messages */
  constructor(device: Device, op: string) {
    this.op = op;
    this.values = keep(allocate([LOSSES_KEPT], { device }));
    this.values.label = 'losses of the optimiser';
  }

  /** Appends a copy of a loss with one element, without waiting for the device. @throws DtypeError, DeviceError */
  put(loss: Tensor): StepLoss {
    const number = this.count++;
    const place = number % LOSSES_KEPT;
    scope(() => {
      const value = loss.dtype === 'bf16' ? noGrad(() => cast(loss, 'f32')) : loss;
      const device = checkOperands(this.op, [this.values, value]);
      device.copy(this.values.address + 4 * place, value.address, 4);
    });
    return new StepLoss(this, number);
  }

  /** The loss of a step by its number. @throws UseAfterFreeError after `dispose`, ValueError for one that has been overwritten */
  read(number: number): number {
    if (this.values.disposed)
      throw new UseAfterFreeError(
        '[StepLoss.item] expected a loss of a living optimiser, got one of a disposed optimiser; read it sooner',
      );
    const later = this.count - 1 - number;
    if (later >= LOSSES_KEPT)
      throw new ValueError(
        `[StepLoss.item] expected a loss of the last ${LOSSES_KEPT} steps, got one with ${later} steps after it; read it sooner`,
      );
    using value = alias(this.values, [], number % LOSSES_KEPT);
    return value.item();
  }

  dispose(): void {
    this.values.dispose();
  }
}
