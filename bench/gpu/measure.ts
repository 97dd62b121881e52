// Measures memory bandwidth, launches, the ops of the case table and a whole training step. Times are taken on the card, between two
// events.
import type { Device } from '../../src/device/device.ts';
import { cudaModule } from '../../src/device/module.ts';
import { DeviceError } from '../../src/errors.ts';
import { Draw, networkVelocity, rectifiedFlowLoss } from '../../src/flow/index.ts';
import { clamp } from '../../src/kernels/elementwise.ts';
import { randn } from '../../src/kernels/random.ts';
import { Adam, ddpmppCifar10, Initializer, UNet, type UNetOptions } from '../../src/nn/index.ts';
import { trainingLoop } from '../../src/run/training/loop.ts';
import { keep, scope } from '../../src/tensor/scope.ts';
import type { ItemResult } from './results_file.ts';

const emptyModule = cudaModule(new URL('./empty.cu', import.meta.url).href, { empty_kernel: '' });
const ROUNDS = 20;
/** A timed graph repeats its work until it takes this long, because events are stamped when the card reaches them. */
const LEAST_MILLISECONDS = 2;
const MOST_REPEATS = 200;

/**
 * Milliseconds of `work` on the card: the median of several rounds. The work is recorded and repeated within one graph, so that
 * the time of JavaScript, which is longer than that of a small kernel, does not count.
 * @throws RecordingError for work that cannot be recorded
 */
export function medianTime(device: Device, work: () => void, rounds = ROUNDS): number {
  const { time } = device;
  if (!time) throw new DeviceError(`the device ${device.name} cannot measure time`);
  // The first call compiles kernels and allocates.
  work();
  const timeOf = (repeats: number, count: number) => {
    using graph = device.record(() => {
      for (let i = 0; i < repeats; i++) work();
    });
    graph.replay();
    const samples = Array.from({ length: count }, () => time.call(device, () => graph.replay())).sort((a, b) => a - b);
    return samples[Math.floor(count / 2)] / repeats;
  };
  const once = timeOf(1, 3);
  const repeats = Math.min(MOST_REPEATS, Math.ceil(LEAST_MILLISECONDS / Math.max(once, 1e-6)));
  return timeOf(repeats, rounds);
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
  work();
  const { time } = device;
  if (!time) throw new DeviceError(`the device ${device.name} cannot measure time`);
  const samples = Array.from({ length: ROUNDS }, () => time.call(device, work)).sort((a, b) => a - b);
  const eager = samples[ROUNDS / 2];
  const recorded = medianTime(device, work);
  return { values: { eagerMicroseconds: (1e3 * eager) / launches, graphMicroseconds: (1e3 * recorded) / launches } };
}

/** What each training step of the official CIFAR-10 network gave, as the training loop runs it, on random images. */
async function trainingSteps(device: Device, batchSize: number, steps: number) {
  using network = new UNet({ ...ddpmppCifar10, seed: 0 }, new Initializer({ seed: 0, device }));
  const optimizer = new Adam(network, { learningRate: 2e-4, warmup: 5000, gradientClip: 1, emaRate: 0.999999 });
  const velocity = networkVelocity(network);
  // Numbers, since products of zeros take less power and so less time.
  const batch = scope(
    () => clamp(randn([batchSize, 32, 32, 3], { device, seed: 1 }), { min: -1, max: 1 }).dataSync() as Float32Array,
  );
  const taken: { seconds: number; loss: number; gradientNorm: number }[] = [];
  try {
    await trainingLoop({
      model: network,
      optimizer,
      device,
      objective: {
        shapes: [[32, 32, 3]],
        fetch: async () => [batch],
        loss: ({ tensors: [x1], first, origin }) =>
          rectifiedFlowLoss(velocity, x1, { draw: new Draw({ seed: 0, first, origin }) }),
      },
      batchSize,
      from: 0,
      total: steps,
      onStep: ({ loss, gradientNorm, imagesPerSecond }) => {
        taken.push({ seconds: batchSize / imagesPerSecond, loss, gradientNorm });
      },
      // As in a run between evaluations.
      mayRunAhead: () => true,
    });
  } finally {
    optimizer.dispose();
  }
  return taken;
}

export async function trainingRate(device: Device, batchSize: number, steps: number): Promise<ItemResult> {
  const taken = await trainingSteps(device, batchSize, steps);
  // The first step compiles, runs op by op and records.
  const rest = taken
    .slice(1)
    .map(({ seconds }) => seconds)
    .sort((a, b) => a - b);
  const median = rest[Math.floor(rest.length / 2)];
  const gibibytes = device.memory().highWater / 2 ** 30;
  return { values: { batchSize, milliseconds: 1e3 * median, imagesPerSecond: batchSize / median, gibibytes } };
}

/** Relative differences of losses and of gradient norms from fp32's, in bf16 and tf32; set by judgement, as no card has run this. */
const TRAINING_TOLERANCE = { loss: 0.01, gradientNorm: 0.05 };

/** @throws Error where losses or gradient norms of the first steps differ from those in fp32 */
export async function compareTraining(
  device: Device,
  exact: Device,
  batchSize: number,
  steps: number,
): Promise<ItemResult> {
  const [got, expected] = [await trainingSteps(device, batchSize, steps), await trainingSteps(exact, batchSize, steps)];
  const values = { loss: 0, gradientNorm: 0 };
  for (const key of ['loss', 'gradientNorm'] as const)
    got.forEach((step, i) => {
      const off = Math.abs(step[key] / expected[i][key] - 1);
      if (!(off <= TRAINING_TOLERANCE[key]))
        throw new Error(`step ${i + 1}: ${key} ${step[key]}, in fp32 ${expected[i][key]}`);
      values[key] = Math.max(values[key], off);
    });
  return { values };
}

const PROFILED = 9;

/** Median microseconds of each kernel within a training step of the official CIFAR-10 network, as a graph: those of one name together. */
export function kernelTimes(
  device: Device,
  batchSize: number,
  options: UNetOptions = ddpmppCifar10,
  replays = PROFILED,
): ItemResult {
  if (!device.profile) throw new DeviceError(`the device ${device.name} cannot measure time`);
  using network = new UNet({ ...options, seed: 0 }, new Initializer({ seed: 0, device }));
  const optimizer = new Adam(network, { learningRate: 2e-4, warmup: 5000, gradientClip: 1, emaRate: 0.999999 });
  try {
    network.train();
    const velocity = networkVelocity(network);
    const { imageSize, channels } = network.options;
    using images = keep(randn([batchSize, imageSize, imageSize, channels], { device, seed: 1 }));
    const work = () =>
      scope(() => {
        rectifiedFlowLoss(velocity, images, { draw: new Draw({ seed: 0, device }) }).backward();
        optimizer.update();
      });
    optimizer.advance();
    // The first step compiles and allocates.
    work();
    const values: Record<string, number> = {};
    const times = device.profile(work, replays);
    for (const { kernel, milliseconds } of times) values[kernel] = (values[kernel] ?? 0) + 1e3 * milliseconds;
    return { values, detail: `${times.length} kernels, in microseconds` };
  } finally {
    optimizer.dispose();
  }
}
