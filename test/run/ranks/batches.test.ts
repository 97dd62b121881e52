// Pairs, samples and evaluations on several ranks: the files of one process, also after kills and on another number of ranks.
// RECTIFLOW_TEST_FULL=1 adds kinds of pairs, and a chain.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { smallChain } from '../../support/chain_runs.ts';
import { full } from '../../support/devices.ts';
import { hashesIn, type Launcher, ranksOf, startJob } from '../../support/jobs.ts';

// Ranks that wait keep their cores busy, so a job takes long while other tests run.
vi.setConfig({ testTimeout: 180_000 });

const root = mkdtempSync(join(tmpdir(), 'rectiflow-batches-'));
afterAll(() => rmSync(root, { recursive: true }));

const overrides = (values: Readonly<Record<string, unknown>>) =>
  Object.entries(values).map(([path, value]) => `--config.${path}=${value}`);
const small = { 'model.nf': 8, 'training.batch_size': 16 };
const checkpoint = '../trained/run/checkpoints/checkpoint_1.safetensors';

/** Runs a command in a folder of its own. */
function start(folder: string, words: readonly string[], size: number, launcher?: Launcher) {
  const cwd = join(root, folder);
  mkdirSync(cwd, { recursive: true });
  return startJob(words, size, { cwd, launcher });
}

const pairs = (values: Readonly<Record<string, unknown>> = {}) => [
  ...['reflow', '--config', 'digits', '--workdir', 'run'],
  ...overrides({
    ...small,
    'reflow.reflow_type': 'generate_data_from_z0',
    'reflow.last_flow_ckpt': checkpoint,
    'reflow.data_root': 'pairs',
    'reflow.total_number_of_samples': 100,
    ...values,
  }),
];

/** Waits until as many batches of pairs are in a folder. */
async function hasBatches(folder: string, count: number): Promise<void> {
  const journal = join(root, folder, 'pairs/42/progress.jsonl');
  for (let tries = 0; tries < 6000; tries++) {
    await wait(25);
    if (existsSync(journal) && readFileSync(journal, 'utf8').split('\n').length > count) return;
  }
  throw new Error(`${folder} does not reach batch ${count}`);
}

beforeAll(async () => {
  const values = { ...small, 'training.n_iters': 3, 'training.snapshot_freq': 3, 'training.snapshot_sampling': false };
  const words = ['train', '--config', 'digits', '--workdir', 'run', ...overrides(values)];
  expect(await start('trained', words, 1).ended).toMatchObject({ status: 0 });
});

describe('pairs', () => {
  it.each<[string, Record<string, unknown>]>([
    ['by Euler steps, 16 bits a number', { 'reflow.pair_format': 'shards', 'reflow.pair_dtype': 'f16' }],
    ...(full
      ? ([
          ['by RK45, in the official layout', { 'sampling.use_ode_sampler': 'rk45', 'sampling.ode_tol': 1e-2 }],
          ['of images, solved backwards', { 'reflow.reflow_type': 'generate_data_from_z1' }],
        ] as [string, Record<string, unknown>][])
      : []),
  ])('%s, are those of one process', async (title, values) => {
    const run = (folder: string, size: number) => start(`${title} ${folder}`, pairs(values), size).ended;
    expect(await run('alone', 1)).toMatchObject({ status: 0 });
    const { status, text } = await run('3', 3);
    expect(status, text).toBe(0);
    expect(text.match(/100 pairs in/g)).toHaveLength(1);
    expect(hashesIn(join(root, `${title} 3`))).toEqual(hashesIn(join(root, `${title} alone`)));
  });

  it('are those of one process after kill -9, SIGTERM, and on other numbers of ranks', async () => {
    const slow = (folder: string) => pairs({ 'sampling.sample_N': 150, 'eval.folder': folder });
    const mark = '--config.eval.folder=broken';
    const killed = start('broken', slow('broken'), 2);
    await hasBatches('broken', 2);
    process.kill(ranksOf(mark)[0], 'SIGKILL');
    expect((await killed.ended).status).not.toBe(0);
    expect(ranksOf(mark)).toEqual([]);

    const stopped = start('broken', slow('broken'), 3, 'mpich');
    await hasBatches('broken', 3);
    process.kill(ranksOf(mark)[2], 'SIGTERM');
    const { status, text } = await stopped.ended;
    expect(status, text).not.toBe(0);
    expect(text.match(/rectiflow: stopped/g)).toHaveLength(1);

    expect(await start('broken', slow('broken'), 1).ended).toMatchObject({ status: 0 });
    expect(await start('unbroken', slow('broken'), 1).ended).toMatchObject({ status: 0 });
    expect(hashesIn(join(root, 'broken'))).toEqual(hashesIn(join(root, 'unbroken')));
  });
});

