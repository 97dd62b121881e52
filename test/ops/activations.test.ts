/**
 * The activations at the ends of the range, with their gradients, against PyTorch 2.13: `y = f(x); y.backward(torch.ones_like(y))` for the
 * functions of torch.nn.functional that `functions` names, printed with 9 digits. Each comment names a deliberate difference.
 */
import { beforeAll, describe, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import * as activation from '../../src/kernels/activation.ts';
import { geglu, gelu } from '../../src/kernels/gelu.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { openTestDevice } from '../support/devices.ts';
import { exactModes } from '../support/ulp.ts';

const inf = Number.POSITIVE_INFINITY;
const nan = Number.NaN;

const points = [-inf, -1e30, -100, -3, -1, -0, 0, 1, 3, 100, 1e30, inf, nan];

const functions: Record<string, (x: Tensor) => Tensor> = {
  elu: (x) => activation.elu(x),
  gelu: (x) => gelu(x),
  gelu_tanh: (x) => gelu(x, { approximate: 'tanh' }),
  hardsigmoid: activation.hardSigmoid,
  hardswish: activation.hardSwish,
  hardtanh: (x) => activation.hardTanh(x),
  leaky_relu: (x) => activation.leakyRelu(x),
  logsigmoid: activation.logSigmoid,
  mish: activation.mish,
  prelu: (x) => activation.prelu(x, tensor([0.25], { device: x.device })),
  selu: activation.selu,
  softplus: (x) => activation.softplus(x),
  softsign: activation.softsign,
};

/** The values and the gradients at `points`. */
const expected: Record<keyof typeof functions, [values: number[], gradients: number[]]> = {
  elu: [
    [-1, -1, -1, -0.950212955, -0.63212055, -0, 0, 1, 3, 100, 1e30, inf, nan],
    [0, 0, 0, 0.0497870669, 0.36787945, 1, 1, 1, 1, 1, 1, 1, 1],
  ],
  // At -3 PyTorch's value is 5e-7 off: -0.00405022502. At infinity the value is infinity and the gradient 1, where PyTorch gives NaN; at -infinity the gradient is 0.
  gelu: [
    [nan, -0, -0, -0.0040496941, -0.158655256, -0, 0, 0.841344714, 2.99594975, 100, 1e30, inf, nan],
    [0, 0, 0, -0.0119456053, -0.0833154321, 0.5, 0.5, 1.08331537, 1.01194561, 1, 1, 1, nan],
  ],
  // The gradient is 0 or 1 where PyTorch gives NaN because x^2 is infinite.
  gelu_tanh: [
    [nan, -0, -0, -0.00363743305, -0.158807993, -0, 0, 0.841192007, 2.99636269, 100, 1e30, inf, nan],
    [0, 0, 0, -0.0115842968, -0.0829640925, 0.5, 0.5, 1.08296406, 1.01158428, 1, 1, 1, nan],
  ],
  hardsigmoid: [
    [0, 0, 0, 0, 0.333333343, 0.5, 0.5, 0.666666687, 1, 1, 1, 1, nan],
    [0, 0, 0, 0, 0.166666672, 0.166666672, 0.166666672, 0.166666672, 0, 0, 0, 0, 0],
  ],
  hardswish: [
    [nan, -0, -0, -0, -0.333333343, -0, 0, 0.666666687, 3, 100, 1e30, inf, nan],
    [0, 0, 0, 0, 0.166666657, 0.5, 0.5, 0.833333373, 1, 1, 1, 1, 1],
  ],
  hardtanh: [
    [-1, -1, -1, -1, -1, -0, 0, 1, 1, 1, 1, 1, nan],
    [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1],
  ],
  leaky_relu: [
    [-inf, -1e28, -1, -0.03, -0.01, -0, 0, 1, 3, 100, 1e30, inf, nan],
    [0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 1, 1, 1, 1, 1, 0.01],
  ],
  logsigmoid: [
    [-inf, -1e30, -100, -3.04858732, -1.31326175, -0.693147182, -0.693147182, -0.313261688, -0.048587352, 0, 0, 0, nan],
    [1, 1, 1, 0.952574134, 0.731058598, 0.5, 0.5, 0.268941432, 0.0474258736, 0, 0, 0, nan],
  ],
  // The gradient at -infinity is 0 and at infinity 1, where PyTorch gives NaN.
  mish: [
    [nan, -0, -0, -0.145647466, -0.30340144, -0, 0, 0.865098357, 2.98653507, 100, 1e30, inf, nan],
    [0, 0, 0, -0.0933931246, 0.0592167303, 0.6, 0.6, 1.04903626, 1.02110696, 1, 1, 1, nan],
  ],
  prelu: [
    [-inf, -2.5e29, -25, -0.75, -0.25, -0, 0, 1, 3, 100, 1e30, inf, nan],
    [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 1, 1, 1, 1, 1, 0.25],
  ],
  selu: [
    [-1.75809932, -1.75809932, -1.75809932, -1.6705687, -1.11133075, -0, 0, 1.05070102, 3.15210295].concat([
      105.070099,
      1.050701e30,
      inf,
      nan,
    ]),
    [0, 0, 0, 0.0875306055, 0.64676863, 1.75809932, 1.75809932, 1.05070102, 1.05070102].concat([
      1.05070102, 1.05070102, 1.05070102, 1.05070102,
    ]),
  ],
  softplus: [
    [0, 0, 0, 0.048587352, 0.313261688, 0.693147182, 0.693147182, 1.31326163, 3.04858732, 100, 1e30, inf, nan],
    [0, 0, 0, 0.0474258736, 0.268941432, 0.5, 0.5, 0.731058598, 0.952574134, 1, 1, 1, nan],
  ],
  softsign: [
    [nan, -1, -0.990099013, -0.75, -0.5, -0, 0, 0.5, 0.75, 0.990099013, 1, nan, nan],
    [0, 0, 9.80291516e-5, 0.0625, 0.25, 1, 1, 0.25, 0.0625, 9.80291516e-5, 0, 0, nan],
  ],
};

describe.each(exactModes)('$label', (mode) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(mode.name, mode);
  }, 120_000);

  test.each(Object.entries(functions))('%s and its gradient at the ends of the range', (name, f) => {
    scope(() => {
      const x = tensor(points, { device, requiresGrad: true });
      const y = f(x);
      sum(y).backward();
      const [values, gradients] = expected[name];
      const tolerance = { absolute: 2e-7, relative: 4e-6 };
      expectClose(`${name}(x)`, y.dataSync() as Float32Array, values, tolerance);
      expectClose(`${name}'(x)`, x.grad?.dataSync() as Float32Array, gradients, tolerance);
    });
  });

  test('geglu multiplies by the gate: the second half', () => {
    scope(() => {
      const x = tensor([2, 3, 1, -1], { shape: [1, 4], device, requiresGrad: true });
      const y = geglu(x);
      sum(y).backward();
      expectClose('geglu', y.dataSync() as Float32Array, [2 * 0.841344714, 3 * -0.158655256], { relative: 1e-6 });
      const slopes = [0.841344714, -0.158655256, 2 * 1.08331537, 3 * -0.0833154321];
      expectClose('its gradient', x.grad?.dataSync() as Float32Array, slopes, { relative: 2e-6 });
    });
  });
});
