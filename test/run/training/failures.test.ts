// Failures around a training run, through the built command: each ends with one line that says what to do and the right
// exit code, saved files stay readable, and the same command resumes to the bits of an undisturbed run.
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { writePng } from '../../../src/io/index.ts';
import { loadCheckpoint } from '../../../src/run/index.ts';
import { sampleWriter } from '../../../src/run/sampling/output.ts';
import { configWith } from '../../support/config.ts';
import { full } from '../../support/devices.ts';

const bin = fileURLToPath(new URL('../../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-failures-'));
const root = process.getuid?.() === 0;
/** Index of the last step, and number of its snapshot. */
const LAST = 40;
const SNAPSHOT = 2;

const small = Object.entries({
  'model.nf': 8,
  'model.num_res_blocks': 1,
  'training.batch_size': 8,
  'training.n_iters': LAST,
  'training.snapshot_freq': 15,
  'training.snapshot_freq_for_preemption': 5,
  'training.snapshot_sampling': false,
}).map(([path, value]) => `--config.${path}=${value}`);

interface Running {
  ended: Promise<{ code: number | null; stderr: string; errors: string[] }>;
  signal(name: NodeJS.Signals): void;
}

function start(
  workdir: string,
  extra: readonly string[] = [],
  options: { bound?: boolean; wrapper?: string[] } = {},
): Running {
  const command = [bin, 'train', '--config', 'digits', '--threads', '1', '--workdir', workdir, ...small, ...extra];
  // Permissions do not bind root, so a child of root drops its privileges.
  const bound = options.bound && root ? ['setpriv', '--bounding-set=-dac_override,-dac_read_search'] : [];
  const wrapper = options.wrapper ?? bound;
  const [program, ...words] = [...wrapper, process.execPath, ...command];
  const child = spawn(program, words, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (text) => (stderr += text));
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve)).then((code) => ({
    code,
    stderr,
    errors: stderr.split('\n').filter((line) => line.startsWith('rectiflow: ')),
  }));
  return { ended, signal: (name) => child.kill(name) };
}

/** Expects the command to end with one line, without a stack, and the given code. */
async function expectFailure({ ended }: Running, code: number, message: RegExp): Promise<void> {
  const result = await ended;
  expect(result.stderr).toMatch(message);
  expect(result.errors).toHaveLength(1);
  expect(result.stderr).not.toMatch(/^\s+at /m);
  expect(result.stderr.trimEnd().split('\n').at(-1)).toBe(result.errors[0]);
  expect(result.code).toBe(code);
}

async function expectDone({ ended }: Running): Promise<void> {
  const { code, errors } = await ended;
  expect(errors).toEqual([]);
  expect(code).toBe(0);
}

const logLines = (workdir: string) => {
  const path = join(workdir, 'log.jsonl');
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [];
};
const losses = (workdir: string) => logLines(workdir).map((line) => JSON.parse(line).loss as number);

async function untilStep(workdir: string, step: number): Promise<void> {
  while (logLines(workdir).length <= step) await sleep(2);
}

/** The bytes of all checkpoints, by name. */
async function readableCheckpoints(workdir: string): Promise<string[]> {
  const found: string[] = [];
  for (const sub of ['checkpoints', 'checkpoints-meta'])
    for (const name of readdirSync(join(workdir, sub))) {
      // No temporary file may be left.
      expect(name).toMatch(/^(checkpoint|state)_\d+\.safetensors$/);
      await loadCheckpoint(join(workdir, sub, name));
      found.push(name);
    }
  return found.sort();
}

const whole = join(folder, 'whole');
beforeAll(() => expectDone(start(whole)), 60_000);

async function expectSameAsWhole(workdir: string): Promise<void> {
  expect(losses(workdir)).toEqual(losses(whole));
  expect(existsSync(join(workdir, 'lock'))).toBe(false);
  const name = `checkpoints/checkpoint_${SNAPSHOT}.safetensors`;
  const [a, b] = await Promise.all([whole, workdir].map((dir) => loadCheckpoint(join(dir, name))));
  expect(b.model).toEqual(a.model);
}

