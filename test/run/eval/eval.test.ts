// `eval`: the snapshots that it selects, and the files that it writes.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { frechetDistance, gaussianOf } from '../../../src/eval/index.ts';
import { networkVelocity, straightness } from '../../../src/flow/index.ts';
import { type ArrayFile, readNpz, readPng } from '../../../src/io/index.ts';
import { evaluateSnapshots, loadModel, train } from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';

const workdir = mkdtempSync(join(tmpdir(), 'rectiflow-eval-'));

async function config(values: Record<string, unknown> = {}) {
  const all = {
    'model.nf': 8,
    'training.batch_size': 16,
    'training.n_iters': 12,
    'training.snapshot_freq': 4,
    'eval.folder': 'scores',
    'eval.batch_size': 20,
    // Tests never download the Inception weights.
    'eval.features': 'pixels',
    ...values,
  };
  return configWith('digits', all);
}

let device: Device;
beforeAll(async () => {
  process.env.RECTIFLOW_DATA = join(workdir, 'data');
  device = await openTestDevice('cpu');
  await train(await config(), { workdir, device });
}, 120_000);

describe('snapshots', () => {
  it('are those in the range; a notice lists the others', async () => {
    const notices: string[] = [];
    const chosen = await config({ 'eval.enable_loss': true, 'eval.begin_ckpt': 2, 'eval.end_ckpt': 26 });
    const rows = await evaluateSnapshots(chosen, { workdir, device, onNotice: (text) => notices.push(text) });
    expect(rows.map(({ name }) => name)).toEqual(['checkpoint_2', 'checkpoint_3']);
    expect(rows.map(({ step }) => step)).toEqual([9, 13]);
    expect(notices).toEqual(['not evaluated, outside eval.begin_ckpt 2 to eval.end_ckpt 26: 1']);
  });

  it('outside the range are listed in the error if there is none inside', async () => {
    const beyond = await config({ 'eval.enable_loss': true, 'eval.begin_ckpt': 9, 'eval.end_ckpt': 26 });
    await expect(evaluateSnapshots(beyond, { workdir, device })).rejects.toThrow(
      /has no checkpoint in eval\.begin_ckpt 9 to eval\.end_ckpt 26, only 1, 2, 3; change --config\.eval\.begin_ckpt/,
    );
  });
});

