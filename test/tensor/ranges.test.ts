// Tensors of constants: evenly spaced numbers, identity matrices, and tensors like others. Compared with NumPy 2.
import { beforeAll, describe, expect, it } from 'vitest';
import * as engine from '../../src/index.ts';
import { type Device, openDevice } from '../../src/index.ts';

const { eye, fullLike, linspace, logspace, onesLike, randn, randnLike, scope, uniform, uniformLike, zerosLike } =
  engine;

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});

const list = (t: engine.Tensor) => Array.from(t.dataSync());
const f32 = (values: number[]) => values.map(Math.fround);

describe('linspace', () => {
  it('includes both ends, and is computed in double precision', () => {
    scope(() => {
      expect(list(linspace(0, 1, 5))).toEqual([0, 0.25, 0.5, 0.75, 1]);
      expect(list(linspace(1, -1, 4))).toEqual(f32([1, 1 / 3, -1 / 3, -1]));
      expect(list(linspace(-0.1, 0.1, 3))).toEqual(f32([-0.1, 0, 0.1]));
      const many = list(linspace(0, 0.3, 1001));
      expect(many[1000]).toBe(Math.fround(0.3));
      expect(many.every((value, i) => Math.abs(value - 0.0003 * i) <= 2 ** -26)).toBe(true);
    });
  });

  it('leaves out the end, or is empty, or holds the start alone', () => {
    scope(() => {
      expect(list(linspace(0, 1, 4, { endpoint: false }))).toEqual([0, 0.25, 0.5, 0.75]);
      expect(list(linspace(2, 9, 1))).toEqual([2]);
      expect(list(linspace(2, 9, 1, { endpoint: false }))).toEqual([2]);
      expect(linspace(2, 9, 0).shape).toEqual([0]);
      expect(list(linspace(3, 3, 3))).toEqual([3, 3, 3]);
    });
  });

  it('takes a dtype and makes leaves', () => {
    scope(() => {
      expect([linspace(0, 10, 5, { dtype: 'i32' })].map((t) => [t.dtype, list(t)])).toEqual([
        ['i32', [0, 2, 5, 7, 10]],
      ]);
      expect(linspace(0, 1, 2, { requiresGrad: true }).requiresGrad).toBe(true);
    });
  });

  it.each<[call: () => unknown, message: string]>([
    [() => linspace(0, Number.NaN, 3), '[linspace] expected stop to be a finite number, got NaN'],
    [() => linspace('0' as never, 1, 3), '[linspace] expected start to be a finite number, got "0"'],
    [() => linspace(0, 1, -1), '[linspace] expected count to be a whole number >= 0, got -1'],
    [() => linspace(0, 1, 2.5), '[linspace] expected count to be a whole number >= 0, got 2.5'],
    [() => linspace(0, 1, 2 ** 40), '[linspace] expected dimensions that are whole numbers >= 0 and below 2^31'],
    [() => linspace(0, 1, 3, { num: 4 } as never), '[linspace] expected options among'],
    [() => linspace(0, 1, 3, { dtype: 'bf16' }), '[linspace] expected a dtype of f32, i32, u8 or bool, got bf16'],
    [() => logspace(0, 1, 3, { base: Number.POSITIVE_INFINITY }), '[logspace] expected base to be a finite number'],
    [() => logspace(0, Number.NaN, 3), '[logspace] expected stop to be a finite number, got NaN'],
  ])('refuses what it cannot make: %#', (call, message) => {
    expect(call).toThrow(message);
  });
});

it('logspace raises its base to evenly spaced powers', () => {
  scope(() => {
    expect(list(logspace(0, 3, 4))).toEqual([1, 10, 100, 1000]);
    expect(list(logspace(0, 3, 4, { base: 2 }))).toEqual([1, 2, 4, 8]);
    expect(list(logspace(0, 2, 2, { endpoint: false }))).toEqual([1, 10]);
    expect(list(logspace(-1, 1, 3))).toEqual(f32([0.1, 1, 10]));
  });
});

