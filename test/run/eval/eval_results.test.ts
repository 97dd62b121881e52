// `eval`: separate results, exact counts independent of earlier runs, statistics of every kind, every preset.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { gaussianOf, readStatistics, writeActivations, writeStatistics } from '../../../src/eval/index.ts';
import { type ArrayFile, readNpz, writeNpz } from '../../../src/io/index.ts';
import { saveCheckpoint } from '../../../src/run/checkpoints/checkpoint.ts';
import { statisticsPath } from '../../../src/run/eval/reference_statistics.ts';
import {
  type Config,
  dataStatistics,
  evaluateSnapshots,
  type FeatureNetwork,
  presetNames,
} from '../../../src/run/index.ts';
import { trainingState } from '../../../src/run/training/session.ts';
import { normalRows } from '../../eval/features.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';

const workdir = mkdtempSync(join(tmpdir(), 'rectiflow-results-'));
const still = join(workdir, 'still');
process.env.RECTIFLOW_DATA = join(workdir, 'data');

const configOf = (values: Record<string, unknown> = {}) =>
  configWith('digits', {
    'model.nf': 8,
    // Makes the velocity of new weights nonzero.
    'model.init_scale': 1,
    'eval.batch_size': 20,
    'eval.enable_sampling': true,
    'eval.features': 'pixels',
    'sampling.sample_N': 1,
    ...values,
  });

/** A snapshot of newly initialised weights. */
async function untrained(config: Config, number: number, folder = workdir): Promise<void> {
  const { model, optimizer } = trainingState(config, device);
  mkdirSync(join(folder, 'checkpoints'), { recursive: true });
  const path = join(folder, `checkpoints/checkpoint_${number}.safetensors`);
  await saveCheckpoint(path, { model, optimizer, config, step: number });
  optimizer.dispose();
  model.dispose();
}

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  await untrained(await configOf(), 0);
  await untrained(await configOf({ 'model.init_scale': 0 }), 0, still);
}, 120_000);

async function evaluated(folder: string, values: Record<string, unknown> = {}, at = workdir) {
  const notices: string[] = [];
  const onNotice = (text: string) => notices.push(text);
  const config = await configOf({ 'eval.folder': folder, ...values });
  const [row] = await evaluateSnapshots(config, { workdir: at, device, onNotice });
  return { row, notices, files: (path: string) => readdirSync(join(at, folder, path)).sort() };
}

describe('counts', () => {
  it('a shorter run removes the samples of a longer one before it', async () => {
    await evaluated('counts', { 'eval.num_samples': 50 });
    const { row, files } = await evaluated('counts', { 'eval.num_samples': 30 });
    expect(row.samples).toMatchObject({ count: 30, nfe: 1 });
    expect(files('ckpt_0/euler-1-42')).toEqual(['run.json', 'samples_0.npz', 'samples_1.npz', 'scores-pixels.json']);
    const last = await readNpz(join(workdir, 'counts/ckpt_0/euler-1-42/samples_1.npz'));
    expect(last.get('samples')?.shape).toEqual([10, 8, 8, 1]);
  });

  it('a shorter run removes image sheets and bits per dimension, too', async () => {
    const sheets = { 'eval.enable_figures_only': true };
    await evaluated('sheets', { ...sheets, 'eval.num_samples': 41 });
    const { files } = await evaluated('sheets', { ...sheets, 'eval.num_samples': 20 });
    expect(files('ckpt_0/figs')).toEqual(['0.png']);
    // With a velocity of 0, which is integrated in a few steps.
    const bits = {
      'model.init_scale': 0,
      'eval.enable_sampling': false,
      'eval.enable_bpd': true,
      'eval.bpd_dataset': 'train',
      'eval.max_images': 2,
    };
    await evaluated('bits', { ...bits, 'eval.batch_size': 1 }, still);
    const again = await evaluated('bits', bits, still);
    expect(again.files('.')).toEqual(['ckpt_0', 'train_ckpt_0_bpd_0.npz']);
  });

  it('few samples give the scores that can be computed', async () => {
    const one = await evaluated('few', { 'eval.num_samples': 1 });
    expect(one.row.scores).toBeUndefined();
    expect(one.notices).toEqual(['a single sample cannot be scored']);
    const three = await evaluated('few', { 'eval.num_samples': 3 });
    expect(three.row.scores?.frechetDistance).toBeGreaterThan(0);
    expect([three.row.scores?.kernelDistance, three.row.scores?.precision]).toEqual([undefined, undefined]);
    expect(three.notices).toEqual(['no kernel distance: 3 samples are too few for this data set']);
    expect((await readNpz(join(workdir, 'few/report_0.npz'))).get('kid')?.data[0]).toBeNaN();
    const four = await evaluated('few', { 'eval.num_samples': 4 });
    expect(four.row.scores?.kernelDistance?.mean).toBeDefined();
    expect(four.row.scores?.precision).toBeDefined();
  });
});