describe('files', () => {
  it('hold the loss of every held-out image, including the last batch', async () => {
    const one = await config({ 'eval.enable_loss': true, 'eval.begin_ckpt': 3 });
    const [{ loss }] = await evaluateSnapshots(one, { workdir, device });
    expect(loss?.images).toBe(397);
    const file = await readNpz(join(workdir, 'scores/ckpt_3_loss.npz'));
    expect(file.get('all_losses')).toMatchObject({ dtype: 'f64', shape: [20] });
    expect(file.get('mean_loss')?.data[0]).toBe(loss?.loss);
  });

  it('hold exactly the requested number of samples, independent of the batch size', async () => {
    const drawn = async (batch: number, folder: string) => {
      const values = {
        'eval.enable_sampling': true,
        'eval.num_samples': 50,
        'eval.begin_ckpt': 3,
        'eval.batch_size': batch,
      };
      await evaluateSnapshots(await config({ ...values, 'eval.folder': folder }), { workdir, device });
      const names = readdirSync(join(workdir, folder, 'ckpt_3/euler-10-42')).filter((name) => name.endsWith('.npz'));
      const images: number[] = [];
      for (let round = 0; round < names.length; round++) {
        const samples = (await readNpz(join(workdir, folder, `ckpt_3/euler-10-42/samples_${round}.npz`))).get(
          'samples',
        );
        expect(samples?.dtype).toBe('u8');
        images.push(...((samples as ArrayFile).data as Uint8Array));
      }
      return { files: names.length, images };
    };
    const [a, b] = [await drawn(20, 'a'), await drawn(7, 'b')];
    expect([a.files, b.files]).toEqual([3, 8]);
    expect(a.images).toHaveLength(50 * 64);
    expect(b.images).toEqual(a.images);
  });

  it('of an interrupted run are reused, and those of another run never are', async () => {
    const values = {
      'eval.enable_sampling': true,
      'eval.num_samples': 30,
      'eval.batch_size': 10,
      'eval.begin_ckpt': 3,
    };
    const chosen = await config({ ...values, 'eval.folder': 'goes_on' });
    const folder = join(workdir, 'goes_on/ckpt_3/euler-10-42');
    const stamps = () => [0, 1, 2].map((round) => statSync(join(folder, `samples_${round}.npz`)).mtimeMs);
    const [whole] = await evaluateSnapshots(chosen, { workdir, device });
    const first = stamps();
    const bytes = readFileSync(join(folder, 'samples_1.npz'));
    truncateSync(join(folder, 'samples_1.npz'), 100);
    const [again] = await evaluateSnapshots(chosen, { workdir, device });
    expect(again.samples).toEqual(whole.samples);
    expect(readFileSync(join(folder, 'samples_1.npz'))).toEqual(bytes);
    const second = stamps();
    expect([second[0], second[2]]).toEqual([first[0], first[2]]);
    expect(second[1]).toBeGreaterThan(first[1]);
    // Another batch size is another run: everything is drawn again.
    const other = await config({
      ...values,
      'eval.folder': 'goes_on',
      'sampling.ode_tol': 1e-2,
    });
    await evaluateSnapshots(other, { workdir, device });
    expect(stamps()[0]).toBeGreaterThan(second[0]);
  });

  it('are sheets of ten images per row, without data', async () => {
    const figures = await config({
      'eval.enable_figures_only': true,
      'eval.enable_loss': true,
      'eval.num_samples': 25,
      'eval.begin_ckpt': 3,
      'eval.folder': 'figures',
      'data.dataset': 'FOLDER',
      'data.root_path': '/nowhere/at/all',
    });
    const [{ samples }] = await evaluateSnapshots(figures, { workdir, device });
    expect(samples?.count).toBe(25);
    const folder = join(workdir, 'figures/ckpt_3/figs');
    expect(readdirSync(folder).sort()).toEqual(['0.png', '1.png']);
    expect(await readPng(join(folder, '0.png'))).toMatchObject({ width: 10 * 10 + 2, height: 2 * 10 + 2 });
    expect(await readPng(join(folder, '1.png'))).toMatchObject({ width: 5 * 10 + 2, height: 10 + 2 });
    expect(existsSync(join(workdir, 'figures/ckpt_3_loss.npz'))).toBe(false);
  });

  it('hold bits per dimension of five passes over the test part, with their standard error', async () => {
    const bpd = await config({
      'eval.enable_bpd': true,
      'eval.max_images': 3,
      'eval.batch_size': 2,
      'eval.begin_ckpt': 3,
      'eval.folder': 'bpd',
      'sampling.ode_tol': 1e-3,
    });
    const [{ bitsPerDimension }] = await evaluateSnapshots(bpd, { workdir, device });
    expect(bitsPerDimension).toMatchObject({ images: 3, passes: 5 });
    const names = readdirSync(join(workdir, 'bpd')).filter((name) => name.startsWith('test_ckpt_3_bpd_'));
    expect(names).toHaveLength(10);
    let sum = 0;
    let most = 0;
    for (const name of names) {
      const values = (await readNpz(join(workdir, 'bpd', name))).get('arr_0')?.data as Float32Array;
      sum += values.reduce((a, b) => a + b, 0);
      most = Math.max(most, ...values);
    }
    expect(bitsPerDimension?.mean).toBeCloseTo(sum / 15, 4);
    expect(bitsPerDimension?.standardError).toBeGreaterThan(0);
    // An untrained flow is close to the Gaussian, which has between 8 and 10 bits for images in [-1, 1].
    expect(most).toBeLessThan(11);
  }, 120_000);
});

describe('straightness', () => {
  it('is that of the flow, computed in batches without data or samples', async () => {
    const straight = await config({
      'eval.enable_straightness': true,
      'eval.straightness_samples': 3,
      'eval.batch_size': 2,
      'eval.begin_ckpt': 3,
      'eval.folder': 'straight',
      'data.dataset': 'FOLDER',
      'data.root_path': '/nowhere/at/all',
    });
    const [{ straightness: found, checkpoint }] = await evaluateSnapshots(straight, { workdir, device });
    const { model: loaded } = await loadModel(checkpoint, straight, { device });
    using model = loaded;
    const draw = { shape: [8, 8, 1], count: 3, seed: 42, steps: 100, device };
    const expected = await straightness(networkVelocity(model.eval()), draw);
    expect(found).toMatchObject({ samples: 3 });
    expect(found?.perStep).toHaveLength(100);
    expect((found?.straightness ?? 0) / expected.straightness).toBeCloseTo(1, 5);
    expect(JSON.parse(readFileSync(join(workdir, 'straight/ckpt_3/report.json'), 'utf8')).straightness).toEqual(found);
  });
});

