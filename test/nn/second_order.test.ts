// Second derivatives through a whole network: gradients() of a jvp() of a small UNet, for its input and for a weight, against
// finite differences of its gradient.
import { beforeAll, expect, test } from 'vitest';
import { jvp } from '../../src/autograd/forward.ts';
import { gradients } from '../../src/autograd/gradients.ts';
import type { Device } from '../../src/device/device.ts';
import { mse } from '../../src/kernels/loss.ts';
import { randn } from '../../src/kernels/random.ts';
import { ddpmppCifar10, Initializer, UNet } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openTestDevice } from '../support/devices.ts';

const image = [2, 8, 8, 3];
const small = {
  baseChannels: 8,
  channelMultipliers: [1, 2],
  residualBlocks: 1,
  imageSize: 8,
  attentionResolutions: [4],
  initScale: 0.5,
};

let device: Device;
let network: UNet;
beforeAll(async () => {
  device = await openTestDevice('cpu', { exact: true });
  network = new UNet({ ...ddpmppCifar10, ...small }, new Initializer({ device })).eval();
}, 120_000);

const norm = (values: Float32Array) => Math.hypot(...values);

/** Compares the Hessian of `loss` at `point` times `direction` with the change of its gradient along that direction. */
function checkProduct(
  loss: (x: Tensor) => Tensor,
  shape: readonly number[],
  point: Float32Array,
  direction: Float32Array,
) {
  const made = (values: Float32Array) => tensor(values, { shape, device });
  const product = scope(() => {
    const x = made(point).requireGrad();
    return gradients(jvp(loss, [x], [made(direction)])[1], [x])[0].dataSync() as Float32Array;
  });
  const gradientAt = (step: number) =>
    scope(() => {
      const x = made(point.map((value, i) => value + step * direction[i])).requireGrad();
      return gradients(loss(x), [x])[0].dataSync() as Float32Array;
    });
  const slope = (step: number) => {
    const [ahead, behind] = [gradientAt(step), gradientAt(-step)];
    return ahead.map((value, i) => (value - behind[i]) / (2 * step));
  };
  // Richardson's extrapolation removes the error of order step^2.
  const [wide, narrow] = [slope(1 / 16), slope(1 / 32)];
  const wanted = narrow.map((value, i) => (4 * value - wide[i]) / 3);
  expect(norm(wanted)).toBeGreaterThan(1e-4);
  expect(norm(product.map((value, i) => value - wanted[i])) / norm(wanted)).toBeLessThan(0.01);
}

const drawn = (shape: readonly number[], seed: number) =>
  scope(() => randn(shape, { device, seed }).dataSync() as Float32Array);

test('the Hessian of a UNet in its input times a direction equals finite differences', () => {
  scope(() => {
    const [labels, target] = [tensor([100, 700], { device }), randn(image, { device, seed: 3 })];
    checkProduct((x) => mse(network.forward(x, labels), target), image, drawn(image, 1), drawn(image, 2));
  });
}, 60_000);

test('the Hessian of a UNet in a weight times a direction equals finite differences', () => {
  const slot = [...network.slots()].find(({ path }) => path.endsWith('conv1.weight'));
  if (!slot) throw new Error('the network has no convolution conv1');
  const { owner, key } = slot;
  const weight = owner[key] as Tensor;
  scope(() => {
    const [x, labels, target] = [
      randn(image, { device, seed: 1 }),
      tensor([100, 700], { device }),
      randn(image, { device, seed: 3 }),
    ];
    const loss = (w: Tensor) => {
      owner[key] = w;
      try {
        return mse(network.forward(x, labels), target);
      } finally {
        owner[key] = weight;
      }
    };
    const direction = drawn(weight.shape, 5).map((value) => value * 0.1);
    checkProduct(loss, weight.shape, weight.dataSync() as Float32Array, direction);
  });
}, 60_000);
