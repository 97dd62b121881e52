// A batch in device memory. It is the same memory for every step, so that a recorded step finds its data there.
import type { Device } from '../../device/device.ts';
import { Counter } from '../../tensor/counter.ts';
import { empty } from '../../tensor/create.ts';
import { keep } from '../../tensor/scope.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';

/** A range of the samples of a batch. */
export interface BatchPart {
  /** Those samples of each array of the batch, [count, ...]. */
  tensors: readonly Tensor[];
  count: number;
  /** Number of the first one, counted from `origin`: see Draw. */
  first: number;
  origin: Counter;
}

export class DeviceBatch {
  /** Index in the run of the batch's first sample. */
  readonly origin: Counter;
  private readonly size: number;
  private readonly shapes: readonly Shape[];
  private readonly tensors: readonly Tensor[];

  /** @param shapes shape of one sample of each array */
  constructor(size: number, shapes: readonly Shape[], device: Device) {
    this.size = size;
    this.shapes = shapes;
    this.origin = new Counter(device);
    this.tensors = shapes.map((shape) => keep(empty([size, ...shape], { device })));
  }

  /** Uploads the batch of a step. */
  load(step: number, arrays: readonly Float32Array[]): void {
    this.origin.set(step * this.size);
    this.tensors.forEach((target, i) => target.write(arrays[i]));
  }

  /** Samples [first, first + count) as windows, which the open scope owns. */
  part(first: number, count: number): BatchPart {
    const tensors = this.tensors.map((whole, i) =>
      view(whole, [count, ...this.shapes[i]], first * sizeOf(this.shapes[i])),
    );
    return { tensors, count, first, origin: this.origin };
  }

  [Symbol.dispose](): void {
    this.origin[Symbol.dispose]();
    for (const tensor of this.tensors) tensor.dispose();
  }
}
