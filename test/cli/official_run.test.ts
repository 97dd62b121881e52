// Runs the command lines of the official README one after another in one folder. Only options that make them small and
// that give the paths of data and weights are appended. Each exits with 0 and writes the files that its users expect.
// Images are noise and published weights follow a formula (test/golden/README.md), so nothing is downloaded.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { readNpy, readNpz } from '../../src/io/index.ts';
import { writeFormulaWeights } from '../eval/weights.ts';
import { officialLines, wordsOf } from './official_lines.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-readme-'));
const [cifar, faces] = ['cifar', 'faces'].map((name) => join(folder, 'data', name));
const [vgg16, inception] = ['vgg16.pth', 'inception.pth'].map((name) => join(folder, 'data', name));

const network = '--config.model.nf 8 --config.model.ch_mult (1,1) --config.model.num_res_blocks 1';
const solver = '--config.sampling.ode_tol 0.1';
const images = `--config.data.root_path ${cifar}`;
/** Eleven steps and ten checkpoints. */
const trained =
  // Steps this small are faster with one thread.
  `--threads 1 ${network} ${solver} --config.training.batch_size 2 --config.training.n_iters 10 ` +
  '--config.training.snapshot_freq 1 --config.training.eval_freq 5';
/** No samples of each checkpoint. */
const unsampled = '--config.training.snapshot_sampling false';
/** Three steps and a checkpoint. */
const distilled = `${trained} ${unsampled} --config.training.n_iters 2 --config.training.snapshot_freq 2`;
const generated = `--threads 1 ${network} ${solver} --config.training.batch_size 4 --config.reflow.total_number_of_samples 6`;
const evaluated =
  `${network} ${solver} ${images} --config.eval.batch_size 3 --config.eval.num_samples 5 ` +
  `--config.eval.max_images 4 --config.eval.inception ${inception}`;
const face = `${trained} --config.data.image_size 16 --config.training.data_dir ${faces}`;

/** @returns standard output and standard error of the command */
async function rectiflow(line: string, appended: string) {
  const words = [...wordsOf(line), ...appended.split(' ')];
  const env = { ...process.env, RECTIFLOW_DATA: join(folder, 'data') };
  try {
    return await promisify(execFile)(process.execPath, [bin, ...words], { cwd: folder, env });
  } catch (error) {
    throw new Error(`${line} ${appended}\n${(error as { stderr?: string }).stderr ?? error}`);
  }
}

const files = (path: string) => readdirSync(join(folder, path)).sort();
const checkpoints = (run: string) => files(join('logs', run, 'checkpoints'));
const numbered = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => `checkpoint_${from + i}.safetensors`).sort();

beforeAll(async () => {
  for (const path of [cifar, faces]) mkdirSync(path, { recursive: true });
  // A batch file of CIFAR-10: 10,000 records of a label and 3 x 32 x 32 bytes.
  const batch = Buffer.alloc(10_000 * 3073);
  for (let i = 0; i < batch.length; i++) batch[i] = i % 3073 === 0 ? 7 : Math.imul(i, 0x9e3779b1) >>> 24;
  for (const name of ['data_batch_1.bin', 'test_batch.bin']) writeFileSync(join(cifar, name), batch);
  for (let i = 0; i < 40; i++)
    await sharp({ create: { width: 24, height: 24, channels: 3, background: { r: 6 * i, g: 90, b: 200 - 3 * i } } })
      .jpeg()
      .toFile(join(faces, `${i}.jpg`));
  await writeFormulaWeights('inception', inception);
  await writeFormulaWeights('vgg16', vgg16);
}, 60_000);

/** The files that an evaluation of checkpoint `k` writes. Samples are in a folder named after sampler and seed. */
async function expectEvaluated(run: string, k: number, sampler: string) {
  const own = join('logs', run, 'eval', `ckpt_${k}`);
  expect(files(join(own, sampler)).filter((name) => name.endsWith('.npz'))).toEqual(['samples_0.npz', 'samples_1.npz']);
  const shapes = [0, 1].map(async (round) =>
    (await readNpz(join(folder, own, sampler, `samples_${round}.npz`))).get('samples'),
  );
  expect((await Promise.all(shapes)).map((samples) => samples?.shape)).toEqual([
    [3, 32, 32, 3],
    [2, 32, 32, 3],
  ]);
  const report = await readNpz(join(folder, 'logs', run, 'eval', `report_${k}.npz`));
  expect([...report.keys()].sort()).toEqual(['IS', 'fid', 'kid']);
  for (const [name, { data }] of report) expect(Number.isFinite(Number(data[0])), name).toBe(true);
}

