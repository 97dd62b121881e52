// What `tensor` and its siblings accept and refuse, and the messages of their errors.
import { beforeAll, describe, expect, it } from 'vitest';
import * as engine from '../../src/index.ts';
import { type Device, openDevice, tensor } from '../../src/index.ts';
import { openTestDevice } from '../support/devices.ts';

const { ArgumentError, DtypeError, ShapeError, ValueError } = engine;
let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});

/** The module without types, as JavaScript callers see it. */
const loose = engine as unknown as Record<string, (...values: unknown[]) => engine.Tensor>;
const list = (t: engine.Tensor) => [...t.dataSync()];

describe('full', () => {
  it.each(['cpu', 'wasm', 'cuda-emulated'])(
    'fills any size with any value on %s, and keeps no memory',
    async (name) => {
      const on = await openTestDevice(name);
      const check = (value: number) => {
        for (const size of [0, 1, 3, 17, 1000]) {
          using t = engine.full([size], value, { device: on });
          expect(list(t)).toEqual(new Array(size).fill(Math.fround(value)));
        }
      };
      engine.full([1], 1, { device: on }).dispose();
      const { live } = on.memory();
      for (let i = 0; i < 100; i++) check(i - 0.75);
      for (const value of [0, 1, Number.NaN, -0, Number.POSITIVE_INFINITY]) check(value);
      using whole = engine.full([5], -2, { device: on, dtype: 'i32' });
      using bytes = engine.full([5], 7, { device: on, dtype: 'u8' });
      expect([list(whole), list(bytes)]).toEqual([new Array(5).fill(-2), new Array(5).fill(7)]);
      whole.dispose();
      bytes.dispose();
      expect(on.memory().live).toBe(live);
    },
  );
});