it('`sample` writes the images of one process', async () => {
  const words = ['sample', '--checkpoint', checkpoint, '--num', '40', '--batch', '16', '--out', 'x.npz'];
  const solver = ['--sampler', 'rk45', '--tol', '1e-2'];
  for (const [folder, size] of Object.entries({ 'samples 1': 1, 'samples 3': 3 })) {
    const { status, text } = await start(folder, [...words, ...solver], size).ended;
    expect(status, text).toBe(0);
    expect(text.match(/40 images in/g)).toHaveLength(1);
  }
  expect(hashesIn(join(root, 'samples 3'))).toEqual(hashesIn(join(root, 'samples 1')));
});

it('`eval` writes the files of one process: loss, bits per dimension, straightness, samples and their scores', async () => {
  const words = [
    ...['eval', '--config', 'digits', '--workdir', 'run', '--checkpoint', checkpoint],
    ...overrides({
      ...{ 'model.nf': 8, 'eval.batch_size': 32, 'eval.num_samples': 100, 'eval.max_images': 40 },
      ...{ 'eval.enable_loss': true, 'eval.enable_bpd': true, 'eval.bpd_dataset': 'train' },
      ...{ 'eval.enable_straightness': true, 'eval.straightness_samples': 40 },
      ...{ 'eval.enable_sampling': true, 'eval.features': 'pixels' },
      ...{ 'sampling.use_ode_sampler': 'euler', 'sampling.sample_N': 5 },
    }),
  ];
  expect(await start('eval 1', words, 1).ended).toMatchObject({ status: 0 });
  const { status, text } = await start('eval 3', words, 3).ended;
  expect(status, text).toBe(0);
  expect(text.match(/Frechet distance of pixels/g)).toHaveLength(1);
  const whole = hashesIn(join(root, 'eval 1'));
  expect(hashesIn(join(root, 'eval 3'))).toEqual(whole);
  // Batches that are there stay, and the missing one is drawn again.
  const [missing] = Object.keys(whole).filter((name) => name.endsWith('samples_1.npz'));
  rmSync(join(root, 'eval 3', missing));
  expect(await start('eval 3', words, 2).ended).toMatchObject({ status: 0 });
  expect(hashesIn(join(root, 'eval 3'))).toEqual(whole);
});

it.runIf(full)(
  '`chain` writes the flows, pairs and samples of one process, after an interrupt too',
  async () => {
    const words = [
      ...['chain', '--config', 'digits', '--workdir', 'chain'],
      ...overrides({ ...smallChain, 'training.accumulation': 2, 'eval.features': 'pixels', 'eval.folder': 'eval' }),
    ];
    const written = (folder: string) =>
      Object.fromEntries(
        Object.entries(hashesIn(join(root, folder))).filter(([name]) => /\.(safetensors|np[yz]|png)$/.test(name)),
      );
    expect(await start('chain 1', words, 1).ended).toMatchObject({ status: 0 });
    const { child, ended } = start('chain 2', words, 2);
    for (let tries = 0; tries < 6000 && !existsSync(join(root, 'chain 2/chain/1_rectified_flow/log.jsonl')); tries++)
      await wait(25);
    child.kill('SIGTERM');
    await ended;
    const { status, text } = await start('chain 2', words, 2).ended;
    expect(status, text).toBe(0);
    expect(text.match(/^report:/gm)).toHaveLength(1);
    expect(written('chain 2')).toEqual(written('chain 1'));
  },
  120_000,
);

it('`eval --watch` is refused', async () => {
  const { status, text } = await start(
    'watch',
    ['eval', '--workdir', 'run', '--config', 'digits', '--watch', '--config.eval.enable_loss'],
    2,
  ).ended;
  expect(status).not.toBe(0);
  expect(text).toMatch(/--watch runs in one process/);
});
