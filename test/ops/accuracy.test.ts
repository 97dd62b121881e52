/**
 * The error of each mathematical function in units of its result's last place, over floats of random bits and over a range in which it
 * is used; and its values at zeros of both signs, infinities, NaN and subnormal numbers. On every device and instruction set.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import * as math from '../../src/kernels/math.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openTestDevice } from '../support/devices.ts';
import { mathFunctions, modulo } from '../support/reference/index.ts';
import { exactModes, randomBits, worst } from '../support/ulp.ts';

const infinity = Number.POSITIVE_INFINITY;
const nan = Number.NaN;

/** The bound on the error, which the kernels' comments state, and the range. Rounding is exact. */
const bounds: Record<keyof typeof mathFunctions, [ulp: number, low: number, high: number]> = {
  acos: [4, -1, 1],
  acosh: [4, 1, 5],
  asin: [4, -1, 1],
  asinh: [4, -5, 5],
  atan: [4, -5, 5],
  atanh: [4, -1, 1],
  ceil: [0, -5, 5],
  cosh: [4, -89, 89],
  erf: [3, -4, 4],
  erfc: [7, -4, 9],
  exp2: [3, -126, 128],
  expm1: [4, -5, 5],
  floor: [0, -5, 5],
  log10: [3, 0, 5],
  log1p: [4, -1, 5],
  log2: [3, 0, 5],
  reciprocal: [1, -5, 5],
  round: [0, -5, 5],
  rsqrt: [2, 0, 5],
  sign: [0, -5, 5],
  sinh: [4, -89, 89],
  tan: [5, -20, 20],
  trunc: [0, -5, 5],
};

const specials = [
  ...[0, -0, 1, -1, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.25, -0.25, 0.49999997, 8388607.5, -8388607.5, 8388609, 2 ** 31],
  ...[1e-40, -1e-40, 1e-45, 1.1754944e-38, 1e-20, -1e-20, 3.4e38, -3.4e38, 1e30, -1e30, infinity, -infinity, nan],
];

describe.each(exactModes)('$label', (mode) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(mode.name, mode);
  }, 120_000);

  const valuesOf = (f: (...x: Tensor[]) => Tensor, ...operands: ArrayLike<number>[]) =>
    scope(() => f(...operands.map((x) => tensor(Float32Array.from(x), { device }))).dataSync()) as Float32Array;

  test.each(Object.entries(bounds))('%s has the error that its comment states', (name, [ulp, low, high]) => {
    const op = math[name as keyof typeof bounds];
    const of = mathFunctions[name as keyof typeof bounds];
    const range = Float32Array.from({ length: 10_001 }, (_, i) => low + ((high - low) * i) / 10_000);
    for (const x of [range, randomBits(10_001)]) {
      const { units, ...where } = worst(x, valuesOf(op, x), of);
      expect(units, JSON.stringify(where)).toBeLessThanOrEqual(ulp);
    }
    const x = Float32Array.from(specials);
    const got = valuesOf(op, x);
    x.forEach((value, i) => {
      const want = Math.fround(of(value));
      // Subnormal results may be rounded once more, or be 0.
      if (Math.abs(want) > 0 && Math.abs(want) < 1.2e-38) expect(Math.abs(got[i] - want)).toBeLessThan(1e-44);
      else if (want === 0 || !Number.isFinite(want)) expect(got[i], `${name}(${value})`).toBe(want);
    });
  });

  test('powers of 2 and whole exponents are exact', () => {
    const exponents = Array.from({ length: 254 }, (_, i) => i - 126);
    const powers = exponents.map((e) => 2 ** e);
    expect(Array.from(valuesOf(math.exp2, exponents))).toEqual(powers);
    expect(Array.from(valuesOf(math.log2, powers))).toEqual(exponents);
    expect(Array.from(valuesOf(math.exp2, [-149, -150, -151, 127.99999, 128]))).toEqual([
      2 ** -149,
      0,
      0,
      Math.fround(2 ** Math.fround(127.99999)),
      infinity,
    ]);
  });

  /** Pairs of floats of random bits, of nearby exponents, and of special values. */
  function pairs(): [Float32Array, Float32Array] {
    const a = randomBits(6001);
    const b = randomBits(12_002).slice(6001);
    const near = a.map((x, i) => Math.fround(x * (1 + (i % 97))));
    const grid = specials.flatMap((x) => specials.map((y) => [x, y]));
    return [
      Float32Array.from([...a, ...near, ...grid.map(([x]) => x)]),
      Float32Array.from([...b, ...a, ...grid.map(([, y]) => y)]),
    ];
  }

  test('remainders are exact, and quotients are rounded down from the exact one', () => {
    const [a, b] = pairs();
    const got = {
      fmod: valuesOf(math.fmod, a, b),
      mod: valuesOf(math.mod, a, b),
      floorDiv: valuesOf(math.floorDiv, a, b),
    };
    a.forEach((x, i) => {
      const y = b[i];
      const what = `of ${x} and ${y}`;
      expect(got.fmod[i], `fmod ${what}`).toBe(x % y);
      expect(got.mod[i], `mod ${what}`).toBe(Math.fround(modulo(x, y)));
      if (y === 0) expect(got.floorDiv[i], `floorDiv ${what}`).toBe(Math.fround(x / y));
      else if (!Number.isFinite(x)) expect(got.floorDiv[i], `floorDiv ${what}`).toBe(nan);
      else if (Math.abs(x / y) < 2 ** 20) expect(got.floorDiv[i] + 0, `floorDiv ${what}`).toBe(floorOf(x, y) + 0);
    });
  });

  /** floor(a / b) of the exact quotient: the double a / b may be a whole number where the quotient is just below. */
  function floorOf(a: number, b: number): number {
    const q = Math.round((a - (a % b)) / b);
    return a % b !== 0 && a % b < 0 !== b < 0 ? q - 1 : q;
  }

  test('atan2 has the quadrants and the ends of C', () => {
    const [a, b] = pairs();
    const got = valuesOf(math.atan2, a, b);
    let largest = 0;
    a.forEach((y, i) => {
      const want = Math.fround(Math.atan2(y, b[i]));
      if (Object.is(got[i], want)) return;
      expect(Number.isFinite(want), `atan2(${y}, ${b[i]}): got ${got[i]}, expected ${want}`).toBe(true);
      largest = Math.max(largest, Math.abs(got[i] - want) / Math.max(Math.abs(want), 1e-37));
    });
    expect(largest).toBeLessThan(5 * 2 ** -23);
  });
});
