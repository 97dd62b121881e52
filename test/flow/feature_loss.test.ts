// The loss of domain transfer in features, against PyTorch's numbers and finite differences.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients } from '../../src/autograd/gradients.ts';
import { channelsLast } from '../../src/data/index.ts';
import type { Device } from '../../src/device/device.ts';
import { type FeatureMap, featureDistance, featureErrors, rectifiedFlowLoss } from '../../src/flow/index.ts';
import { type ArrayFile, readNpz, toFloat32 } from '../../src/io/index.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import { add, mul, square, tanh } from '../../src/kernels/elementwise.ts';
import { groupNorm } from '../../src/kernels/group_norm.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { transpose } from '../../src/kernels/movement.ts';
import { mean, sum } from '../../src/kernels/reduce.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openTestDevice } from '../support/devices.ts';
import { random } from '../support/random.ts';

const path = join(fileURLToPath(new URL('..', import.meta.url)), 'golden', 'transfer', 'feature_loss.npz');
let golden: ReadonlyMap<string, ArrayFile>;
beforeAll(async () => {
  golden = await readNpz(path);
});

const numbers = (name: string) => toFloat32(golden.get(name) as ArrayFile);
/** An array of images as [N, H, W, C], or a weight of a convolution as [Cout, kh, kw, Cin]. */
function lastOf(name: string): { shape: number[]; data: Float32Array } {
  const { shape } = golden.get(name) as ArrayFile;
  const [n, c, h, w] = shape;
  return { shape: [n, h, w, c], data: channelsLast(numbers(name), [n, h, w, c]) };
}

function goldenFeatures(device: Device): FeatureMap {
  const weight = (name: string) => {
    const { shape } = golden.get(`weight/${name}`) as ArrayFile;
    if (shape.length !== 4) return tensor(numbers(`weight/${name}`), { shape, device });
    const { shape: last, data } = lastOf(`weight/${name}`);
    return tensor(data, { shape: last, device });
  };
  const block = (x: Tensor, i: number, groups: number) =>
    groupNorm(
      conv2d(x, weight(`conv${i}.weight`), { bias: weight(`conv${i}.bias`), stride: 2, padding: 1 }),
      weight(`norm${i}.weight`),
      weight(`norm${i}.bias`),
      { groups, activation: 'silu' },
    );
  return (x) => {
    const pooled = mean(block(block(x, 1, 4), 2, 8), { axes: [1, 2] });
    return add(matmul(pooled, transpose(weight('latent.weight'))), weight('latent.bias'));
  };
}

const worst = (found: Float32Array, expected: Float32Array) =>
  found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
const largest = (values: Float32Array) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

describe.each(['cpu', 'wasm', 'cuda-emulated'])('on %s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  });

  it('tangents, loss and gradient are those of PyTorch', () => {
    scope(() => {
      const image = (of: string, requiresGrad = false) => {
        const { shape, data } = lastOf(of);
        return tensor(data, { shape, device, requiresGrad });
      };
      const [x0, x1, v] = [image('x0'), image('x1'), image('v', true)];
      const t = tensor(numbers('t'), { device });
      const features = goldenFeatures(device);
      const errors = featureErrors(features, v, x0, x1, t);
      const expected = numbers('jvp');
      expect(worst(errors.dataSync() as Float32Array, expected)).toBeLessThan(2e-5 * largest(expected));
      // The reference sums over the K features of a sample; the logged term is the mean.
      const loss = mul(mean(square(errors)), errors.shape[1]);
      const [wanted] = toFloat32(golden.get('loss') as ArrayFile);
      expect(Math.abs(loss.item() / wanted - 1)).toBeLessThan(2e-5);
      const { data } = lastOf('grad_v');
      const [slope] = gradients(loss, [v]);
      expect(worst(slope.dataSync() as Float32Array, data)).toBeLessThan(5e-5 * largest(data));
    });
  });
});

describe('featureDistance', () => {
  const draw = random('feature loss');
  const values = (count: number) => Float32Array.from({ length: count }, () => 2 * draw() - 1);
  const [n, d, k] = [3, 4, 2];
  const matrix = values(d * k);
  const [start, end, speed] = [values(n * d), values(n * d), values(n * d)];
  const times = Float32Array.from({ length: n }, draw);
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice('cpu');
  });
  const points = (data: Float32Array, requiresGrad = false) => tensor(data, { shape: [n, d], device, requiresGrad });
  const features: FeatureMap = (x) => tanh(matmul(x, tensor(matrix, { shape: [d, k], device })));

  it('its gradient is that of finite differences in float64', () => {
    /** The loss in float64: the derivative of tanh(W x) along r, and r itself. */
    const reference = (v: ArrayLike<number>) => {
      let [seen, plain] = [0, 0];
      for (let i = 0; i < n; i++) {
        const at = (j: number) => i * d + j;
        const x = (j: number) => times[i] * end[at(j)] + (1 - times[i]) * start[at(j)];
        const r = (j: number) => end[at(j)] - start[at(j)] - v[at(j)];
        for (let j = 0; j < d; j++) plain += r(j) ** 2;
        for (let c = 0; c < k; c++) {
          let [inner, slope] = [0, 0];
          for (let j = 0; j < d; j++) {
            inner += x(j) * matrix[j * k + c];
            slope += r(j) * matrix[j * k + c];
          }
          seen += ((1 - Math.tanh(inner) ** 2) * slope) ** 2;
        }
      }
      return (0.3 * seen) / (n * k) + (0.7 * plain) / (n * d);
    };
    scope(() => {
      const v = points(speed, true);
      const distance = featureDistance(features, 0.3);
      const loss = distance(v, points(start), points(end), tensor(times, { device }));
      expect(Math.abs(loss.item() - reference(speed))).toBeLessThan(1e-5 * reference(speed));
      const slope = gradients(loss, [v])[0].dataSync();
      for (let i = 0; i < speed.length; i++) {
        const moved = (by: number) => reference(Float64Array.from(speed, (value, j) => (j === i ? value + by : value)));
        expect(Math.abs(slope[i] - (moved(1e-5) - moved(-1e-5)) / 2e-5)).toBeLessThan(1e-4);
      }
    });
  });

  it('weight 0 is the plain loss to the bit, and 1 the features alone', () => {
    scope(() => {
      const [x0, x1, t] = [points(start), points(end), tensor(times, { device })];
      const v = points(speed);
      const velocity = () => v;
      const plain = rectifiedFlowLoss(velocity, x1, { x0, t }).item();
      const distance = featureDistance(features, 0);
      expect(rectifiedFlowLoss(velocity, x1, { x0, t, distance }).item()).toBe(plain);
      const seen = sum(square(featureErrors(features, v, x0, x1, t))).item() / (n * k);
      expect(featureDistance(features, 1)(v, x0, x1, t).item()).toBeCloseTo(seen, 6);
    });
  });

  it('refuses a weight outside [0, 1] and features that are not [N, K]', () => {
    expect(() => featureDistance(features, 1.5)).toThrow(/a number from 0 to 1/);
    scope(() => {
      const flat: FeatureMap = (x) => mean(x, { axes: [1] });
      const at = [points(speed), points(start), points(end), tensor(times, { device })] as const;
      expect(() => featureErrors(flat, ...at)).toThrow(/features \[3, K\]/);
    });
  });
});
