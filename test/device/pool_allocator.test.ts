// The allocator for the memory of recorded graphs against a list of live blocks: blocks never overlap, free neighbours are merged.
import { expect, test } from 'vitest';
import { PoolAllocator } from '../../src/device/cuda/pool_allocator.ts';
import { DeviceError, OutOfMemoryError } from '../../src/errors.ts';
import { integer, random } from '../support/random.ts';

const MEBIBYTE = 2 ** 20;

/** A system with this many bytes, whose reservations are never adjacent. */
function system(bytes = Number.POSITIVE_INFINITY) {
  const reservations: [address: number, bytes: number][] = [];
  let next = MEBIBYTE;
  let left = bytes;
  const reserve = (size: number) => {
    if (size > left) return 0;
    left -= size;
    const address = next;
    next += size + MEBIBYTE;
    reservations.push([address, size]);
    return address;
  };
  return { reserve, reservations };
}

test.each([1, 2, 3])('blocks are disjoint, aligned and within reservations (seed %i)', (seed) => {
  const { reserve, reservations } = system();
  const allocator = new PoolAllocator(reserve);
  const draw = random(seed);
  const used = new Map<number, number>();
  let live = 0;
  for (let step = 0; step < 3000; step++) {
    if (used.size > 0 && draw() < 0.48) {
      const address = [...used.keys()][integer(draw, 0, used.size - 1)];
      allocator.free(address);
      live -= Math.ceil((used.get(address) as number) / 256) * 256;
      used.delete(address);
      expect(allocator.owns(address)).toBe(false);
      continue;
    }
    const bytes = integer(draw, 1, 2 ** integer(draw, 0, 22));
    const address = allocator.allocate(bytes);
    expect(address % 256).toBe(0);
    expect(reservations.some(([start, size]) => address >= start && address + bytes <= start + size)).toBe(true);
    for (const [other, size] of used) expect(address + bytes <= other || other + size <= address).toBe(true);
    used.set(address, bytes);
    live += Math.ceil(bytes / 256) * 256;
    expect(allocator.memory().live).toBe(live);
  }
  for (const address of used.keys()) allocator.free(address);
  const { reserved, highWater } = allocator.memory();
  expect(allocator.memory().live).toBe(0);
  expect(reserved).toBe(reservations.reduce((sum, [, size]) => sum + size, 0));
  expect(highWater).toBeGreaterThan(reserved / 2);
  // All free blocks are merged again: the largest reservation is one piece.
  const largest = Math.max(...reservations.map(([, size]) => size));
  allocator.allocate(largest);
  expect(allocator.memory().reserved).toBe(reserved);
});

test('reserves the expected amount in one piece, and more in small ones', () => {
  const { reserve, reservations } = system();
  const allocator = new PoolAllocator(reserve, 100 * MEBIBYTE);
  for (let i = 0; i < 10; i++) allocator.allocate(10 * MEBIBYTE);
  expect(reservations).toHaveLength(1);
  allocator.allocate(MEBIBYTE);
  expect(reservations.map(([, size]) => size / MEBIBYTE)).toEqual([100, 32]);
});

test('serves requests on a nearly full card until memory runs out, then reports what is in use', () => {
  const { reserve } = system(40 * MEBIBYTE);
  const allocator = new PoolAllocator(reserve);
  allocator.allocate(30 * MEBIBYTE);
  allocator.allocate(6 * MEBIBYTE);
  expect(() => allocator.allocate(8 * MEBIBYTE)).toThrow(OutOfMemoryError);
  expect(() => allocator.allocate(8 * MEBIBYTE)).toThrow(/8388608 bytes asked, 37748736 in use by 2 blocks/);
});

test('refuses to free what was not allocated', () => {
  const allocator = new PoolAllocator(system().reserve);
  const address = allocator.allocate(1);
  allocator.free(address);
  expect(() => allocator.free(address)).toThrow(DeviceError);
  expect(() => allocator.allocate(-1)).toThrow(DeviceError);
});