describe('data', () => {
  it('refuses lists that contain themselves or one another without delay', () => {
    const self: unknown[] = [];
    self.push(self);
    const pair: unknown[] = [1];
    pair.push(pair);
    let deep: unknown[] = [1];
    for (let level = 0; level < 20_000; level++) deep = [deep];
    let shared: unknown[] = [1, 1];
    for (let level = 0; level < 40; level++) shared = [shared, shared];
    const messages = [self, pair, deep, shared].map((data) => {
      try {
        return tensor(data as never, { device }).describe();
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(messages).toEqual([
      '[tensor] expected at most 64 axes, got lists nested deeper',
      '[tensor] expected nested lists of equal lengths, [2], got a list at depth 1',
      '[tensor] expected at most 64 axes, got lists nested deeper',
      expect.stringMatching(/^\[tensor\] expected at most 2\^31 - 1 elements, got \[2, 2, /),
    ]);
  });

  it('takes its shape from nested lists', () => {
    const cases: [data: Parameters<typeof tensor>[0], shape: number[]][] = [
      [5, []],
      [[], [0]],
      [[[]], [1, 0]],
      [
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
        [2, 3],
      ],
      [
        [[[1]], [[2]]],
        [2, 1, 1],
      ],
    ];
    for (const [data, shape] of cases) expect(tensor(data).shape, JSON.stringify(data)).toEqual(shape);
  });

  it.each([
    [[[1, 2], [3, 4, 5], [6]], 'got a list of 3 at depth 1'],
    [[[[1], [2]], [[3, 4]]], 'got a list of 1 at depth 1'],
    [[[1], 2], 'got 2 at depth 1'],
    [[1, [2]], 'got a list at depth 1'],
  ])('refuses ragged lists: %j', (data, message) => {
    expect(() => loose.tensor(data)).toThrow(ShapeError);
    expect(() => loose.tensor(data)).toThrow(message);
  });

  it('refuses a list that contains itself or is nested thousands of levels deep', () => {
    const own: unknown[] = [];
    own.push(own);
    let deep: unknown = 1;
    for (let level = 0; level < 20_000; level++) deep = [deep];
    for (const data of [own, deep]) expect(() => loose.tensor(data)).toThrow('expected at most 64 axes');
  });

  it('refuses lists that repeat one another until they exceed memory', () => {
    const doubled = (times: number) => {
      let list: unknown = [1];
      for (let level = 0; level < times; level++) list = [list, list];
      return list;
    };
    for (const times of [25, 30]) expect(() => loose.tensor(doubled(times))).toThrow(ShapeError);
    expect(() => loose.tensor(doubled(25))).toThrow(
      'expected at most 16777216 numbers in lists that occur more than once, got lists that stand for 33554432',
    );
    using small = loose.tensor(doubled(10));
    expect(small.size).toBe(1024);
  });

  it.each<[unknown, string]>([
    [[1, '3'], 'got "3"'],
    [[1, undefined], 'got undefined'],
    [[null], 'got null'],
    [[true], 'got true'],
    [[1n], 'got 1n'],
    [undefined, 'got undefined'],
    [new BigInt64Array(2), 'got a BigInt64Array of 2'],
    [new DataView(new ArrayBuffer(4)), 'got an instance of DataView'],
  ])('names a value that is not a number: %o', (data, message) => {
    expect(() => loose.tensor(data)).toThrow(ArgumentError);
    expect(() => loose.tensor(data)).toThrow(`[tensor] expected data to be numbers, ${message}`);
  });

  it('of dtype bool becomes 0 and 1, from numbers, booleans and bytes', () => {
    expect(list(tensor([2, 0, 256, 0.5, -1, Number.NaN], { dtype: 'bool' }))).toEqual([1, 0, 1, 1, 1, 1]);
    expect(list(loose.tensor([true, false], { dtype: 'bool' }))).toEqual([1, 0]);
    expect(list(tensor(Uint8Array.of(7, 0), { dtype: 'bool' }))).toEqual([1, 0]);
    expect(list(engine.full([2], 3, { dtype: 'bool' }))).toEqual([1, 1]);
    expect(list(engine.cast(tensor([2, 0], { dtype: 'bool' }), 'f32'))).toEqual([1, 0]);
  });

  it('out of range of an integer dtype is refused, and fractions are truncated', () => {
    expect(list(tensor([1.9, -1.9, 2 ** 31 - 1], { dtype: 'i32' }))).toEqual([1, -1, 2 ** 31 - 1]);
    for (const [dtype, value] of [
      ['u8', 300],
      ['u8', -1],
      ['i32', 2 ** 31],
      ['i32', Number.NaN],
    ] as const) {
      expect(() => tensor([0, value], { dtype })).toThrow(ValueError);
      expect(() => tensor([0, value], { dtype })).toThrow(`got ${value} at position 1`);
      expect(() => engine.full([2], value, { dtype })).toThrow(ValueError);
    }
  });

  it('of a typed array with a false length has the real number of elements', () => {
    class Longer extends Float32Array {
      override get byteLength(): number {
        return 1e9;
      }
    }
    expect(list(tensor(new Longer([1, 2])))).toEqual([1, 2]);
  });
});

it.each(['bf16', 'f16'] as const)(
  '%s is written as 16-bit patterns, and numbers from the host are refused',
  (dtype) => {
    expect(list(tensor(Uint16Array.of(0x3f80), { dtype }))).toEqual([0x3f80]);
    expect(list(engine.zeros([1], { dtype }))).toEqual([0]);
    for (const make of [
      () => tensor([1], { dtype }),
      () => engine.ones([1], { dtype }),
      () => engine.full([1], 2, { dtype }),
      () => engine.arange(0, 2, 1, { dtype }),
    ])
      expect(make).toThrow(DtypeError);
  },
);

it.each(['tensor', 'zeros', 'ones', 'empty', 'full'])(
  '%s refuses an unknown dtype, option and device by name',
  (name) => {
    const make = (options: object) => () =>
      name === 'full'
        ? loose.full([1], 1, options)
        : name === 'tensor'
          ? loose.tensor([1], options)
          : loose[name]([1], options);
    expect(make({ dtype: 'f64' })).toThrow(/expected dtype to be one of "f32", .*, got "f64"/);
    expect(make({ dtpye: 'f32' })).toThrow('got "dtpye" (did you mean "dtype"?)');
    expect(make({ device: 'cpu' })).toThrow('expected device to be a device that openDevice() returned, got "cpu"');
    expect(make({ device: { ...device } })).toThrow(ArgumentError);
    expect(make([2])).toThrow(`[${name}] expected options`);
  },
);

it.each([
  [[-1]],
  [[1.5]],
  [[Number.NaN]],
  ['3'],
  [undefined],
  [3],
  [[2 ** 53]],
  [[65536, 65536]],
  [new Array(65).fill(1)],
])('refuses the shape %o', (shape) => {
  for (const make of [loose.zeros, loose.empty, loose.ones]) expect(() => make(shape)).toThrow(engine.RectiflowError);
});

describe('options', () => {
  const x = () => engine.reshape(engine.arange(1, 5), [2, 2]);

  it('may be axis or axes, but not both', () => {
    for (const reduce of [loose.sum, loose.mean, loose.max])
      expect(list(reduce(x(), { axis: 1 }))).toEqual(list(reduce(x(), { axes: [1] })));
    for (const along of [loose.softmax, loose.logSoftmax, loose.argmax])
      expect(list(along(x(), { axes: [0] }))).toEqual(list(along(x(), { axis: 0 })));
    for (const op of [loose.sum, loose.mean, loose.max, loose.softmax, loose.logSoftmax, loose.argmax])
      expect(() => op(x(), { axis: 0, axes: 0 })).toThrow('got both');
    expect(list(loose.sum(x(), { axis: 1 }))).toEqual([3, 7]);
  });

  it.each<[call: () => unknown, message: string]>([
    [() => loose.sum(x(), { axess: 1 }), 'got "axess" (did you mean "axes"?)'],
    [() => loose.sum(x(), 0), '[sum] expected options { axes, axis, keepDims }, got 0'],
    [() => loose.softmax(x(), { dim: 0 }), 'got "dim"'],
    [() => loose.softmax(x(), 0), '[softmax] expected options'],
    [() => loose.clamp(x(), 0, 1), '[clamp] expected options { min, max }, got 0'],
    [() => loose.conv2d(engine.zeros([1, 4, 4, 1]), engine.zeros([1, 3, 3, 1]), { pad: 1 }), 'got "pad"'],
    [() => loose.concat([x(), x()]), '[concat] expected axis to be a whole number, got undefined'],
    [
      () => loose.mse(x(), x(), { reduction: 'avg' }),
      'expected reduction to be one of "mean", "sum", "none", got "avg"',
    ],
    [() => loose.randn([2]), '[randn] expected options with seed, got none'],
    [() => loose.randn([2], {}), '[randn] expected seed to be a number, got none in the options'],
    [() => loose.uniform([2], { sed: 1 }), 'got "sed" (did you mean "seed"?)'],
    [() => loose.dropout(x(), 0.5, {}), '[dropout] expected seed'],
    [() => loose.randn([2], { seed: 1, origin: { address: 8 } }), 'expected origin to be a Counter'],
    [() => loose.transpose(x(), 0, 1), '[transpose] expected no further argument, got 0'],
    [() => loose.relu(x(), { inplace: true }), '[relu] expected no further argument, got an object with "inplace"'],
    [() => loose.add(x(), x(), { alpha: 2 }), '[add] expected no further argument'],
  ])('%s is refused', (call, message) => {
    expect(call).toThrow(ArgumentError);
    expect(call).toThrow(message);
  });

  it('are not confused with the extra arguments of map and reduce callbacks', () => {
    const all = [engine.full([2], -1), engine.full([2], 2)];
    expect(all.map(engine.relu).map(list)).toEqual([
      [0, 0],
      [2, 2],
    ]);
    expect(list(all.reduce(engine.add))).toEqual([1, 1]);
  });

  it('are read once', () => {
    let reads = 0;
    const options = {
      get stride() {
        return ++reads === 1 ? 1 : 0;
      },
    };
    const y = engine.conv2d(engine.zeros([1, 4, 4, 1]), engine.zeros([1, 1, 1, 1]), options);
    expect([y.shape, reads]).toEqual([[1, 4, 4, 1], 1]);
  });
});

describe('operands', () => {
  const x = () => engine.full([3], 1);

  it.each([undefined, null, [1, 2], true, '2', {}, Symbol('s'), 1n])('%o is refused by every binary op', (odd) => {
    for (const name of ['add', 'sub', 'mul', 'div', 'pow', 'maximum', 'minimum', 'equal', 'less', 'greaterEqual']) {
      expect(() => loose[name](x(), odd)).toThrow(ArgumentError);
      expect(() => loose[name](odd, x())).toThrow('expected tensors or numbers, got');
    }
    expect(() => loose.where(engine.less(x(), 2), x(), odd)).toThrow(ArgumentError);
    expect(() => loose.exp(odd)).toThrow('[exp] expected a tensor, got');
  });

  it('may not belong to another copy of the package, and the error says so', () => {
    const foreign = { [Symbol.for('rectiflow.Tensor')]: true };
    for (const call of [() => loose.add(x(), foreign), () => loose.sum(foreign), () => loose.concat([x(), foreign], 0)])
      expect(call).toThrow('got a tensor of another copy of rectiflow');
  });

  it('refuses an object that only looks like a tensor', () => {
    const alike = Object.create(engine.Tensor.prototype);
    expect(() => loose.add(x(), alike)).toThrow(ArgumentError);
    const Constructor = engine.Tensor as unknown as new (...values: unknown[]) => unknown;
    expect(() => new Constructor({ device, address: 8 }, 0, [2], 'f32')).toThrow('tensors are made by tensor()');
  });

  it('have read-only fields where kernels rely on them', () => {
    const t = x() as unknown as Record<string, unknown>;
    for (const key of ['shape', 'dtype', 'size', 'storage', 'byteOffset'])
      expect(() => {
        t[key] = 1e9;
      }).toThrow(TypeError);
    expect(() => {
      (t.shape as number[])[0] = 1e9;
    }).toThrow(TypeError);
  });

  it('accept writes of arrays with their dtype and size only', () => {
    const t = x();
    t.write(Float32Array.of(4, 5, 6));
    expect(list(t)).toEqual([4, 5, 6]);
    for (const values of [Float32Array.of(1), Float64Array.of(1, 2, 3), [1, 2, 3], undefined])
      expect(() => (t.write as (v: unknown) => void)(values)).toThrow('[write] expected a Float32Array of 3');
  });
});

it('functions with a function argument refuse anything else', () => {
  for (const name of ['scope', 'noGrad', 'enableGrad', 'checkFinite'])
    expect(() => loose[name](5)).toThrow(`[${name}] expected its argument to be a function, got 5`);
  expect(() => loose.scope(async () => {})).toThrow('[scope] expected a synchronous function');
});
