// Training on several ranks, with both implementations of MPI: the bits of one process, also after kills and on another number of
// ranks; stopping together; refusals. RECTIFLOW_TEST_FULL=1 adds sizes and kinds of training.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { full } from '../../support/devices.ts';
import { type Launcher, ranksOf, resultOf, startJob, startMixedJob } from '../../support/jobs.ts';

// Ranks that wait keep their cores busy, so a job takes long while other tests run.
vi.setConfig({ testTimeout: 180_000 });

const root = mkdtempSync(join(tmpdir(), 'rectiflow-ranks-'));
afterAll(() => rmSync(root, { recursive: true }));

const values = {
  'model.nf': 8,
  'model.dropout': 0.1,
  'model.activation_checkpointing': true,
  'training.n_iters': 7,
  'training.batch_size': 20,
  // Five parts do not divide evenly among two or three ranks.
  'training.accumulation': 5,
  'training.snapshot_freq': 4,
  'training.eval_freq': 3,
  'training.snapshot_freq_for_preemption': 2,
  'training.snapshot_sampling': false,
};

const overrides = (more: Readonly<Record<string, unknown>>) =>
  Object.entries({ ...values, ...more }).map(([path, value]) => `--config.${path}=${value}`);

/** Each run has a folder of its own under the same relative name, because paths are part of configurations. */
function start(folder: string, size: number, { launcher, more = {}, env, command = ['train'] }: Job = {}) {
  const cwd = join(root, folder);
  mkdirSync(cwd, { recursive: true });
  const words = [...command, '--config', 'digits', '--workdir', 'run', ...overrides(more)];
  return startJob(words, size, { cwd, launcher, env });
}

interface Job {
  launcher?: Launcher;
  more?: Readonly<Record<string, unknown>>;
  env?: Record<string, string>;
  command?: string[];
}

const run = (folder: string, size: number, job?: Job) => start(folder, size, job).ended;
const result = (folder: string) => resultOf(join(root, folder, 'run'));

/** Waits until the log of a run has a line of this step. */
async function reaches(folder: string, step: number): Promise<void> {
  for (let tries = 0; tries < 6000; tries++) {
    await wait(25);
    try {
      if (readFileSync(join(root, folder, 'run', 'log.jsonl'), 'utf8').includes(`"step":${step},`)) return;
    } catch {}
  }
  throw new Error(`${folder} does not reach step ${step}`);
}

/** The ranks of a run, found by the last override, which names its folder. */
const marked = (folder: string) => ({ 'training.log_freq': 50, 'eval.folder': folder });
const markOf = (folder: string) => `--config.eval.folder=${folder}`;

beforeAll(async () => {
  expect(await run('one', 1)).toMatchObject({ status: 0 });
});

describe('the bits of one process', () => {
  it.each<[string, number, Launcher]>([
    ['on 3 ranks of Open MPI', 3, 'openmpi'],
    ['on 2 ranks of MPICH', 2, 'mpich'],
    ...(full
      ? ([
          ['on 2 ranks of Open MPI', 2, 'openmpi'],
          ['on 3 ranks of MPICH', 3, 'mpich'],
        ] as [string, number, Launcher][])
      : []),
  ])('%s', async (title, size, launcher) => {
    const { status, text } = await run(title, size, { launcher });
    expect(status, text).toBe(0);
    expect(result(title)).toEqual(result('one'));
    // One rank prints.
    expect(text.match(/done after/g)).toHaveLength(1);
    expect(text.match(/^checkpoint:/gm)).toHaveLength(1);
  });

  it('is that of the parts: another number of parts gives other losses', async () => {
    await run('four', 1, { more: { 'training.accumulation': 4 } });
    expect(result('four').figures).not.toEqual(result('one').figures);
  });

  it('in reflow, with a teacher that makes the pairs in each step', async () => {
    const more = {
      'reflow.last_flow_ckpt': join(root, 'one/run/checkpoints/checkpoint_1.safetensors'),
      'reflow.reflow_type': 'train_online_reflow',
    };
    const job = { more: { ...more, 'reflow.online_steps': 2, 'training.n_iters': 3 }, command: ['reflow'] };
    expect(await run('online', 1, job)).toMatchObject({ status: 0 });
    const { status, text } = await run('online on 2', 2, job);
    expect(status, text).toBe(0);
    expect(result('online on 2')).toEqual(result('online'));
  });
});

