// What allocators that keep nothing for another use have in common.
import type { MemoryFigures } from '../device.ts';

export abstract class Counted {
  protected readonly figures: MemoryFigures = { live: 0, highWater: 0, reserved: 0 };

  protected countLive(bytes: number): void {
    const { figures } = this;
    figures.live += bytes;
    figures.highWater = Math.max(figures.highWater, figures.live);
  }

  memory(): MemoryFigures {
    return { ...this.figures };
  }

  resetHighWater(): void {
    this.figures.highWater = this.figures.live;
  }

  /** There is nothing to give back. */
  trim(): number {
    return 0;
  }
}
