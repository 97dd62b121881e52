// A caching allocator. It takes memory from the system in reservations and keeps freed blocks in free lists by size class, so that
// every training step after the first takes nothing from the system. Size classes are eighths of a power of two (rounding loses at
// most 12.5 %); blocks are aligned to 64 bytes. Unused reservations are kept up to a limit of the source; those beyond it are returned,
// the longest unused first, when other sizes are asked for, so that work of changing sizes does not hold the sum of all of them.
import { isWhole } from '../arguments.ts';
import { DeviceError, OutOfMemoryError, RecordingError } from '../errors.ts';
import type { MemoryFigures } from './device.ts';

const ALIGNMENT = 64;
const SLAB_BYTES = 32 * 2 ** 20;
/** Larger blocks have a reservation of their own. */
const LARGE = 4 * 2 ** 20;
const HUGE_PAGE = 2 * 2 ** 20;

/** Bytes of the class that holds `bytes`. */
export function sizeClass(bytes: number): number {
  if (bytes <= ALIGNMENT * 8) return Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
  const step = Math.max(ALIGNMENT, 2 ** (Math.floor(Math.log2(bytes)) - 3));
  return Math.ceil(bytes / step) * step;
}

/** One piece of memory taken from the system: a large block, or a slab of small ones. */
interface Reservation {
  readonly address: number;
  readonly bytes: number;
  /** Number of its blocks that are in use or belong to a pool; -1 after it was returned to the system. */
  live: number;
}

interface Block {
  readonly address: number;
  readonly size: number;
  /** The size that was asked for, which is counted while the block is in use. */
  used?: number;
  readonly reservation: Reservation;
  /** The pool that the block returns to when it is freed. */
  pool?: Pool;
}

/** Blocks that belong to a recording. No other work gets them until the pool is released. */
interface Pool {
  readonly freeBlocks: Map<number, Block[]>;
  /** Peak bytes in use from this pool. */
  highWater: number;
  released: boolean;
}

export interface MemorySource {
  /** Takes that many bytes from the system, aligned to a page; 0 when there are none. */
  reserve: (bytes: number) => number;
  /** Returns a reservation to the system; absent where the system takes nothing back. */
  release?: (address: number, bytes: number) => void;
  /** Bytes of unused reservations that are kept when others are made; default: all. */
  mostUnused?: number;
}

/** For memory of the host: enough for the small tensors of any work; larger ones are not asked for often. */
export const HOST_MOST_UNUSED = 256 * 2 ** 20;

export class CachingAllocator {
  private readonly source: MemorySource;
  private readonly mostBytes: number | undefined;
  private readonly freeBlocks = new Map<number, Block[]>();
  private readonly blocks = new Map<number, Block>();
  /** Reservations without a block in use, the longest unused first. */
  private readonly unused = new Set<Reservation>();
  private slab: Reservation | undefined;
  private slabUsed = 0;
  private readonly figures: MemoryFigures = { live: 0, highWater: 0, reserved: 0 };
  /** The open pool, and the memory figures when it was opened. */
  private open: { pool: Pool; live: number; highWater: number } | undefined;

  /** @param mostBytes a limit other than the system's, such as WebAssembly's address space; named in out-of-memory errors */
  constructor(source: MemorySource, mostBytes?: number) {
    this.source = source;
    this.mostBytes = mostBytes;
  }

  allocate(bytes: number): number {
    if (!isWhole(bytes)) throw new DeviceError(`cannot allocate ${bytes} bytes`);
    const size = sizeClass(bytes);
    const pool = this.open?.pool;
    let block = pool?.freeBlocks.get(size)?.pop();
    if (!block) {
      block = this.freeBlocks.get(this.fitting(size))?.pop() ?? this.carve(size);
      if (block.reservation.live++ === 0) this.unused.delete(block.reservation);
      block.pool = pool;
    }
    this.blocks.set(block.address, block);
    block.used = size;
    this.figures.live += size;
    this.figures.highWater = Math.max(this.figures.highWater, this.figures.live);
    return block.address;
  }

  free(address: number): void {
    const block = this.blocks.get(address);
    if (block === undefined) throw new DeviceError(`free of an address that is not allocated: ${address}`);
    if (this.open && block.pool !== this.open.pool)
      throw new RecordingError(
        'freeing memory that was allocated before the recording is not possible while work is recorded',
      );
    this.blocks.delete(address);
    this.figures.live -= block.used as number;
    if (block.pool && !block.pool.released) putAway(block, block.pool.freeBlocks);
    else this.giveBack(block);
  }

