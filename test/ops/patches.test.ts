// What the functions that cut images into patches do beyond their cases: the order of channels, and a convolution as a product.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import * as engine from '../../src/index.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const { scope, tensor } = engine;

const list = (t: engine.Tensor) => Array.from(t.dataSync());

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test('pixelShuffle undoes pixelUnshuffle and has the channel order of PyTorch', () => {
    scope(() => {
      const x = tensor([0, 1, 2, 3, 4, 5, 6, 7], { shape: [1, 1, 1, 8], device });
      // torch.nn.functional.pixel_shuffle(torch.arange(8.).reshape(1, 8, 1, 1), 2).permute(0, 2, 3, 1)
      const y = engine.pixelShuffle(x, 2);
      expect([y.shape, list(y)]).toEqual([
        [1, 2, 2, 2],
        [0, 4, 1, 5, 2, 6, 3, 7],
      ]);
      expect(list(engine.pixelUnshuffle(y, 2))).toEqual(list(x));
    });
  });

  test('a product with the rows of unfold is a convolution', () => {
    scope(() => {
      const x = engine.randn([2, 5, 4, 3], { seed: 1, device });
      const weight = engine.randn([6, 3, 3, 3], { seed: 2, device });
      const rows = engine.unfold(x, { kernel: 3, padding: 1, stride: 2 });
      const product = engine.matmul(rows, engine.reshape(weight, [6, -1]), { transposeB: true });
      const y = engine.conv2d(x, weight, { padding: 1, stride: 2 });
      expect(product.shape).toEqual(y.shape);
      const want = list(y);
      list(product).forEach((value, i) => {
        expect(Math.abs(value - want[i])).toBeLessThan(1e-5 * (1 + Math.abs(want[i])));
      });
    });
  });
});
