// Resuming: a run that was killed any number of times is bit-identical to an uninterrupted one, and no fault of a work
// directory loses saved files. RECTIFLOW_TEST_FULL=1 kills each of ten runs ten times.
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { readSafetensors, writePng, writeSafetensors } from '../../../src/io/index.ts';
import { loadCheckpoint, train } from '../../../src/run/index.ts';
import { NUMERICS } from '../../../src/run/machine/provenance.ts';
import { lockTiming } from '../../../src/run/workdir/lock.ts';
import { configWith } from '../../support/config.ts';
import { full, openTestDevice } from '../../support/devices.ts';

const bin = fileURLToPath(new URL('../../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-resume-'));
const values = {
  'model.nf': 8,
  'model.dropout': 0.1,
  'training.batch_size': 16,
  // Index of the last of 60 steps.
  'training.n_iters': 59,
  'training.snapshot_freq': 25,
  'training.snapshot_freq_for_preemption': 7,
};

function config(changes: Record<string, number> = {}) {
  return configWith('digits', { ...values, ...changes });
}

function logged(workdir: string): { step: number; loss: number; grad_norm: number; lr: number }[] {
  const lines = readFileSync(join(workdir, 'log.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => {
    const { step, loss, grad_norm, lr } = JSON.parse(line);
    return { step, loss, grad_norm, lr };
  });
}

let device: Device;
const whole = join(folder, 'whole');
beforeAll(async () => {
  device = await openTestDevice('cpu');
  await train(await config(), { workdir: whole, device });
}, 120_000);

async function expectSameAsWhole(workdir: string) {
  expect(logged(workdir)).toEqual(logged(whole));
  for (const name of ['checkpoints/checkpoint_1', 'checkpoints/checkpoint_2', 'checkpoints-meta/state_60']) {
    const [a, b] = await Promise.all([whole, workdir].map((dir) => loadCheckpoint(join(dir, `${name}.safetensors`))));
    expect({ ...b, path: a.path }).toEqual(a);
  }
}

it('writes numbered snapshots, the last two states, and one log line per step', () => {
  expect(readdirSync(join(whole, 'checkpoints')).sort()).toEqual([
    'checkpoint_1.safetensors',
    'checkpoint_2.safetensors',
  ]);
  expect(readdirSync(join(whole, 'checkpoints-meta')).sort()).toEqual(['state_57.safetensors', 'state_60.safetensors']);
  expect(logged(whole).map(({ step }) => step)).toEqual(Array.from({ length: 60 }, (_, i) => i));
  expect(existsSync(join(whole, 'lock'))).toBe(false);
});

const runs = full ? 10 : 1;

it.each(Array.from({ length: runs }, (_, i) => i))(
  'kill -9 at random moments, run %i',
  async (run) => {
    const workdir = join(folder, `killed${run}`);
    const overrides = Object.entries(values).map(([path, value]) => `--config.${path}=${value}`);
    const command = [bin, 'train', '--config', 'digits', '--workdir', workdir, ...overrides];
    let kills = 0;
    let patience = 1;
    for (;;) {
      const child = spawn(process.execPath, command, { stdio: 'ignore' });
      // The first kills hit the start, later ones steps, states and snapshots.
      const timer = setTimeout(
        () => child.kill('SIGKILL'),
        kills < (full ? 10 : 4) ? patience * (250 + Math.random() * 500) : 60_000,
      );
      const code = await new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
      clearTimeout(timer);
      if (code === 0 && kills === 0) {
        // On a fast machine the run completed before the kill: repeats with an earlier kill.
        patience /= 2;
        rmSync(workdir, { recursive: true });
        continue;
      }
      if (code === 0) break;
      expect(code).toBe('SIGKILL');
      kills++;
      for (const sub of ['checkpoints', 'checkpoints-meta'].filter((name) => existsSync(join(workdir, name))))
        for (const name of readdirSync(join(workdir, sub)).filter((file) => file.endsWith('.safetensors')))
          await loadCheckpoint(join(workdir, sub, name));
    }
    expect(kills).toBeGreaterThan(0);
    await expectSameAsWhole(workdir);
  },
  120_000,
);

