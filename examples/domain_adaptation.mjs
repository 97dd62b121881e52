// Domain adaptation in features (paper, section 5.4): a classifier of handwritten digits reads bold digits worse than those it was trained on. A
// flow between its features, learned without labels of the bold digits, carries their features to where those of plain digits are.
//   node examples/domain_adaptation.mjs [steps]      default 1500
import { concat, crossEntropy, openDevice, reshape, tensor } from 'rectiflow';
import { changedDataset, digitsDataset, trainingBatch } from 'rectiflow/data';
import { Classifier, extractFeatures } from 'rectiflow/eval';
import { rectifiedFlowLoss, sample } from 'rectiflow/flow';
import { Adam, Initializer, MLP } from 'rectiflow/nn';

const [steps = '1500'] = process.argv.slice(2);
const SEED = 1;
const BATCH = 64;
const device = await openDevice('cpu');

// Digits of some writers as they are, with labels; digits of others in bold, whose labels are used in the last lines alone.
const plain = await digitsDataset('train', 'first');
const bold = changedDataset(await digitsDataset('train', 'second'), 'bold');
const tested = changedDataset(await digitsDataset('heldOut', 'second'), 'bold');

const network = new Classifier({ imageSize: 8, channels: 1, centered: true }, 10, { device, seed: SEED });
const classifying = new Adam(network, { learningRate: 2e-3, warmup: 20, weightDecay: 1e-4 });
for (let step = 0; step < 300; step++) {
  const { images, labels } = await trainingBatch(plain, step, BATCH, { seed: SEED, centered: true });
  classifying.minimize(() => {
    const x = tensor(images, { shape: [BATCH, 8, 8, 1], device });
    return crossEntropy(network.scores(x).logits, tensor(labels, { dtype: 'i32', device }));
  });
}

/** The features of all images of a data set, divided by one number, [N, 64]. */
async function featuresOf(dataset) {
  const pixels = await dataset.load(Int32Array.from({ length: dataset.count }, (_, i) => i));
  const { features } = await extractFeatures(network, pixels, [dataset.count, 8, 8, 1]);
  return features.values;
}
const [to, from, test] = [await featuresOf(plain), await featuresOf(bold), await featuresOf(tested)];
const WIDTH = to.length / plain.count;
// Features are small numbers; the flow works on numbers of size 1.
const scale = Math.sqrt(to.reduce((sum, value) => sum + value ** 2, 0) / to.length);

/** Rows of two sets that are drawn independently, so that no pairs are used. */
function drawn(values, count, step, seed) {
  const rows = new Float32Array(BATCH * WIDTH);
  for (let i = 0; i < BATCH; i++) {
    const row = Math.floor(random(step * BATCH + i, seed) * count);
    rows.set(
      values.subarray(row * WIDTH, (row + 1) * WIDTH).map((value) => value / scale),
      i * WIDTH,
    );
  }
  return tensor(rows, { shape: [BATCH, WIDTH], device });
}

/** A number in [0, 1) by a hash of two numbers (Steele, Lea, Flood 2014, SplitMix). */
function random(index, seed) {
  let h = Math.imul(index ^ Math.imul(seed, 0x9e3779b9), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}

const flow = new MLP([WIDTH + 1, 256, 256, WIDTH], new Initializer({ seed: SEED, device }));
const velocity = (x, t) => flow.forward(concat([x, reshape(t, [-1, 1])], 1));
const optimizer = new Adam(flow, { learningRate: 1e-3, warmup: 50, emaRate: 0.999 });
for (let step = 0; step < Number(steps); step++)
  optimizer.minimize(() => {
    const [x0, x1] = [drawn(from, bold.count, step, 1), drawn(to, plain.count, step, 2)];
    return rectifiedFlowLoss(velocity, x1, { x0, seed: SEED, first: step * BATCH });
  });

/** Share of features whose digit the classifier's last layer reads right. */
function accuracy(features) {
  const x = tensor(features, { shape: [tested.count, WIDTH], device });
  const logits = network.head.forward(x).dataSync();
  const right = tested.labels.filter((label, i) => {
    const own = logits.subarray(10 * i, 10 * i + 10);
    return own.indexOf(Math.max(...own)) === label;
  });
  return right.length / tested.count;
}

const { samples } = await optimizer.withEma(() =>
  sample(velocity, {
    ...{ shape: [WIDTH], count: tested.count, seed: SEED, solver: 'euler', steps: 100, device },
    latents: test.map((value) => value / scale),
  }),
);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
console.log(`held-out bold digits read right: ${percent(accuracy(test))} before`);
console.log(
  `held-out bold digits read right: ${percent(accuracy(samples.map((value) => value * scale)))} after the flow`,
);