describe('a disk', () => {
  const mounted: string[] = [];
  afterAll(() => {
    for (const path of mounted) spawnSync('umount', [path]);
  });

  /** A separate file system. If the system does not permit one, the test is skipped with a message. */
  function smallDisk(context: TestContext, name: string, size: string): string {
    const path = join(folder, name);
    mkdirSync(path);
    const { status, stderr, error } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path], {
      encoding: 'utf8',
    });
    if (status !== 0) context.skip(`needs to mount a tmpfs: ${(stderr || String(error)).trim()}`);
    mounted.push(path);
    return path;
  }

  /** Fills all space except `spare` bytes. */
  function fill(disk: string, spare: number): () => void {
    const ballast = join(disk, 'ballast');
    const file = openSync(ballast, 'w');
    const page = Buffer.alloc(4096);
    let size = 0;
    try {
      for (;;) size += writeSync(file, page);
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
    }
    closeSync(file);
    truncateSync(ballast, Math.max(0, size - spare));
    return () => unlinkSync(ballast);
  }

  // Room for not even a line of the log; then room for the log but not for a state.
  for (const spare of [0, 300_000])
    it(`that fills up during a run, with ${spare} bytes spare`, async (context) => {
      const disk = smallDisk(context, `disk${spare}`, '12m');
      const workdir = join(disk, 'run');
      const running = start(workdir);
      await untilStep(workdir, 12);
      const free = fill(disk, spare);
      await expectFailure(running, 1, /disk full; free some space and try again/);
      expect(await readableCheckpoints(workdir)).toContain('state_11.safetensors');
      free();
      await expectDone(start(workdir));
      await expectSameAsWhole(workdir);
    });

  it('that fills up while images are written holds whole images only', async (context) => {
    const disk = smallDisk(context, 'disk-images', '256k');
    fill(disk, 4096 * 8);
    const config = await configWith('digits', { 'data.image_size': 64 });
    const shape: [number, number, number, number] = [8, 64, 64, 1];
    const noise = Float32Array.from({ length: 8 * 64 * 64 }, (_, i) => Math.sin(i * i));
    await expect(sampleWriter(`${disk}/images/`)(`${disk}/images/`, noise, shape, config)).rejects.toThrow('disk full');
    const names = readdirSync(join(disk, 'images'));
    expect(names.length).toBeGreaterThan(0);
    expect(names.length).toBeLessThan(8);
    for (const name of names)
      expect(
        readFileSync(join(disk, 'images', name))
          .subarray(-8, -4)
          .toString(),
        name,
      ).toBe('IEND');
  });

  it('that is too small from the start', async (context) => {
    const disk = smallDisk(context, 'tiny', '1m');
    await expectFailure(start(join(disk, 'run')), 1, /has 1 MB free, but the next checkpoints alone need/);
  });
});

describe('a work directory', () => {
  it.each(['new', 'begun'])('that is not writable, %s', async (state) => {
    const workdir = join(folder, `readonly-${state}`);
    mkdirSync(workdir);
    if (state === 'begun') await expectDone(start(workdir, ['--config.training.n_iters=10']));
    const kept = readdirSync(workdir, { recursive: true }).sort();
    chmodSync(workdir, 0o555);
    await expectFailure(start(workdir, [], { bound: true }), 1, /readonly-\w+\/\S+: .*(EACCES|permission denied)/);
    chmodSync(workdir, 0o755);
    expect(readdirSync(workdir, { recursive: true }).sort()).toEqual(kept);
    await expectDone(start(workdir));
    await expectSameAsWhole(workdir);
  });

  it('of another configuration', async () => {
    const before = readFileSync(join(whole, 'stdout.txt'), 'utf8');
    const { code, stderr, errors } = await start(whole, ['--config.optim.lr=0.5', '--config.training.n_iters=80'])
      .ended;
    expect(stderr).toMatch(/holds a run of another configuration.*\n {2}optim\.lr: 0\.002 there, 0\.5 now\n$/);
    expect(errors).toHaveLength(1);
    expect(code).toBe(2);
    expect(readFileSync(join(whole, 'stdout.txt'), 'utf8')).toBe(before);
    await expectSameAsWhole(whole);
  });

  it('in which another process is training', async () => {
    const workdir = join(folder, 'shared');
    const first = start(workdir);
    await untilStep(workdir, 2);
    // Held meanwhile, because otherwise the machine would decide which of the two ends first.
    first.signal('SIGSTOP');
    await expectFailure(
      start(workdir),
      1,
      /shared: in use by process \d+ on .*; give another --workdir or end that process/,
    );
    first.signal('SIGCONT');
    await expectDone(first);
    await expectSameAsWhole(workdir);
    expect(readFileSync(join(workdir, 'stdout.txt'), 'utf8')).not.toContain('in use');
  });

  it('that is moved away during a run', async () => {
    const workdir = join(folder, 'moved');
    const running = start(workdir);
    await untilStep(workdir, 12);
    running.signal('SIGSTOP');
    renameSync(workdir, `${workdir}.away`);
    running.signal('SIGCONT');
    await expectFailure(running, 1, /moved\/lock: the lock is gone.*; this process stops, saved files stay/);
    expect(existsSync(workdir)).toBe(false);
    renameSync(`${workdir}.away`, workdir);
    expect(await readableCheckpoints(workdir)).toContain('state_11.safetensors');
    await expectDone(start(workdir));
    await expectSameAsWhole(workdir);
  });

  it('whose log is not a file', async () => {
    const workdir = join(folder, 'log');
    await expectDone(start(workdir, ['--config.training.n_iters=10']));
    const log = join(workdir, 'log.jsonl');
    renameSync(log, `${log}.away`);
    mkdirSync(log);
    await expectFailure(start(workdir), 1, /log\.jsonl: is a folder, not a regular file/);
    // A report fails before it draws samples, whose estimated time it would print first.
    const { stderr } = spawnSync(process.execPath, [bin, 'report', '--workdir', workdir], { encoding: 'utf8' });
    expect(stderr).toMatch(/^rectiflow: \S+log\.jsonl: is a folder, not a regular file.*\n$/);
    expect(await readableCheckpoints(workdir)).toContain('state_11.safetensors');
    rmSync(log, { recursive: true });
    renameSync(`${log}.away`, log);
    await expectDone(start(workdir));
    await expectSameAsWhole(workdir);
  });
});

