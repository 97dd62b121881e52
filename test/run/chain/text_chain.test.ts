// The chain of digits with captions: its stages, its files after kills at any moment, samples of its checkpoints by a prompt.
// RECTIFLOW_TEST_FULL=1 kills it 40 times, and runs the whole configuration: what is read right.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { PairSet } from '../../../src/data/index.ts';
import { openDevice } from '../../../src/device/open.ts';
import { loadClassifier } from '../../../src/eval/index.ts';
import { argmax, tensor } from '../../../src/index.ts';
import { type ArrayFile, readNpy, readNpz } from '../../../src/io/index.ts';
import { chainStages, reportConfig } from '../../../src/run/chain/stages.ts';
import { type ReportFigures, trainClassifier } from '../../../src/run/index.ts';
import { scope } from '../../../src/tensor/scope.ts';
import { bin, ChainRuns, smallChain } from '../../support/chain_runs.ts';
import { configWith } from '../../support/config.ts';
import { full } from '../../support/devices.ts';
import { noFaults } from '../../support/faults.ts';

const MOST_KILLS = full ? 40 : 3;
const root = mkdtempSync(join(tmpdir(), 'rectiflow-text-chain-'));
/** Its classifiers are tested below and by train_classifier.test.ts. */
const values = {
  ...smallChain,
  'model.heads': 2,
  'model.text_width': 8,
  'model.text_layers': 1,
  'chain.distil_iters': 5,
};
const chains = new ChainRuns(root, 'digits_text', values);
const captions = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'].map(
  (name) => `a handwritten ${name}`,
);

it('its stages have guidance in the pairs alone, and a reader that learns other digits than the flows', async () => {
  const config = await configWith('digits_text', {});
  const stages = chainStages(config, 'W');
  expect(stages.map(({ name }) => name)).toEqual([
    'classifier for scores',
    'classifier that reads samples',
    '1-rectified flow',
    'pairs of the 1-rectified flow',
    '2-rectified flow',
    'pairs of the 2-rectified flow',
    'distilled to 1 step',
  ]);
  expect(stages.map(({ config: own }) => own.sampling.guidance)).toEqual([1, 1, 1, 1.5, 1, 1.5, 1]);
  expect(stages[1]).toMatchObject({ path: 'W/reader.safetensors', part: 'heldOut' });
  expect(reportConfig(config, stages).eval).toMatchObject({
    features: 'classifier:W/classifier.safetensors',
    reader: 'W/reader.safetensors',
  });
});

