/**
 * Random numbers other than normal and uniform ones: pinned bits, the host's twins, the laws that they follow, and what
 * their functions refuse.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, RectiflowError, ValueError } from '../../src/errors.ts';
import * as engine from '../../src/index.ts';
import { Counter } from '../../src/tensor/counter.ts';
import { normalBlock, philox4x32, wholeBelow } from '../../src/tensor/philox.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';
import { drawnExponential, drawnUniform } from '../support/host_draws.ts';

const { bernoulli, categorical, exponential, permutation, randint, scope, truncatedNormal } = engine;

const list = (t: engine.Tensor) => Array.from(t.dataSync());
const bitsOf = (t: engine.Tensor) => [...new Uint32Array((t.dataSync() as Float32Array).buffer)];

/** Values of seed 42, which every device, compiler and version of this package must reproduce. */
const pinned = {
  exponential: [
    ...[1056610801, 1061293709, 1076317656, 1065993091, 1011513006],
    ...[1068224721, 1060502947, 1071023872, 1063261259, 1073819056],
  ],
  truncatedNormal: [
    ...[1048995716, 1044819179, 1063165263, 1043479552, 3180716052],
    ...[3202607909, 1035561743, 1058547623, 1063923147, 1033882098],
  ],
  randint: [4, 2, -3, 1, 8, 0, 3, 2, 0, 2, -1, 2, -2, 1, 3, 7],
  wide: [485158994, -134919878, -1832955732, -1025460046, -37790233, -1343800877],
  permutation: [11, 2, 0, 5, 4, 1, 14, 3, 7, 10, 15, 12, 13, 9, 8, 6],
  bernoulli: [0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0],
};

