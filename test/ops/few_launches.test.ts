// CUDA launches that stand for several ops or copies, compared with those: convolutions of an image in two parts, first gradients that
// are written instead of added, points on paths, embeddings of times, and copies of 16 bytes at a time.
import { beforeAll, describe, expect, it } from 'vitest';
import { enableGrad } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { interpolate } from '../../src/flow/loss.ts';
import { cast } from '../../src/kernels/cast.ts';
import { conv2d, conv2dOfParts } from '../../src/kernels/conv/conv.ts';
import { cos, mul, sin, sub } from '../../src/kernels/elementwise.ts';
import { sinusoids, straightPath } from '../../src/kernels/inner/flow_inputs.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { concat, reshape } from '../../src/kernels/movement.ts';
import { randn, uniform } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { upsampleNearest } from '../../src/kernels/resample.ts';
import { full } from '../../src/tensor/create.ts';
import { keep, scope } from '../../src/tensor/scope.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deviceModes, openTestDevice } from '../support/devices.ts';

const cards = deviceModes.filter(({ name }) => name.startsWith('cuda'));

describe.each(cards)('$label', ({ name, precision }) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name, { precision });
  }, 120_000);

  const leaf = (shape: Shape, seed: number, grad?: number): Tensor => {
    const made = keep(randn(shape, { seed, device })).requireGrad();
    if (grad !== undefined) made.grad = keep(full(shape, grad, { device }));
    return made;
  };
  const activation = (x: Tensor) => (precision === 'bf16' ? cast(x, 'bf16') : mul(x, 1));
  const numbers = (t: Tensor) => t.dataSync() as Float32Array;

  // Channels that chunks of 16 bytes and tensor maps divide, and others.
  it.each([
    [64, 128, 64],
    [8, 16, 24],
    [3, 5, 7],
  ])('a convolution of %i + %i channels to %i reads its image in parts', (first, second, outputs) => {
    const results = [true, false].map((inParts) => {
      const leaves = [
        leaf([2, 3, 4, first], 1),
        leaf([2, 3, 4, second], 2),
        leaf([outputs, 2, 2, first + second], 3, 0),
      ];
      const bias = leaf([outputs], 4, 0);
      const y = scope(() => {
        const parts = leaves.slice(0, 2).map(activation);
        const options = { bias, padding: 1, scale: 0.5 };
        const made = inParts ? conv2dOfParts(parts, leaves[2], options) : conv2d(concat(parts, 3), leaves[2], options);
        const wide = made.dtype === 'f32' ? made : cast(made, 'f32');
        sum(mul(wide, randn(wide.shape, { seed: 5, device }))).backward();
        return numbers(wide);
      });
      const found = [y, ...[...leaves, bias].map(({ grad }) => numbers(grad as Tensor))];
      for (const t of [...leaves, bias]) t.dispose();
      return found;
    });
    expect(results[0]).toEqual(results[1]);
    expect(Math.max(...results[0][1])).toBeGreaterThan(0.01);
  });

  it('a convolution of single pixels gives the bits of one after upsampling, and nearly its gradients', () => {
    const results = [true, false].map((late) => {
      const leaves = [leaf([2, 3, 4, 16], 1), leaf([24, 1, 1, 16], 2, 0), leaf([24], 3, 0)];
      const [weight, bias] = leaves.slice(1);
      const values = scope(() => {
        const x = activation(leaves[0]);
        const shortcut = (h: Tensor) => conv2d(h, weight, { bias });
        const residual = late ? upsampleNearest(shortcut(x), 2) : shortcut(upsampleNearest(x, 2));
        // A factor and sums over pixels pass through the upsampling.
        const y = conv2d(
          activation(randn([2, 6, 8, 24], { seed: 4, device })),
          randn([24, 1, 1, 24], { seed: 5, device }),
          {
            ...{ residual, scale: 0.7 },
          },
        );
        const wide = y.dtype === 'f32' ? y : cast(y, 'f32');
        sum(mul(wide, randn(wide.shape, { seed: 6, device }))).backward();
        return numbers(residual.dtype === 'f32' ? residual : cast(residual, 'f32'));
      });
      const found = [values, ...leaves.map(({ grad }) => numbers(grad as Tensor))];
      for (const t of leaves) t.dispose();
      return found;
    });
    const [late, early] = results;
    expect(late[0]).toEqual(early[0]);
    // Factors of products are rounded before or after the sum over pixels.
    const tolerance = { fp32: 1e-5, tf32: 2 ** -9, bf16: 0.02 }[precision];
    for (const i of [1, 2, 3]) {
      const largest = Math.max(...early[i].map(Math.abs));
      late[i].forEach((value, k) => {
        expect(Math.abs(value - early[i][k]), `${i} ${k}`).toBeLessThanOrEqual(tolerance * largest);
      });
    }
  });

  it('writes the first gradient of a cleared parameter, and adds all others', () => {
    const run = (cleared: boolean) => {
      const weights = [leaf([5, 8], 1, 7), leaf([3, 5], 2, 7)];
      const bias = leaf([3], 3, 7);
      for (const { grad } of [...weights, bias]) (grad as Tensor).isCleared = cleared;
      scope(() => {
        const x = activation(randn([6, 8], { seed: 4, device }));
        const h = matmul(x, weights[0], { transposeB: true });
        // The second layer is used twice, so its gradients arrive twice in one pass.
        const twice = [h, mul(h, 0.5)].map((t) => matmul(t, weights[1], { transposeB: true, bias }));
        for (const y of twice) sum(y.dtype === 'f32' ? y : cast(y, 'f32')).backward(undefined, { retainGraph: true });
        const both = concat(
          twice.map((y) => (y.dtype === 'f32' ? y : cast(y, 'f32'))),
          0,
        );
        sum(both).backward();
      });
      const found = [...weights, bias].map(({ grad }) => numbers(grad as Tensor));
      for (const t of [...weights, bias]) t.dispose();
      return found;
    };
    const [written, added] = [true, false].map(run);
    written.forEach((values, i) => {
      values.forEach((value, k) => {
        expect(added[i][k] - value, `${i} ${k}`).toBeCloseTo(7, 3);
      });
    });
  });

  if (precision !== 'fp32') return;

  it('computes the point and the direction of a path with the bits of ops', () => {
    scope(() => {
      const [x0, x1] = [1, 2].map((seed) => randn([3, 5, 7], { seed, device }));
      const t = uniform([3], { seed: 3, device });
      const path = straightPath(x0, x1, t);
      expect(path && numbers(path.point)).toEqual(numbers(interpolate(x0, x1, t)));
      expect(path && numbers(path.direction)).toEqual(numbers(sub(x1, x0)));
      const traced = enableGrad(() => straightPath(mul(x0, 1).requireGrad(), x1, t));
      expect(traced).toBeUndefined();
    });
  });

  it('embeds times with the bits of ops', () => {
    scope(() => {
      const labels = mul(uniform([6], { seed: 1, device }), 999);
      const frequencies = uniform([1, 5], { seed: 2, device });
      const angles = mul(reshape(labels, [6, 1]), frequencies);
      const together = sinusoids(labels, frequencies);
      expect(together && numbers(together)).toEqual(numbers(concat([sin(angles), cos(angles)], 1)));
    });
  });
});
