// 200 training steps compared with PyTorch in float64: every loss, and all weights at the end. An error of a constant,
// which is within the tolerance of a single step, accumulates here. The numbers are in fixtures/nn/training.npz,
// written by make_training.py there, which states the formula by which both sides fill weights and data. PyTorch's
// float32 is within 2e-7 of its losses and 2e-6 of its weights.
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { toFloat32 } from '../../src/io/array.ts';
import { readNpz } from '../../src/io/numpy/npz.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import { add, silu } from '../../src/kernels/elementwise.ts';
import { groupNorm } from '../../src/kernels/group_norm.ts';
import { mse } from '../../src/kernels/loss.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { maxPool2d } from '../../src/kernels/pooling.ts';
import { crossEntropy } from '../../src/kernels/softmax.ts';
import { Adam, type AdamOptions, Module } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';
import { signs } from '../support/family.ts';

const [batch, batches] = [8, 2];

const settings: Record<string, Partial<AdamOptions>> = {
  plain: { learningRate: 1e-2 },
  'decayed and clipped': {
    ...{ learningRate: 3e-3, beta1: 0.8, beta2: 0.95, epsilon: 1e-6 },
    ...{ weightDecay: 1e-2, gradientClip: 0.5 },
  },
};

/** A module with parameters only. */
class Parameters extends Module {
  constructor(shapes: readonly number[][], device: Device) {
    super();
    shapes.forEach((shape, k) => {
      Object.assign(this, { [`p${k}`]: tensor(weights(k, shape), { shape, device, requiresGrad: true }) });
    });
  }

  get all(): Tensor[] {
    return [...this.namedParameters()].map(([, parameter]) => parameter);
  }
}

function weights(number: number, shape: readonly number[]): Float32Array {
  const s = signs(number, sizeOf(shape));
  if (shape.length > 1) return Float32Array.from(s, (v) => v * Math.sqrt(3 / sizeOf(shape.slice(1))));
  return Float32Array.from(s, (v) => (number % 2 ? 0.1 * v : 1 + 0.2 * v));
}

interface Network {
  shapes: number[][];
  /** The shape of a sample. */
  x: number[];
  target: (sample: number) => ArrayLike<number>;
  loss: (p: readonly Tensor[], x: Tensor, part: ArrayLike<number>, device: Device) => Tensor;
}

const samples = batch * batches;
const labels = Int32Array.from(signs(1001, samples), (s) => Math.floor(2 + 2 * s));
const images = Float32Array.from(signs(1001, samples * 27));

const networks: Record<string, Network> = {
  mlp: {
    shapes: [[32, 8], [32], [32, 32], [32], [4, 32], [4]],
    x: [8],
    target: (sample) => labels.subarray(sample, sample + batch),
    loss: (p, x, part, device) => {
      const layer = (h: Tensor, k: number) => matmul(h, p[2 * k], { transposeB: true, bias: p[2 * k + 1] });
      const logits = layer(silu(layer(silu(layer(x, 0)), 1)), 2);
      return crossEntropy(logits, tensor(part as Int32Array, { dtype: 'i32', device }));
    },
  },
  conv: {
    shapes: [[8, 3, 3, 3], [8], [8], [8], [8, 3, 3, 8], [8], [3, 1, 1, 8], [3]],
    x: [6, 6, 3],
    target: (sample) => images.subarray(sample * 27, (sample + batch) * 27),
    loss: (p, x, part, device) => {
      const h = conv2d(x, p[0], { bias: p[1], padding: 1 });
      const normal = groupNorm(h, p[2], p[3], { groups: 2, activation: 'silu' });
      const sum = add(h, conv2d(normal, p[4], { bias: p[5], padding: 1 }));
      const y = conv2d(maxPool2d(sum, { kernel: 2 }), p[6], { bias: p[7] });
      return mse(y, tensor(part as Float32Array, { shape: [batch, 3, 3, 3], device }));
    },
  },
};

function run(device: Device, network: Network, options: Partial<AdamOptions>, steps: number) {
  using model = new Parameters(network.shapes, device);
  const optimizer = new Adam(model, options);
  const each = sizeOf(network.x);
  const data = Float32Array.from(signs(1000, samples * each));
  const losses = Array.from({ length: steps }, (_, step) =>
    scope(() => {
      const first = (step % batches) * batch;
      const shape = [batch, ...network.x];
      const x = tensor(data.subarray(first * each, (first + batch) * each), { shape, device });
      const loss = network.loss(model.all, x, network.target(first), device);
      loss.backward();
      optimizer.step();
      return loss.item();
    }),
  );
  const ends = model.all.flatMap((p) => Array.from(p.dataSync()));
  optimizer.dispose();
  return { losses, ends };
}

let stored: Awaited<ReturnType<typeof readNpz>>;
beforeAll(async () => {
  stored = await readNpz(fileURLToPath(new URL('../fixtures/nn/training.npz', import.meta.url)));
});

const expected = (name: string) => {
  const array = stored.get(name);
  if (!array) throw new Error(`the fixture lacks ${name}`);
  return array;
};

/** On the emulated card a step takes as long as fifty on the CPU. */
const devices = [...new Set([...deviceNames, 'wasm'])].map((name) => ({
  name,
  steps: name === 'cuda-emulated' ? 5 : 200,
}));

describe.each(devices)('$steps steps on $name', ({ name, steps }) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test.each(Object.keys(networks).flatMap((network) => Object.keys(settings).map((adam) => ({ network, adam }))))(
    '$network, $adam',
    ({ network, adam }) => {
      const { losses, ends } = run(device, networks[network], settings[adam], steps);
      const known = expected(`${network}/${adam}/losses`).data as Float64Array;
      expectClose('losses', losses, known.subarray(0, steps), { absolute: 1e-5 });
      const knownEnds = toFloat32(expected(`${network}/${adam}/weights`));
      expect(ends).toHaveLength(knownEnds.length);
      if (steps === known.length) expectClose('weights', ends, knownEnds, { absolute: 1e-5 });
    },
  );
});