/** The greatest of |count - expected| / sqrt(expected) over the values 0 to n - 1. */
function deviationOf(values: ArrayLike<number>, n: number): number {
  const counts = new Float64Array(n);
  for (let i = 0; i < values.length; i++) counts[values[i]]++;
  const expected = values.length / n;
  return Math.max(...counts.map((count) => Math.abs(count - expected))) / Math.sqrt(expected);
}

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test('numbers match their pinned bits', () => {
    scope(() => {
      const draw = { device, seed: 42 };
      expect(bitsOf(exponential([2, 5], draw))).toEqual(pinned.exponential);
      expect(bitsOf(truncatedNormal([2, 5], { ...draw, low: -0.5, high: 1 }))).toEqual(pinned.truncatedNormal);
      expect(list(randint(-3, 9, [2, 8], draw))).toEqual(pinned.randint);
      expect(list(randint(-(2 ** 31), 2 ** 31 - 1, [2, 3], draw))).toEqual(pinned.wide);
      expect(list(permutation(16, draw))).toEqual(pinned.permutation);
      expect(list(bernoulli(0.3, [2, 8], draw))).toEqual(pinned.bernoulli);
    });
  });

  test('randint is the number of the host, also where words are drawn again', () => {
    scope(() => {
      // Almost half of the words are drawn again where the range is a little above 2^31.
      for (const [low, high] of [
        [0, 2 ** 31 - 1],
        [-5, 2 ** 31 - 3],
        [-(2 ** 31), 2 ** 30],
        [-(2 ** 31), 2],
        [-(2 ** 31), 2 ** 31],
        [7, 8],
        [0, 3],
      ]) {
        const draw = { seed: 2 ** 40 + 9, first: 2 ** 33 + 4, stream: 2 ** 31 + 3 };
        const got = list(randint(low, high, [3, 9], { ...draw, device }));
        const want = got.map(
          (_, i) => low + wholeBelow(high - low, i % 9, { ...draw, first: draw.first + Math.floor(i / 9) }),
        );
        expect(got, `${low} to ${high}`).toEqual(want);
        expect(got.every((value) => value >= low && value < high)).toBe(true);
      }
    });
  });

  test('truncated normals are those of the first attempt that lies within', () => {
    scope(() => {
      const [low, high] = [0, 0.5];
      const got = bitsOf(truncatedNormal([1, 12], { device, seed: 9, low, high }));
      const want = got.map((_, i) => {
        for (let attempt = 0; ; attempt++) {
          const value = normalBlock(philox4x32([i >> 2, 0, 0, 0], [9, attempt << 21]))[i & 3];
          if (value >= low && value <= high) return new Uint32Array(Float32Array.of(value).buffer)[0];
        }
      });
      expect(got).toEqual(want);
    });
  });

  test('numbers are counted from an origin in memory, and a sample has the same ones in any batch', () => {
    scope(() => {
      using origin = new Counter(device);
      origin.set(2 ** 33 + 5);
      const p = engine.tensor([0.2, 0.8, 0.5], { device });
      const drawn = (draw: engine.DrawOptions) =>
        [
          exponential([3, 5], { ...draw, device }),
          truncatedNormal([3, 5], { ...draw, device }),
          randint(0, 1000, [3, 5], { ...draw, device }),
          bernoulli(p, [3, 3], draw),
          categorical(engine.zeros([3, 4], { device }), draw),
        ].map(list);
      expect(drawn({ seed: 3, first: 2, origin, stream: 9 })).toEqual(
        drawn({ seed: 3, first: 2 ** 33 + 7, stream: 9 }),
      );
      const whole = list(randint(0, 50, [4, 7], { seed: 1, device }));
      expect(list(randint(0, 50, [2, 7], { seed: 1, first: 2, device }))).toEqual(whole.slice(14));
    });
  });

  test('whole numbers, orders, choices and exponentials follow their laws', () => {
    scope(() => {
      const many = { device, seed: 7 };
      // Five standard deviations of a count; 2^17 draws of a range that divides no power of two.
      expect(deviationOf(randint(0, 12, [2 ** 17], many).dataSync(), 12)).toBeLessThan(5);
      const orders = Array.from({ length: 6000 }, (_, first) => list(permutation(3, { ...many, first })));
      const numbers = orders.map(([a, b, c]) => 2 * a + (b > c ? 1 : 0));
      expect(deviationOf(numbers, 6)).toBeLessThan(5);
      const classes = engine.log(engine.tensor([0.5, 0.25, 0.25], { device }));
      const chosen = list(categorical(engine.broadcastTo(classes, [2 ** 14, 3]), { seed: 7 }));
      expect(
        deviationOf(
          chosen.map((k, i) => (k === 0 ? i % 2 : k + 1)),
          4,
        ),
      ).toBeLessThan(6);
      const times = list(exponential([2 ** 16], { ...many, rate: 2 }));
      const mean = times.reduce((sum, value) => sum + value, 0) / times.length;
      expect(Math.abs(mean - 0.5)).toBeLessThan((5 * 0.5) / 2 ** 8);
      expect(times.every((value) => value > 0 && value < 9)).toBe(true);
      const within = list(truncatedNormal([2 ** 16], many));
      const variance = within.reduce((sum, value) => sum + value * value, 0) / within.length;
      // scipy.stats.truncnorm(-2, 2).var()
      expect(Math.abs(variance - 0.7737413)).toBeLessThan(0.02);
      expect(within.every((value) => Math.abs(value) <= 2)).toBe(true);
    });
  });

  test('exponentials are the logarithms of uniform numbers', () => {
    scope(() => {
      const draw = { seed: 5, first: 1 };
      const want = drawnExponential([3, 7], draw).data;
      list(exponential([3, 7], { ...draw, device, rate: 4 })).forEach((value, i) => {
        expect(Math.abs(value / (want[i] / 4) - 1)).toBeLessThan(1e-6);
      });
    });
  });

  test('bernoulli is certain at 0 and 1, and compares uniform numbers', () => {
    scope(() => {
      const draw = { seed: 5, device };
      expect(new Set(list(bernoulli(1, [999], draw)))).toEqual(new Set([1]));
      expect(new Set(list(bernoulli(0, [999], draw)))).toEqual(new Set([0]));
      const want = drawnUniform([2, 9], draw).data.map((u) => Number(u < Math.fround(0.7)));
      expect(list(bernoulli(0.7, [2, 9], draw))).toEqual(Array.from(want));
      const p = engine.tensor([Number.NaN, 1, 0], { device });
      expect(list(bernoulli(p, [2, 3], draw))).toEqual([0, 1, 0, 0, 1, 0]);
    });
  });

  test('categorical never chooses a class of probability 0, for one row or many', () => {
    scope(() => {
      const [low, high] = [Number.NEGATIVE_INFINITY, 3];
      const logits = engine.tensor([low, high, low], { device });
      expect([categorical(logits, { seed: 1 })].map((t) => [t.shape, t.dtype, list(t)])).toEqual([[[], 'i32', [1]]]);
      const rows = engine.broadcastTo(logits, [500, 3]);
      expect(new Set(list(categorical(rows, { seed: 2 })))).toEqual(new Set([1]));
      // Logits [classes] are one sample.
      const row = engine.randn([1, 9], { seed: 3, device });
      expect(list(categorical(engine.reshape(row, [9]), { seed: 4, first: 6 }))).toEqual(
        list(categorical(row, { seed: 4, first: 6 })),
      );
    });
  });

  test('empty shapes draw nothing', () => {
    scope(() => {
      const draw = { seed: 1, device };
      for (const t of [
        exponential([0, 3], draw),
        truncatedNormal([2, 0], draw),
        randint(0, 2, [0], draw),
        permutation(0, draw),
        bernoulli(0.5, [0], draw),
      ])
        expect(t.size).toBe(0);
      expect(list(permutation(1, draw))).toEqual([0]);
    });
  });

  test('each order holds every number once, and another number of the order gives another', () => {
    scope(() => {
      const orders = [0, 1].map((first) => list(permutation(1000, { seed: 3, first, device })));
      for (const order of orders) expect([...order].sort((a, b) => a - b)).toEqual(orders[0].map((_, i) => i));
      expect(orders[0]).not.toEqual(orders[1]);
    });
  });

  test('a permutation cannot be recorded', () => {
    expect(() => device.record(() => void scope(() => permutation(4, { seed: 1, device })))).toThrow(
      engine.RecordingError,
    );
  });
});

