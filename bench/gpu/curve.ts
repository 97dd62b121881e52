// 200 training steps whose losses are compared with the CPU's (curve.json, made by bench/gpu/make_curve.ts): the network of
// configs/cifar10_small.ts on synthetic images, so that no data set is needed: coloured discs on a gradient between two colours,
// 32 x 32, in [-1, 1].
import { readFileSync } from 'node:fs';
import type { Device } from '../../src/device/device.ts';
import { Draw, networkVelocity, rectifiedFlowLoss } from '../../src/flow/index.ts';
import { Adam, ddpmppCifar10, Initializer, UNet } from '../../src/nn/index.ts';
import { trainingLoop } from '../../src/run/training/loop.ts';
import { philox4x32 } from '../../src/tensor/philox.ts';

const BATCH = 32;
const SIZE = 32;
const SEED = 1;
export const STEPS = 200;
/** Losses are compared by their mean over windows of this many steps. */
export const WINDOW = 20;

/** The losses of the steps on a device. @param onStep may throw to stop early */
export async function lossCurve(
  device: Device,
  steps = STEPS,
  onStep: (losses: readonly number[]) => void = () => {},
): Promise<number[]> {
  using network = new UNet(
    {
      ...ddpmppCifar10,
      baseChannels: 32,
      channelMultipliers: [1, 2, 2],
      residualBlocks: 1,
      attentionResolutions: [8],
      dropout: 0,
      seed: SEED,
    },
    new Initializer({ seed: SEED, device }),
  );
  const optimizer = new Adam(network, { learningRate: 1e-3, warmup: 50, gradientClip: 1, emaRate: 0.999 });
  const velocity = networkVelocity(network);
  const losses: number[] = [];
  try {
    await trainingLoop({
      model: network,
      optimizer,
      device,
      objective: {
        shapes: [[SIZE, SIZE, 3]],
        fetch: async (step) => [images(step * BATCH, BATCH)],
        loss: ({ tensors: [x1], first, origin }) =>
          rectifiedFlowLoss(velocity, x1, { draw: new Draw({ seed: SEED, first, origin }) }),
      },
      batchSize: BATCH,
      from: 0,
      total: steps,
      onStep: ({ loss }) => {
        losses.push(loss);
        onStep(losses);
      },
    });
  } finally {
    optimizer.dispose();
  }
  return losses;
}

/** The losses of the CPU. */
export function expectedCurve(): number[] {
  return JSON.parse(readFileSync(new URL('./curve.json', import.meta.url), 'utf8')).losses;
}

/** Images first, first + 1, ..., f32 [count, 32, 32, 3]. */
function images(first: number, count: number): Float32Array {
  const all = new Float32Array(count * SIZE * SIZE * 3);
  for (let n = 0; n < count; n++) {
    const draw = [0, 1, 2, 3].flatMap((i) => philox4x32([i, first + n, 0, 0], [SEED, 0])).map((word) => word / 2 ** 32);
    const [x, y, radius, ...colours] = draw;
    for (let row = 0; row < SIZE; row++)
      for (let column = 0; column < SIZE; column++) {
        const inside = Math.hypot(column - SIZE * x, row - SIZE * y) < 4 + 10 * radius;
        for (let channel = 0; channel < 3; channel++) {
          const slope = colours[channel] + ((colours[3 + channel] - colours[channel]) * row) / SIZE;
          const value = inside ? colours[6 + channel] : slope;
          all[((n * SIZE + row) * SIZE + column) * 3 + channel] = 2 * value - 1;
        }
      }
  }
  return all;
}
