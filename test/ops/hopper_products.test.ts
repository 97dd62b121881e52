// Products of bf16 matrices by the kernels of sm_90a on the emulated card: which are supported, that every tile gives the same bits under
// any order of threads, and that matmul, layers and attention use them.
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { CudaDevice } from '../../src/device/cuda/device.ts';
import { cast } from '../../src/kernels/cast.ts';
import { attention } from '../../src/kernels/composed/attention.ts';
import { hopperBuilds } from '../../src/kernels/conv/hopper.ts';
import { hopperProbabilities, hopperSlopes } from '../../src/kernels/conv/hopper_attention.ts';
import { hopperProducts, productTile, suitsHopperProducts } from '../../src/kernels/conv/hopper_products.ts';
import { mul, sub } from '../../src/kernels/elementwise.ts';
import { linears } from '../../src/kernels/inner/linears.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { softmax } from '../../src/kernels/softmax.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { view } from '../../src/tensor/view.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, full, openTestDevice } from '../support/devices.ts';
import { launchesOf } from '../support/launches.ts';

const conditions = ['round', 'forward', 'backward']
  .flatMap((schedule) => ['eager', 'deferred'].map((copies) => ({ schedule, copies })))
  .filter((_, i) => full || i === 2 || i === 5);

const plain = [false, false] as const;

test('supports multiples of 64 with at most four pairs, where there are enough tiles', () => {
  const square = { batches: 32, rows: 64, columns: 64, terms: 64, orders: plain, steps: [1, 1] } as const;
  expect(suitsHopperProducts(square, 1, 1)).toBe(true);
  expect(suitsHopperProducts(square, 2, 2)).toBe(true);
  expect(suitsHopperProducts(square, 1, 5)).toBe(false);
  for (const extent of ['rows', 'columns', 'terms'] as const)
    for (const wrong of [0, 96]) expect(suitsHopperProducts({ ...square, [extent]: wrong }, 1, 1)).toBe(false);
  expect(suitsHopperProducts({ ...square, orders: [true, true] }, 1, 1)).toBe(false);
  const tiles = [
    productTile(square, 1, 1),
    productTile({ ...square, batches: 31 }, 1, 1),
    productTile(square, 1, 1, 257),
  ];
  expect(tiles.map((tile) => tile !== undefined)).toEqual([true, false, false]);
});

test('chooses these tiles for the attention of the official network', () => {
  const batched = { batches: 128, rows: 256, columns: 256, terms: 256, orders: plain, steps: [1, 1] } as const;
  const layer = { batches: 1, rows: 32768, columns: 256, terms: 256, orders: plain, steps: [0, 0] } as const;
  const names = [productTile(batched, 1, 1), productTile(layer, 3, 1), productTile(layer, 1, 3)].map(
    (tile) => tile?.name,
  );
  expect(names).toEqual(['128x128.turns', '128x128.turns', '256x128']);
});

