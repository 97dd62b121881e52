// Plans a training step as a card would capture it: kernels, their counts, and memory. Computed on a device that runs nothing.
import { loadCompanions } from '../../src/device/companions.ts';
import type { Precision } from '../../src/device/device.ts';
import { Draw, networkVelocity, rectifiedFlowLoss } from '../../src/flow/index.ts';
import { Adam, ddpmppCifar10, Initializer, UNet, type UNetOptions } from '../../src/nn/index.ts';
import { BatchUpdate } from '../../src/run/training/update.ts';
import { liveByOwner } from '../../src/tensor/storage.ts';
import { type PlannedNode, PlanningDevice } from './planning_device.ts';

// What a card loads when it opens: without it, gradients of parameters do not wait for each other.
await loadCompanions('cuda');

export interface StepPlan {
  /** The graph's nodes in order. */
  nodes: readonly PlannedNode[];
  /** The device's tables by address. */
  tables: ReadonlyMap<number, readonly number[]>;
  /** Launches per kernel, the most frequent first. */
  kernels: readonly (readonly [name: string, count: number])[];
  kernelCount: number;
  /** Number of copies within the card and of fills. */
  copies: number;
  fills: number;
  /** Peak bytes of tensors. */
  highWater: number;
  /** Bytes taken from the driver, including rounding and blocks kept for reuse. */
  reserved: number;
  /** What the tensors are for at the peak, the largest first. */
  owners: readonly (readonly [owner: string, bytes: number])[];
}

/** One training update of a batch of images with the rectified flow loss: what is planned here and captured by a test. */
export function imageUpdate(network: UNet, optimizer: Adam, batchSize: number): BatchUpdate {
  const velocity = networkVelocity(network);
  const { imageSize, channels } = network.options;
  network.train();
  return new BatchUpdate({
    model: network,
    optimizer,
    device: optimizer.arena.values.device,
    batchSize,
    objective: {
      shapes: [[imageSize, imageSize, channels]],
      fetch: async () => [],
      loss: ({ tensors: [x1], first, origin }) =>
        rectifiedFlowLoss(velocity, x1, { draw: new Draw({ seed: 0, first, origin }) }),
    },
  });
}

export interface PlanOptions {
  /** Whether the card is of sm_90a; default: any from sm_80 on. */
  hopper?: boolean;
  /** Default: the official CIFAR-10 one. */
  network?: UNetOptions;
}

export function planStep(
  batchSize: number,
  precision: Precision,
  { hopper = false, network: options = { ...ddpmppCifar10, seed: 0 } }: PlanOptions = {},
): StepPlan {
  const device = new PlanningDevice(precision, hopper);
  const network = new UNet(options, new Initializer({ device }));
  const optimizer = new Adam(network, { learningRate: 2e-4, warmup: 5000, gradientClip: 1, emaRate: 0.999999 });
  let owners: Map<string, number> = new Map();
  device.onHighWater = () => {
    owners = liveByOwner(device);
  };
  using update = imageUpdate(network, optimizer, batchSize);
  const { imageSize, channels } = options;
  const batch = new Float32Array(batchSize * imageSize ** 2 * channels);
  update.run(0, [batch]);
  const { nodes } = device;
  const { highWater, reserved } = device.memory();
  optimizer.dispose();
  network.dispose();
  const of = (kind: PlannedNode['kind']) => nodes.filter((node) => node.kind === kind);
  const counts = new Map<string, number>();
  for (const { name } of of('kernel')) counts.set(name, (counts.get(name) ?? 0) + 1);
  const largest = (entries: Map<string, number>) => [...entries].sort(([, a], [, b]) => b - a);
  return {
    nodes,
    tables: device.contents,
    kernels: largest(counts),
    kernelCount: of('kernel').length,
    copies: of('copy').length,
    fills: of('fill').length,
    highWater,
    reserved,
    owners: largest(owners),
  };
}

/** Text for people: one line per kernel, then the memory by owner. */
export function describeStepPlan({
  kernels,
  kernelCount,
  copies,
  fills,
  highWater,
  reserved,
  owners,
}: StepPlan): string[] {
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(3).padStart(7)} GB`;
  return [
    `${kernelCount} kernels, ${copies} copies, ${fills} fills`,
    ...kernels.map(([name, count]) => `  ${String(count).padStart(5)}  ${name}`),
    `memory, computed: ${gigabytes(highWater).trim()} in use at most, ${gigabytes(reserved).trim()} taken from the driver`,
    ...owners.map(([owner, bytes]) => `  ${gigabytes(bytes)}  ${owner}`),
  ];
}
