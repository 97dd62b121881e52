// Backward passes that fuse launches on CUDA, compared with unfused ones: gradients added in place, factors and columns read without
// a copy, parameter gradients that wait for each other, linear layers on one tensor.
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients } from '../../src/autograd/gradients.ts';
import { noGrad } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { cast } from '../../src/kernels/cast.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import { mul } from '../../src/kernels/elementwise.ts';
import { groupNorm } from '../../src/kernels/group_norm.ts';
import { linears } from '../../src/kernels/inner/linears.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { concat, reshape } from '../../src/kernels/movement.ts';
import { apply, declareOp, notDifferentiable } from '../../src/kernels/op.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { zeros } from '../../src/tensor/create.ts';
import { keep, scope } from '../../src/tensor/scope.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { largestOf } from '../support/compare.ts';
import { deviceModes, openTestDevice } from '../support/devices.ts';

const cards = deviceModes.filter(({ name }) => name.startsWith('cuda'));

describe.each(cards)('$label', ({ name, precision }) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name, { precision });
  }, 120_000);

  /** A leaf of random numbers. @param grad whether it has a gradient already, so that later ones may be deferred */
  function leaf(shape: Shape, seed: number, grad = false): Tensor {
    const made = keep(randn(shape, { seed, device })).requireGrad();
    if (grad) made.grad = keep(zeros(shape, { device }));
    return made;
  }

  const activation = (x: Tensor) => (precision === 'bf16' ? cast(x, 'bf16') : mul(x, 1));
  const total = (y: Tensor, weights: Tensor) => sum(mul(y.dtype === 'f32' ? y : cast(y, 'f32'), weights));
  const numbers = (t: Tensor) => t.dataSync() as Float32Array;

  /** Gradients of all leaves of a residual block on two parts. @param apart whether fusing into the norm is prevented */
  function block({ apart, late }: { apart: boolean; late: boolean }): Map<string, Float32Array> {
    const [n, h, w, a, b, c] = [2, 4, 6, 24, 8, 16];
    const leaves = {
      x: leaf([n, h, w, a], 1),
      skip: leaf([n, h, w, b], 2),
      gamma: leaf([a + b], 3, late),
      beta: leaf([a + b], 4, late),
      weight: leaf([c, 3, 3, a + b], 5, late),
      bias: leaf([c], 6, late),
      shortcut: leaf([c, 1, 1, a + b], 7, late),
      last: leaf([a, 3, 3, a], 8, late),
      lastBias: leaf([a], 9, late),
    };
    scope(() => {
      const own = (t: Tensor) => (apart ? reshape(t, t.shape) : t);
      // A convolution produces x, so the norm may compute the sums over pixels along with the gradient.
      const before = activation(leaves.x);
      const x = conv2d(before, leaves.last, { bias: leaves.lastBias, padding: 1, residual: before, scale: 0.7 });
      const skip = activation(leaves.skip);
      const options = { groups: 8, activation: 'silu' } as const;
      const hidden = groupNorm([own(x), own(skip)], leaves.gamma, leaves.beta, options);
      const residual = conv2d(concat([x, skip], 3), leaves.shortcut);
      const { weight, bias } = leaves;
      const y = conv2d(hidden, weight, { bias, padding: 1, residual, scale: 0.6 });
      total(y, randn([n, h, w, c], { seed: 10, device })).backward();
    });
    const found = new Map(Object.entries(leaves).map(([key, t]) => [key, numbers(t.grad as Tensor)]));
    for (const t of Object.values(leaves)) t.dispose();
    return found;
  }

  function expectClose(got: Float32Array, expected: Float32Array, tolerance: number, what: string): void {
    const worst = largestOf(expected.map((value, i) => value - got[i]));
    expect(worst, what).toBeLessThanOrEqual(tolerance * largestOf(expected));
    expect(largestOf(expected), what).toBeGreaterThan(1e-3);
  }

  it('a norm that adds to the gradient of its input is bit-identical to one that does not', () => {
    const [joined, apart] = [false, true].map((apart) => block({ apart, late: true }));
    for (const key of ['skip', 'gamma', 'beta', 'weight', 'bias', 'shortcut'])
      expect(joined.get(key), key).toEqual(apart.get(key));
    // These use the sums over pixels that the norm computed, which are added in another order.
    for (const key of ['lastBias', 'last', 'x'])
      expectClose(joined.get(key) as Float32Array, apart.get(key) as Float32Array, 1e-5, key);
  });

  it('deferred parameter gradients equal immediate ones', () => {
    const [late, prompt] = [true, false].map((late) => block({ apart: false, late }));
    for (const [key, expected] of prompt) expectClose(late.get(key) as Float32Array, expected, 1e-5, key);
  });

  it('a second backward adds to the existing gradients', () => {
    const weight = leaf([5, 7], 1, true);
    const bias = leaf([5], 2, true);
    const run = () =>
      scope(() => {
        const x = activation(randn([3, 7], { seed: 3, device }));
        total(matmul(x, weight, { transposeB: true, bias }), randn([3, 5], { seed: 4, device })).backward();
      });
    run();
    const once = [weight, bias].map((t) => numbers(t.grad as Tensor));
    run();
    const twice = [weight, bias].map((t) => numbers(t.grad as Tensor));
    once.forEach((values, i) => {
      expectClose(
        twice[i],
        values.map((value) => 2 * value),
        1e-6,
        `parameter ${i}`,
      );
    });
    for (const t of [weight, bias]) t.dispose();
  });

  it.each([
    ['of several widths', 70, [64, 5, 130]],
    ['more than a table holds', 3, Array.from({ length: 100 }, (_, i) => 1 + (i % 3))],
  ] as const)('linear layers on one tensor, %s, match separate products', (_, rows, widths) => {
    const inputs = 40;
    const run = (together: boolean) => {
      const x = leaf([rows, inputs], 1);
      const layers = widths.map((width, i) => ({
        weight: leaf([width, inputs], 2 + i, true),
        bias: leaf([width], 300 + i, true),
      }));
      const outputs = scope(() => {
        const given = activation(x);
        const made = together
          ? linears(given, layers)
          : layers.map(({ weight, bias }) => matmul(given, weight, { transposeB: true, bias }));
        const parts = made.map((y, i) => total(y, randn(y.shape, { seed: 500 + i, device })));
        if (together)
          sum(
            concat(
              parts.map((part) => reshape(part, [1])),
              0,
            ),
          ).backward();
        else for (const part of parts) part.backward(undefined, { retainGraph: true });
        return made.map((y) => numbers(cast(y, 'f32')));
      });
      const gradients = [x, ...layers.flatMap(({ weight, bias }) => [weight, bias])].map((t) =>
        numbers(t.grad as Tensor),
      );
      for (const t of [x, ...layers.flatMap(({ weight, bias }) => [weight, bias])]) t.dispose();
      return { outputs, gradients };
    };
    const [one, many] = [run(true), run(false)];
    one.outputs.forEach((values, i) => {
      expect(values, `output ${i}`).toEqual(many.outputs[i]);
    });
    const [dx, ...rest] = one.gradients;
    // With separate products, each part of dx is rounded.
    expectClose(dx, many.gradients[0], precision === 'bf16' ? 2e-2 : 1e-5, 'x');
    rest.forEach((values, i) => {
      expectClose(values, many.gradients[1 + i], 1e-5, `parameter ${i}`);
    });
  });

  it('gradients() of intermediate values equal those of leaves in their place', () => {
    const [n, size, c] = [2, 4, 16];
    const places = ['x', 'convolved', 'normed', 'joined', 'total', 'embedded'] as const;
    /** @param cut the value that is replaced by a leaf */
    const run = (cut?: (typeof places)[number]) => {
      const leaves: Tensor[] = [];
      const own = (shape: Shape, seed: number) => {
        const made = leaf(shape, seed);
        leaves.push(made);
        return made;
      };
      let replaced: Tensor | undefined;
      const found = scope(() => {
        const at = (place: (typeof places)[number], value: Tensor) => {
          if (place !== cut) return value;
          const same = noGrad(() => reshape(value, value.shape)).requireGrad();
          replaced = same;
          return same;
        };
        const x = at('x', activation(own([n, size, size, c], 1)));
        const weight = own([c, 3, 3, c], 2);
        // Its gradient is a scaled tensor from the residual, which is added to that of the norm before it.
        const convolved = at('convolved', conv2d(x, weight, { padding: 1, residual: x, scale: 0.7 }));
        const normed = at('normed', groupNorm(convolved, own([c], 3), own([c], 4), { groups: 4 }));
        // Each part gets columns of one gradient.
        const joined = at('joined', concat([normed, convolved], 3));
        const total = at('total', conv2d(joined, own([c, 1, 1, 2 * c], 5)));
        // These products share a launch.
        const embedded = at('embedded', reshape(total, [n * size * size, c]));
        const layers = [3, 5].map((width, i) => ({ weight: own([width, c], 6 + i), bias: own([width], 8 + i) }));
        const outputs = linears(embedded, layers);
        const loss = outputs
          .map((y, i) => sum(mul(y.dtype === 'f32' ? y : cast(y, 'f32'), randn(y.shape, { seed: 20 + i, device }))))
          .reduce((a, b) => sum(concat([reshape(a, [1]), reshape(b, [1])], 0)));
        const inputs = cut ? [replaced as Tensor] : [x, convolved, normed, joined, total, embedded];
        return gradients(loss, inputs).map((t, i) => {
          expect(t.dtype, places[i]).toBe(inputs[i].dtype);
          return numbers(cast(t, 'f32'));
        });
      });
      for (const t of leaves) t.dispose();
      return found;
    };
    const all = run();
    places.forEach((place, i) => {
      expectClose(all[i], run(place)[0], precision === 'bf16' ? 2e-2 : 1e-5, place);
    });
    const { live } = device.memory();
    run();
    expect(device.memory().live - live).toBe(0);
  });

  it('refuses a disposed grad before its gradient is computed', () => {
    const [x, weight] = [leaf([2, 4, 4, 16], 1), leaf([8, 3, 3, 16], 2, true)];
    weight.label = 'weight';
    weight.grad?.dispose();
    const run = () =>
      scope(() => {
        const y = conv2d(activation(x), weight, { padding: 1 });
        total(y, randn(y.shape, { seed: 4, device })).backward();
      });
    const refusal = /backward\(\) into the grad of tensor 'weight' .* after it was disposed/;
    expect(run).toThrow(refusal);
    const { live } = device.memory();
    expect(run).toThrow(refusal);
    expect(device.memory().live - live).toBe(0);
    for (const t of [x, weight]) t.dispose();
  });

  it('frees deferred gradients when a rule fails', () => {
    const broken = declareOp({
      name: 'broken',
      cpu: 'none',
      cuda: 'none',
      tangent: notDifferentiable('it has no rule').tangent,
      backward: () => {
        throw new Error('no gradient today');
      },
    });
    const { live } = device.memory();
    const [x, weight, bias] = [leaf([2, 4, 4, 16], 1), leaf([8, 3, 3, 16], 2, true), leaf([8], 3, true)];
    expect(() =>
      scope(() => {
        const same = activation(x);
        const passed = apply(
          broken,
          noGrad(() => reshape(same, same.shape)),
          { parents: [same] },
        );
        const y = conv2d(passed, weight, { bias, padding: 1 });
        total(y, randn(y.shape, { seed: 4, device })).backward();
      }),
    ).toThrow('no gradient today');
    for (const t of [x, weight, bias]) {
      t.grad?.dispose();
      t.dispose();
    }
    expect(device.memory().live - live).toBe(0);
  });
});
