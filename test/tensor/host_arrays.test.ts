// Host arrays that misreport their length: the engine must not trust it, since kernels copy that many bytes.
import { beforeAll, describe, expect, test } from 'vitest';
import { hostArray } from '../../src/arguments.ts';
import type { Device } from '../../src/device/device.ts';
import { cast, randn, Tensor, tensor, zeros } from '../../src/index.ts';
import { openTestDevice } from '../support/devices.ts';

const large = 2 ** 22;

/** An array that reports one element. */
class Short extends Float32Array {
  override get length(): number {
    return 1;
  }
  override get byteLength(): number {
    return 4;
  }
}

/** An array that reports many elements. */
class Long extends Float32Array {
  override get length(): number {
    return large;
  }
  override get byteLength(): number {
    return 4 * large;
  }
}

const withLength = (values: Float32Array, length: number) => Object.defineProperty(values, 'length', { value: length });

describe.each(['cpu', 'wasm'])('on %s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test.each<[string, () => Float32Array, number]>([
    ['an overridden length', () => withLength(new Float32Array(large), 1), large],
    ['a class that reports less', () => new Short(large), large],
    ['a class that reports more', () => new Long(2), 2],
  ])('tensor() reads the real number of elements of an array with %s', (_, make, count) => {
    using made = tensor(make(), { device });
    expect(made.shape).toEqual([count]);
    expect(made.dataSync().every((value) => value === 0)).toBe(true);
    expect(() => tensor(make(), { device, shape: [count + 1] })).toThrow(`got ${count} elements`);
  });

  test.each<[string, () => Float32Array]>([
    ['an overridden length', () => withLength(new Float32Array(2), large)],
    ['a class that reports more', () => new Long(2)],
    ['a false prototype', () => Object.setPrototypeOf(new Uint8Array(large), Float32Array.prototype)],
    ['no memory', () => Object.create(Float32Array.prototype)],
  ])('write() refuses an array with %s', (_, make) => {
    using target = zeros([large], { device });
    expect(() => target.write(make())).toThrow('[write] expected a Float32Array of');
  });

  test('tensor() refuses an array whose buffer was transferred', () => {
    const values = Float32Array.of(1, 2);
    structuredClone(values.buffer, { transfer: [values.buffer] });
    expect(() => tensor(values, { device })).toThrow(
      '[tensor] expected data to be numbers, got a detached Float32Array of 0',
    );
  });

  test('write() of bool turns everything but 0 into 1, as tensor() does', () => {
    using flags = zeros([3], { device, dtype: 'bool' });
    flags.write(Uint8Array.of(2, 0, 255));
    using numbers = cast(flags, 'f32');
    expect(Array.from(numbers.dataSync())).toEqual([1, 0, 1]);
  });

  test('reads a shape once, even if its numbers change while it is read', () => {
    let reads = 0;
    const shape = Object.defineProperty([2, 3], 0, { get: () => (reads++ === 0 ? 2 : 4) });
    using changing = randn(shape, { seed: 1, device });
    using plain = randn([2, 3], { seed: 1, device });
    expect(changing.dataSync()).toEqual(plain.dataSync());
  });

  test('prints a tensor without elements at once, however long its axes are', () => {
    using empty = zeros([2 ** 31 - 1, 0, 2], { device });
    expect(String(empty)).toBe('tensor f32 [2147483647, 0, 2]\n[]');
  });
});

test.each<[string, number, unknown, unknown, string]>([
  ['past its end', 0, [1e6], 'f32', 'expected a window within memory of 16 bytes, got f32 [1000000] at byte 0'],
  ['before its start', -4, [1], 'f32', 'got f32 [1] at byte -4'],
  ['with negative extents', 0, [-2, -2], 'f32', 'got f32 [-2, -2] at byte 0'],
  ['with an invalid shape', 0, 4, 'f32', 'expected a shape, got 4'],
  ['with an invalid dtype', 0, [4], 'f64', 'expected a dtype, got "f64"'],
])('refuses a view of memory %s', async (_, offset, shape, dtype, message) => {
  const device = await openTestDevice('cpu');
  using whole = zeros([4], { device });
  expect(() => new Tensor(whole.storage, offset, shape as number[], dtype as 'f32')).toThrow(message);
});

test('names an array that does not fit into memory', () => {
  expect(() => hostArray('full', Float32Array, 2 ** 53)).toThrow(
    '[full] expected results that fit into memory, got 9007199254740992 numbers',
  );
});
