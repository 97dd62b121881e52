// What the cases of pooling leave out: NaN, ties, and windows that are refused.
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

  it('a NaN in a window is its largest', () => {
    const values = [1, Number.NaN, 2, 3, 4, 5, 6, Number.NaN];
    scope(() => {
      const y = maxPool2d(tensor(values, { shape: [1, 1, 8, 1], device }), { kernel: [1, 2] });
      expect([...y.dataSync()]).toEqual([Number.NaN, 3, 5, Number.NaN]);
    });
  });

  it('of equal largest the first takes the gradient, of -infinity too', () => {
    const low = Number.NEGATIVE_INFINITY;
    const x = tensor([7, 7, 1, 7, low, low, low, low], { shape: [2, 2, 2, 1], device, requiresGrad: true });
    scope(() => {
      maxPool2d(x, { kernel: 2 }).backward(tensor([3, 5], { shape: [2, 1, 1, 1], device }));
    });
    expect([...(x.grad?.dataSync() ?? [])]).toEqual([3, 0, 0, 0, 5, 0, 0, 0]);
    x.grad?.dispose();
    x.dispose();
  });

  it('refuses windows that may lie in the border alone, and sizes that are no whole numbers', () => {
    scope(() => {
      const x = zeros([1, 8, 8, 2], { device });
      expect(() => maxPool2d(x, { kernel: 3, padding: 2 })).toThrow(ValueError);
      expect(() => maxPool2d(x, { kernel: 3, padding: 2 })).toThrow('[maxPool2d] expected a padding of at most half');
      expect(() => averagePool2d(x, { kernel: 0 })).toThrow('[averagePool2d] expected a kernel of whole numbers >= 1');
      expect(() => averagePool2d(x, { kernel: 2, stride: [1, 0.5] })).toThrow(
        'expected a stride of whole numbers >= 1',
      );
    });
  });
});
