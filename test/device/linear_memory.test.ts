// WebAssembly's linear memory as the allocator's system, against a model. Needs no device.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CachingAllocator } from '../../src/device/allocator.ts';
import { LinearMemory, PAGE_BYTES } from '../../src/device/linear_memory.ts';

function growing(mostPages: number) {
  let pages = 3;
  return {
    get buffer() {
      return { byteLength: pages * PAGE_BYTES };
    },
    grow(more: number) {
      if (pages + more > mostPages) throw new RangeError('Maximum memory size exceeded');
      pages += more;
      return pages - more;
    },
  };
}

test('granted ranges never overlap, and all returned memory can be granted again in one piece', () => {
  const step = fc.record({ release: fc.boolean(), pages: fc.integer({ min: 1, max: 9 }), pick: fc.nat() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const most = 64;
      const linear = new LinearMemory(growing(most));
      const granted: { address: number; pages: number }[] = [];
      for (const { release, pages, pick } of steps) {
        if (release && granted.length > 0) {
          linear.release(granted.splice(pick % granted.length, 1)[0].address);
          continue;
        }
        const address = linear.reserve(pages * PAGE_BYTES - 5);
        if (address === 0) continue;
        expect(address % PAGE_BYTES).toBe(0);
        expect(address).toBeGreaterThanOrEqual(3 * PAGE_BYTES);
        expect(address + pages * PAGE_BYTES).toBeLessThanOrEqual(most * PAGE_BYTES);
        for (const other of granted) {
          const apart =
            address + pages * PAGE_BYTES <= other.address || other.address + other.pages * PAGE_BYTES <= address;
          expect(apart).toBe(true);
        }
        granted.push({ address, pages });
      }
      for (const { address } of granted) linear.release(address);
      expect(linear.reserve((most - 3) * PAGE_BYTES)).toBe(3 * PAGE_BYTES);
    }),
  );
});

test('merges free blocks for a larger one when memory runs out; after that the error names the limit', () => {
  const megabyte = 2 ** 20;
  const allocator = new CachingAllocator(new LinearMemory(growing(2048)), 2048 * PAGE_BYTES);
  const blocks = [30, 30, 30].map((size) => allocator.allocate(size * megabyte));
  for (const block of blocks) allocator.free(block);
  const large = allocator.allocate(96 * megabyte);
  expect(() => allocator.allocate(64 * megabyte)).toThrow(
    /out of memory: 64\.0 MiB asked, 96\.0 MiB in use by 1 blocks, 96\.0 MiB reserved of 128\.0 MiB at most/,
  );
  allocator.free(large);
});
