// Measures memory bandwidth, launches, the ops of the case table and a whole training step. Times are taken on the card, between two
// events.
import type { Device } from '../../src/device/device.ts';
import { cudaModule } from '../../src/device/module.ts';
import { DeviceError } from '../../src/errors.ts';
import { Draw, networkVelocity, rectifiedFlowLoss } from '../../src/flow/index.ts';
import { Adam, ddpmppCifar10, Initializer, UNet } from '../../src/nn/index.ts';
import { trainingLoop } from '../../src/run/training/loop.ts';
import type { ItemResult } from './results_file.ts';

const emptyModule = cudaModule(new URL('./empty.cu', import.meta.url).href, { empty_kernel: '' });
const ROUNDS = 20;

/** Milliseconds of `work`: the median of several rounds after a warm-up. */
export function medianTime(device: Device, work: () => void, rounds = ROUNDS): number {
  const { time } = device;
  if (!time) throw new DeviceError(`the device ${device.name} cannot measure time`);
  time.call(device, work);
  const samples = Array.from({ length: rounds }, () => time.call(device, work)).sort((a, b) => a - b);
  return samples[Math.floor(rounds / 2)];
}

/** GB/s, reads and writes together. */
export function copyRate(device: Device, bytes: number): ItemResult {
  const [from, to] = [device.allocate(bytes), device.allocate(bytes)];
  try {
    device.fill(from, bytes, 0);
    const copies = Math.max(1, Math.round(2 ** 28 / bytes));
    const milliseconds = medianTime(device, () => {
      for (let i = 0; i < copies; i++) device.copy(to, from, bytes);
    });
    return { values: { bytes, gigabytesPerSecond: (2 * bytes * copies) / milliseconds / 1e6 } };
  } finally {
    device.free(from);
    device.free(to);
  }
}

/** Microseconds per empty kernel, launched one by one and within a graph. */
export function launchGap(device: Device, launches = 1000): ItemResult {
  if (device.kind !== 'cuda') throw new DeviceError(`the device ${device.name} records nothing`);
  const kernels = device.load(emptyModule);
  const work = () => {
    for (let i = 0; i < launches; i++) kernels.empty_kernel({ grid: [1], block: [32] });
  };
  const eager = medianTime(device, work);
  using graph = device.record(work);
  const recorded = medianTime(device, () => graph.replay());
  return { values: { eagerMicroseconds: (1e3 * eager) / launches, graphMicroseconds: (1e3 * recorded) / launches } };
}

/** A training step of the official CIFAR-10 network as the training loop runs it, on a batch of zeros. */
export async function trainingRate(device: Device, batchSize: number, steps: number): Promise<ItemResult> {
  using network = new UNet({ ...ddpmppCifar10, seed: 0 }, new Initializer({ device }));
  const optimizer = new Adam(network, { learningRate: 2e-4, warmup: 5000, gradientClip: 1, emaRate: 0.999999 });
  const velocity = networkVelocity(network);
  const batch = new Float32Array(batchSize * 32 * 32 * 3);
  const seconds: number[] = [];
  let start = 0;
  try {
    await trainingLoop({
      model: network,
      optimizer,
      device,
      objective: {
        shapes: [[32, 32, 3]],
        fetch: async () => {
          start = performance.now();
          return [batch];
        },
        loss: ({ tensors: [x1], first, origin }) =>
          rectifiedFlowLoss(velocity, x1, { draw: new Draw({ seed: 0, first, origin }) }),
      },
      batchSize,
      from: 0,
      total: steps,
      onStep: () => {
        seconds.push((performance.now() - start) / 1000);
      },
    });
  } finally {
    optimizer.dispose();
  }
  // The first step compiles, runs op by op and records.
  const rest = seconds.slice(1).sort((a, b) => a - b);
  const median = rest[Math.floor(rest.length / 2)];
  const gibibytes = device.memory().highWater / 2 ** 30;
  return { values: { batchSize, milliseconds: 1e3 * median, imagesPerSecond: batchSize / median, gibibytes } };
}