describe('a small one', () => {
  beforeAll(() => {
    const { status, stderr } = chains.run('whole');
    expect(stderr).toContain('stage 6 of 6: report');
    expect(status).toBe(0);
  }, 120_000);

  it('trains on the captions of its pairs, of which some are empty', async () => {
    const pairs = await PairSet.open(join(root, 'whole/chain/1_rectified_flow_pairs'));
    expect(pairs.condition).toEqual({ kind: 'text', table: ['', ...captions] });
    const { column } = await pairs.load(Int32Array.from({ length: 40 }, (_, i) => i));
    expect(new Set(column).size).toBeGreaterThan(8);
    await pairs.close();
    const report = JSON.parse(readFileSync(join(root, 'whole/chain/report.json'), 'utf8')) as ReportFigures;
    expect(report.captions).toEqual(captions);
    expect(report.reader).toBeUndefined();
    expect(report.stages.map(({ steps }) => steps)).toEqual([10, 6, 6]);
  });

  it('`sample --prompt` gives each image that text, and the captions in turn without one', async () => {
    const sample = async (name: string, ...words: string[]) => {
      const checkpoint = 'chain/2_rectified_flow_k=1_distill/checkpoints/checkpoint_0.safetensors';
      const all = ['sample', '--checkpoint', checkpoint, '--out', name, '--steps', '1', '--threads', '1', ...words];
      const { status, stderr } = spawnSync(process.execPath, [bin, ...all], {
        ...chains.start('whole')[1],
        encoding: 'utf8',
      });
      expect(stderr).not.toContain('rectiflow:');
      expect(status).toBe(0);
      const { data } = await readNpy(join(root, 'whole', name));
      return Array.from({ length: data.length / 64 }, (_, i) =>
        Array.from((data as Float32Array).subarray(64 * i, 64 * i + 64)),
      );
    };
    const turns = await sample('turns.npy', '--num', '15');
    const fours = await sample('fours.npy', '--num', '15', '--prompt', 'A  handwritten FOUR');
    const guided = await sample('guided.npy', '--num', '15', '--prompt', 'a handwritten four', '--guidance', '2');
    // Images 4 and 14 have the fourth caption in both.
    const equal = fours.flatMap((image, i) => (image.every((value, at) => value === turns[i][at]) ? [i] : []));
    expect(equal).toEqual([4, 14]);
    expect(guided.some((image, i) => image.every((value, at) => value === fours[i][at]))).toBe(false);
  }, 60_000);

  it('its report says how often a classifier of other digits reads the class of the caption', async () => {
    const device = await openDevice('cpu');
    const out = join(root, 'reader.safetensors');
    const config = await configWith('digits_text', {});
    const trained = await trainClassifier(config, { device, out, part: 'heldOut', steps: 80 });
    const options = { ...chains.start('whole')[1], encoding: 'utf8' } as const;
    const words = ['report', '--workdir', 'chain', '--threads', '1', `--config.eval.reader=${out}`];
    const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...words], options);
    expect(stderr).not.toContain('rectiflow:');
    expect(status).toBe(0);
    const share = (value: number) => `${(100 * value).toFixed(1)} %`;
    expect(stdout).toContain(`it reads ${share(trained.accuracy)} of the real images`);
    const report = JSON.parse(readFileSync(join(root, 'whole/chain/report.json'), 'utf8')) as ReportFigures;
    expect(report.reader).toEqual({ accuracy: trained.accuracy });
    const page = readFileSync(join(root, 'whole/chain/report.html'), 'utf8');
    expect(page).toContain('&#34;a handwritten zero&#34;, &#34;a handwritten one&#34;');
    using network = (await loadClassifier(out, { device })).network;
    for (const [i, folder] of ['1_rectified_flow', '2_rectified_flow', '2_rectified_flow_k=1_distill'].entries())
      for (const steps of ['1', '2', '10']) {
        const file = join(root, 'whole/chain', folder, `eval/ckpt_0/euler-${steps}-43/samples_0.npz`);
        const { shape, data } = (await readNpz(file)).get('samples') as ArrayFile;
        const read = scope(() => {
          const images = tensor(data as Uint8Array, { shape, dtype: 'u8', device });
          return argmax(network.forward(images).logits, { axis: 1 }).dataSync();
        });
        const right = Array.from(read).filter((digit, sample) => digit === sample % 10).length;
        expect(report.stages[i].read?.[steps], `${folder}, ${steps}`).toBe(right / shape[0]);
      }
  }, 60_000);

  it('has no form of the official code', () => {
    const from = 'chain/1_rectified_flow/checkpoints/checkpoint_0.safetensors';
    const options = { ...chains.start('whole')[1], encoding: 'utf8' } as const;
    const { status, stderr } = spawnSync(process.execPath, [bin, 'convert', from, '../own.pth'], options);
    expect(stderr).toMatch(/needs model\.name ncsnpp: the official code has no network with captions/);
    expect(status).toBe(1);
  });

  it(`gives byte-identical files after kill -9 right before a writing call, ${MOST_KILLS} times`, async (context) => {
    if (noFaults !== undefined) context.skip(noFaults);
    const whole = chains.filesOf('whole');
    expect(Object.keys(whole).filter((file) => file.endsWith('condition.npy'))).toHaveLength(2);
    await chains.killedTimes(MOST_KILLS, full ? Date.now() : 3, whole);
  }, 900_000);
});

it.runIf(full)(
  'the whole one reads the captions of at least 90 % of its samples in one step',
  () => {
    const whole = new ChainRuns(mkdtempSync(join(tmpdir(), 'rectiflow-text-chain-')), 'digits_text', {});
    const [words, options] = whole.start('whole');
    const all = words.filter((word, i) => word !== '--threads' && words[i - 1] !== '--threads');
    const { status } = spawnSync(process.execPath, [bin, ...all], { ...options, stdio: 'ignore' });
    expect(status).toBe(0);
    const report = JSON.parse(readFileSync(join(options.cwd, 'chain/report.json'), 'utf8')) as ReportFigures;
    expect(report.reader?.accuracy).toBeGreaterThan(0.9);
    expect(report.stages[2].read?.['1']).toBeGreaterThanOrEqual(0.9);
  },
  3_600_000,
);
