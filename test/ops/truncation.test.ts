// Truncated sums of tensor cores: that the emulated card truncates as it is asked to, and the bound from which the tolerances of
// tf32 and bf16 follow, against random sums in a model of the hardware.
import { afterEach, describe, expect, test, vi } from 'vitest';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { asList, describeCase } from '../cases/case.ts';
import { MOST_TERMS, products, tensorCores, truncationBound } from '../cases/precision.ts';
import { cases } from '../cases.ts';
import { fakeCuda } from '../support/fakecuda.ts';
import { fill, random } from '../support/random.ts';

Object.assign(process.env, fakeCuda());
afterEach(() => {
  vi.unstubAllEnvs();
});

test.each([
  { arch: '90', sums: 'rounded', sum: 1 },
  // 1 - 2^-25 is exact with two more bits than f32 has, and is then truncated.
  { arch: '90', sums: 'truncated', sum: 1 - 2 ** -24 },
  // With one more bit, 2^-25 is cut off.
  { arch: '80', sums: 'truncated', sum: 1 },
])(
  'the emulated card adds 1 and -2^-25: $sums on sm_$arch',
  ({ arch, sums, sum }) => {
    vi.stubEnv('FAKECUDA_ARCH', arch);
    vi.stubEnv('FAKECUDA_SUMS', sums);
    const device = new CudaDevice(0, { precision: 'tf32' });
    const got = scope(() =>
      matmul(tensor([[1, 2 ** -13]], { device }), tensor([[1], [-(2 ** -12)]], { device })).item(),
    );
    device[Symbol.dispose]();
    expect(got).toBe(sum);
  },
  120_000,
);

test('no sum of a case has more terms than the tolerances allow for', () => {
  const most = cases
    .filter(({ op }) => products.includes(op) && op !== 'attention')
    .flatMap((definition) =>
      definition.check.map((size) => {
        const arrays = definition.inputs(size).map((input) => fill(input, random('terms')));
        const [first] = asList(definition.reference(arrays, size, []));
        // The sums of the product and of its two gradients have the same products in total.
        const sizes = [first, ...arrays.slice(0, 2)].map(({ data }) => data.length).filter((count) => count > 0);
        return {
          title: describeCase(definition, size),
          terms: (definition.flops?.(size) ?? 0) / 2 / Math.min(...sizes),
        };
      }),
    );
  expect(most.filter(({ terms }) => terms > MOST_TERMS)).toEqual([]);
  expect(Math.max(...most.map(({ terms }) => terms))).toBe(MOST_TERMS);
});

/** A sum of products as tensor cores compute it, and its largest product or partial sum. */
function add(a: Float32Array, b: Float32Array, { products: count, extra }: (typeof tensorCores)[number]) {
  const toZero = (x: number, unit: number) => Math.trunc(x / unit) * unit;
  let [sum, largest] = [0, 0];
  for (let first = 0; first < a.length; first += count) {
    const terms = [sum];
    for (let k = first; k < Math.min(a.length, first + count); k++) terms.push(a[k] * b[k]);
    const top = Math.max(...terms.map(Math.abs));
    if (top === 0) continue;
    const unit = 2 ** (Math.floor(Math.log2(top)) - 23 - extra);
    const total = terms.reduce((all, term) => all + toZero(term, unit), 0);
    sum = total === 0 ? 0 : toZero(total, 2 ** (Math.floor(Math.log2(Math.abs(total))) - 23));
    largest = Math.max(largest, top, Math.abs(sum));
  }
  return { sum, largest };
}

describe.each(tensorCores)('$name', (cores) => {
  test.each([16, 300, MOST_TERMS])('sums of %i products stay within the bound', (terms) => {
    const draw = random(`${cores.name} ${terms}`);
    let [worst, largestSum, largestResult] = [0, 0, 0];
    for (let row = 0; row < 200; row++) {
      // 8 bits, as bf16 has, so that products are exact.
      const [a, b] = [0, 1].map(() => Float32Array.from({ length: terms }, () => Math.round(256 * draw() - 128) / 64));
      const exact = a.reduce((total, value, k) => total + value * b[k], 0);
      const { sum, largest } = add(a, b, cores);
      worst = Math.max(worst, Math.abs(sum - exact) / largest);
      largestSum = Math.max(largestSum, largest);
      largestResult = Math.max(largestResult, Math.abs(exact));
    }
    expect(worst).toBeLessThanOrEqual(truncationBound(terms, cores));
    expect(largestSum).toBeLessThan(2 * largestResult);
  });

  test('a sum that truncation always shortens comes near the bound', () => {
    // The sum so far is 1; each further product lies below the last bit that is kept.
    const a = new Float32Array(1 + cores.products * 100).fill(-(2 ** -13));
    const b = new Float32Array(a.length).fill(2 ** -(11 + cores.extra));
    [a[0], b[0]] = [1, 1];
    const exact = a.reduce((total, value, k) => total + value * b[k], 0);
    const error = Math.abs(add(a, b, cores).sum - exact);
    expect(error).toBeGreaterThan(truncationBound(a.length, cores) / 20);
    expect(error).toBeLessThan(truncationBound(a.length, cores));
  });
});
