// Page allocation in WebAssembly's memory, which can grow but not shrink. Freed ranges are kept here, merged with their neighbours,
// and reused, lowest address first.
import { HOST_MOST_UNUSED, type MemorySource } from './allocator.ts';

export const PAGE_BYTES = 64 * 2 ** 10;

/** The part of WebAssembly.Memory that is needed here. */
interface GrowingMemory {
  readonly buffer: { readonly byteLength: number };
  grow(pages: number): number;
}

interface Range {
  address: number;
  bytes: number;
}

export class LinearMemory implements MemorySource {
  readonly mostUnused = HOST_MOST_UNUSED;
  private readonly memory: GrowingMemory;
  /** Free ranges, disjoint, sorted by address, no two adjacent. */
  private readonly unused: Range[] = [];
  private readonly granted = new Map<number, number>();

  constructor(memory: GrowingMemory) {
    this.memory = memory;
  }

  /** @returns the address, a multiple of a page; 0 when the memory cannot grow that far */
  readonly reserve = (bytes: number): number => {
    const size = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
    let range = this.unused.find((candidate) => candidate.bytes >= size);
    if (!range && this.grow(size)) range = this.unused.at(-1);
    if (!range) return 0;
    const { address } = range;
    range.address += size;
    range.bytes -= size;
    if (range.bytes === 0) this.unused.splice(this.unused.indexOf(range), 1);
    this.granted.set(address, size);
    return address;
  };

  readonly release = (address: number): void => {
    const bytes = this.granted.get(address) as number;
    this.granted.delete(address);
    this.add({ address, bytes });
  };

  /** Makes the last unused range at least `size` bytes long. */
  private grow(size: number): boolean {
    const end = this.memory.buffer.byteLength;
    const last = this.unused.at(-1);
    const there = last && last.address + last.bytes === end ? last.bytes : 0;
    try {
      this.memory.grow((size - there) / PAGE_BYTES);
    } catch {
      return false;
    }
    this.add({ address: end, bytes: size - there });
    return true;
  }

  private add(range: Range): void {
    const { unused } = this;
    const at = unused.findIndex(({ address }) => address > range.address);
    const index = at < 0 ? unused.length : at;
    unused.splice(index, 0, range);
    for (let i = Math.min(index, unused.length - 2); i >= Math.max(0, index - 1); i--) {
      const [left, right] = [unused[i], unused[i + 1]];
      if (left.address + left.bytes !== right.address) continue;
      left.bytes += right.bytes;
      unused.splice(i + 1, 1);
    }
  }
}
