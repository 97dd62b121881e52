// The guides as a reader follows them: the configuration, commands and program of "Your own images", the programs of "From
// diffusers" and "Text to image", and the commands for the published checkpoints.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodePng, encodePng } from '../../src/io/index.ts';
import { pipelineShapes, writePipeline } from '../support/instaflow.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = (name: string) => readFileSync(join(root, 'docs', name), 'utf8');
const blocks = (text: string, language: string) =>
  [...text.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(([, block]) => block);
const commands = (text: string) => text.match(/^npx rectiflow .*/gm) ?? [];

let project: string;
const run = (args: string[]) =>
  spawnSync(process.execPath, args, { cwd: project, encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } });
const command = (line: string, ...more: string[]) =>
  run([join(root, 'bin/rectiflow.js'), ...line.split(' ').slice(2), ...more]);

beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), 'rectiflow-guides-'));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(root, join(project, 'node_modules/rectiflow'));
  mkdirSync(join(project, 'photos'));
  for (let i = 0; i < 40; i++) {
    const data = Uint8Array.from({ length: 40 * 36 * 3 }, (_, k) => (k * (i + 1)) % 256);
    writeFileSync(join(project, `photos/${i}.png`), await encodePng({ width: 40, height: 36, channels: 3, data }));
  }
});

describe('Your own images', () => {
  const text = page('your-images.md');
  // A network and a run small enough for a test.
  const small = ['model.nf=8', 'training.n_iters=1', 'training.snapshot_freq=1'].map((key) => `--config.${key}`);
  const line = (name: string) => commands(text).find((one) => one.startsWith(`npx rectiflow ${name} `)) as string;

  it('has a configuration that the commands accept', () => {
    writeFileSync(join(project, 'mine.ts'), blocks(text, 'ts')[0]);
    const { stdout, stderr, status } = command(line('train'), '--dry-run');
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    expect(stdout).toContain('would train steps 0 to 3000 in runs/mine');
  });

  it('trains, samples by command and samples by program', async () => {
    const training = command(line('train'), ...small);
    expect(training.status, training.stderr).toBe(0);
    // The guide names the last of its six snapshots.
    const sampling = command(
      line('sample').replace('checkpoint_6', 'checkpoint_1').replace('64', '4').replace('20', '2'),
    );
    expect(sampling.status, sampling.stderr).toBe(0);
    const [program] = blocks(text, 'js');
    writeFileSync(join(project, 'program.mjs'), program.replace('steps: 20', 'steps: 2'));
    const { stderr, status } = run(['program.mjs']);
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    const { width, height } = await decodePng(readFileSync(join(project, 'sixteen.png')));
    expect(Math.min(width, height)).toBeGreaterThanOrEqual(4 * 32);
  }, 120_000);
});

it('From diffusers: the velocity of its convention leads to the data', () => {
  const [program] = blocks(page('from-diffusers.md'), 'js');
  writeFileSync(join(project, 'diffusers.mjs'), program);
  const { stdout, stderr, status } = run(['diffusers.mjs']);
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  const numbers = (stdout.match(/-?\d+\.?\d*/g) ?? []).slice(2).map(Number);
  expect(numbers).toHaveLength(8);
  for (const number of numbers) expect(number).toBeCloseTo(3, 1);
});

it('Several processes: the program trains alone, and as two ranks to the same bits', () => {
  const [program] = blocks(page('cluster.md'), 'ts');
  const short = program
    .replace("'digits', {", "'digits', { model: { nf: 8 },")
    .replace('{ accumulation', '{ n_iters: 2, batch_size: 8, accumulation');
  writeFileSync(join(project, 'ranks.mjs'), short);
  const states = ['alone', 'together'].map((name) => {
    rmSync(join(project, 'runs'), { recursive: true, force: true });
    const [launcher, ...words] = name === 'alone' ? [process.execPath] : ['mpirun.mpich', '-np', '2', process.execPath];
    const { stdout, stderr, status } = spawnSync(launcher, [...words, 'ranks.mjs'], { cwd: project, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toBe('3 steps\n');
    return readFileSync(join(project, 'runs/mine/checkpoints-meta/state_3.safetensors'));
  });
  expect(states[0].equals(states[1])).toBe(true);
}, 60_000);

it('Text to image: the program makes a picture', async () => {
  await writePipeline(join(project, 'instaflow'), pipelineShapes().shapes);
  const [program] = blocks(page('text-to-image.md'), 'js');
  writeFileSync(join(project, 'text.mjs'), program.replace('steps: 1', 'steps: 1, size: 64'));
  const { stderr, status } = run(['text.mjs']);
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  expect((await decodePng(readFileSync(join(project, 'cat.png')))).width).toBe(64);
}, 60_000);

describe('From the official PyTorch code: published checkpoints', () => {
  const [, section] = /### The published checkpoints\n(.*?)\n## /s.exec(page('from-pytorch.md')) ?? [];

  it.each(commands(section).map((line) => [line]))('%s', (line) => {
    const { stderr, status } = command(line, ...(line.includes(' eval ') ? ['--dry-run'] : ['--help']));
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  });

  it('names a link, a folder or a configuration, and a command for each', () => {
    const rows = section.split('\n').filter((row) => row.startsWith('| ['));
    expect(rows).toHaveLength(10);
    for (const row of rows)
      expect(row).toMatch(
        /^\| \[.+\]\(https:\/\/drive\.google\.com\/file\/d\/[\w-]{33}\/view\) \| .*`.+` \| .+ \| [ABC] \|$/,
      );
  });
});