describe('after', () => {
  // Long enough that a signal comes in the middle.
  const long = { 'training.n_iters': 400, 'training.snapshot_freq': 200, 'training.eval_freq': 100 };

  it('kill -9 of a rank all end, and another number of ranks resumes to the same bits', async () => {
    const more = { ...long, 'training.snapshot_freq_for_preemption': 20, 'training.n_iters': 60 };
    const { ended } = start('killed', 2, { more: { ...more, ...marked('killed') } });
    await reaches('killed', 25);
    process.kill(ranksOf(markOf('killed'))[0], 'SIGKILL');
    expect((await ended).status).not.toBe(0);
    expect(ranksOf(markOf('killed'))).toEqual([]);
    expect(await run('killed', 3, { more: { ...more, ...marked('killed') } })).toMatchObject({ status: 0 });
    expect(await run('whole', 1, { more: { ...more, ...marked('killed') } })).toMatchObject({ status: 0 });
    expect(result('killed')).toEqual(result('whole'));
  });

  it.each<[string, Launcher]>([
    ['SIGTERM of one rank of Open MPI', 'openmpi'],
    ['SIGTERM of one rank of MPICH', 'mpich'],
  ])('%s all stop behind the same step and save', async (title, launcher) => {
    const folder = launcher;
    const { ended } = start(folder, 2, { launcher, more: { ...long, ...marked(folder) } });
    await reaches(folder, 5);
    const ranks = ranksOf(markOf(folder));
    process.kill(ranks[ranks.length - 1], 'SIGTERM');
    const { status, text } = await ended;
    expect(status, `${title}: ${text}`).toBe(0);
    expect(text).toMatch(/stopped after \d+ steps/);
    expect(text).toMatch(/run the same command again to resume from run\/checkpoints-meta\/state_\d+\.safetensors/);
  });

  it('a rank that hangs the others end within RECTIFLOW_TIMEOUT, naming rank, step and seconds', async () => {
    const { ended } = start('hung', 2, { more: { ...long, ...marked('hung') }, env: { RECTIFLOW_TIMEOUT: '3' } });
    await reaches('hung', 5);
    const ranks = ranksOf(markOf('hung'));
    process.kill(ranks[0], 'SIGSTOP');
    const { status, text } = await ended;
    expect(status).not.toBe(0);
    expect(text).toMatch(/rectiflow: rank [01] of 2 \(\S+\) has been in step \d+ for [3-9] s: another rank hangs/);
    for (const pid of ranksOf(markOf('hung'))) process.kill(pid, 'SIGKILL');
  });
});

describe('refuses', () => {
  it('fewer parts than ranks, before it writes anything', async () => {
    const { status, text } = await run('few', 2, { more: { 'training.accumulation': 1 } });
    expect(status).toBe(2);
    expect(text).toContain(
      '2 ranks cannot share a batch of 1 part; give --config.training.accumulation 2, or a multiple',
    );
    expect(() => result('few')).toThrow();
  });

  it.each([
    ['an unknown key', '--config.optim.nosuch=1', /rank 1 of 2 \(\S+\): --config\.optim\.nosuch: unknown key/],
    ['another rate', '--config.optim.lr=1', /rank 1 has another configuration than rank 0: optim\.lr/],
  ])('a rank with %s, and all end', async (_, word, message) => {
    const words = ['train', '--config', 'digits', '--workdir', 'run', ...overrides({})];
    const { status, text } = await startMixedJob([words, [...words, word]], 'mpich', root).ended;
    expect(status).not.toBe(0);
    expect(text).toMatch(message);
  });

  it('the library of another MPI than the launcher', async () => {
    const { status, text } = await run('library', 2, { env: { RECTIFLOW_MPI: 'libmpich.so.12' } });
    expect(status).not.toBe(0);
    expect(text).toMatch(/the launcher \(Open MPI\) started 2 processes, and MPICH \d\S* \(libmpich\.so\.12\) sees 1/);
    expect(() => result('library')).toThrow();
  });

  it('a missing library, saying what to install', async () => {
    const { text } = await run('missing', 2, { env: { RECTIFLOW_MPI: '/nonexistent/libmpi.so' } });
    expect(text).toMatch(
      /no MPI library was found: .*Install that of the launcher \(Debian: libopenmpi3, libmpich12\)/,
    );
  });

  it('torchrun without MPI', async () => {
    const { status, text } = await run('torchrun', 1, { env: { RANK: '0', WORLD_SIZE: '2' } });
    expect(status).toBe(1);
    expect(text).toContain('start them with mpirun or `srun --mpi=pmix`');
  });

  it('commands that one process runs', async () => {
    const { status, text } = await startJob(['runs'], 2, { cwd: root }).ended;
    expect(status).toBe(2);
    expect(text).toContain('runs runs in one process, and Open MPI has started 2; start it without');
  });
});

it('doctor shows ranks, hosts, threads and the rate of an exchange, once', async () => {
  const { text } = await startJob(['doctor'], 2, { cwd: root }).ended;
  expect(text).toMatch(
    /^ok +ranks +2 by Open MPI, Open MPI v\d+\.\d+\.\d+ \(libmpi\.so\.40\): 2 on \S+ with 1 thread each/m,
  );
  expect(text.replace(/\s+/g, ' ')).toMatch(
    /ok exchange gradients of 64 MB in \d+ ms, best of 5: each rank .* [\d.]+ GB\/s/,
  );
  expect(text.match(/^ok +exchange/gm)).toHaveLength(1);
});

it('a process that was started alone looks for no MPI library', async () => {
  const env = { RECTIFLOW_MPI: '/nonexistent/libmpi.so', OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '1' };
  const { status, text } = await run('alone', 1, { env, more: { 'training.n_iters': 1 } });
  expect(status, text).toBe(0);
});
