// The chain: its stages as data, resuming after kills at any moment, its report in a browser, and its estimate.
// RECTIFLOW_TEST_FULL=1 kills it 40 times; the default is six times.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readPng } from '../../../src/io/index.ts';
import { chainStages } from '../../../src/run/chain/stages.ts';
import type { ReportFigures } from '../../../src/run/index.ts';
import { browser } from '../../support/browser.ts';
import { bin, ChainRuns } from '../../support/chain_runs.ts';
import { configWith } from '../../support/config.ts';
import { full } from '../../support/devices.ts';
import { noFaults } from '../../support/faults.ts';

const MOST_KILLS = full ? 40 : 6;
const root = mkdtempSync(join(tmpdir(), 'rectiflow-chain-'));
const values = {
  'model.nf': 8,
  'training.batch_size': 16,
  'training.n_iters': 14,
  'training.snapshot_freq': 10,
  'training.snapshot_freq_for_preemption': 4,
  'training.eval_freq': 1000,
  'training.snapshot_sampling': false,
  'chain.reflow_iters': 9,
  'chain.distil_iters': 9,
  'chain.pairs': 40,
  'chain.pair_steps': 3,
  'chain.classifier': false,
  'eval.num_samples': full ? 72 : 16,
  'eval.straightness_samples': full ? 64 : 4,
};

const chains = new ChainRuns(root, 'digits', values);
const run = (folder: string, ...more: string[]) => chains.run(folder, ...more);
const filesOf = (folder: string) => chains.filesOf(folder);

describe('stages', () => {
  it('follow from the configuration, each with the teacher and the pairs of the stage before', async () => {
    const config = await configWith('cifar10_small', { 'chain.flows': 3, 'chain.distil_steps': 2, 'chain.pairs': 500 });
    const stages = chainStages(config, 'W').filter((stage) => stage.kind !== 'classifier');
    expect(stages.map(({ folder }) => folder)).toEqual([
      'W/1_rectified_flow',
      'W/1_rectified_flow_pairs',
      'W/2_rectified_flow',
      'W/2_rectified_flow_pairs',
      'W/3_rectified_flow',
      'W/3_rectified_flow_pairs',
      'W/3_rectified_flow_k=2_distill',
    ]);
    expect(stages[4].config).toMatchObject({
      training: { n_iters: 300_000 },
      reflow: {
        reflow_type: 'train_reflow',
        reflow_t_schedule: 'uniform',
        reflow_loss: 'l2',
        last_flow_ckpt: 'W/2_rectified_flow/checkpoints/checkpoint_300.safetensors',
        data_root: 'W/2_rectified_flow_pairs',
        total_number_of_samples: 500,
      },
    });
    expect(stages[5].config).toMatchObject({
      sampling: { use_ode_sampler: 'rk45', ode_tol: 1e-5 },
      reflow: {
        reflow_type: 'generate_data_from_z0',
        last_flow_ckpt: 'W/3_rectified_flow/checkpoints/checkpoint_300.safetensors',
      },
    });
    expect(stages[6]).toMatchObject({
      distilledTo: 2,
      config: { training: { n_iters: 100_000 }, reflow: { reflow_t_schedule: 2 } },
    });
  });

  it('begin with a classifier if scores use one, and have no pairs of a last flow that is not distilled', async () => {
    const config = await configWith('digits', { 'chain.flows': 1, 'chain.distil_steps': 0 });
    expect(chainStages(config, 'W').map(({ name }) => name)).toEqual(['classifier for scores', '1-rectified flow']);
  });
});

