/**
 * What the cases do not show of attention: sizes of many blocks, queries without keys, PyTorch's numbers, memory without
 * scores, and the bits of one head without a mask.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, DtypeError, type RectiflowError, ShapeError } from '../../src/errors.ts';
import { attention } from '../../src/kernels/composed/attention.ts';
import { greater, mul, where } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { permute, reshape } from '../../src/kernels/movement.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { softmax } from '../../src/kernels/softmax.ts';
import { full, tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

/**
 * y, dq, dk and dv of the functions in the last test, by PyTorch 2.13 in float64:
 *   ramp = lambda shape, step: torch.sin(step * torch.arange(prod(shape), dtype=float64)).reshape(shape)
 *   heads = lambda t: t.unflatten(2, (2, 2)).transpose(1, 2)
 *   y = scaled_dot_product_attention(heads(q), heads(k), heads(v), is_causal=True or attn_mask=mask)
 */
// biome-ignore format: rows of numbers
const pytorch = { causal: [[0, 0.47942555, 0.841470957, 0.997494996, 0.583536192, 0.555822976, 0.330468465, 0.013740312, 0.101281147, 0.192806984, 0.052502029, 0.003680745],
[0, 0, 0, 0, 0.052620964, -0.156297789, 0.478145466, 0.475219599, 0.156729125, -0.04356835, -0.030291182, -0.033039157],
[0.08420176, 0.171504255, -0.203488812, 0.009345151, 0.049625888, -0.007962198, 0.20616681, -0.012318278, -0.133827648, -0.163542057, -0.002677998, 0.002973126, 0, 0, 0, 0],
[0.660808967, 0.859715558, 0.876093466, 0.962873051, 0.797521257, 0.766295208, 0.761487249, 0.57289854, 0.149172058, 0.094384321, 0.042029404, -0.046980989, 0, 0, 0, 0]], mask: [[-0.302168507, -0.01238285, 0.09711543, 0.306381761, 0.583536192, 0.555822976, 0.330468465, 0.013740312, -0.064392435, 0.083525586, 0.029219481, 0.040123866],
[0.048737203, 0.030091136, 0.042090524, -0.162189191, 0.052620964, -0.156297789, 0.478145466, 0.475219599, 0.103837344, -0.069421059, -0.013814328, -0.009983972],
[0.069512466, 0.185226981, 0.122329706, 0.145334214, 0.057865769, 0.002107224, 0.206632737, -0.012835552, -0.100008686, -0.166124773, -0.386147554, -0.166704194, -0.027369549, -0.021209431, 0.05718511, 0.034205533],
[0.333908555, 0.473629902, 0.537251118, 0.613442437, 0.772790211, 0.750647352, 0.758459685, 0.576282788, 0.130669789, 0.164816352, 0.266442209, 0.270605026, 0.370133727, 0.331301482, 0.117457107, 0.028460351]] };

/** Attention with stored scores, written in other ops. @param allowed bool, broadcasts to [N, heads, queries, keys] */
function stored(q: Tensor, k: Tensor, v: Tensor, heads: number, allowed: Tensor): Tensor {
  const split = (t: Tensor) => permute(reshape(t, [t.shape[0], t.shape[1], heads, -1]), [0, 2, 1, 3]);
  const scores = mul(matmul(split(q), split(k), { transposeB: true }), (q.shape[2] / heads) ** -0.5);
  const probabilities = where(allowed, softmax(where(allowed, scores, -1e30)), 0);
  return reshape(permute(matmul(probabilities, split(v)), [0, 2, 1, 3]), [q.shape[0], q.shape[1], v.shape[2]]);
}