const seed = { seed: 1 };
const refused: [call: () => unknown, kind: new (...values: never[]) => Error, message: string][] = [
  [() => engine.randn([2], undefined as never), ArgumentError, '[randn] expected options with seed, got none'],
  [() => engine.uniform([2], {} as never), ArgumentError, '[uniform] expected seed to be a number, got none'],
  [
    () => randint(0, 0, [2], seed),
    ValueError,
    '[randint] expected low < high from -2^31 to 2^31, got low 0 and high 0',
  ],
  [() => randint(0, 2 ** 31 + 1, [2], seed), ValueError, 'got low 0 and high 2147483649'],
  [() => randint(0.5, 2, [2], seed), ArgumentError, '[randint] expected low to be a whole number, got 0.5'],
  [() => randint(0, 2, [2], undefined as never), ArgumentError, '[randint] expected options with seed, got none'],
  [
    () => randint(0, 2, [2], { seed: 1, requiresGrad: true } as never),
    ArgumentError,
    '[randint] expected options among',
  ],
  [() => randint(0, 2, 3 as never, seed), ArgumentError, '[randint] expected a shape'],
  [
    () => exponential([2], { seed: 1, rate: 0 }),
    ArgumentError,
    '[exponential] expected rate to be a finite number > 0, got 0',
  ],
  [
    () => exponential([2], { seed: 2 ** 53 }),
    ValueError,
    '[exponential] expected seed to be a whole number from 0 to 2^53',
  ],
  [
    () => truncatedNormal([2], { seed: 1, low: 1 }),
    ValueError,
    '[truncatedNormal] expected low <= 0 <= high, at least 0.5 apart, got low 1 and high 2',
  ],
  [() => truncatedNormal([2], { seed: 1, low: 0, high: 0.1 }), ValueError, 'got low 0 and high 0.1'],
  [() => permutation(-1, seed), ArgumentError, '[permutation] expected n to be a whole number >= 0, got -1'],
  [() => permutation(2 ** 31, seed), RectiflowError, '[permutation] expected'],
  [
    () => permutation(3, { seed: 1, origin: 0 } as never),
    ArgumentError,
    '[permutation] expected options among seed, first, stream, device, got "origin"',
  ],
  [
    () => bernoulli(1.5, [2], seed),
    ArgumentError,
    '[bernoulli] expected p to be a number from 0 to 1 or a tensor, got 1.5',
  ],
  [() => bernoulli(Number.NaN, [2], seed), ArgumentError, 'got NaN'],
  [
    () => bernoulli(engine.zeros([3]), [2], seed),
    engine.ShapeError,
    '[bernoulli] expected shapes that broadcast together',
  ],
  [
    () => bernoulli(engine.zeros([2, 3]), [3], seed),
    engine.ShapeError,
    '[bernoulli] expected p to broadcast to [3], got [2, 3]',
  ],
  [
    () => bernoulli(engine.zeros([3], { dtype: 'i32' }), [3], seed),
    engine.DtypeError,
    '[bernoulli] expected f32 operands',
  ],
  [
    () => categorical(engine.zeros([2, 0]), seed),
    engine.ShapeError,
    '[categorical] expected logits [..., classes] of at least one class, got [2, 0]',
  ],
  [() => categorical(engine.zeros([]), seed), engine.ShapeError, 'got []'],
  [
    () => categorical(engine.zeros([2]), undefined as never),
    ArgumentError,
    '[categorical] expected options with seed, got none',
  ],
];

test.each(refused)('refuses arguments by name: %#', (call, kind, message) => {
  expect(() => scope(call)).toThrow(kind);
  expect(() => scope(call)).toThrow(message);
});
