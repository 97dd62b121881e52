// The built command, end to end: train, sample to every kind of file, and refusals with their exit codes.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { summaries } from '../../src/cli/summaries.ts';
import { readNpy, readNpz, readPng, writeNpy } from '../../src/io/index.ts';
import { full } from '../support/devices.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-cli-'));
const checkpoint = join(folder, 'run/checkpoints/checkpoint_0.safetensors');
const tiny = ['--config', 'digits', '--config.model.nf', '8', '--config.training.batch_size=16'].concat(
  '--config.training.snapshot_sampling=false',
);

function rectiflow(...args: string[]) {
  return spawnSync(process.execPath, [bin, ...args], { cwd: folder, encoding: 'utf8', timeout: 240_000 });
}

beforeAll(() => {
  const { status, stderr } = rectiflow('train', ...tiny, '--workdir', 'run', '--config.training.n_iters', '2');
  expect(stderr).toContain('train 3/3');
  expect(status).toBe(0);
}, 240_000);

describe('train', () => {
  it('writes a checkpoint and one log line per step', () => {
    const lines = readFileSync(join(folder, 'run/log.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ step }) => step)).toEqual([0, 1, 2]);
    expect(lines.every(({ loss, grad_norm }) => loss > 0 && grad_norm > 0)).toBe(true);
    expect(existsSync(checkpoint)).toBe(true);
    expect(readFileSync(join(folder, 'run/stdout.txt'), 'utf8')).toMatch(
      /0\.05 M parameters; steps 0 to 3, about .* free disk\n.*done after 3 steps/,
    );
  });

  it('has the same losses with 1 and 2 threads', () => {
    const losses = ['1', '2'].map((threads) => {
      const dir = `threads${threads}`;
      expect(
        rectiflow('train', ...tiny, '--workdir', dir, '--threads', threads, '--config.training.n_iters', '4').status,
      ).toBe(0);
      const text = readFileSync(join(folder, dir, 'log.jsonl'), 'utf8');
      return text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).loss);
    });
    expect(losses[0]).toHaveLength(5);
    expect(losses[1]).toEqual(losses[0]);
  });

  it('ends with a checkpoint and code 0 after Ctrl-C', async () => {
    const child = spawn(process.execPath, [bin, 'train', ...tiny, '--workdir', 'stopped'], { cwd: folder });
    const log = join(folder, 'stopped/log.jsonl');
    while (!existsSync(log) || readFileSync(log, 'utf8').split('\n').length < 4)
      await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(0);
    const steps = readFileSync(log, 'utf8').trim().split('\n').length;
    expect(existsSync(join(folder, `stopped/checkpoints-meta/state_${steps}.safetensors`))).toBe(true);
  });
});

describe('sample', () => {
  const sample = (out: string, ...args: string[]) =>
    rectiflow('sample', '--checkpoint', checkpoint, '--out', out, '--num', '6', ...args);

  it('writes npz as u8 [N, H, W, C] and says NFE and images/s', async () => {
    const { status, stdout } = sample('x.npz', '--sampler', 'heun', '--steps', '3', '--batch', '4');
    expect(stdout).toMatch(/^NFE 6 {2}\S+ images\/s/);
    expect(status).toBe(0);
    const samples = (await readNpz(join(folder, 'x.npz'))).get('samples');
    expect(samples).toMatchObject({ dtype: 'u8', shape: [6, 8, 8, 1] });
  });

  it('writes npy as f32 [N, C, H, W], and starts from latents', async () => {
    expect(sample('a.npy', '--sampler', 'rk45', '--tol', '1e-3', '--seed', '9').status).toBe(0);
    expect(await readNpy(join(folder, 'a.npy'))).toMatchObject({ shape: [6, 1, 8, 8], dtype: 'f32' });
    await writeNpy(join(folder, 'z0.npy'), { shape: [6, 1, 8, 8], dtype: 'f32', data: new Float32Array(6 * 64) });
    expect(sample('b.npy', '--latents', 'z0.npy', '--steps', '2').status).toBe(0);
    const { data } = await readNpy(join(folder, 'b.npy'));
    // Equal start points give equal samples.
    expect(data.slice(64, 128)).toEqual(data.slice(0, 64));
  });

  it('writes a grid', async () => {
    expect(sample('g.png', '--steps', '1').status).toBe(0);
    expect(await readPng(join(folder, 'g.png'))).toMatchObject({ width: 22, height: 32, channels: 1 });
  });
});

