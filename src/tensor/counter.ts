// A whole number in device memory. What kernels read from here may change between two replays of a recorded graph; a launch
// argument may not.
import type { Device } from '../device/device.ts';
import { allocate } from './allocate.ts';
import { keep } from './scope.ts';
import type { Tensor } from './tensor.ts';

/** Low and high 32 bits of a whole number from 0 to 2^53, as int32. */
export function wordsOf(value: number): [low: number, high: number] {
  return [value | 0, Math.floor(value / 2 ** 32) | 0];
}

/** A whole number from 0 to 2^53 that kernels read; its owner disposes it. */
export class Counter {
  private readonly words: Tensor;

  constructor(device: Device) {
    this.words = keep(allocate([2], { device, dtype: 'i32' }));
    this.words.label = 'counter';
    this.set(0);
  }

  /** Where its low and its high word lie. @throws UseAfterFreeError */
  get address(): number {
    return this.words.address;
  }

  /** How often it was set. */
  get writes(): number {
    return this.words.storage.writes;
  }

  /** For all work enqueued from now on. */
  set(value: number): void {
    this.words.write(Int32Array.from(wordsOf(value)));
  }

  [Symbol.dispose](): void {
    this.words.dispose();
  }
}
