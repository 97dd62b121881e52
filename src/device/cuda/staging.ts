// Uploads through two pinned buffers: the array is copied into one, and the card fetches it from there, so that an upload neither
// waits for the card nor keeps the array. A buffer is reused after the card has fetched all of it.
import type { HostArray } from '../device.ts';
import { Event, PinnedMemory } from '../native/cuda_handles.ts';
import type { Driver, Stream } from '../native/libcuda.ts';

const PIECE_BYTES = 4 * 2 ** 20;
/** Alignment of a copy within a buffer. */
const ALIGNMENT = 64;

interface Piece {
  memory: PinnedMemory;
  fetched: Event;
}

export class Staging {
  private readonly driver: Driver;
  private readonly stream: Stream;
  /** The buffer being filled comes first. Allocated at the first upload. */
  private pieces: [Piece, Piece] | undefined;
  private used = 0;

  constructor(driver: Driver, stream: Stream) {
    this.driver = driver;
    this.stream = stream;
  }

  /** The caller may change `source` as soon as this returns. */
  upload(target: number, source: HostArray): void {
    const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    for (let from = 0; from < bytes.length; from += PIECE_BYTES) {
      const part = bytes.subarray(from, from + PIECE_BYTES);
      const place = this.place(part.length);
      place.set(part);
      this.stream.upload(target + from, place);
    }
  }

  private place(bytes: number): Uint8Array {
    const make = () => ({ memory: new PinnedMemory(this.driver, PIECE_BYTES), fetched: new Event(this.driver) });
    this.pieces ??= [make(), make()];
    if (this.used + bytes > PIECE_BYTES) {
      this.pieces[0].fetched.record(this.stream);
      this.pieces.reverse();
      this.pieces[0].fetched.wait();
      this.used = 0;
    }
    const place = this.pieces[0].memory.bytes.subarray(this.used, this.used + bytes);
    this.used = Math.ceil((this.used + bytes) / ALIGNMENT) * ALIGNMENT;
    return place;
  }

  /** To be called when all uploads are done. */
  [Symbol.dispose](): void {
    for (const { memory, fetched } of this.pieces ?? []) {
      memory[Symbol.dispose]();
      fetched[Symbol.dispose]();
    }
  }
}