describe('quickstart', () => {
  const short = [
    ...['training.n_iters=2', 'chain.reflow_iters=1', 'chain.distil_iters=1', 'chain.pairs=8', 'chain.pair_steps=1'],
    ...['chain.classifier=false', `eval.num_samples=${full ? 70 : 12}`, 'eval.straightness_samples=4'],
  ].map((override) => `--config.${override}`);

  it('writes a report that fetches nothing, and one line of distances per flow', () => {
    const { status, stdout } = rectiflow('quickstart', ...tiny.slice(2), ...short, '--out', 'quick');
    const number = String.raw`[\d.]+`;
    for (const flow of ['1-rectified flow', '2-rectified flow', 'distilled to 1 step'])
      expect(stdout).toMatch(new RegExp(`^${flow}( +${number}){7}$`, 'm'));
    expect(status).toBe(0);
    const html = readFileSync(join(folder, 'quick/report.html'), 'utf8');
    // Six samplers and the paths of two flows, one sampler of the distilled one, and real images.
    expect(html.match(/<img [^>]*src="data:image\/png;base64,/g)).toHaveLength(2 * 7 + 1 + 1);
    expect(html).not.toMatch(/https?:|<link|src="(?!data:)|url\(/);
    expect(html).toMatch(/npx rectiflow chain --config digits .*--config\.model\.nf=8 .*--workdir quick-again/);
  }, 240_000);

  it('keeps its state and exits with 0 after Ctrl-C; the same command resumes', async () => {
    const child = spawn(process.execPath, [bin, 'quickstart', ...tiny.slice(2), '--out', 'halted'], { cwd: folder });
    let stdout = '';
    child.stdout.on('data', (text) => (stdout += text));
    await new Promise<void>((resolve) =>
      child.stderr.on('data', (text) => String(text).includes('train ') && resolve()),
    );
    child.kill('SIGINT');
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
    expect(stdout).toBe('stopped; run the same command again to resume\n');
    expect(readdirSync(join(folder, 'halted/1_rectified_flow/checkpoints-meta'))).toHaveLength(1);
    expect(existsSync(join(folder, 'halted/report.html'))).toBe(false);
  });
});

it('report draws as many samples as --config.eval.num_samples says, after a notice of their time', () => {
  const few = ['eval.num_samples=5', 'eval.straightness_samples=4', 'eval.features=pixels'].map(
    (key) => `--config.${key}`,
  );
  const { status, stderr } = rectiflow('report', '--workdir', 'run', ...few);
  expect(stderr).toMatch(/^note: 5 samples with each of 6 samplers take about /m);
  expect(status).toBe(0);
  expect(JSON.parse(readFileSync(join(folder, 'run/report.json'), 'utf8')).samples).toBe(5);
}, 120_000);

describe('refusals', () => {
  writeFileSync(join(folder, 'text.safetensors'), 'no checkpoint');
  it.each<[string[], number, RegExp]>([
    [[], 2, /Usage/],
    [['trian'], 2, /did you mean train\?/],
    [['inspect'], 2, /give a file, or --config NAME/],
    [['inspect', 'text.safetensors'], 1, /text\.safetensors: /],
    [['convert', 'a.pth'], 2, /give two files/],
    [['convert', 'a.pth', 'b.safetensors', 'c'], 2, /unexpected argument "c"/],
    [['eval', '--config', 'digits', '--workdir', 'w'], 2, /nothing to evaluate; add --config\.eval\.enable_loss, /],
    [
      ['eval', '--config', 'digits', '--workdir', 'w', '--config.eval.enable_loss'],
      1,
      /w\/checkpoints: no such folder: w does not exist/,
    ],
    [['train'], 2, /--config is required/],
    [['train', '--confg', 'digits'], 2, /no option --confg; did you mean --config\?/],
    [['train', '--config', 'digits', 'stray'], 2, /unexpected argument "stray"/],
    [['train', '--config', 'digits', '--workdir', 'w', '--config.optim.lr', 'inf'], 2, /optim\.lr expects a number/],
    [['train', '--config', 'digits', '--workdir', 'w', '--config.model.nff', '3'], 2, /did you mean model\.nf/],
    [
      ['train', '--config', 'base', '--workdir', 'w', '--config.data.dataset', 'FOLDER'],
      2,
      /add --config\.data\.root_path DIR: a folder of images/,
    ],
    [
      ['train', '--config', 'base', '--workdir', 'w', '--config.data.root_path', 'no'],
      1,
      /no: there is no such folder; it must contain data_batch_1/,
    ],
    [['train', '--config', 'digits', '--workdir', 'text.safetensors/w'], 1, /cannot make the folder/],
    [['train', '--config', 'digits', '--workdir', 'w', '--threads', '0'], 2, /--threads expects a whole number/],
    [['train', '--config', 'digits', '--workdir', 'w', '--device', 'tpu'], 2, /--device expects .*, got "tpu"/],
    [['sample', '--checkpoint', 'none', '--out', 'x.png'], 1, /none: no such file/],
    [['sample', '--checkpoint', 'text.safetensors', '--out', 'x.png'], 1, /text\.safetensors: /],
    [['sample', '--checkpoint', checkpoint, '--out', 'x.gif'], 2, /ending in \.png, \.npz, \.np, \.npy/],
    [['sample', '--checkpoint', checkpoint, '--out', 'x.png', '--sampler', 'eular'], 2, /did you mean euler\?/],
    [['sample', '--checkpoint', checkpoint, '--out', 'x.png', '--latents', 'none.npy'], 1, /none\.npy: no such file/],
    [
      ['sample', '--checkpoint', checkpoint, '--out', 'x.png', '--config.model.nf', '16'],
      1,
      /model\.nf: 8 there, 16 now/,
    ],
  ])('%j', (args, code, message) => {
    const { status, stderr } = rectiflow(...args);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(status).toBe(code);
  });
});

describe('help', () => {
  it.each([
    'chain',
    'estimate',
    'report',
    'train',
    'reflow',
    'eval',
    'sample',
    'stats',
    'classifier',
    'convert',
    'inspect',
    'quickstart',
    'doctor',
  ])('%s', (name) => {
    const { status, stdout } = rectiflow(name, '--help');
    expect(stdout).toMatch(new RegExp(`^rectiflow ${name}[A-Z[\\] ]* - `));
    expect(status).toBe(0);
  });

  it('lists each command with its summary, and loads none', () => {
    const { status, stdout } = rectiflow('--help');
    for (const [name, summary] of Object.entries(summaries))
      expect(stdout).toContain(`\n  ${name.padEnd(12)}${summary}\n`);
    expect(status).toBe(0);
  });

  it('doctor finds nothing missing on this machine', () => {
    const { status, stdout } = rectiflow('doctor');
    expect(stdout).toContain('C compiler');
    expect(stdout).toMatch(/^(ok|note) +LAPACK +.*eigenvalues/m);
    expect(status).toBe(0);
  });
});
