// The command lines of the official README are understood with only the program replaced. Also tests the parts of the
// official configurations that have another meaning here.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { userPath } from '../../src/run/config/official_flags.ts';
import { applyOverrides } from '../../src/run/config/overrides.ts';
import { missingKeys } from '../../src/run/config/requirements.ts';
import { loadConfig, presetNames } from '../../src/run/index.ts';
import { officialLines, second, teacher, wordsOf } from './official_lines.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-official-'));

function rectiflow(line: string) {
  return spawnSync(process.execPath, [bin, ...wordsOf(line)], { cwd: folder, encoding: 'utf8', timeout: 60_000 });
}

const last = (line: string) => (line.trim().split('\n').at(-1) ?? '').trim();

describe('the README of the official code', () => {
  it.each<[keyof typeof officialLines, string]>([
    ['train', 'would train steps 0 to 1300001 in ./logs/1_rectified_flow'],
    ['evaluate', 'would evaluate the snapshots 2 to 26 in ./logs/1_rectified_flow: samples'],
    ['generate', 'would write 100000 pairs with seed 0 to assets/reflow_data/1_rectified_flow/0'],
    [
      'reflow',
      `would train steps 0 to 1300001 in ./logs/2_rectified_flow on the pairs in ./assets/reflow_data/1_rectified_flow/, times uniform, loss l2, from ${teacher}`,
    ],
    ['evaluateOneStep', 'would evaluate the snapshots 2 to 26 in ./logs/2_rectified_flow: samples'],
    ['generateAgain', 'would write 100000 pairs with seed 0 to assets/reflow_data/2_rectified_flow/0'],
    [
      'distilToOne',
      `would train steps 0 to 1300001 in ./logs/2_rectified_flow_k=1_distill on the pairs in ./assets/reflow_data/2_rectified_flow/, times t0, loss lpips, from ${second}`,
    ],
    [
      'distilToTwo',
      `would train steps 0 to 1300001 in ./logs/2_rectified_flow_k=2_distill on the pairs in ./assets/reflow_data/2_rectified_flow/, times 2, loss l2, from ${second}`,
    ],
    [
      'reflowOnline',
      `would train steps 0 to 1300001 in ./logs/2_rectified_flow on pairs from 20 Euler steps of ${teacher}, times uniform, loss l2, from ${teacher}`,
    ],
    [
      'distilOnline',
      `would train steps 0 to 1300001 in ./logs/1_rectified_flow_k=1_distill on pairs from 20 Euler steps of ${teacher}, times t0, loss lpips, from ${teacher}`,
    ],
    ['trainCelebaHq', 'first add --config.training.data_dir DIR: the folder of 0.jpg, 1.jpg, ...'],
    ['figures', 'would evaluate the snapshots 10 to 10 in ./logs/celebahq: picture sheets'],
    ['evaluatePretrained', 'would evaluate the snapshots 8 to 26 in ./logs/1_rectified_flow: samples'],
  ])('%s', (name, expected) => {
    const { status, stdout, stderr } = rectiflow(`${officialLines[name]} --dry-run`);
    expect(stderr).toBe('');
    expect(last(stdout)).toBe(expected);
    expect(status).toBe(0);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('configurations', () => {
  it('exist under all official names', () => {
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

  // Values in the official files, by name: snapshots, average, dropout, centred, schedule, loss.
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

  it.each(['t0', 't1', 'uniform', '1', '4'])('every configuration accepts reflow_t_schedule %s', async (text) => {
    const config = await loadConfig('cifar10_rf_gaussian_ddpmpp');
    const changed = applyOverrides(config, [{ path: ['reflow', 'reflow_t_schedule'], text }]);
    expect(changed.reflow.reflow_t_schedule).toBe(/^\d/.test(text) ? Number(text) : text);
  });

  it.each(['0', '1.5', 't2', 'True'])('reflow_t_schedule %s is refused', async (text) => {
    const config = await loadConfig('cifar10_rf_gaussian_ddpmpp');
    expect(() => applyOverrides(config, [{ path: ['reflow', 'reflow_t_schedule'], text }])).toThrow(
      /reflow\.reflow_t_schedule: expected one of t0, t1, uniform, or a whole number from 1 to 10000000; got/,
    );
  });

  it('an existing Python file is not executed, with a notice', async () => {
    await mkdir(join(folder, 'mine'), { recursive: true });
    writeFileSync(join(folder, 'mine/cifar10_rf_gaussian_ddpmpp.py'), 'import os; os.system("touch ran")');
    const { stderr, status } = rectiflow(
      'train --config mine/cifar10_rf_gaussian_ddpmpp.py --workdir w --config.sampling.snr 0.1 --dry-run',
    );
    expect(stderr).toBe(
      'note: mine/cifar10_rf_gaussian_ddpmpp.py is Python and is not read, so changes in it have no effect; ' +
        'using the configuration "mine/cifar10_rf_gaussian_ddpmpp"\n' +
        'note: sampling.snr has no effect, as in the official code\n',
    );
    expect(status).toBe(0);
    expect(readdirSync(folder)).toEqual(['mine']);
    expect(rectiflow('train --config nothing.py --workdir w').stderr).toMatch(/unknown configuration "nothing\.py"/);
  });
});

describe('paths that a task requires are checked before anything is built', () => {
  it.each(['ckpt_path', 'data_path', 'DATA_DIR', 'YOUR_ROOT_PATH', 'YOUR_DATA_DIR', ''])(
    '"%s" is not a path',
    (text) => {
      expect(userPath(text)).toBeUndefined();
    },
  );

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
    ['cifar10_rf_gaussian_reflow_generate_data', 'x.pth', [`${flag.pairs}the folder to write the pairs to`]],
  ])('reflow with %s, last_flow_ckpt "%s"', async (name, text, missing) => {
    const config = applyOverrides(await loadConfig(name), [{ path: ['reflow', 'last_flow_ckpt'], text }]);
    expect(missingKeys(config, 'reflow')).toEqual(missing);
  });

  it('a missing path exits with 2 and names the flag', () => {
    const { stderr, status } = rectiflow('reflow --config cifar10_rf_gaussian_reflow_train --workdir w');
    expect(stderr).toBe(
      `rectiflow: ${flag.teacher}the checkpoint of the flow to start from\n${flag.pairs}the folder of the pairs\n`,
    );
    expect(status).toBe(2);
  });
});
