// Memory of a card. All work of a device is in one stream, so a freed block can be reused at once: later work runs later.
import { DeviceError, OutOfMemoryError } from '../../errors.ts';
import { CachingAllocator, type MemorySource } from '../allocator.ts';
import type { MemoryFigures } from '../device.ts';
import { duringCapture } from '../native/cuda_handles.ts';
import { type Driver, DriverError, type Stream } from '../native/libcuda.ts';
import { Counted, PoolAllocator } from './pool_allocator.ts';

export interface CudaAllocator {
  allocate(bytes: number): number;
  free(address: number): void;
  /** Whether the address is a block of this allocator that is in use. */
  owns(address: number): boolean;
  memory(): MemoryFigures;
  resetHighWater(): void;
  /** Returns unused memory to the driver. */
  trim(): number;
}

/** @param caching false: every tensor is an allocation of its own, so that a memory checker sees where each ends */
export function openAllocator(driver: Driver, stream: Stream, caching: boolean): CudaAllocator {
  const source = {
    reserve: (bytes: number) => allocateOrZero(driver, bytes),
    release(address: number) {
      stream.wait();
      driver.call('cuMemFree_v2', address);
    },
  };
  return caching ? new CachingAllocator(source) : new DirectAllocator(source);
}

/** Returns 0 if the card has no memory left. */
function allocateOrZero(driver: Driver, bytes: number): number {
  try {
    return driver.make('cuMemAlloc_v2', bytes);
  } catch (error) {
    if (error instanceof DriverError && error.outOfMemory) return 0;
    throw error;
  }
}

/**
 * Memory of a recorded graph, taken from the driver during capture and returned when the graph is destroyed. Freed blocks are reused
 * within the graph, whose work runs in one order, and nowhere else.
 */
export class GraphPool {
  readonly allocator: CudaAllocator;
  private readonly driver: Driver;
  private readonly reservations: number[] = [];
  private reserved = 0;

  /** @param expectedBytes reserved in one piece at the first allocation, if the card has that much */
  constructor(driver: Driver, caching: boolean, expectedBytes = 0) {
    this.driver = driver;
    const reserve = (bytes: number) => {
      const address = duringCapture(driver, () => allocateOrZero(driver, bytes));
      if (address) this.reservations.push(address);
      if (address) this.reserved += bytes;
      return address;
    };
    this.allocator = caching
      ? new PoolAllocator(reserve, expectedBytes)
      : // Freed blocks stay reserved, because the graph uses them again.
        new DirectAllocator({ reserve, release: () => {} });
  }

  memory(): MemoryFigures {
    return { ...this.allocator.memory(), reserved: this.reserved };
  }

  /** To be called after the graph is destroyed and its last replay is done. */
  release(): void {
    for (const address of this.reservations) this.driver.call('cuMemFree_v2', address);
  }
}

/** A source that takes memory back, and keeps nothing. */
type ReturningSource = Required<Pick<MemorySource, 'reserve' | 'release'>>;

class DirectAllocator extends Counted implements CudaAllocator {
  private readonly source: ReturningSource;
  private readonly sizes = new Map<number, number>();

  constructor(source: ReturningSource) {
    super();
    this.source = source;
  }

  allocate(bytes: number): number {
    const address = this.source.reserve(Math.max(1, bytes));
    const { figures } = this;
    if (!address)
      throw new OutOfMemoryError(
        `out of memory: ${bytes} bytes asked, ${figures.live} in use by ${this.sizes.size} blocks`,
      );
    this.sizes.set(address, bytes);
    this.countLive(bytes);
    figures.reserved = figures.live;
    return address;
  }

  free(address: number): void {
    const bytes = this.sizes.get(address);
    if (bytes === undefined) throw new DeviceError(`free of an address that is not allocated: ${address}`);
    this.source.release(address, bytes);
    this.sizes.delete(address);
    this.countLive(-bytes);
    this.figures.reserved = this.figures.live;
  }

  owns(address: number): boolean {
    return this.sizes.has(address);
  }
}