describe('results', () => {
  it('of each sampler, N, tolerance and seed are separate; report_<k>.npz has the latest', async () => {
    const scored = async (values: Record<string, unknown>) => {
      const { row } = await evaluated('apart', { 'eval.num_samples': 20, ...values });
      return row.scores?.frechetDistance as number;
    };
    const runs: [Record<string, unknown>, string][] = [
      [{}, 'euler-1-42'],
      [{ 'sampling.sample_N': 2 }, 'euler-2-42'],
      [{ 'sampling.use_ode_sampler': 'rk45', 'sampling.ode_tol': 0.1 }, 'rk45-0.1-42'],
      [{ seed: 7 }, 'euler-1-7'],
    ];
    const distances: number[] = [];
    for (const [values] of runs) distances.push(await scored(values));
    expect(new Set(distances).size).toBe(runs.length);
    expect((await readNpz(join(workdir, 'apart/report_0.npz'))).get('fid')?.data[0]).toBe(distances.at(-1));
    runs.forEach(([, name], i) => {
      const kept = JSON.parse(readFileSync(join(workdir, `apart/ckpt_0/${name}/scores-pixels.json`), 'utf8'));
      expect(kept).toMatchObject({ features: 'pixels', samples: 20, frechetDistance: distances[i] });
    });
  });
});

describe('statistics', () => {
  it('mu and sigma of another tool give the same distance but no kernel distance', async () => {
    const own = await evaluated('activations', { 'eval.num_samples': 20 });
    const { gaussian } = await readStatistics(own.row.scores?.statistics as string);
    const path = join(workdir, 'mu_sigma.npz');
    await writeStatistics(path, gaussian);
    const { row } = await evaluated('mu_sigma', { 'eval.num_samples': 20, 'eval.statistics': path });
    expect(row.scores).toMatchObject({ statistics: path });
    expect(row.scores?.frechetDistance).toBe(own.row.scores?.frechetDistance);
    expect(row.scores?.kernelDistance).toBeUndefined();
    expect(own.row.scores?.kernelDistance?.standardError).toBeGreaterThan(0);
  });

  it('the official file in ./assets/stats takes precedence, for Inception features only', async () => {
    const inception: FeatureNetwork = {
      name: 'inception',
      key: 'inception',
      extract: () => Promise.reject(new Error('nothing is to be extracted')),
      [Symbol.dispose]() {},
    };
    const config = await configWith('cifar10_rf_gaussian_ddpmpp', {});
    const kept = statisticsPath(config, inception);
    expect(kept).toBe(join(workdir, 'data/statistics/cifar10-32-train-inception.npz'));
    mkdirSync(join(workdir, 'data/statistics'), { recursive: true });
    await writeActivations(kept, normalRows(9, 3, 'kept'), { features: 'inception' });
    const before = process.cwd();
    const stand = mkdtempSync(join(workdir, 'stand-'));
    process.chdir(stand);
    try {
      expect(await dataStatistics(config, inception, { device })).toMatchObject({ path: kept });
      mkdirSync('assets/stats', { recursive: true });
      const official = normalRows(8, 3, 'official');

      const pool_3: ArrayFile = { shape: [8, 3], dtype: 'f32', data: Float32Array.from(official.values) };
      await writeNpz('assets/stats/cifar10_stats.npz', { pool_3 });
      const found = await dataStatistics(config, inception, { device });
      expect(found.path).toBe('assets/stats/cifar10_stats.npz');
      expect(found.activations).toMatchObject({ rows: 8, columns: 3 });
      expect(found.gaussian).toEqual(gaussianOf({ ...official, values: pool_3.data as Float32Array }));
      const pixels = { ...inception, key: 'pixels' };
      await expect(dataStatistics(config, pixels, { device })).rejects.not.toThrow('cifar10_stats');
    } finally {
      process.chdir(before);
    }
  });

  it('of two folders of images are never confused', async () => {
    const at = async (values: Record<string, unknown>) => statisticsPath(await configOf(values), { key: 'pixels' });
    const folder = { 'data.dataset': 'FOLDER' };
    const paths = [
      await at({ ...folder, 'data.root_path': '/a' }),
      await at({ ...folder, 'data.root_path': '/b' }),
      await at({ ...folder, 'data.root_path': '/a', 'data.num_channels': 3 }),
      await at({ 'data.dataset': 'MNIST', 'data.root_path': '/a' }),
      await at({ 'data.dataset': 'MNIST', 'data.root_path': '/fashion' }),
    ];
    expect(new Set(paths).size).toBe(paths.length);
    expect(await at({ ...folder, 'data.root_path': '/x/../a' })).toBe(paths[0]);
  });
});

describe('image sheets', () => {
  // A flow of latents has no image sheets, and these two start from images that the package does not contain.
  const ofImages = presetNames().filter((name) => !['latents', 'cat2dog', 'afhq_cat2wild'].includes(name));
  it.each(ofImages)('of %s, in small, with neither data nor weights of Inception', async (preset) => {
    const config = await configWith(preset, {
      'data.image_size': 8,
      'model.nf': 8,
      'model.ch_mult': [1, 1],
      'model.attn_resolutions': [4],
      'model.num_res_blocks': 1,
      'sampling.use_ode_sampler': 'euler',
      'sampling.sample_N': 1,
      'eval.enable_figures_only': true,
      'eval.num_samples': 3,
      'eval.batch_size': 2,
    });
    const folder = join(workdir, preset);
    const number = config.eval.begin_ckpt;
    await untrained(config, number, folder);
    const [row] = await evaluateSnapshots(config, { workdir: folder, device });
    expect(row.samples?.count).toBe(3);
    expect(readdirSync(join(folder, `eval/ckpt_${number}/figs`)).sort()).toEqual(['0.png', '1.png']);
  });
});
