// A rectified flow from Gaussian noise to handwritten digits, every part of a training run on one screen: data, network, loss,
// optimiser, moving average, samples. `rectiflow train --config digits` does the same and can be stopped and resumed.
//   node examples/digits.mjs [steps] [file]      default 500 digits.png
import { openDevice, tensor } from 'rectiflow';
import { digitsDataset, toPixels, trainingBatch } from 'rectiflow/data';
import { networkVelocity, rectifiedFlowLoss, replayable, sample } from 'rectiflow/flow';
import { imageGrid, writePng } from 'rectiflow/io';
import { Adam, ddpmppCifar10, UNet } from 'rectiflow/nn';

const [steps = '500', file = 'digits.png'] = process.argv.slice(2);
const SEED = 42;
const BATCH = 128;
const centered = true; // pixels 0 to 255 as -1 to 1
const device = await openDevice('cpu');

// 1400 grey images of 8 x 8, channels last.
const dataset = await digitsDataset('train');
const shape = [dataset.height, dataset.width, dataset.channels];

// v(x, t): a small UNet that predicts x1 - x0, the direction from noise (t = 0) to data (t = 1).
const network = new UNet({
  ...ddpmppCifar10,
  imageSize: 8,
  channels: 1,
  baseChannels: 32,
  channelMultipliers: [1, 2],
  residualBlocks: 1,
  attentionResolutions: [4],
  dropout: 0,
  centered,
});
const velocity = networkVelocity(network);
const optimizer = new Adam(network, { learningRate: 2e-3, warmup: 20, gradientClip: 1, emaRate: 0.999 });

// Each batch is a function of the seed and the step; noise and time of an image are functions of the seed and its number in the run.
for (let step = 0; step < Number(steps); step++) {
  const { images } = await trainingBatch(dataset, step, BATCH, { seed: SEED, centered });
  const loss = optimizer.minimize(() => {
    const x1 = tensor(images, { shape: [BATCH, ...shape], device });
    return rectifiedFlowLoss(velocity, x1, { seed: SEED, first: step * BATCH });
  });
  if (step % 20 === 0) console.log(`step ${step}  loss ${loss.item().toFixed(4)}`);
}

// Solves dx/dt = v(x, t) from noise with the averaged weights.
network.eval();
const { samples, nfe } = await optimizer.withEma(() =>
  sample(replayable(velocity), { shape, count: 64, seed: SEED + 1, solver: 'euler', steps: 50, device }),
);
await writePng(file, imageGrid(toPixels(samples, { centered }), [64, ...shape], { scale: 4 }));
console.log(`64 samples of ${nfe} evaluations each: ${file}`);
