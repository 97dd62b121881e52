// Makes the weights of the digits in the playground: the flow, its reflow and the one-step generator of the quickstart, trained on the
// device wasm, where the same program gives the same bits on every machine. The averaged weights of the three are written in 8 bits into
// playground/digits/weights.safetensors, with the options of their network, and what the rounding changes in 64 digits is printed.
//   npm run playground:weights            trains in runs/playground_digits, or resumes there
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { differenceOf } from '../playground/src/model/digits.ts';
import { packNetworks, unpackNetworks, type Weights } from '../playground/src/model/packed_weights.ts';
import { openDevice } from '../src/device/open.ts';
import { networkVelocity, sample } from '../src/flow/index.ts';
import { encodeSafetensors } from '../src/io/index.ts';
import { flowStages } from '../src/run/chain/stages.ts';
import { unetOptions } from '../src/run/checkpoints/model.ts';
import { loadConfig, loadModel, runChain } from '../src/run/index.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const workdir = join(root, 'runs/playground_digits');
const out = join(root, 'playground/digits/weights.safetensors');
const device = await openDevice('wasm');
// The report is not needed, nor the classifier, whose features it uses.
const config = await loadConfig('digits', { chain: { classifier: false } });
const training = new AbortController();
process.once('SIGINT', () => training.abort());
let trained = false;
const { stages } = await runChain(config, {
  workdir,
  device,
  signal: training.signal,
  onStage({ name, index, total }) {
    console.log(`${index + 1} of ${total}: ${name}`);
    trained = name === 'report';
    if (trained) training.abort();
  },
  onStep({ step, loss }) {
    if (step % 50 === 0) console.log(`step ${step}, loss ${loss.toFixed(4)}`);
  },
});
if (!trained) {
  console.log('stopped; run the same command again to resume');
  process.exit(130);
}
const flows = flowStages(stages);
const networks: Map<string, Weights>[] = [];
const before: Float32Array[] = [];
for (const stage of flows) {
  const { model } = await loadModel(stage.checkpoint, stage.config, { device });
  const own = new Map<string, Weights>();
  for (const [name, value] of model.stateDict())
    own.set(name, { shape: value.shape, data: (await value.data()) as Float32Array });
  networks.push(own);
  before.push(await digitsOf(model));
  model.dispose();
}
const packed = packNetworks(networks);
const rounded = unpackNetworks(new Map(Object.entries(packed)), flows.length);
for (const [k, { name, checkpoint, config: own }] of flows.entries()) {
  const { model } = await loadModel(checkpoint, own, { device });
  model.loadStateDict(rounded[k]);
  const difference = differenceOf(await digitsOf(model), before[k]);
  console.log(
    `${name}: 8 bits change the pixels of digits, which are in [0, 1], by ${difference.toFixed(4)} (root mean square)`,
  );
  model.dispose();
}
const bytes = encodeSafetensors(packed, { options: JSON.stringify(unetOptions(flows[0].config)) });
writeFileSync(out, bytes);
console.log(`wrote ${out}, ${(bytes.length / 1e6).toFixed(2)} MB`);

/** Digits of the same noise in ten steps. */
async function digitsOf(model: Awaited<ReturnType<typeof loadModel>>['model']): Promise<Float32Array> {
  const velocity = networkVelocity(model.eval());
  const drawn = { shape: [8, 8, 1], count: 64, seed: 1, device };
  return (await sample(velocity, { ...drawn, solver: 'euler', steps: 10 })).samples;
}
