// Unsupervised domain adaptation in the small (paper, section 5.4, with pixels for features): a classifier has learned thin digits, and has to
// read bold ones of other writers, whose labels nobody has. A flow from thin to bold digits is trained without labels and without pairs; its
// ODE carries the bold digits back, and the classifier reads what they become.
//   node examples/domain_adaptation.mjs [updates, 500]
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDevice } from 'rectiflow';
import { toPixels } from 'rectiflow/data';
import {
  loadConfig,
  loadDataset,
  loadModel,
  openFeatures,
  sourceConfig,
  train,
  trainClassifier,
  transferImages,
  transferInput,
} from 'rectiflow/run';

const updates = Number(process.argv[2] ?? 500);
const folder = mkdtempSync(join(tmpdir(), 'domain_adaptation-'));
const device = await openDevice('cpu');
const config = await loadConfig('digits_bold', {
  model: { nf: 16 },
  training: { batch_size: 64, n_iters: updates, snapshot_freq: updates, snapshot_sampling: false, loggers: 'none' },
});

const thin = sourceConfig(config);
const classifier = join(folder, 'thin.safetensors');
const { accuracy } = await trainClassifier(thin, { device, out: classifier });
console.log(`the classifier of thin digits reads ${percent(accuracy)} of held-out thin digits`);
const own = { ...thin, eval: { ...thin.eval, features: `classifier:${classifier}` } };
const reader = await openFeatures(own, { device });

// Held-out bold digits: neither the flow nor the classifier has seen them.
const { labels } = await loadDataset(config, 'heldOut');
const { images } = await transferInput(config, labels.length, { reverse: true });
console.log(`and ${percent(await read(images))} of held-out bold digits`);

const { checkpoint } = await train(config, { workdir: join(folder, 'flow'), device });
const { model } = await loadModel(checkpoint, config, { device });
for (const steps of [1, 10]) {
  const carried = await transferImages(model, config, { images, device, reverse: true, solver: 'euler', steps });
  console.log(`${percent(await read(carried.images))} when the flow has carried them back, steps: ${steps}`);
}

/** The share of bold digits whose label the classifier of thin digits reads in their images. */
async function read(values) {
  const pixels = toPixels(values, { centered: config.data.centered, rounding: 'nearest' });
  const { logits } = await reader.extract(pixels, [labels.length, 8, 8, 1]);
  const right = labels.filter((label, i) => {
    const scores = logits.values.subarray(10 * i, 10 * i + 10);
    return scores.indexOf(Math.max(...scores)) === label;
  });
  return right.length / labels.length;
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}