it('a signal stops it with a state to resume from; later runs can add steps', async () => {
  const workdir = join(folder, 'stopped');
  const controller = new AbortController();
  const onStep = ({ step }: { step: number }) => step === 30 && controller.abort();
  const first = await train(await config(), { workdir, device, signal: controller.signal, onStep });
  expect(first).toMatchObject({ steps: 31, stopped: true });
  const notices: string[] = [];
  const second = await train(await config({ 'training.n_iters': 39 }), {
    workdir,
    device,
    onNotice: (t) => notices.push(t),
  });
  expect(second).toMatchObject({ steps: 40, stopped: false });
  expect(notices).toEqual(['resuming from step 31']);
  await train(await config(), { workdir, device });
  expect(logged(workdir)).toEqual(logged(whole));
});

it('a damaged state is reported, and the run resumes from the one before', async () => {
  const workdir = join(folder, 'damaged');
  await train(await config({ 'training.n_iters': 20 }), { workdir, device });
  const state = join(workdir, 'checkpoints-meta/state_21.safetensors');
  writeFileSync(state, readFileSync(state).subarray(0, 1000));
  writeFileSync(join(workdir, 'log.jsonl'), `${readFileSync(join(workdir, 'log.jsonl'), 'utf8')}{"step": 21, "lo`);
  const notices: string[] = [];
  await train(await config(), { workdir, device, onNotice: (text) => notices.push(text) });
  expect(notices[0]).toMatch(/state_21\.safetensors: .*resuming from step 15 instead/);
  await expectSameAsWhole(workdir);
});

it('a resumed run removes the partial checkpoint of a killed one', async () => {
  const workdir = join(folder, 'leftover');
  await train(await config({ 'training.n_iters': 3 }), { workdir, device });
  const left = ['checkpoints/.checkpoint_0.safetensors.08101df0d677.tmp', '.config.json.0123456789ab.tmp'];
  for (const name of left) writeFileSync(join(workdir, name), 'half');
  await train(await config({ 'training.n_iters': 5 }), { workdir, device });
  for (const name of left) expect(existsSync(join(workdir, name))).toBe(false);
});

describe('refuses', () => {
  it('the directory of another configuration, naming the keys', async () => {
    const before = readdirSync(whole, { recursive: true }).sort();
    const other = train(await config({ 'optim.lr': 0.5, 'model.nf': 16 }), { workdir: whole, device });
    await expect(other).rejects.toThrow(
      /another configuration.*\n {2}model\.nf: 8 there, 16 now\n {2}optim\.lr: 0\.002 there, 0\.5 now/,
    );
    expect(readdirSync(whole, { recursive: true }).sort()).toEqual(before);
  });

  it('a directory that another run uses, and takes over that of a dead one', async () => {
    const workdir = join(folder, 'shared');
    const short = await config({ 'training.n_iters': 4 });
    let second: Promise<unknown> | undefined;
    await train(short, {
      workdir,
      device,
      onStep: () => (second ??= train(short, { workdir, device }).catch((e) => e)),
    });
    expect(String(await second)).toMatch(/in use by process \d+/);
    const { hostname } = await import('node:os');
    writeFileSync(join(workdir, 'lock'), `${hostname()} 999999999 1 abc\n`);
    expect(await train(short, { workdir, device })).toMatchObject({ steps: 5 });
    writeFileSync(join(workdir, 'lock'), 'elsewhere 7 1 abc\n');
    const notices: string[] = [];
    const { silence } = lockTiming;
    lockTiming.silence = 100;
    await train(short, { workdir, device, onNotice: (text) => notices.push(text) });
    lockTiming.silence = silence;
    expect(notices[0]).toMatch(/^waiting up to 0\.1 s for the lock of process 7 on elsewhere/);
  });

  it('a loss that is not finite, naming step and op; the last state stays', async () => {
    const workdir = join(folder, 'exploded');
    const wild = await config({ 'optim.lr': 1e30, 'optim.warmup': 8, 'training.snapshot_freq_for_preemption': 1 });
    await expect(train(wild, { workdir, device })).rejects.toThrow(
      /the (loss|norm of the gradient) is \S+ at step \d+/,
    );
    const states = readdirSync(join(workdir, 'checkpoints-meta'));
    expect(states.length).toBeGreaterThan(0);
    for (const state of states) await loadCheckpoint(join(workdir, 'checkpoints-meta', state));
    expect(existsSync(join(workdir, 'lock'))).toBe(false);
  });
});

