// The allocator of a recorded graph's memory: best fit, with blocks split to size and merged with free neighbours. A recording
// allocates once and is replayed for hours, so the search pays off; a few reservations hold everything.
import { isWhole } from '../../arguments.ts';
import { DeviceError, OutOfMemoryError } from '../../errors.ts';
import type { MemoryFigures } from '../device.ts';

/** The memory figures of an allocator that never returns unused memory to the driver by itself. */
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

  /** Returns nothing. @returns the number of bytes returned to the driver */
  trim(): number {
    return 0;
  }
}

const ALIGNMENT = 256;
/** A new reservation is a fraction of all earlier ones, within these bounds, or as large as the request. */
const PART = 8;
const LEAST_RESERVATION = 32 * 2 ** 20;
const MOST_RESERVATION = 256 * 2 ** 20;

/** A piece of a reservation, linked to its neighbours. */
interface Piece {
  address: number;
  bytes: number;
  free: boolean;
  before: Piece | undefined;
  after: Piece | undefined;
}

export class PoolAllocator extends Counted {
  private readonly reserveBytes: (bytes: number) => number;
  private readonly first: number;
  private readonly used = new Map<number, Piece>();
  private readonly unused = new Set<Piece>();

  /**
   * @param reserve takes bytes from the system permanently; returns 0 if there are none
   * @param first bytes of the first reservation; default: the same rule as for later ones
   */
  constructor(reserve: (bytes: number) => number, first = 0) {
    super();
    this.reserveBytes = reserve;
    this.first = first;
  }

  allocate(bytes: number): number {
    if (!isWhole(bytes)) throw new DeviceError(`cannot allocate ${bytes} bytes`);
    const size = Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
    let best: Piece | undefined;
    for (const piece of this.unused)
      if (
        piece.bytes >= size &&
        (!best || piece.bytes < best.bytes || (piece.bytes === best.bytes && piece.address < best.address))
      )
        best = piece;
    const piece = best ?? this.reserve(size);
    this.unused.delete(piece);
    this.cut(piece, size);
    piece.free = false;
    this.used.set(piece.address, piece);
    this.countLive(size);
    return piece.address;
  }

  free(address: number): void {
    const piece = this.used.get(address);
    if (!piece) throw new DeviceError(`free of an address that is not allocated: ${address}`);
    this.used.delete(address);
    this.countLive(-piece.bytes);
    piece.free = true;
    this.unused.add(piece);
    if (piece.after?.free) this.join(piece, piece.after);
    if (piece.before?.free) this.join(piece.before, piece);
  }

  /** Whether the address is a block of this allocator that is in use. */
  owns(address: number): boolean {
    return this.used.has(address);
  }

  private reserve(size: number): Piece {
    const { reserved } = this.figures;
    // Only a little is missing beyond the expected bytes.
    const most = this.first > 0 ? LEAST_RESERVATION : MOST_RESERVATION;
    const further = Math.min(most, Math.max(LEAST_RESERVATION, reserved / PART));
    const part = reserved === 0 && this.first > 0 ? this.first : further;
    const wanted = Math.max(size, Math.ceil(part / ALIGNMENT) * ALIGNMENT);
    let bytes = wanted;
    let address = this.reserveBytes(bytes);
    // A nearly full card may still have exactly the requested bytes.
    if (!address && wanted > size) {
      bytes = size;
      address = this.reserveBytes(bytes);
    }
    if (!address)
      throw new OutOfMemoryError(
        `out of memory: ${size} bytes asked, ${this.figures.live} in use by ${this.used.size} blocks of a recorded graph`,
      );
    this.figures.reserved += bytes;
    return { address, bytes, free: true, before: undefined, after: undefined };
  }

  /** Splits off the part beyond `size` as a free piece. */
  private cut(piece: Piece, size: number): void {
    if (piece.bytes === size) return;
    const rest: Piece = {
      address: piece.address + size,
      bytes: piece.bytes - size,
      free: true,
      before: piece,
      after: piece.after,
    };
    if (piece.after) piece.after.before = rest;
    piece.after = rest;
    piece.bytes = size;
    this.unused.add(rest);
  }

  private join(piece: Piece, next: Piece): void {
    piece.bytes += next.bytes;
    piece.after = next.after;
    if (next.after) next.after.before = piece;
    this.unused.delete(next);
  }
}