/** Values of y, and gradients of sum(y w) with respect to q, k and v. */
function results(run: (q: Tensor, k: Tensor, v: Tensor) => Tensor, given: readonly Tensor[], w: Tensor): number[][] {
  return scope(() => {
    const leaves = given.map((t) => tensor(t.dataSync(), { shape: t.shape, device: t.device, requiresGrad: true }));
    const y = run(leaves[0], leaves[1], leaves[2]);
    sum(mul(y, w)).backward();
    const read = [y, ...leaves.map((t) => t.grad as Tensor)].map((t) => Array.from(t.dataSync() as Float32Array));
    for (const t of leaves) t.dispose();
    return read;
  });
}

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const numbers = (t: Tensor) => Array.from(t.dataSync() as Float32Array);
  const drawn = (shape: number[], stream: number) => randn(shape, { seed: 3, stream, device });

  test.each([
    ['causal', true],
    ['with a mask', false],
  ])('many blocks, %s, agree with attention that stores its scores', (_, causal) => {
    scope(() => {
      const heads = 2;
      const [queries, keys] = name === 'cpu' ? [230, 300] : [70, 99];
      const given = [drawn([1, queries, 18], 1), drawn([1, keys, 18], 2), drawn([1, keys, 42], 3)];
      const w = drawn([1, queries, 42], 4);
      const lower = Array.from({ length: queries * keys }, (_, i) => i % keys <= Math.floor(i / keys));
      const triangle = tensor(lower.map(Number), { shape: [queries, keys], dtype: 'bool', device });
      const allowed = causal ? triangle : greater(drawn([1, heads, queries, keys], 5), 0);
      const options = causal ? { heads, causal } : { heads, mask: allowed };
      const got = results((q, k, v) => attention(q, k, v, options), given, w);
      const want = results((q, k, v) => stored(q, k, v, heads, allowed), given, w);
      got.forEach((list, i) => {
        expectClose(['y', 'dq', 'dk', 'dv'][i], list, want[i], { absolute: 4e-6, ofLargest: 4e-6 });
      });
    });
  });

  test('a query that attends to no key gives 0 and no gradients', () => {
    scope(() => {
      const given = [drawn([2, 3, 4], 1), drawn([2, 5, 4], 2), drawn([2, 5, 6], 3)];
      // Query 1 of sample 0 has no keys; no query attends to key 2.
      const attends = Array.from({ length: 2 * 3 * 5 }, (_, i) => (Math.floor(i / 5) !== 1 && i % 5 !== 2 ? 1 : 0));
      const mask = tensor(attends, { shape: [2, 1, 3, 5], dtype: 'bool', device });
      const w = drawn([2, 3, 6], 4);
      const [y, dq, dk, dv] = results((q, k, v) => attention(q, k, v, { heads: 2, mask }), given, w);
      expect(y.slice(6, 12)).toEqual([0, 0, 0, 0, 0, 0]);
      expect(dq.slice(4, 8)).toEqual([0, 0, 0, 0]);
      expect([dk.slice(8, 12), dv.slice(12, 18)]).toEqual([
        [0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
      ]);
      for (const list of [y, dq, dk, dv]) expect(list.every(Number.isFinite)).toBe(true);
      expect(y.slice(0, 6).every((value) => value !== 0)).toBe(true);
    });
  });

  test('NaN and large scores behave as in a softmax', () => {
    scope(() => {
      const q = tensor(
        [
          [
            [1, 2],
            [Number.NaN, 1],
            [3e4, 3e4],
          ],
        ].flat(2),
        { shape: [1, 3, 2], device },
      );
      const k = tensor([1e4, 0, 0, 1e4, 1, 1], { shape: [1, 3, 2], device });
      const v = tensor([1, 2, 3], { shape: [1, 3, 1], device });
      const mask = full([1], 1, { dtype: 'bool', device });
      const [a, b, c] = numbers(attention(q, k, v, { mask }));
      expect(a).toBe(2);
      expect(b).toBeNaN();
      expect(c).toBe(1.5);
    });
  });

  test('heads and causal options that change nothing keep the bits of one head', () => {
    scope(() => {
      const [q, k, v] = [drawn([2, 9, 8], 1), drawn([2, 7, 8], 2), drawn([2, 7, 5], 3)];
      expect(numbers(attention(q, k, v, { heads: 1, causal: false }))).toEqual(numbers(attention(q, k, v)));
    });
  });

  test('arguments that do not fit are refused by name', () => {
    scope(() => {
      const f = (...shape: number[]) => full(shape, 0, { device });
      const call = (options: object) => () => attention(f(2, 3, 4), f(2, 5, 4), f(2, 5, 6), options);
      const bools = (...shape: number[]) => full(shape, 1, { dtype: 'bool', device });
      const refused: [string, new (...values: never[]) => RectiflowError, () => unknown][] = [
        ['[attention] expected q, k and v with channels for 3 heads of equal size', ShapeError, call({ heads: 3 })],
        ['[attention] expected q, k and v with channels for 4 heads of equal size', ShapeError, call({ heads: 4 })],
        ['[attention] expected heads to be a whole number >= 1, got 0', ArgumentError, call({ heads: 0 })],
        ['[attention] expected causal to be true or false', ArgumentError, call({ causal: 1 })],
        ['[attention] expected scale to be a finite number', ArgumentError, call({ scale: Number.NaN })],
        ['[attention] expected a mask of dtype bool', DtypeError, call({ mask: f(3, 5) })],
        [
          '[attention] expected a mask that broadcasts to [N, heads, queries, keys] = [2, 1, 3, 5]',
          ShapeError,
          call({ mask: bools(5, 3) }),
        ],
        ['[attention] expected a mask that broadcasts', ShapeError, call({ mask: bools(2, 3, 5) })],
        ['[attention] expected a mask that broadcasts', ShapeError, call({ mask: bools(1, 2, 1, 3, 5) })],
        ['did you mean "causal"', ArgumentError, call({ casual: true })],
      ];
      for (const [message, type, run] of refused) {
        expect(run, message).toThrow(type);
        expect(run).toThrow(message);
      }
    });
  });

  test('agrees with scaled_dot_product_attention of PyTorch', () => {
    scope(() => {
      const ramp = (shape: number[], step: number) => {
        const size = shape.reduce((a, b) => a * b);
        const values = Array.from({ length: size }, (_, i) => Math.sin(step * i));
        return tensor(values, { shape, device });
      };
      const given = [ramp([1, 3, 4], 0.9), ramp([1, 4, 4], 0.7), ramp([1, 4, 4], 0.5)];
      const w = ramp([1, 3, 4], 0.3);
      const mask = tensor([1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1], { shape: [3, 4], dtype: 'bool', device });
      for (const [options, numbers] of [
        [{ heads: 2, causal: true }, pytorch.causal],
        [{ heads: 2, mask }, pytorch.mask],
      ] as const) {
        const got = results((q, k, v) => attention(q, k, v, options), given, w);
        got.forEach((list, i) => {
          expectClose(['y', 'dq', 'dk', 'dv'][i], list, numbers[i], { absolute: 1e-6, relative: 2e-6 });
        });
      }
    });
  });
});

test('memory grows with queries and keys, not with their product', async () => {
  const device = await openTestDevice('cpu');
  scope(() => {
    const shape = [1, 1024, 64];
    const draw = (stream: number) => randn(shape, { seed: 1, stream, device, requiresGrad: true });
    const [q, k, v] = [draw(1), draw(2), draw(3)];
    const { live } = device.memory();
    device.resetHighWater();
    sum(attention(q, k, v, { heads: 8, causal: true })).backward();
    // The scores of all heads would take 32 MiB.
    expect(device.memory().highWater - live).toBeLessThan(2 ** 23);
    for (const t of [q, k, v]) t.dispose();
  });
});