it('nothing is lost or reordered if the clock is set back repeatedly', async () => {
  const workdir = join(folder, 'clock');
  let now = Date.now();
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => (now -= 60_000));
  const rates: number[] = [];
  for (const last of [9, 34, undefined]) {
    const controller = new AbortController();
    const onStep = ({ step, imagesPerSecond }: { step: number; imagesPerSecond: number }) => {
      rates.push(imagesPerSecond);
      if (step === last) controller.abort();
    };
    await train(await config(), { workdir, device, signal: controller.signal, onStep });
  }
  clock.mockRestore();
  await expectSameAsWhole(workdir);
  expect(rates.every((rate) => rate > 0)).toBe(true);
  const events = readdirSync(join(workdir, 'tensorboard')).sort();
  const begun = events.map((name) => statSync(join(workdir, 'tensorboard', name)).birthtimeMs);
  expect(begun).toHaveLength(3);
  expect(begun).toEqual([...begun].sort((a, b) => a - b));
});

it('a run that started with another version of the arithmetic reports that whenever it resumes', async () => {
  const workdir = join(folder, 'earlier');
  await train(await config({ 'training.n_iters': 9 }), { workdir, device });
  // A state as written before states stored the version.
  const path = join(workdir, 'checkpoints-meta', 'state_10.safetensors');
  const { metadata, tensors } = await readSafetensors(path);
  const { numerics, ...older } = metadata;
  expect(numerics).toBe(String(NUMERICS));
  await writeSafetensors(path, tensors, older);
  for (const [last, from] of [
    [14, 10],
    [19, 15],
  ]) {
    const notices: string[] = [];
    await train(await config({ 'training.n_iters': last }), { workdir, device, onNotice: (t) => notices.push(t) });
    expect(notices).toEqual([
      `resuming from step ${from}`,
      expect.stringContaining('started with another version of the arithmetic'),
    ]);
  }
  expect((await loadCheckpoint(join(workdir, 'checkpoints', 'checkpoint_0.safetensors'))).numerics).toBe(1);
});

it('reports that the number of images has changed', async () => {
  const images = join(folder, 'images');
  mkdirSync(images);
  for (let i = 0; i < 24; i++)
    await writePng(join(images, `${i}.png`), {
      width: 8,
      height: 8,
      channels: 1,
      data: new Uint8Array(64).fill(10 * i),
    });
  const folderOf = async (last: number) =>
    configWith('digits', {
      ...values,
      'data.dataset': 'FOLDER',
      'data.root_path': images,
      'training.batch_size': 4,
      'training.n_iters': last,
      'training.snapshot_sampling': false,
    });
  const workdir = join(folder, 'fewer');
  await train(await folderOf(1), { workdir, device });
  const notices: string[] = [];
  const onNotice = (text: string) => notices.push(text);
  await train(await folderOf(2), { workdir, device, onNotice });
  expect(notices.join('\n')).not.toContain('images or pairs to train on');
  for (const name of ['3.png', '8.png', '20.png']) rmSync(join(images, name));
  await train(await folderOf(3), { workdir, device, onNotice });
  expect(notices.join('\n')).toMatch(/the training set had \d+ images or pairs and now has \d+: the order of batches/);
});
