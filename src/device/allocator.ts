// A caching allocator over slabs that are never given back: a freed block goes to the free list of its size class and
// is handed out again, so that a training step after the first takes nothing from the system.
// Classes are eighths of a power of two (at most 12.5 % is lost to rounding); blocks are aligned to 64 bytes.
import { DeviceError } from '../errors.ts';
import type { MemoryFigures } from './device.ts';

const ALIGNMENT = 64;
const SLAB_BYTES = 32 * 2 ** 20;
const HUGE_PAGE = 2 * 2 ** 20;

/** Bytes of the class that holds `bytes`. */
export function sizeClass(bytes: number): number {
  if (bytes <= ALIGNMENT * 8) return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
  const step = Math.max(ALIGNMENT, 2 ** (Math.floor(Math.log2(bytes)) - 3));
  return Math.ceil(bytes / step) * step;
}

export class CachingAllocator {
  private readonly grow: (bytes: number) => number;
  private readonly freeBlocks = new Map<number, number[]>();
  private readonly sizes = new Map<number, number>();
  private slab = 0;
  private slabLeft = 0;
  private readonly figures: MemoryFigures = { live: 0, highWater: 0, reserved: 0 };

  /** @param grow takes that many bytes from the system, aligned to a page; 0 when there are none */
  constructor(grow: (bytes: number) => number) {
    this.grow = grow;
  }

  allocate(bytes: number): number {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new DeviceError(`cannot allocate ${bytes} bytes`);
    const size = sizeClass(bytes);
    const address = this.freeBlocks.get(size)?.pop() ?? this.carve(size);
    this.sizes.set(address, size);
    this.figures.live += size;
    this.figures.highWater = Math.max(this.figures.highWater, this.figures.live);
    return address;
  }

  free(address: number): void {
    const size = this.sizes.get(address);
    if (size === undefined) throw new DeviceError(`free of an address that is not allocated: ${address}`);
    this.sizes.delete(address);
    this.figures.live -= size;
    const blocks = this.freeBlocks.get(size);
    if (blocks) blocks.push(address);
    else this.freeBlocks.set(size, [address]);
  }

  memory(): MemoryFigures {
    return { ...this.figures };
  }

  resetHighWater(): void {
    this.figures.highWater = this.figures.live;
  }

  private carve(size: number): number {
    if (size > SLAB_BYTES / 8) return this.reserve(Math.ceil(size / HUGE_PAGE) * HUGE_PAGE);
    if (size > this.slabLeft) {
      this.slab = this.reserve(SLAB_BYTES);
      this.slabLeft = SLAB_BYTES;
    }
    const address = this.slab;
    this.slab += size;
    this.slabLeft -= size;
    return address;
  }

  private reserve(bytes: number): number {
    const address = this.grow(bytes);
    if (!address) {
      const { live, reserved } = this.figures;
      throw new DeviceError(
        `out of memory: ${mebibytes(bytes)} asked, ${mebibytes(live)} in use by ${this.sizes.size} blocks, ` +
          `${mebibytes(reserved)} reserved; use a smaller batch or a smaller memory budget`,
      );
    }
    this.figures.reserved += bytes;
    return address;
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