describe('eye', () => {
  it('has its ones on a diagonal of a matrix of any shape', () => {
    scope(() => {
      expect(list(eye(2))).toEqual([1, 0, 0, 1]);
      expect(list(eye(2, { columns: 3 }))).toEqual([1, 0, 0, 0, 1, 0]);
      expect(list(eye(3, { columns: 2, offset: 1 }))).toEqual([0, 1, 0, 0, 0, 0]);
      expect(list(eye(3, { columns: 2, offset: -1 }))).toEqual([0, 0, 1, 0, 0, 1]);
      expect(list(eye(2, { offset: 5 }))).toEqual([0, 0, 0, 0]);
      expect(list(eye(2, { offset: -(2 ** 52) }))).toEqual([0, 0, 0, 0]);
      expect(eye(0).shape).toEqual([0, 0]);
      for (const dtype of ['i32', 'u8', 'bool'] as const) {
        const t = eye(2, { dtype });
        expect([t.dtype, list(t)]).toEqual([dtype, [1, 0, 0, 1]]);
      }
    });
  });

  it.each<[call: () => unknown, message: string]>([
    [() => eye(-1), '[eye] expected rows to be a whole number >= 0, got -1'],
    [() => eye([2, 2] as never), '[eye] expected rows to be a whole number >= 0, got [2, 2]'],
    [() => eye(2 ** 20), '[eye] expected at most 2^31 - 1 elements, got [1048576, 1048576]'],
    [() => eye(2, 3 as never), '[eye] expected options { device, dtype, requiresGrad, columns, offset }, got 3'],
    [() => eye(2, { dtype: 'f16' }), '[eye] expected a dtype of f32, i32, u8 or bool, got f16'],
  ])('refuses what it cannot make: %#', (call, message) => {
    expect(call).toThrow(message);
  });
});

describe('tensors like others', () => {
  it('have the shape, dtype and device of the other, or those given', () => {
    scope(() => {
      for (const dtype of ['f32', 'i32', 'u8', 'bool'] as const) {
        const x = engine.zeros([2, 1], { dtype });
        expect([zerosLike(x), onesLike(x), fullLike(x, 1)].map((t) => [t.dtype, t.shape, list(t)])).toEqual([
          [dtype, [2, 1], [0, 0]],
          [dtype, [2, 1], [1, 1]],
          [dtype, [2, 1], [1, 1]],
        ]);
      }
      const x = engine.zeros([2], { dtype: 'u8' });
      expect([onesLike(x, { dtype: 'f32', requiresGrad: true })].map((t) => [t.dtype, t.requiresGrad])).toEqual([
        ['f32', true],
      ]);
      const half = engine.cast(engine.zeros([2]), 'bf16');
      const three = fullLike(half, 3);
      expect([three.dtype, list(engine.cast(three, 'f32'))]).toEqual(['bf16', [3, 3]]);
      expect([zerosLike(half).dtype, onesLike(half, { dtype: 'f16' }).dtype]).toEqual(['bf16', 'f16']);
    });
  });

  it('draw the numbers of the function that they name', () => {
    scope(() => {
      const x = engine.zeros([3, 5]);
      const draw = { seed: 4, first: 2, stream: 1 };
      expect(list(randnLike(x, draw))).toEqual(list(randn([3, 5], draw)));
      expect(list(uniformLike(x, draw))).toEqual(list(uniform([3, 5], draw)));
      const half = randnLike(engine.cast(x, 'bf16'), { ...draw, requiresGrad: true });
      expect([half.dtype, half.requiresGrad]).toEqual(['bf16', true]);
      expect(list(half)).toEqual(list(engine.cast(randn([3, 5], draw), 'bf16')));
    });
  });

  it('leave no memory behind', () => {
    const half = engine.cast(engine.zeros([2]), 'bf16');
    const before = device.memory().live;
    for (const t of [onesLike(half), randnLike(half, { seed: 1 }), zerosLike(half)]) t.dispose();
    expect(device.memory().live).toBe(before);
    half.dispose();
  });

  it.each<[call: (x: engine.Tensor) => unknown, message: string]>([
    [() => zerosLike([2, 3] as never), '[zerosLike] expected a tensor, got [2, 3]'],
    [(x) => fullLike(x, 300, { dtype: 'u8' }), '[fullLike] expected numbers that fit u8, 0 to 255, got 300'],
    [(x) => fullLike(x, '3' as never), '[fullLike] expected value to be a number, got "3"'],
    [(x) => onesLike(x, { like: 1 } as never), '[onesLike] expected options among'],
    [(x) => randnLike(x, {} as never), '[randnLike] expected seed to be a number, got none in the options'],
    [(x) => randnLike(x, undefined as never), '[randnLike] expected options with seed, got none'],
    [(x) => uniformLike(engine.cast(x, 'i32'), { seed: 1 }), '[uniformLike] expected a floating-point tensor, got'],
    [(x) => randnLike(x, { seed: -1 }), 'expected seed to be a whole number from 0 to 2^53, got -1'],
  ])('name what does not fit: %#', (call, message) => {
    expect(() => scope(() => call(engine.zeros([2])))).toThrow(message);
  });
});
