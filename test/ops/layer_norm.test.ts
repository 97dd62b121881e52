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