async function expectPairs(flow: number) {
  const root = `assets/reflow_data/${flow}_rectified_flow/0`;
  expect(files(root)).toEqual(['manifest.json', 'z0.npy', 'z1.npy']);
  for (const name of ['z0.npy', 'z1.npy'])
    expect((await readNpy(join(folder, root, name))).shape).toEqual([6, 3, 32, 32]);
}

describe('the README of the official code, run in its order', { timeout: 120_000 }, () => {
  it('trains a flow', async () => {
    await rectiflow(officialLines.train, `${trained} ${images}`);
    expect(checkpoints('1_rectified_flow')).toEqual(numbered(1, 10));
    expect(files('logs/1_rectified_flow/checkpoints-meta')).toEqual(['state_11.safetensors']);
    expect(files('logs/1_rectified_flow/samples/iter_10')).toEqual(['sample.np', 'sample.npz', 'sample.png']);
    expect(files('logs/1_rectified_flow')).toEqual(expect.arrayContaining(['stdout.txt', 'tensorboard']));
  });

  it('evaluates it', async () => {
    const { stdout } = await rectiflow(officialLines.evaluate, `${evaluated} --config.eval.end_ckpt 3`);
    for (const k of [2, 3]) await expectEvaluated('1_rectified_flow', k, 'rk45-0.1-42');
    expect(stdout).toContain('checkpoint_3');
  });

  it('generates pairs', async () => {
    const { stderr } = await rectiflow(officialLines.generate, generated);
    await expectPairs(1);
    expect(stderr).toContain(
      'reading logs/1_rectified_flow/checkpoints/checkpoint_10.safetensors for ./logs/1_rectified_flow/checkpoints/checkpoint-10.pth',
    );
  });

  it('reflows', async () => {
    await rectiflow(officialLines.reflow, `${trained} ${unsampled}`);
    expect(checkpoints('2_rectified_flow')).toEqual(numbered(1, 10));
  });

  it('evaluates the reflowed model with one step', async () => {
    await rectiflow(officialLines.evaluateOneStep, `${evaluated} --config.eval.end_ckpt 2`);
    await expectEvaluated('2_rectified_flow', 2, 'euler-1-42');
  });

  it('generates pairs of another teacher from the same work directory', async () => {
    await rectiflow(officialLines.generateAgain, generated);
    await expectPairs(2);
  });

  it('distils to one step', async () => {
    await rectiflow(officialLines.distilToOne, `${distilled} --config.reflow.vgg16 ${vgg16}`);
    expect(checkpoints('2_rectified_flow_k=1_distill')).toEqual(numbered(1, 1));
  });

  it('distils to two', async () => {
    await rectiflow(officialLines.distilToTwo, distilled);
    expect(checkpoints('2_rectified_flow_k=2_distill')).toEqual(numbered(1, 1));
  });

  it('reflows online, in a folder next to the named one', async () => {
    const before = files('logs/2_rectified_flow/checkpoints-meta');
    const { stderr } = await rectiflow(officialLines.reflowOnline, distilled);
    expect(stderr).toMatch(
      /\.\/logs\/2_rectified_flow holds a run of train_reflow .*; train_online_reflow .* uses \.\/logs\/2_rectified_flow_train_online_reflow\n/,
    );
    expect(checkpoints('2_rectified_flow_train_online_reflow')).toEqual(numbered(1, 1));
    expect(files('logs/2_rectified_flow_train_online_reflow')).toContain('stdout.txt');
    expect(files('logs/2_rectified_flow/checkpoints-meta')).toEqual(before);
  });

  it('distils online', async () => {
    await rectiflow(officialLines.distilOnline, `${distilled} --config.reflow.vgg16 ${vgg16}`);
    expect(checkpoints('1_rectified_flow_k=1_distill')).toEqual(numbered(1, 1));
  });

  it('trains on CelebA-HQ', async () => {
    await rectiflow(officialLines.trainCelebaHq, `${face} ${unsampled}`);
    expect(checkpoints('celebahq')).toEqual(numbered(1, 10));
  });

  it('draws figures only', async () => {
    const drawn = `${network} ${solver} --config.data.image_size 16 --config.eval.batch_size 12 --config.eval.num_samples 13`;
    await rectiflow(officialLines.figures, drawn);
    expect(files('logs/celebahq/eval/ckpt_10/figs')).toEqual(['0.png', '1.png']);
  });

  it('evaluates a pretrained checkpoint of the official code', async () => {
    const own = join(folder, 'logs/1_rectified_flow/checkpoints');
    await rectiflow('convert', `${join(own, 'checkpoint_8.safetensors')} ${join(own, 'checkpoint_8.pth')}`);
    rmSync(join(own, 'checkpoint_8.safetensors'));
    await rectiflow(officialLines.evaluatePretrained, `${evaluated} --config.eval.end_ckpt 8`);
    await expectEvaluated('1_rectified_flow', 8, 'rk45-0.1-42');
  });
});