describe.runIf(deviceNames.includes('cuda-emulated'))('bf16 on cuda-emulated', () => {
  let device: CudaDevice;
  beforeAll(async () => {
    device = (await openTestDevice('cuda-emulated', { precision: 'bf16' })) as CudaDevice;
  }, 120_000);
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  const drawn = (shape: readonly number[], stream: number, dtype: 'bf16' | 'f32' = 'bf16') =>
    cast(cast(randn(shape, { device, seed: 9, stream }), 'bf16'), dtype);
  const numbers = (t: Tensor) => cast(t, 'f32').dataSync() as Float32Array;

  test.each([
    ['two pairs with a bias', plain, { batches: 1, rows: 320, columns: 192, terms: 128 }, 2],
    ['a transposed right matrix', [false, true], { batches: 3, rows: 64, columns: 192, terms: 64 }, 1],
    ['a transposed left matrix', [true, false], { batches: 2, rows: 320, columns: 64, terms: 128 }, 1],
  ] as const)(
    'every tile gives the same sums: %s',
    (_, orders, sizes, pairs) => {
      scope(() => {
        const { batches, rows, columns, terms } = sizes;
        const lead = batches === 1 ? [] : [batches];
        const left = [...lead, ...(orders[0] ? [terms, rows] : [rows, terms])];
        const right = [...lead, ...(orders[1] ? [columns, terms] : [terms, columns])];
        const bias = batches === 1 ? randn([columns], { device, seed: 9, stream: 99 }) : undefined;
        const steps = batches === 1 ? ([0, 0] as const) : ([1, 1] as const);
        const draw = (dtype: 'bf16' | 'f32') =>
          Array.from({ length: pairs }, (_, i) => [drawn(left, 2 * i, dtype), drawn(right, 2 * i + 1, dtype)] as const);
        const results = hopperBuilds.flatMap((tile) =>
          conditions.map(({ schedule, copies }) => {
            vi.stubEnv('FAKECUDA_SCHEDULE', schedule);
            vi.stubEnv('FAKECUDA_COPIES', copies);
            const [c] = hopperProducts(
              [{ pairs: draw('bf16'), bias }],
              { ...sizes, orders, steps },
              { shape: [...lead, rows, columns], dtype: 'f32' },
              tile,
            ) as Tensor[];
            return c.dataSync() as Float32Array;
          }),
        );
        vi.unstubAllEnvs();
        const options = { transposeA: orders[0], transposeB: orders[1] };
        const terms64 = draw('f32').map(([a, b]) => numbers(matmul(a, b, options)));
        const more = bias?.dataSync();
        const expected = terms64[0].map(
          (value, i) => value + (terms64[1]?.[i] ?? 0) + Number(more?.[i % columns] ?? 0),
        );
        for (const result of results) expect(result).toEqual(results[0]);
        expectClose('c', results[0], expected, { ofLargest: 1e-5 });
      });
    },
    300_000,
  );

  test.each([
    ['64 keys', [3, 64, 128], 64],
    ['192 keys, and queries that no tile divides', [1, 320, 64], 192],
    ['256 keys', [2, 192, 64], 256],
  ] as const)(
    'probabilities and slopes of %s have the same bits with every tile',
    (_, [samples, queries, channels], keys) => {
      scope(() => {
        const [q, dy] = [drawn([samples, queries, channels], 0), drawn([samples, queries, channels], 1)];
        const [k, v] = [drawn([samples, keys, channels], 2), drawn([samples, keys, channels], 3)];
        const tiles = hopperBuilds.filter(({ columns }) => columns >= keys);
        const results = tiles.flatMap((tile) =>
          conditions.map(({ schedule, copies }) => {
            vi.stubEnv('FAKECUDA_SCHEDULE', schedule);
            vi.stubEnv('FAKECUDA_COPIES', copies);
            const probabilities = hopperProbabilities(q, k, 0.25, tile) as Tensor;
            const slopes = hopperSlopes(dy, v, probabilities, 0.25, tile) as Tensor;
            return { probabilities, p: numbers(probabilities), slopes: numbers(slopes) };
          }),
        );
        vi.unstubAllEnvs();
        const [first] = results;
        for (const { p, slopes } of results) {
          expect(p).toEqual(first.p);
          expect(slopes).toEqual(first.slopes);
        }
        const products = (a: Tensor, b: Tensor) => matmul(cast(a, 'f32'), cast(b, 'f32'), { transposeB: true });
        expectClose('probabilities', first.p, numbers(softmax(mul(products(q, k), 0.25))), {
          relative: 2 ** -7,
          absolute: 1e-6,
        });
        const [p, d] = [cast(first.probabilities, 'f32'), products(dy, v)];
        const slopes = mul(mul(p, sub(d, sum(mul(p, d), { axes: 2, keepDims: true }))), 0.25);
        expectClose('slopes', first.slopes, numbers(slopes), { relative: 2 ** -8, ofLargest: 1e-5 });
      });
    },
    300_000,
  );

  test('attention on more than 256 keys, or on a tensor that is not aligned, uses other kernels', () => {
    scope(() => {
      const [q, k] = [drawn([32, 64, 64], 0), drawn([32, 320, 64], 1)];
      expect(hopperProbabilities(q, k, 1)).toBeUndefined();
      const inside = view(drawn([32 * 64 * 64 + 1], 2), [32, 64, 64], 1);
      expect(hopperProbabilities(inside, drawn([32, 256, 64], 1), 1)).toBeUndefined();
    });
  });

  /** The kernels of sm_90a that a call launches. */
  function used(work: () => void): string[] {
    const names = launchesOf(device);
    work();
    vi.restoreAllMocks();
    return names.filter((name) => name.startsWith('conv_hopper_'));
  }

  test('attention and layers use them, and their gradients match f32', () => {
    const run = (dtype: 'bf16' | 'f32') =>
      scope(() => {
        const x = drawn([64, 64, 64], 0, dtype).requireGrad();
        // The gradients of a tensor that is not a leaf are one product.
        const h = mul(x, 1);
        const weights = [1, 2, 3].map((stream) => mul(drawn([64, 64], stream, 'f32'), 0.125).requireGrad());
        const bias = randn([64], { device, seed: 9, stream: 4 });
        const [q, k, v] = linears(
          h,
          weights.map((weight) => ({ weight, bias })),
        );
        const y = attention(q, k, v);
        sum(mul(cast(y, 'f32'), drawn(y.shape, 5, 'f32'))).backward();
        return [y, x.grad, ...weights.map(({ grad }) => grad)].map((t) => numbers(t as Tensor));
      });
    let [got, want]: Float32Array[][] = [[], []];
    const names = used(() => {
      got = run('bf16');
    });
    want = run('f32');
    const count = (name: string) => names.filter((one) => one === name).length;
    // q, k and v; y, dq and the gradient of x; dk and dv.
    expect(count('conv_hopper_probabilities')).toBe(1);
    expect(count('conv_hopper_slopes')).toBe(1);
    expect(count('conv_hopper_multiply_right_transposed')).toBe(1);
    expect(count('conv_hopper_multiply')).toBe(3);
    expect(count('conv_hopper_multiply_left_transposed')).toBe(2);
    got.forEach((values, i) => expectClose(`result ${i}`, values, want[i], { ofLargest: 0.02 }));
  }, 120_000);
});