describe('scores', () => {
  it('in pixels: statistics are computed once, stored and reused; writes the official report', async () => {
    const data = mkdtempSync(join(tmpdir(), 'rectiflow-data-'));
    process.env.RECTIFLOW_DATA = data;
    try {
      const scored = await config({
        'eval.enable_sampling': true,
        'eval.features': 'pixels',
        'eval.num_samples': 120,
        'eval.begin_ckpt': 3,
        'eval.batch_size': 50,
        'eval.folder': 'scored',
      });
      const seen: string[] = [];
      const options = { workdir, device, onProgress: ({ what }: { what: string }) => seen.push(what) };
      const [{ scores }] = await evaluateSnapshots(scored, options);
      expect(seen).toContain('statistics');
      const path = join(data, 'statistics/digits-8-train-pixels.npz');
      expect(scores).toMatchObject({ features: 'pixels', samples: 120, statistics: path });
      expect((await readNpz(path)).get('pool_3')).toMatchObject({ dtype: 'f32', shape: [1400, 64] });
      const report = await readNpz(join(workdir, 'scored/report_3.npz'));
      expect(report.get('fid')?.data[0]).toBe(scores?.frechetDistance);
      expect(report.get('IS')?.data[0]).toBe(-1);
      // The same features, computed through the library.
      const { values, rows, columns } = {
        values: (await readNpz(path)).get('pool_3')?.data as Float32Array,
        rows: 1400,
        columns: 64,
      };
      const samples: number[] = [];
      for (const round of [0, 1, 2])
        samples.push(
          ...((
            (await readNpz(join(workdir, `scored/ckpt_3/euler-10-42/samples_${round}.npz`))).get('samples') as ArrayFile
          ).data as Uint8Array),
        );
      const fake = { values: Float32Array.from(samples, (value) => value / 255), rows: 120, columns: 64 };
      const expected = frechetDistance(gaussianOf({ values, rows, columns }), gaussianOf(fake));
      expect(scores?.frechetDistance).toBeCloseTo(expected, 9);
      seen.length = 0;
      await evaluateSnapshots(scored, options);
      expect(seen).not.toContain('statistics');
    } finally {
      process.env.RECTIFLOW_DATA = join(workdir, 'data');
    }
  });

  it('without weights, samples are written and a notice names what is missing', async () => {
    // A file in place of the folder of weights prevents a download.
    process.env.RECTIFLOW_DATA = join(workdir, 'blocked');
    mkdirSync(process.env.RECTIFLOW_DATA);
    writeFileSync(join(process.env.RECTIFLOW_DATA, 'weights'), '');
    try {
      const notices: string[] = [];
      const unscored = await config({
        'eval.enable_sampling': true,
        'eval.features': 'inception',
        'eval.num_samples': 4,
        'eval.begin_ckpt': 3,
        'eval.folder': 'unscored',
      });
      const [row] = await evaluateSnapshots(unscored, { workdir, device, onNotice: (text) => notices.push(text) });
      expect(row.scores).toBeUndefined();
      expect(row.samples?.count).toBe(4);
      expect(notices.at(-1)).toMatch(
        /^samples are written but not scored: .*pt_inception.*; or set --config\.eval\.inception FILE$/,
      );
    } finally {
      process.env.RECTIFLOW_DATA = join(workdir, 'data');
    }
  });

  it.each(['eval.inception', 'eval.statistics'])('%s that names a file which is not there is an error', async (key) => {
    const wrong = await config({
      'eval.enable_sampling': true,
      'eval.features': key === 'eval.inception' ? 'inception' : 'pixels',
      'eval.begin_ckpt': 3,
      [key]: '/nowhere/file.npz',
    });
    await expect(evaluateSnapshots(wrong, { workdir, device })).rejects.toThrow('/nowhere/file.npz: no such file');
  });
});