it('code of a configuration that fails after loading ends the command', async () => {
  const path = join(folder, 'late.mjs');
  writeFileSync(path, "Promise.reject(new TypeError('too late')); export default { seed: 1 };\n");
  const { status, stderr } = spawnSync(process.execPath, [bin, 'train', '--config', path, '--workdir', `${path}.d`], {
    encoding: 'utf8',
  });
  expect([status, stderr.split('\n')[0]]).toEqual([1, 'rectiflow: TypeError: too late']);
});

it.runIf(full && process.platform === 'linux')(
  'reports that memory has run out',
  async (context) => {
    if (spawnSync('prlimit', ['--version']).error) context.skip('needs prlimit');
    const large = ['--config.model.nf=64', '--config.training.batch_size=4096', '--config.training.n_iters=1'];
    for (const megabytes of [600, 900, 1500]) {
      const running = start(join(folder, `memory-${megabytes}`), large, {
        wrapper: ['prlimit', `--data=${megabytes * 1_000_000}`],
      });
      const { code, stderr, errors } = await running.ended;
      expect([code, errors.length]).toEqual([1, 1]);
      expect(errors[0]).toMatch(/memory/);
      expect(stderr).not.toMatch(/^\s+at /m);
    }
  },
  120_000,
);

describe('data', () => {
  const images = join(folder, 'images');
  const fromFolder = ['--config.data.dataset=FOLDER', `--config.data.root_path=${images}`];

  beforeAll(async () => {
    mkdirSync(images);
    // More images than the decoder caches.
    for (let i = 0; i < 300; i++) {
      const data = Uint8Array.from({ length: 64 }, (_, p) => (37 * i + 11 * p) % 256);
      await writePng(join(images, `${i}.png`), { width: 8, height: 8, channels: 1, data });
    }
  });

  it('that disappears during a run, or between two runs', async () => {
    const undisturbed = join(folder, 'images-whole');
    await expectDone(start(undisturbed, fromFolder));
    const workdir = join(folder, 'images-gone');
    const running = start(workdir, fromFolder);
    await untilStep(workdir, 7);
    renameSync(images, `${images}.away`);
    await expectFailure(running, 1, /images: no longer exists; restore it and run the same command to resume/);
    expect(await readableCheckpoints(workdir)).toContain('state_6.safetensors');
    await expectFailure(start(workdir, fromFolder), 1, /images: no such folder; check the path/);
    renameSync(`${images}.away`, images);
    await expectDone(start(workdir, fromFolder));
    expect(losses(workdir)).toEqual(losses(undisturbed));
  });

  it('of CIFAR-10 that is truncated', async () => {
    const cifar = join(folder, 'cifar');
    mkdirSync(cifar);
    const record = 3073;
    const batch = Buffer.alloc(10_000 * record, 7);
    for (let i = 0; i < 10_000; i++) batch[i * record] = i % 10;
    for (const name of ['data_batch_1.bin', 'test_batch.bin']) writeFileSync(join(cifar, name), batch);
    const values = { dataset: 'CIFAR10', root_path: cifar, image_size: 32, num_channels: 3 };
    const data = Object.entries(values).map(([key, value]) => `--config.data.${key}=${value}`);
    const few = [...data, '--config.training.batch_size=2', '--config.training.snapshot_freq_for_preemption=1'];
    const workdir = join(folder, 'cifar-run');
    await expectDone(start(workdir, [...few, '--config.training.n_iters=2']));
    truncateSync(join(cifar, 'data_batch_1.bin'), 1_000_000);
    const more = [...few, '--config.training.n_iters=3'];
    await expectFailure(
      start(workdir, more),
      1,
      /data_batch_1\.bin: has 1000000 bytes instead of 30730000; it is truncated/,
    );
    expect(await readableCheckpoints(workdir)).toContain('state_3.safetensors');
    writeFileSync(join(cifar, 'data_batch_1.bin'), batch);
    await expectDone(start(workdir, more));
    expect(losses(workdir)).toHaveLength(4);
  });
});
