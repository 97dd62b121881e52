// Command lines of the official README, with its program replaced by ours and nothing else: each is understood. And what of
// the official configurations means something else here.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { given, inertKeys } from '../../src/run/config/official.ts';
import { leafPaths } from '../../src/run/config/tree.ts';
import { applyOverrides, loadConfig, missingKeys, presetNames } from '../../src/run/index.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-official-'));

/** Words as a shell splits them, double quotes understood. */
function rectiflow(line: string) {
  const words = [...line.matchAll(/(?:"[^"]*"|[^\s"])+/g)].map(([word]) => word.replaceAll('"', ''));
  return spawnSync(process.execPath, [bin, ...words], { cwd: folder, encoding: 'utf8', timeout: 60_000 });
}

const last = (line: string) => (line.trim().split('\n').at(-1) ?? '').trim();
const configs = './configs/rectified_flow';
const teacher = './logs/1_rectified_flow/checkpoints/checkpoint-10.pth';
const second = './logs/2_rectified_flow/checkpoints/checkpoint-10.pth';
const pairs = (flow: number) => `"./assets/reflow_data/${flow}_rectified_flow/"`;

describe('the README of the official code', () => {
  it.each<[string, string]>([
    [
      `--config ${configs}/cifar10_rf_gaussian_ddpmpp.py --eval_folder eval --mode train --workdir ./logs/1_rectified_flow`,
      'would train steps 0 to 1300001 in ./logs/1_rectified_flow',
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_ddpmpp.py --eval_folder eval --mode eval --workdir ./logs/1_rectified_flow --config.eval.enable_sampling  --config.eval.batch_size 1024 --config.eval.num_samples 50000 --config.eval.begin_ckpt 2`,
      'would evaluate the snapshots 2 to 26 in ./logs/1_rectified_flow: samples',
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_reflow_generate_data.py  --eval_folder eval --mode reflow --workdir ./logs/tmp --config.reflow.last_flow_ckpt "${teacher}" --config.reflow.data_root ${pairs(1)} --config.reflow.total_number_of_samples 100000 --config.seed 0`,
      'would write 100000 pairs of seed 0 to assets/reflow_data/1_rectified_flow/0',
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_reflow_train.py  --eval_folder eval --mode reflow --workdir ./logs/2_rectified_flow --config.reflow.last_flow_ckpt "${teacher}" --config.reflow.data_root ${pairs(1)}`,
      `would train steps 0 to 1300001 in ./logs/2_rectified_flow on the pairs in ./assets/reflow_data/1_rectified_flow/, times uniform, loss l2, from ${teacher}`,
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_ddpmpp.py --eval_folder eval --mode eval --workdir ./logs/2_rectified_flow --config.sampling.use_ode_sampler "euler" --config.sampling.sample_N 1 --config.eval.enable_sampling  --config.eval.batch_size 1024 --config.eval.num_samples 50000 --config.eval.begin_ckpt 2`,
      'would evaluate the snapshots 2 to 26 in ./logs/2_rectified_flow: samples',
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_reflow_generate_data.py  --eval_folder eval --mode reflow --workdir ./logs/tmp --config.reflow.last_flow_ckpt "${second}" --config.reflow.data_root ${pairs(2)} --config.reflow.total_number_of_samples 100000 --config.seed 0`,
      'would write 100000 pairs of seed 0 to assets/reflow_data/2_rectified_flow/0',
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_reflow_distill_k=1.py  --eval_folder eval --mode reflow --workdir ./logs/2_rectified_flow_k=1_distill --config.reflow.last_flow_ckpt "${second}" --config.reflow.data_root ${pairs(2)}`,
      `would train steps 0 to 1300001 in ./logs/2_rectified_flow_k=1_distill on the pairs in ./assets/reflow_data/2_rectified_flow/, times t0, loss lpips, from ${second}`,
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_reflow_distill_k_g_1.py  --eval_folder eval --mode reflow --config.reflow.reflow_t_schedule 2 --workdir ./logs/2_rectified_flow_k=2_distill --config.reflow.last_flow_ckpt "${second}" --config.reflow.data_root ${pairs(2)}`,
      `would train steps 0 to 1300001 in ./logs/2_rectified_flow_k=2_distill on the pairs in ./assets/reflow_data/2_rectified_flow/, times 2, loss l2, from ${second}`,
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_reflow_train_online.py --eval_folder eval --mode reflow --workdir ./logs/2_rectified_flow --config.reflow.last_flow_ckpt "${teacher}"`,
      `would train steps 0 to 1300001 in ./logs/2_rectified_flow on pairs made by 20 Euler steps of ${teacher}, times uniform, loss l2, from ${teacher}`,
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_reflow_distill_k=1_online.py --eval_folder eval --mode reflow --workdir ./logs/1_rectified_flow_k=1_distill --config.reflow.last_flow_ckpt "${teacher}"`,
      `would train steps 0 to 1300001 in ./logs/1_rectified_flow_k=1_distill on pairs made by 20 Euler steps of ${teacher}, times t0, loss lpips, from ${teacher}`,
    ],
    [
      `--config ${configs}/celeba_hq_pytorch_rf_gaussian.py --eval_folder eval --mode train --workdir ./logs/celebahq`,
      'first add --config.training.data_dir DIR: the folder of 0.jpg, 1.jpg, ...',
    ],
    [
      `--config ${configs}/celeba_hq_pytorch_rf_gaussian.py --eval_folder eval --mode eval --workdir ./logs/celebahq --config.eval.enable_figures_only --config.eval.begin_ckpt 10 --config.eval.end_ckpt 10 --config.training.data_dir YOUR_DATA_DIR`,
      'would evaluate the snapshots 10 to 10 in ./logs/celebahq: picture sheets',
    ],
    [
      `--config ${configs}/cifar10_rf_gaussian_ddpmpp.py --eval_folder eval --mode eval --workdir ./logs/1_rectified_flow --config.eval.enable_sampling  --config.eval.batch_size 1024 --config.eval.num_samples 50000 --config.eval.begin_ckpt 8`,
      'would evaluate the snapshots 8 to 26 in ./logs/1_rectified_flow: samples',
    ],
  ])('%s', (line, expected) => {
    const { status, stdout, stderr } = rectiflow(`${line} --dry-run`);
    expect(stderr).toBe('');
    expect(last(stdout)).toBe(expected);
    expect(status).toBe(0);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('configurations', () => {
  it('are all there under their official names', () => {
    const names = presetNames().filter((name) => name.startsWith('rectified_flow/'));
    expect(names.map((name) => name.split('/')[1])).toEqual([
      'afhq_cat_pytorch_rf_gaussian',
      'bedroom_rf_gaussian',
      'celeba_hq_pytorch_rf_gaussian',
      'church_rf_gaussian',
      'cifar10_rf_gaussian_ddpmpp',
      'cifar10_rf_gaussian_reflow_distill_k=1',
      'cifar10_rf_gaussian_reflow_distill_k=1_online',
      'cifar10_rf_gaussian_reflow_distill_k_g_1',
      'cifar10_rf_gaussian_reflow_generate_data',
      'cifar10_rf_gaussian_reflow_train',
      'cifar10_rf_gaussian_reflow_train_online',
    ]);
  });

  // What the official files say, by name: snapshots, average, dropout, centred, schedule, loss.
  it.each<[string, Record<string, unknown>]>([
    [
      'cifar10_rf_gaussian_ddpmpp',
      { 'training.snapshot_freq': 100_000, 'model.ema_rate': 0.999999, 'model.dropout': 0.15 },
    ],
    [
      'cifar10_rf_gaussian_reflow_generate_data',
      { 'training.snapshot_freq': 20_000, 'reflow.reflow_t_schedule': 't0' },
    ],
    [
      'cifar10_rf_gaussian_reflow_train',
      { 'model.ema_rate': 0.9999, 'model.dropout': 0.1, 'reflow.reflow_loss': 'l2' },
    ],
    ['cifar10_rf_gaussian_reflow_train_online', { 'reflow.reflow_type': 'train_online_reflow', 'data.centered': true }],
    ['cifar10_rf_gaussian_reflow_distill_k=1', { 'reflow.reflow_t_schedule': 't0', 'reflow.reflow_loss': 'lpips' }],
    [
      'cifar10_rf_gaussian_reflow_distill_k=1_online',
      { 'reflow.reflow_type': 'train_online_reflow', 'reflow.reflow_loss': 'lpips' },
    ],
    [
      'cifar10_rf_gaussian_reflow_distill_k_g_1',
      { 'reflow.reflow_t_schedule': 2, 'model.embedding_type': 'positional' },
    ],
    ['bedroom_rf_gaussian', { 'data.category': 'bedroom', 'data.centered': false, 'model.sigma_max': 378 }],
    ['church_rf_gaussian', { 'data.category': 'church_outdoor', 'data.centered': false, 'model.sigma_max': 380 }],
    [
      'celeba_hq_pytorch_rf_gaussian',
      { 'data.dataset': 'CelebA-HQ-Pytorch', 'data.centered': true, 'model.embedding_type': 'fourier' },
    ],
    [
      'afhq_cat_pytorch_rf_gaussian',
      { 'data.dataset': 'AFHQ-CAT-Pytorch', 'model.fir': true, 'training.snapshot_freq': 100_000 },
    ],
  ])('%s', async (name, values) => {
    const config = await loadConfig(`./configs/rectified_flow/${name}.py`);
    for (const [path, value] of Object.entries(values))
      expect(
        path.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], config),
        path,
      ).toEqual(value);
  });

  it.each(['t0', 't1', 'uniform', '1', '4'])('reflow_t_schedule %s in any of them', async (text) => {
    const config = await loadConfig('cifar10_rf_gaussian_ddpmpp');
    const changed = applyOverrides(config, [{ path: ['reflow', 'reflow_t_schedule'], text }]);
    expect(changed.reflow.reflow_t_schedule).toBe(/^\d/.test(text) ? Number(text) : text);
  });

  it.each(['0', '1.5', 't2', 'True'])('reflow_t_schedule %s is refused', async (text) => {
    const config = await loadConfig('cifar10_rf_gaussian_ddpmpp');
    expect(() => applyOverrides(config, [{ path: ['reflow', 'reflow_t_schedule'], text }])).toThrow(
      /reflow\.reflow_t_schedule: (expected t0, t1, uniform or a number >= 1|Too small: expected number to be >=1); got/,
    );
  });

  it('a Python file that lies there is never run, and that is said', async () => {
    await mkdir(join(folder, 'mine'), { recursive: true });
    writeFileSync(join(folder, 'mine/cifar10_rf_gaussian_ddpmpp.py'), 'import os; os.system("touch ran")');
    const { stderr, status } = rectiflow(
      'train --config mine/cifar10_rf_gaussian_ddpmpp.py --workdir w --config.sampling.snr 0.1 --dry-run',
    );
    expect(stderr).toBe(
      'note: mine/cifar10_rf_gaussian_ddpmpp.py is Python and is not read: changes in it have no effect; ' +
        'the configuration "mine/cifar10_rf_gaussian_ddpmpp" is used\n' +
        'note: sampling.snr has no effect, as in the official code\n',
    );
    expect(status).toBe(0);
    expect(readdirSync(folder)).toEqual(['mine']);
    expect(rectiflow('train --config nothing.py --workdir w').stderr).toMatch(
      /there is no configuration "nothing\.py"/,
    );
  });

  it('keys without effect are keys', () => {
    const known = leafPaths().map((path) => path.join('.'));
    expect(inertKeys.filter((key) => !known.includes(key))).toEqual([]);
  });
});

describe('what a task needs is asked before anything is built', () => {
  it.each(['ckpt_path', 'data_path', 'DATA_DIR', 'YOUR_ROOT_PATH', 'YOUR_DATA_DIR', ''])('"%s" is no path', (text) => {
    expect(given(text)).toBeUndefined();
  });

  const flag = {
    teacher: 'add --config.reflow.last_flow_ckpt FILE: ',
    pairs: 'add --config.reflow.data_root DIR: ',
  };
  it.each<[string, string, string[]]>([
    [
      'cifar10_rf_gaussian_reflow_train',
      '',
      [`${flag.teacher}the checkpoint of the flow to start from`, `${flag.pairs}the folder of the pairs`],
    ],
    [
      'cifar10_rf_gaussian_reflow_train',
      'ckpt_path',
      [`${flag.teacher}the checkpoint of the flow to start from`, `${flag.pairs}the folder of the pairs`],
    ],
    ['cifar10_rf_gaussian_reflow_train', 'x.pth', [`${flag.pairs}the folder of the pairs`]],
    ['cifar10_rf_gaussian_reflow_train_online', '', [`${flag.teacher}the checkpoint of the flow to start from`]],
    ['cifar10_rf_gaussian_reflow_train_online', 'x.pth', []],
    ['cifar10_rf_gaussian_reflow_generate_data', 'x.pth', [`${flag.pairs}where the pairs go`]],
  ])('reflow with %s, last_flow_ckpt "%s"', async (name, text, missing) => {
    const config = applyOverrides(await loadConfig(name), [{ path: ['reflow', 'last_flow_ckpt'], text }]);
    expect(missingKeys(config, 'reflow')).toEqual(missing);
  });

  it('and ends with 2 naming the flags', () => {
    const { stderr, status } = rectiflow('reflow --config cifar10_rf_gaussian_reflow_train --workdir w');
    expect(stderr).toBe(
      `rectiflow: ${flag.teacher}the checkpoint of the flow to start from\n${flag.pairs}the folder of the pairs\n`,
    );
    expect(status).toBe(2);
  });
});