describe('a chain on the digits', () => {
  beforeAll(() => {
    const { status, stderr } = run('whole');
    expect(stderr).toContain('stage 6 of 6: report');
    expect(status).toBe(0);
  }, 120_000);

  it('reports figures for every flow', () => {
    const report = JSON.parse(readFileSync(join(root, 'whole/chain/report.json'), 'utf8')) as ReportFigures;
    expect(report).toMatchObject({
      features: 'pixels',
      samples: values['eval.num_samples'],
      seed: 43,
      heldOut: { images: values['eval.num_samples'] },
    });
    expect(report.stages.map(({ name, steps }) => [name, steps])).toEqual([
      ['1-rectified flow', 15],
      ['2-rectified flow', 10],
      ['distilled to 1 step', 10],
    ]);
    for (const { fd, straightness, nfe } of report.stages) {
      expect(Object.keys(fd).sort()).toEqual(['1', '10', '100', '2', '4', 'rk45']);
      expect(Object.values(fd).every((distance) => distance > 0)).toBe(true);
      expect(straightness).toBeGreaterThanOrEqual(0);
      expect(nfe).toBeGreaterThan(6);
    }
    // A single step is a straight line.
    expect(report.stages[2].straightness).toBeLessThan(1e-12);
  });

  it('its report renders completely in a browser, from a file, without warnings', async () => {
    const [picture, profile] = [join(root, 'report.png'), join(root, 'chromium')];
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
    const { status, stderr, error } = spawnSync(
      browser,
      [
        ...flags,
        `--user-data-dir=${profile}`,
        '--enable-logging=stderr',
        '--window-size=1100,3000',
        `--screenshot=${picture}`,
        `file://${join(root, 'whole/chain/report.html')}`,
      ],
      { encoding: 'utf8', timeout: 90_000 },
    );
    expect(error, 'a browser is needed: `npm run test:setup`').toBeUndefined();
    expect(status).toBe(0);
    expect(stderr).not.toContain('CONSOLE');
    const { data, channels, width, height } = await readPng(picture);
    expect([width, height]).toEqual([1100, 3000]);
    // Text and pictures in every part: dark pixels in each of six bands.
    for (let band = 0; band < 6; band++) {
      let dark = 0;
      for (let at = (band * data.length) / 6; at < ((band + 1) * data.length) / 6; at += channels)
        if (data[at] < 100) dark++;
      expect(dark / (width * height)).toBeGreaterThan(0.001);
    }
  }, 100_000);

  it('does not repeat completed stages', () => {
    const before = filesOf('whole');
    const { status, stderr } = run('whole');
    expect(stderr).not.toMatch(/^train \d/m);
    expect(status).toBe(0);
    expect(filesOf('whole')).toEqual(before);
  }, 60_000);

  it(`gives byte-identical files after kill -9 right before a writing call, ${MOST_KILLS} times`, async (context) => {
    if (noFaults !== undefined) context.skip(noFaults);
    const whole = filesOf('whole');
    // Three files of pairs for each of two flows; a snapshot and a state for each of three stages.
    expect(Object.keys(whole).length).toBeGreaterThan(2 * 3 + 3 * 2);
    await chains.killedTimes(MOST_KILLS, full ? Date.now() : 5, whole);
  }, 900_000);

  it('`report` rebuilds its report, and writes one on a single run', () => {
    rmSync(join(root, 'whole/chain/report.json'));
    const options = { ...chains.start('whole')[1], encoding: 'utf8', timeout: 120_000 } as const;
    const report = (workdir: string) =>
      spawnSync(process.execPath, [bin, 'report', '--threads', '1', '--workdir', workdir], options);
    expect(report('chain')).toMatchObject({ status: 0 });
    expect(existsSync(join(root, 'whole/chain/report.json'))).toBe(true);
    expect(report('chain/1_rectified_flow').stdout).toMatch(/^\s+straightness .*\nrectified flow +0\.\d/);
    expect(report('chain/nothing')).toMatchObject({
      status: 1,
      stderr: 'rectiflow: chain/nothing: no such folder; check the path\n',
    });
  }, 120_000);
});

it('checks the weights for its last stage before it begins', () => {
  const lpips = ['--config.reflow.reflow_loss=lpips', '--config.reflow.vgg16=none.pth', '--config.data.num_channels=3'];
  const { status, stderr } = run('lpips', ...lpips);
  expect(stderr).toBe(
    'rectiflow: none.pth: no such file or folder; check the path; or add --config.reflow.reflow_loss l2\n',
  );
  expect(status).toBe(1);
  expect(readdirSync(join(root, 'lpips/chain'))).toEqual(['chain.json']);
});

describe('estimate', () => {
  it('multiplies the time of a step on this machine; --dry-run of a chain shows the same table', () => {
    const { status, stdout, stderr } = run('estimate', '--dry-run', '--price', '2');
    expect(stderr).toBe('');
    const lines = stdout.split('\n');
    const at = lines.findIndex((line) => line.startsWith('stage'));
    expect(lines[at]).toMatch(/^stage +time +range +memory +disk +cost$/);
    expect(lines.slice(at + 1, at + 8).map((line) => line.split(/ {2,}/)[0])).toEqual([
      '1-rectified flow',
      'pairs of the 1-rectified flow',
      '2-rectified flow',
      'pairs of the 2-rectified flow',
      'distilled to 1 step',
      'report',
      'total',
    ]);
    expect(status).toBe(0);
    expect(readdirSync(join(root, 'estimate'))).toEqual([]);
  });
});
