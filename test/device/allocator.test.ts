// The caching allocator against a model of memory. Needs no device.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CachingAllocator, sizeClass } from '../../src/device/allocator.ts';
import { DeviceError } from '../../src/errors.ts';

function bumpSystem(limit = Number.POSITIVE_INFINITY) {
  let next = 2 ** 21;
  return (bytes: number) => {
    if (next + bytes > limit) return 0;
    const address = next;
    next += bytes;
    return address;
  };
}

test('a size class fits its size, wastes at most an eighth beyond one cache line, and is a multiple of 64', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 33 }), (bytes) => {
      const size = sizeClass(bytes);
      expect(size).toBeGreaterThanOrEqual(bytes);
      expect(size % 64).toBe(0);
      expect(size).toBeLessThanOrEqual(Math.max(64, bytes + 64, bytes * 1.125 + 64));
    }),
  );
});

test('live blocks never overlap and are aligned, and the statistics add up', () => {
  const operation = fc.record({ free: fc.boolean(), bytes: fc.integer({ min: 1, max: 2 ** 23 }), pick: fc.nat() });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
      const allocator = new CachingAllocator({ reserve: bumpSystem() });
      const live: { address: number; size: number }[] = [];
      for (const { free, bytes, pick } of operations) {
        if (free && live.length > 0) {
          const [block] = live.splice(pick % live.length, 1);
          allocator.free(block.address);
        } else {
          const address = allocator.allocate(bytes);
          const size = sizeClass(bytes);
          expect(address % 64).toBe(0);
          for (const other of live)
            expect(address + size <= other.address || other.address + other.size <= address).toBe(true);
          live.push({ address, size });
        }
      }
      expect(allocator.memory().live).toBe(live.reduce((sum, { size }) => sum + size, 0));
    }),
    { numRuns: 50 },
  );
});

test('reuses freed blocks: the second of two equal rounds takes nothing from the system', () => {
  const allocator = new CachingAllocator({ reserve: bumpSystem() });
  const round = () => {
    const blocks = [100, 5000, 3e6, 4e7, 100].map((bytes) => allocator.allocate(bytes));
    for (const block of blocks) allocator.free(block);
  };
  round();
  const { reserved, highWater } = allocator.memory();
  round();
  expect(allocator.memory()).toEqual({ live: 0, highWater, reserved });
});

test('a large block serves sizes down to half of its own, so that work of many sizes takes nothing from the system', () => {
  const MiB = 2 ** 20;
  const allocator = new CachingAllocator({ reserve: bumpSystem(), release: () => {}, mostUnused: 64 * MiB });
  const block = allocator.allocate(40 * MiB);
  allocator.free(block);
  for (const size of [20, 30, 40]) {
    expect(allocator.allocate(size * MiB)).toBe(block);
    expect(allocator.memory()).toMatchObject({ live: size * MiB, reserved: 40 * MiB });
    allocator.free(block);
    expect(allocator.memory().live).toBe(0);
  }
  expect(allocator.allocate(18 * MiB)).not.toBe(block);
  // The smallest that fits is taken.
  allocator.free(allocator.allocate(32 * MiB));
  expect(allocator.allocate(40 * MiB)).toBe(block);
});

test('reports exhausted memory, a double free and a bad size', () => {
  const allocator = new CachingAllocator({ reserve: bumpSystem(2 ** 27) });
  const block = allocator.allocate(1000);
  expect(() => allocator.allocate(2 ** 30)).toThrow(/out of memory: 1024.0 MiB asked, 0.0 MiB in use by 1 blocks/);
  allocator.free(block);
  expect(() => allocator.free(block)).toThrow(DeviceError);
  expect(() => allocator.allocate(Number.NaN)).toThrow(/cannot allocate NaN bytes/);
});

test('returns all unused memory to a system that accepts it before an allocation fails', () => {
  const held = new Map<number, number>();
  let next = 2 ** 21;
  const reserve = (bytes: number) => {
    const used = [...held.values()].reduce((sum, size) => sum + size, 0);
    if (used + bytes > 2 ** 27) return 0;
    held.set(next, bytes);
    next += bytes;
    return next - bytes;
  };
  const allocator = new CachingAllocator({ reserve, release: (address) => void held.delete(address) });
  const kept = allocator.allocate(1000);
  const first = [2 ** 25, 2 ** 25].map((bytes) => allocator.allocate(bytes));
  for (const block of first) allocator.free(block);
  const large = allocator.allocate(2 ** 26 + 2 ** 24);
  expect(held.size).toBe(2);
  expect(() => allocator.allocate(2 ** 25)).toThrow(/out of memory: 32.0 MiB asked, 80.0 MiB in use by 2 blocks/);
  allocator.free(large);
  allocator.free(kept);
  expect(allocator.trim()).toBe(2 ** 26 + 2 ** 24 + 2 ** 25);
  expect(allocator.memory()).toMatchObject({ live: 0, reserved: 0 });
  expect(held.size).toBe(0);
  expect(allocator.allocate(1000)).toBeGreaterThan(0);
});

test('unused memory beyond the limit goes back before more is taken, the longest unused first', () => {
  const held = new Map<number, number>();
  const system = bumpSystem();
  const MiB = 2 ** 20;
  const allocator = new CachingAllocator({
    reserve(bytes) {
      const address = system(bytes);
      held.set(address, bytes);
      return address;
    },
    release(address, bytes) {
      expect(held.get(address)).toBe(bytes);
      held.delete(address);
    },
    mostUnused: 64 * MiB,
  });
  const [a, b, c] = [40, 48, 16].map((size) => allocator.allocate(size * MiB));
  for (const block of [b, a]) allocator.free(block);
  // Nothing is returned before other memory is asked for: the same size is found again.
  expect(held.size).toBe(3);
  expect(allocator.allocate(40 * MiB)).toBe(a);
  allocator.free(a);
  const d = allocator.allocate(8 * MiB);
  // b was unused for longer; a alone is within the limit.
  expect([...held.keys()].sort((x, y) => x - y)).toEqual([a, c, d].sort((x, y) => x - y));
  expect(allocator.memory()).toMatchObject({ live: 24 * MiB, reserved: 64 * MiB });
  allocator.free(d);
  expect(allocator.trim(8 * MiB)).toBe(40 * MiB);
  expect(allocator.trim()).toBe(8 * MiB);
  expect([...held.keys()]).toEqual([c]);
});

test('blocks of a recording are in use, however long it is not replayed', () => {
  let returned = 0;
  const release = (_: number, bytes: number) => {
    returned += bytes;
  };
  const allocator = new CachingAllocator({ reserve: bumpSystem(), release, mostUnused: 0 });
  const pool = allocator.openPool();
  allocator.free(allocator.allocate(2 ** 25));
  allocator.closePool();
  allocator.allocate(2 ** 26);
  expect(allocator.trim()).toBe(0);
  allocator.releasePool(pool);
  expect(allocator.trim()).toBe(2 ** 25);
  expect(returned).toBe(2 ** 25);
});