  /** Until `closePool`, allocations come from this pool first and return to it when they are freed. */
  openPool(): Pool {
    const pool: Pool = { freeBlocks: new Map(), highWater: 0, released: false };
    const { live, highWater } = this.figures;
    this.open = { pool, live, highWater };
    this.figures.highWater = live;
    return pool;
  }

  closePool(): void {
    if (!this.open) return;
    const { pool, live, highWater } = this.open;
    pool.highWater = this.figures.highWater - live;
    this.figures.highWater = Math.max(highWater, this.figures.highWater);
    this.open = undefined;
  }

  /** Adds the pool's recorded peak to the high-water mark, as a replay uses it. */
  countPool(pool: Pool): void {
    this.figures.highWater = Math.max(this.figures.highWater, this.figures.live + pool.highWater);
  }

  /** Returns the pool's blocks to the allocator; blocks in use follow when they are freed. */
  releasePool(pool: Pool): void {
    pool.released = true;
    for (const blocks of pool.freeBlocks.values()) for (const block of blocks) this.giveBack(block);
    pool.freeBlocks.clear();
  }

  private giveBack(block: Block): void {
    block.pool = undefined;
    if (--block.reservation.live === 0) this.unused.add(block.reservation);
    putAway(block, this.freeBlocks);
  }

  /** Whether the address is a block of this allocator that is in use. */
  owns(address: number): boolean {
    return this.blocks.has(address);
  }

  memory(): MemoryFigures {
    return { ...this.figures };
  }

  resetHighWater(): void {
    this.figures.highWater = this.figures.live;
  }

  /**
   * Returns unused reservations to the system, the longest unused first.
   * @param kept most bytes of them that stay; default 0
   * @returns how many bytes were returned
   */
  trim(kept = 0): number {
    const { release } = this.source;
    let more = -kept;
    let returned = 0;
    for (const { bytes } of this.unused) more += bytes;
    for (const reservation of this.unused) {
      if (returned >= more || !release) break;
      release(reservation.address, reservation.bytes);
      this.unused.delete(reservation);
      returned += reservation.bytes;
      reservation.live = -1;
    }
    for (const [size, blocks] of this.freeBlocks)
      this.freeBlocks.set(
        size,
        blocks.filter(({ reservation }) => reservation.live >= 0),
      );
    this.figures.reserved -= returned;
    return returned;
  }

  /**
   * The size of the free blocks that serve `size`. A large one may have up to twice the size: without other sizes, work of many sizes
   * would return memory to the system and take it again all the time, which costs more than the work on it.
   */
  private fitting(size: number): number {
    if (size <= LARGE) return size;
    let best = 2 * size;
    for (const [other, blocks] of this.freeBlocks)
      if (blocks.length > 0 && other >= size && other <= best) best = other;
    return best;
  }

  private carve(size: number): Block {
    if (size > LARGE) {
      const reservation = this.reserve(Math.ceil(size / HUGE_PAGE) * HUGE_PAGE);
      return { address: reservation.address, size, reservation };
    }
    if (!this.slab || this.slab.live < 0 || this.slabUsed + size > SLAB_BYTES) {
      this.slab = this.reserve(SLAB_BYTES);
      this.slabUsed = 0;
    }
    const address = this.slab.address + this.slabUsed;
    this.slabUsed += size;
    return { address, size, reservation: this.slab };
  }

  private reserve(bytes: number): Reservation {
    const { mostUnused } = this.source;
    if (mostUnused !== undefined) this.trim(mostUnused);
    const address = this.source.reserve(bytes) || (this.trim() > 0 && this.source.reserve(bytes));
    if (!address) {
      const { live, reserved } = this.figures;
      const limit = this.mostBytes === undefined ? '' : ` of ${mebibytes(this.mostBytes)} at most`;
      throw new OutOfMemoryError(
        `out of memory: ${mebibytes(bytes)} asked, ${mebibytes(live)} in use by ${this.blocks.size} blocks, ` +
          `${mebibytes(reserved)} reserved${limit}; use a smaller batch or a smaller memory budget`,
      );
    }
    this.figures.reserved += bytes;
    return { address, bytes, live: 0 };
  }
}

function putAway(block: Block, freeBlocks: Map<number, Block[]>): void {
  const blocks = freeBlocks.get(block.size);
  if (blocks) blocks.push(block);
  else freeBlocks.set(block.size, [block]);
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
