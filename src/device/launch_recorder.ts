// Recording on devices whose kernels run in the calling thread. Launches are stored with their arguments and replayed without the
// JavaScript that produced them, which takes most of the time of a small network's step.
import { RecordingError } from '../errors.ts';
import type { CachingAllocator } from './allocator.ts';
import type { Recording } from './device.ts';
import { interruptionPoint, isUninterrupted } from './interruption.ts';
import { parseSignature, type Signature } from './module.ts';

export type Launch = (...values: number[]) => number;

export class LaunchRecorder {
  private readonly allocator: CachingAllocator;
  /** The launches of the work that is being recorded. */
  private noted: { name: string; launch: Launch; values: number[]; uninterrupted: boolean }[] | undefined;

  constructor(allocator: CachingAllocator) {
    this.allocator = allocator;
  }

  record(work: () => void): Recording {
    this.refuse('recording anything else');
    const noted: NonNullable<typeof this.noted> = [];
    const pool = this.allocator.openPool();
    this.noted = noted;
    let whole = false;
    try {
      work();
      whole = true;
    } finally {
      this.noted = undefined;
      this.allocator.closePool();
      if (!whole) this.allocator.releasePool(pool);
    }
    return {
      replay: () => {
        this.refuse('replaying what was recorded');
        this.allocator.countPool(pool);
        for (const { launch, values, uninterrupted } of noted) {
          if (!uninterrupted) interruptionPoint();
          launch(...values);
        }
      },
      [Symbol.dispose]: () => {
        noted.length = 0;
        this.allocator.releasePool(pool);
      },
    };
  }

  /** Wraps a launcher so that it stores its launches while work is recorded. */
  wrapLauncher(name: string, signature: Signature, launch: Launch): Launch {
    const { returns } = parseSignature(signature);
    // The result depends on shapes alone.
    if (returns === 'count') return launch;
    if (returns !== 'void')
      return (...values) => {
        this.refuse(`reading what ${name} returns`);
        return launch(...values);
      };
    return (...values) => {
      if (!this.noted) {
        interruptionPoint();
        return launch(...values);
      }
      this.noted.push({ name, launch, values, uninterrupted: isUninterrupted() });
      return 0;
    };
  }

  /** @throws RecordingError while work is recorded */
  refuse(what: string): void {
    if (!this.noted) return;
    const last = this.noted.at(-1);
    const where = last ? `after the kernel ${last.name}` : 'before its first kernel';
    throw new RecordingError(`${what} is not possible while work is recorded (${where})`);
  }
}
