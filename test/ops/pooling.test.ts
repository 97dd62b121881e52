// Pooling beyond the case table: NaN, ties, and refused windows.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ValueError } from '../../src/errors.ts';
import { averagePool2d, maxPool2d } from '../../src/kernels/pooling.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  it('the maximum of a window with a NaN is NaN', () => {
    const values = [1, Number.NaN, 2, 3, 4, 5, 6, Number.NaN];
    scope(() => {
      const y = maxPool2d(tensor(values, { shape: [1, 1, 8, 1], device }), { kernel: [1, 2] });
      expect([...y.dataSync()]).toEqual([Number.NaN, 3, 5, Number.NaN]);
    });
  });

  it('the first of equal maxima takes the gradient, also for -infinity', () => {
    const low = Number.NEGATIVE_INFINITY;
    const x = tensor([7, 7, 1, 7, low, low, low, low], { shape: [2, 2, 2, 1], device, requiresGrad: true });
    scope(() => {
      maxPool2d(x, { kernel: 2 }).backward(tensor([3, 5], { shape: [2, 1, 1, 1], device }));
    });
    expect([...(x.grad?.dataSync() ?? [])]).toEqual([3, 0, 0, 0, 5, 0, 0, 0]);
    x.grad?.dispose();
    x.dispose();
  });

  it('refuses windows that may lie entirely in the padding, and sizes that are not whole numbers', () => {
    scope(() => {
      const x = zeros([1, 8, 8, 2], { device });
      expect(() => maxPool2d(x, { kernel: 3, padding: 2 })).toThrow(ValueError);
      expect(() => maxPool2d(x, { kernel: 3, padding: 2 })).toThrow('[maxPool2d] expected a padding of at most half');
      expect(() => averagePool2d(x, { kernel: 0 })).toThrow('[averagePool2d] expected a kernel of whole numbers >= 1');
      expect(() => averagePool2d(x, { kernel: 1, stride: 2 ** 30 })).toThrow(
        '[averagePool2d] expected a stride of whole numbers >= 1 and <= 2^28, got 1073741824 and 1073741824',
      );
      expect(() => averagePool2d(x, { kernel: 2, stride: [1, 0.5] })).toThrow(
        'expected a stride of whole numbers >= 1',
      );
    });
  });
});
