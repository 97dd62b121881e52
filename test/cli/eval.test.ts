// The built command: training a classifier for scores, and evaluating with it.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-cli-eval-'));
const env = { ...process.env, RECTIFLOW_DATA: join(folder, 'data') };
const tiny = ['--config', 'digits', '--config.model.nf', '8', '--config.training.batch_size=16'];

function rectiflow(...args: string[]) {
  return spawnSync(process.execPath, [bin, ...args], { cwd: folder, encoding: 'utf8', timeout: 240_000, env });
}

beforeAll(() => {
  const shown = rectiflow('classifier', '--config', 'digits', '--out', 'made/digits.safetensors', '--steps', '40');
  expect(shown.stderr).toContain('train 40/40');
  expect(shown.stdout).toMatch(
    /^\d+\.\d % accuracy on held-out images, 10 classes, 40 steps: made\/digits\.safetensors\n/,
  );
  expect(shown.status).toBe(0);
  expect(rectiflow('train', ...tiny, '--workdir', 'run', '--config.training.n_iters', '2').status).toBe(0);
});

describe('classifier', () => {
  it('--dry-run says what it would do and writes nothing', () => {
    const { status, stdout } = rectiflow('classifier', '--config', 'digits', '--out', 'dry.safetensors', '--dry-run');
    expect(stdout).toContain('would train a classifier on DIGITS and write dry.safetensors');
    expect(status).toBe(0);
    expect(existsSync(join(folder, 'dry.safetensors'))).toBe(false);
  });

  it.each<[string[], number, RegExp]>([
    [['--config', 'digits'], 2, /--out is required/],
    [
      ['--config', 'digits', '--out', 'x.safetensors', '--steps', '0'],
      2,
      /--steps expects a whole number from 1 to 2147483647/,
    ],
    [
      ['--config', 'church_rf_gaussian', '--out', 'x.safetensors'],
      2,
      /data\.dataset LSUN has no labels .* DIGITS, MNIST, CIFAR10 have/,
    ],
    [
      ['--config', 'digits', '--config.data.dataset', 'MNIST', '--out', 'x.safetensors'],
      2,
      /add --config\.data\.root_path DIR: the folder of the IDX files/,
    ],
    [['--config', 'digits', '--out', 'made'], 2, /--out expects a file name ending in \.safetensors, got "made"/],
    [['--config', 'digits', '--out', 'taken.safetensors'], 1, /taken\.safetensors: is a folder/],
  ])('%j', (args, code, message) => {
    mkdirSync(join(folder, 'taken.safetensors'), { recursive: true });
    const { status, stderr } = rectiflow('classifier', ...args, ...(code === 1 ? ['--steps', '1'] : []));
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(status).toBe(code);
  });
});

describe('eval', () => {
  const evaluate = (...args: string[]) =>
    rectiflow('eval', ...tiny, '--workdir', 'run', '--config.eval.num_samples', '12', ...args);

  it('names the classifier and does not call its scores FID', () => {
    const features = ['--config.eval.enable_sampling', '--config.eval.features', 'classifier:made/digits.safetensors'];
    const { status, stdout } = evaluate(...features);
    expect(stdout).toMatch(
      /Frechet distance of classifier digits\.safetensors \([0-9a-f]{8}\) [\d.]+ {2}class score [\d.]+ {2}kernel distance [-\d.]+/,
    );
    expect(stdout).not.toMatch(/FID|IS |KID/);
    expect(status).toBe(0);
    const report = JSON.parse(readFileSync(join(folder, 'run/eval/ckpt_0/report.json'), 'utf8'));
    expect(report.scores.features).toMatch(/^classifier digits\.safetensors \([0-9a-f]{8}\)$/);
  });

  it('--watch evaluates existing snapshots and exits with 0 after its timeout', () => {
    const { status, stdout } = evaluate('--config.eval.enable_loss', '--watch', '--watch-timeout', '0.001');
    expect(stdout).toMatch(/^checkpoint_0 {2}loss [\d.]+ over 397 images\n$/);
    expect(JSON.parse(readFileSync(join(folder, 'run/eval/best.json'), 'utf8'))).toMatchObject({
      checkpoint: 'checkpoints/checkpoint_0.safetensors',
      score: 'loss over 397 images, seed 42',
    });
    expect(status).toBe(0);
  });

  it('--watch exits with 0 on Ctrl-C', async () => {
    const watch = ['eval', ...tiny, '--workdir', 'run', '--config.eval.enable_loss', '--watch'];
    const child = spawn(process.execPath, [bin, ...watch], { cwd: folder, env });
    await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
    child.kill('SIGINT');
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
  });

  it.each<[string[], number, RegExp]>([
    [[], 2, /nothing to evaluate; add --config\.eval\.enable_loss/],
    [
      ['--config.eval.enable_sampling', '--config.eval.features', 'vgg'],
      2,
      /expected inception, pixels or classifier:FILE/,
    ],
    [['--config.eval.enable_sampling', '--config.eval.features', 'classifier:gone'], 1, /gone: no such file/],
    [['--config.eval.enable_loss', '--config.eval.begin_ckpt', '5'], 1, /eval\.begin_ckpt 5 to .*, only 0; change/],
    [
      ['--config.eval.enable_loss', '--config.eval.begin_ckpt', '5', '--watch', '--watch-timeout', '0.001'],
      1,
      /no snapshot from 5 to 1000 appeared in run/,
    ],
    [['--config.eval.enable_loss', '--watch-timeout', '3'], 2, /--watch-timeout requires --watch/],
    [['--config.eval.enable_loss', '--watch', '--watch-timeout', 'x'], 2, /--watch-timeout expects a number above 0/],
    [
      ['--config.eval.enable_loss', '--watch', '--checkpoint', 'run/checkpoints/checkpoint_0.safetensors'],
      2,
      /--watch evaluates the snapshots/,
    ],
  ])('%j', (args, code, message) => {
    const { status, stderr } = evaluate(...args);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(status).toBe(code);
  });
});
