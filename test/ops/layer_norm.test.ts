/**
 * Layer, RMS, batch and instance normalisation: what the case table does not state. Running statistics, large means,
 * overflow, refusals by name, and recording.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, DtypeError, NotDifferentiableError, ShapeError } from '../../src/errors.ts';
import { batchNorm } from '../../src/kernels/batch_norm.ts';
import { instanceNorm } from '../../src/kernels/composed/instance_norm.ts';
import { layerNorm, rmsNorm } from '../../src/kernels/layer_norm.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { full, ones, tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { makeTensor } from '../support/check.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';
import { fill, normal, random } from '../support/random.ts';
import { array64, layerNorm as exactLayerNorm, map, runningStatistics } from '../support/reference/index.ts';

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const f = (...shape: number[]) => zeros(shape, { device });
  const read = (t: Tensor) => t.dataSync() as Float32Array;

  test('batchNorm moves the running mean and the unbiased running variance towards those of the batch', () => {
    scope(() => {
      const x = fill(normal([50, 3, 4], 2), random('running'));
      const start = [array64([4], [0, 1, -1, 5]), array64([4], [1, 2, 0.5, 3])] as const;
      const [mean, variance] = start.map((array) => makeTensor(array, 'f32', device, false));
      const given = makeTensor(x, 'f32', device, false);
      batchNorm(given, { mean, variance, training: true, momentum: 0.25 });
      const once = runningStatistics(x, start, 0.25);
      for (const [t, expected] of [[mean, once[0]] as const, [variance, once[1]] as const])
        expectClose('running statistics', read(t), expected.data, { relative: 1e-5, absolute: 1e-6 });
      // A replay of recorded work updates them again.
      using recording = device.record(() =>
        scope(() => void batchNorm(given, { mean, variance, training: true, momentum: 0.25 })),
      );
      recording.replay();
      const twice = runningStatistics(x, [once[0], once[1]], 0.25);
      for (const [t, expected] of [[mean, twice[0]] as const, [variance, twice[1]] as const])
        expectClose('running statistics', read(t), expected.data, { relative: 1e-5, absolute: 1e-6 });
      // Without training they are only read.
      const before = [...read(mean)];
      batchNorm(given, { mean, variance });
      expect([...read(mean)]).toEqual(before);
    });
  });

  // PyTorch 2.13 in float64: x = sin(1 .. 24) as [2, 4, 3], cotangent cos(0 .. 23), weight and bias as below, eps 1e-5 (RMS: 2^-23),
  // running mean [0.1, 0.2, 0.3] and variance [1, 2, 3], momentum 0.1; the first six elements of y and of dx.
  test.each([
    {
      op: 'layerNorm',
      y: [0.4035825, -0.6024864, -3.119303, -0.0610235, 1.2314653, 2.4070246],
      dx: [1.6694485, -1.5219314, -0.147517, -2.4913611, 1.7502529, 0.7411082],
      dWeight: [-3.5079281, 6.8782878, 1.8599572],
    },
    {
      op: 'rmsNorm',
      y: [0.5844281, -1.2630713, 0.3920491, -0.5230145, 1.3253954, -0.7723988],
      dx: [0.8358737, -0.5977787, -1.1324042, -0.9577387, 0.5568123, 0.6831345],
      dWeight: [4.690625, 8.6777069, 1.2794124],
    },
    {
      op: 'batchNorm',
      y: [0.835767, -0.7550948, 0.3332691, -0.6668507, 1.2168924, -1.031269],
      dx: [-0.1887202, 0.229753, -1.3180731, 0.1844268, -0.2327075, 1.3522894],
      dWeight: [6.353962, 6.6210243, 1.4442051],
      running: [0.0958865, 0.1804459, 0.2645953, 0.9323238, 1.9025736, 2.7434185],
    },
    {
      op: 'instanceNorm',
      y: [0.6602564, -0.7579654, 0.8272625, -0.4702642, 1.1781716, -1.4649848],
      dx: [-0.0639468, 0.08313, -1.4386033, 0.0637331, -0.083181, 1.4467225],
      dWeight: [6.4263139, 6.6405399, 0.8070922],
    },
  ])('$op gives the numbers of PyTorch', ({ op, y, dx, dWeight, running }) => {
    scope(() => {
      const made = (values: number[], shape?: number[]) => tensor(values, { device, shape: shape ?? [values.length] });
      const numbers = Array.from({ length: 24 }, (_, i) => Math.sin(i + 1));
      const x = made(numbers, [2, 4, 3]).requireGrad();
      const [weight, bias] = [made([0.5, -1, 2]).requireGrad(), made([0.1, 0.2, -0.3]).requireGrad()];
      const [mean, variance] = [made([0.1, 0.2, 0.3]), made([1, 2, 3])];
      const results: Record<string, () => Tensor> = {
        layerNorm: () => layerNorm(x, { weight, bias }),
        rmsNorm: () => rmsNorm(x, weight),
        batchNorm: () => batchNorm(x, { weight, bias, mean, variance, training: true }),
        instanceNorm: () => instanceNorm(x, { weight, bias }),
      };
      const result = results[op]();
      result.backward(
        made(
          numbers.map((_, i) => Math.cos(i)),
          [2, 4, 3],
        ),
      );
      const near = { absolute: 2e-6, relative: 2e-6 };
      expectClose('y', read(result).slice(0, 6), y, near);
      expectClose('dx', read(x.grad as Tensor).slice(0, 6), dx, near);
      expectClose('dweight', read(weight.grad as Tensor), dWeight, near);
      if (bias.grad) expectClose('dbias', read(bias.grad), [0.255801, -0.2599795, -0.5367361], near);
      if (running) expectClose('running statistics', [...read(mean), ...read(variance)], running, near);
      for (const t of [x, weight, bias]) t.grad = null;
    });
  });

  test('statistics of values far from 0 are those of their differences', () => {
    scope(() => {
      const offset = 2 ** 16;
      const x = map(fill(normal([64, 40]), random('far')), (v) => Math.fround(v + offset));
      const given = makeTensor(x, 'f32', device, false);
      const expected = exactLayerNorm(x, undefined, undefined, { axes: 1 });
      expectClose('layerNorm', read(layerNorm(given)), expected.data, { absolute: 2e-4 });
      const columns = exactLayerNorm(x, undefined, undefined, { axes: 0 });
      expectClose('batchNorm', read(batchNorm(given, { training: true })), columns.data, { absolute: 2e-4 });
    });
  });

  test('a row of equal values gives 0, and squares that overflow give NaN', () => {
    scope(() => {
      const same = full([2, 5], 7, { device });
      expect([...read(layerNorm(same))]).toEqual(new Array(10).fill(0));
      expect([...read(batchNorm(same, { training: true }))]).toEqual(new Array(10).fill(0));
      const huge = tensor(
        [
          [3e38, -3e38],
          [1, 2],
        ],
        { device },
      );
      expect(Array.from(read(layerNorm(huge)), Number.isNaN)).toEqual([true, true, false, false]);
      expect(Array.from(read(rmsNorm(huge, ones([2], { device }))), Number.isNaN)).toEqual([true, true, false, false]);
      expect(Array.from(read(batchNorm(huge, { training: true })), Number.isNaN)).toEqual([true, true, true, true]);
      const gap = tensor(
        [
          [1, Number.NaN],
          [1, 2],
        ],
        { device },
      );
      expect(Array.from(read(layerNorm(gap)), Number.isNaN)).toEqual([true, true, false, false]);
    });
  });

  test('statistics that were written after they were read refuse backward', () => {
    scope(() => {
      const x = ones([4, 2], { device }).requireGrad();
      const [mean, variance] = [f(2), ones([2], { device })];
      // The statistics that backward needs are copies.
      const y = batchNorm(x, { mean, variance });
      batchNorm(x, { mean, variance, training: true });
      sum(y).backward();
      expect(Math.abs(read(x.grad as Tensor)[0] - 1)).toBeLessThan(1e-4);
      x.grad = null;
      // A weight is not one.
      const weight = ones([2], { device });
      const z = layerNorm(x, { weight });
      weight.write(new Float32Array([2, 2]));
      expect(() => sum(z).backward()).toThrow(NotDifferentiableError);
    });
  });

  test.each<[string, () => unknown, string]>([
    ['layerNorm', () => layerNorm(f(2, 3), { weight: f(2) }), 'a weight [3] for x [2, 3], got [2]'],
    ['layerNorm', () => layerNorm(f(2, 3, 4), { axes: [1, 2], bias: f(12) }), 'a bias [3, 4]'],
    ['layerNorm', () => layerNorm(f(2, 3), { axes: 2 }), 'distinct axes'],
    ['layerNorm', () => layerNorm(f(2, 3), { axes: [] }), 'at least one axis'],
    ['layerNorm', () => layerNorm(f()), 'distinct axes'],
    ['rmsNorm', () => rmsNorm(f(2, 3), f(2)), 'a weight [3] for x [2, 3], got [2]'],
    ['rmsNorm', () => rmsNorm(f(), f(1)), 'distinct axes'],
    ['batchNorm', () => batchNorm(f(3), { training: true }), 'x [N, ..., C], got [3]'],
    ['batchNorm', () => batchNorm(f(1, 3), { training: true }), 'more than one value of each channel'],
    ['batchNorm', () => batchNorm(f(4, 3), { training: true, mean: f(4) }), 'a mean [3] for x [4, 3], got [4]'],
    ['instanceNorm', () => instanceNorm(f(2, 3)), 'at least three axes'],
    ['instanceNorm', () => instanceNorm(f(2, 1, 3)), 'more than one position'],
    ['instanceNorm', () => instanceNorm(f(2, 4, 3), { bias: f(4) }), 'a bias [3]'],
  ])('%s refuses shapes that do not fit: %#', (op, call, message) => {
    expect(() => scope(call)).toThrow(ShapeError);
    expect(() => scope(call)).toThrow(`[${op}] expected `);
    expect(() => scope(call)).toThrow(message);
  });

  test('other arguments are refused by name', () => {
    scope(() => {
      const whole = zeros([2, 3], { device, dtype: 'i32' });
      expect(() => layerNorm(whole)).toThrow(DtypeError);
      expect(() => layerNorm(f(2, 3), { weight: zeros([3], { device, dtype: 'i32' }) })).toThrow(DtypeError);
      expect(() => layerNorm(f(2, 3), { eps: -1 })).toThrow('[layerNorm] expected eps to be a finite number >= 0');
      expect(() => layerNorm(f(2, 3), { weights: f(3) } as never)).toThrow('did you mean "weight"?');
      expect(() => rmsNorm(f(2, 3), undefined as never)).toThrow('[rmsNorm] ');
      expect(() => batchNorm(f(2, 3), {})).toThrow(ArgumentError);
      expect(() => batchNorm(f(2, 3), { mean: f(3) })).toThrow('expected mean and variance, or training: true');
      expect(() => batchNorm(f(2, 3), { training: true, momentum: 2 })).toThrow('a number from 0 to 1');
      expect(() => batchNorm(f(2, 3), undefined as never)).toThrow('[batchNorm] expected options');
    });
  });

  test('all of them can be recorded', () => {
    scope(() => {
      const x = tensor(
        [
          [
            [1, 2],
            [3, 5],
          ],
          [
            [4, 4],
            [0, 9],
          ],
        ],
        { device },
      );
      const weight = tensor([2, 3], { device });
      const run = () => [
        layerNorm(x, { axes: [1, 2] }),
        rmsNorm(x, weight),
        batchNorm(x, { training: true, weight }),
        instanceNorm(x, { weight }),
      ];
      const expected = run().map((t) => [...read(t)]);
      let made: Tensor[] = [];
      using recording = device.record(() => {
        made = run();
      });
      recording.replay();
      expect(made.map((t) => [...read(t)])).toEqual(expected);
    });
  });
});
