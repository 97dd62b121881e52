// A caching allocator: memory is taken from the system in reservations, a freed block goes to the free list of its size
// class and is handed out again, so that a training step after the first takes nothing from the system.
// Classes are eighths of a power of two (at most 12.5 % is lost to rounding); blocks are aligned to 64 bytes.
// Reservations are kept, unless the system has no memory left and takes back those of which nothing is in use.
import { DeviceError, OutOfMemoryError, RecordingError } from '../errors.ts';
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

/** Memory as it was taken from the system: one large block, or a slab of small ones. */
interface Reservation {
  readonly address: number;
  readonly bytes: number;
  /** Blocks of it in use, or a pool's. */
  live: number;
}

interface Block {
  readonly address: number;
  readonly size: number;
  readonly reservation: Reservation;
  /** That it goes back to. */
  pool?: Pool;
}

/** Blocks of work that was recorded: nobody else is given them until it is released. */
interface Pool {
  readonly freeBlocks: Map<number, Block[]>;
  /** The most bytes that were in use of it at once. */
  highWater: number;
  released: boolean;
}

export interface MemorySource {
  /** Takes that many bytes from the system, aligned to a page; 0 when there are none. */
  reserve: (bytes: number) => number;
  /** Gives a reservation back; absent where the system would not take it. */
  release?: (address: number) => void;
}

export class CachingAllocator {
  private readonly source: MemorySource;
  private readonly mostBytes: number | undefined;
  private readonly freeBlocks = new Map<number, Block[]>();
  private readonly blocks = new Map<number, Block>();
  private readonly reservations = new Set<Reservation>();
  private slab: Reservation | undefined;
  private slabUsed = 0;
  private readonly figures: MemoryFigures = { live: 0, highWater: 0, reserved: 0 };
  /** That blocks are taken for now, and the figures when it was opened. */
  private open: { pool: Pool; live: number; highWater: number } | undefined;

  /** @param mostBytes where there is a limit that is not the system's, as of WebAssembly's memory: for the error */
  constructor(source: MemorySource, mostBytes?: number) {
    this.source = source;
    this.mostBytes = mostBytes;
  }

  allocate(bytes: number): number {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new DeviceError(`cannot allocate ${bytes} bytes`);
    const size = sizeClass(bytes);
    const pool = this.open?.pool;
    let block = pool?.freeBlocks.get(size)?.pop();
    if (!block) {
      block = this.freeBlocks.get(size)?.pop() ?? this.carve(size);
      block.reservation.live++;
      block.pool = pool;
    }
    this.blocks.set(block.address, block);
    this.figures.live += size;
    this.figures.highWater = Math.max(this.figures.highWater, this.figures.live);
    return block.address;
  }

  free(address: number): void {
    const block = this.blocks.get(address);
    if (block === undefined) throw new DeviceError(`free of an address that is not allocated: ${address}`);
    if (this.open && block.pool !== this.open.pool)
      throw new RecordingError('freeing memory that was there before is not possible while work is recorded');
    this.blocks.delete(address);
    this.figures.live -= block.size;
    if (block.pool && !block.pool.released) putAway(block, block.pool.freeBlocks);
    else this.giveBack(block);
  }

  /** What is allocated until `closePool` goes back to this pool when it is freed, and is allocated from it first. */
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

  /** Counts a pool as used as much as it was when it was open. */
  countPool(pool: Pool): void {
    this.figures.highWater = Math.max(this.figures.highWater, this.figures.live + pool.highWater);
  }

  /** Its blocks are everybody's again; those in use when they are freed. */
  releasePool(pool: Pool): void {
    pool.released = true;
    for (const blocks of pool.freeBlocks.values()) for (const block of blocks) this.giveBack(block);
    pool.freeBlocks.clear();
  }

  private giveBack(block: Block): void {
    block.pool = undefined;
    block.reservation.live--;
    putAway(block, this.freeBlocks);
  }

  /** Whether it is in use as a block of this allocator. */
  owns(address: number): boolean {
    return this.blocks.has(address);
  }

  memory(): MemoryFigures {
    return { ...this.figures };
  }

  resetHighWater(): void {
    this.figures.highWater = this.figures.live;
  }

  /** Gives back every reservation of which nothing is in use. Returns the bytes. */
  trim(): number {
    const { release } = this.source;
    if (!release) return 0;
    const unused = new Set([...this.reservations].filter(({ live }) => live === 0));
    for (const [size, blocks] of this.freeBlocks) {
      const kept = blocks.filter(({ reservation }) => !unused.has(reservation));
      this.freeBlocks.set(size, kept);
    }
    if (this.slab && unused.has(this.slab)) this.slab = undefined;
    let bytes = 0;
    for (const reservation of unused) {
      release(reservation.address);
      this.reservations.delete(reservation);
      bytes += reservation.bytes;
    }
    this.figures.reserved -= bytes;
    return bytes;
  }

  private carve(size: number): Block {
    if (size > SLAB_BYTES / 8) {
      const reservation = this.reserve(Math.ceil(size / HUGE_PAGE) * HUGE_PAGE);
      return { address: reservation.address, size, reservation };
    }
    if (!this.slab || this.slabUsed + size > SLAB_BYTES) {
      this.slab = this.reserve(SLAB_BYTES);
      this.slabUsed = 0;
    }
    const address = this.slab.address + this.slabUsed;
    this.slabUsed += size;
    return { address, size, reservation: this.slab };
  }

  private reserve(bytes: number): Reservation {
    const address = this.source.reserve(bytes) || (this.trim() > 0 && this.source.reserve(bytes));
    if (!address) {
      const { live, reserved } = this.figures;
      const limit = this.mostBytes === undefined ? '' : ` of ${mebibytes(this.mostBytes)} at most`;
      throw new OutOfMemoryError(
        `out of memory: ${mebibytes(bytes)} asked, ${mebibytes(live)} in use by ${this.blocks.size} blocks, ` +
          `${mebibytes(reserved)} reserved${limit}; use a smaller batch or a smaller memory budget`,
      );
    }
    const reservation = { address, bytes, live: 0 };
    this.reservations.add(reservation);
    this.figures.reserved += bytes;
    return reservation;
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
