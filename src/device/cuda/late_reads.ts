// Reads that do not wait for work enqueued after them: a copy into pinned memory, and an event right behind it.
import type { LateReads } from '../device.ts';
import { Event, PinnedMemory } from '../native/cuda_handles.ts';
import type { Driver, Stream } from '../native/libcuda.ts';

interface Place {
  memory: PinnedMemory;
  arrived: Event;
}

export class CudaLateReads implements LateReads {
  private readonly driver: Driver;
  private readonly stream: Stream;
  private readonly begin: () => void;
  /** The place of the next read comes first. */
  private readonly places: [Place, Place];

  /** @param begin makes the context current, and refuses reads while work is recorded */
  constructor(driver: Driver, stream: Stream, bytes: number, begin: () => void) {
    this.driver = driver;
    this.stream = stream;
    this.begin = begin;
    const make = () => ({ memory: new PinnedMemory(driver, bytes), arrived: new Event(driver) });
    this.places = [make(), make()];
  }

  read(address: number): () => Uint8Array {
    this.begin();
    const [{ memory, arrived }] = this.places;
    this.places.reverse();
    this.driver.call('cuMemcpyDtoHAsync_v2', memory.bytes, address, memory.bytes.length, this.stream.handle);
    arrived.record(this.stream);
    return () => {
      this.begin();
      arrived.wait();
      return memory.bytes.slice();
    };
  }

  /** To be called when all reads are done. */
  [Symbol.dispose](): void {
    this.begin();
    for (const { memory, arrived } of this.places) {
      memory[Symbol.dispose]();
      arrived[Symbol.dispose]();
    }
  }
}
