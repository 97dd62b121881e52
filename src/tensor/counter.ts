// A whole number in device memory. Unlike a launch argument, it may change between two replays of a recorded graph.
import type { Device } from '../device/device.ts';
import { allocate } from './allocate.ts';
import { keep } from './scope.ts';
import type { Tensor } from './tensor.ts';

/** Low and high 32 bits of a whole number from 0 to 2^53, as int32. */
export function wordsOf(value: number): [low: number, high: number] {
  return [value | 0, Math.floor(value / 2 ** 32) | 0];
}

/** A whole number from 0 to 2^53 that kernels read. Its owner disposes it. */
export class Counter {
  private readonly words: Tensor;

  constructor(device: Device) {
    this.words = keep(allocate([2], { device, dtype: 'i32' }));
    this.words.label = 'counter';
    this.set(0);
  }

  /** Device address of its low word, followed by its high word. @throws UseAfterFreeError */
  get address(): number {
    return this.words.address;
  }

  /** How often it was set. */
  get writes(): number {
    return this.words.storage.writes;
  }

  /** Sets the value for all work enqueued from now on. */
  set(value: number): void {
    this.words.write(Int32Array.from(wordsOf(value)));
  }

  [Symbol.dispose](): void {
    this.words.dispose();
  }
}
