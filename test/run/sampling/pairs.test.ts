// Generating pairs: identical bytes after any interruption, refusals, and both layouts as one set.
// RECTIFLOW_TEST_FULL=1 kills ten runs instead of two.
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { PairSet } from '../../../src/data/index.ts';
import type { Device } from '../../../src/device/device.ts';
import { openDevice } from '../../../src/device/open.ts';
import { initialNoise } from '../../../src/flow/index.ts';
import { readNpy } from '../../../src/io/index.ts';
import { generatePairs, train, trainReflow } from '../../../src/run/index.ts';
import { pairBatch } from '../../../src/run/training/objective.ts';
import { lockFolder } from '../../../src/run/workdir/lock.ts';
import { scope } from '../../../src/tensor/scope.ts';
import { configWith } from '../../support/config.ts';
import { full } from '../../support/devices.ts';

const bin = fileURLToPath(new URL('../../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-pairs-run-'));
const teacher = join(folder, 'flow/checkpoints/checkpoint_0.safetensors');
const whole = join(folder, 'whole');
const pairs = 38;

function valuesOf(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    'model.nf': 8,
    'training.batch_size': 4,
    'training.n_iters': 3,
    'reflow.reflow_type': 'generate_data_from_z0',
    'reflow.last_flow_ckpt': teacher,
    'reflow.data_root': whole,
    'reflow.total_number_of_samples': pairs,
    'sampling.init_noise_scale': 1.5,
    'sampling.use_ode_sampler': 'rk45',
    'sampling.ode_tol': 1e-3,
    ...changes,
  };
}

function config(changes: Record<string, unknown> = {}) {
  return configWith('digits', valuesOf(changes));
}

const layouts = {
  official: { seed: 1 },
  shards: { seed: 2, 'reflow.pair_format': 'shards' },
  u16: { seed: 3, 'reflow.pair_format': 'shards', 'reflow.pair_dtype': 'u16' },
} as const;
type Layout = keyof typeof layouts;
const names = Object.keys(layouts) as Layout[];

/** The bytes of every file in a folder. */
function bytesOf(path: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(path)
      .sort()
      .map((name) => [name, readFileSync(join(path, name), 'hex')]),
  );
}

let device: Device;
beforeAll(async () => {
  // Small batches are faster with one thread, and results do not depend on the number of threads.
  device = await openDevice('cpu', { threads: 1 });
  await train(await config({ 'training.batch_size': 16, 'training.snapshot_sampling': false }), {
    workdir: join(folder, 'flow'),
    device,
  });
  for (const name of names) await generatePairs(await config(layouts[name]), { device });
}, 300_000);

describe('a folder of pairs', () => {
  it('has the files of its layout', () => {
    expect(readdirSync(join(whole, '1')).sort()).toEqual(['manifest.json', 'z0.npy', 'z1.npy']);
    const shards = Array.from({ length: 10 }, (_, i) => `z1_00000${i}.npy`);
    for (const seed of ['2', '3']) expect(readdirSync(join(whole, seed)).sort()).toEqual(['manifest.json', ...shards]);
  });

  it('states its origin in the manifest', () => {
    const manifest = JSON.parse(readFileSync(join(whole, '3/manifest.json'), 'utf8'));
    expect(manifest).toMatchObject({
      format: 'rectiflow pairs',
      version: 1,
      device: 'cpu',
      layout: 'shards',
      dtype: 'u16',
      range: [-4, 4],
      shape: [1, 8, 8],
      count: pairs,
      done: pairs,
      batch: 4,
      noise: { law: 'normal', seed: 3, stream: 2, scale: 1.5 },
      sampler: { name: 'rk45', tolerance: 1e-3 },
      config: { model: { nf: 8 } },
    });
    expect(manifest.teacher).toMatch(/^[0-9a-f]{64}$/);
    expect(manifest.shards).toHaveLength(10);
    for (const { nfe, sha256 } of manifest.shards) expect([nfe > 1, sha256.length]).toEqual([true, 64]);
  });

  it('is opened with the others as one set; z0 is bit-identical to the noise of the device', async () => {
    const set = await PairSet.open(whole, [1, 8, 8]);
    expect(set.count).toBe(3 * pairs);
    const { z0, z1 } = await set.load(Int32Array.from({ length: 3 * pairs }, (_, i) => i));
    for (const [at, seed] of [1, 2, 3].entries()) {
      const noise = scope(() => initialNoise([pairs, 8, 8, 1], { seed, noiseScale: 1.5, device }).dataSync());
      expect(z0.subarray(at * pairs * 64, (at + 1) * pairs * 64)).toEqual(noise);
    }
    expect(z1.subarray(0, pairs * 64)).toEqual((await readNpy(join(whole, '1/z1.npy'))).data);
    await set.close();
  });

  it('with 16 bits has the values of f32 up to half a step', async () => {
    const root = join(folder, 'f32');
    await generatePairs(await config({ ...layouts.u16, 'reflow.pair_dtype': 'f32', 'reflow.data_root': root }), {
      device,
    });
    const indices = Int32Array.from({ length: pairs }, (_, i) => i);
    const [plain, all] = [await PairSet.open(root), await PairSet.open(whole)];
    const f32 = await plain.load(indices);
    const u16 = await all.load(indices.map((i) => i + 2 * pairs));
    await plain.close();
    await all.close();
    expect(u16.z0).toEqual(f32.z0);
    const inside = f32.z1.map((value) => Math.min(Math.max(value, -4), 4));
    const worst = inside.reduce((most, value, i) => Math.max(most, Math.abs(value - u16.z1[i])), 0);
    expect(worst).toBeGreaterThan(0);
    expect(worst).toBeLessThan(4 / 65535 + 5e-7);
    const clipped = f32.z1.filter((value) => Math.abs(value) > 4).length;
    const { shards } = JSON.parse(readFileSync(join(whole, '3/manifest.json'), 'utf8'));
    expect(shards.reduce((sum: number, shard: { clipped: number }) => sum + shard.clipped, 0)).toBe(clipped);
  });
});

describe('a run killed at any moment resumes to identical bytes', () => {
  const rounds = full ? 10 : 2;
  const cases = (full ? names : (['official', 'u16'] as const)).flatMap((name) =>
    Array.from({ length: rounds }, (_, round) => [name, round] as const),
  );

  it.each(cases)(
    'kill -9, %s, round %i',
    async (name, round) => {
      const root = join(folder, `killed-${name}-${round}`);
      const { seed } = layouts[name];
      const values = valuesOf({ ...layouts[name], 'reflow.data_root': root });
      const overrides = Object.entries(values).map(([path, value]) => `--config.${path}=${value}`);
      const command = [
        bin,
        'reflow',
        '--config',
        'digits',
        '--workdir',
        join(folder, 'w'),
        '--threads',
        '1',
        ...overrides,
      ];
      let kills = 0;
      let patience = 1;
      for (;;) {
        const child = spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe'] });
        let stderr = '';
        child.stderr.on('data', (text) => (stderr += text));
        const kill = () => child.kill('SIGKILL');
        // Even rounds kill at any moment, including the start; odd rounds soon after a batch, in the next one or in the
        // journal.
        const delay = patience * (round % 2 === 0 ? 400 + Math.random() * 600 : Math.random() * 120);
        const started = Date.now();
        const before = batchesIn(join(root, `${seed}`));
        const watch = setInterval(() => {
          if (kills >= 3) return;
          if (round % 2 === 0 ? Date.now() - started > delay : batchesIn(join(root, `${seed}`)) > before) {
            clearInterval(watch);
            setTimeout(kill, round % 2 === 0 ? 0 : delay / 4);
          }
        }, 5);
        const code = await new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
        clearInterval(watch);
        if (code === 0 && kills === 0) {
          // On a fast machine the run completed before the kill: repeats with an earlier kill.
          patience /= 2;
          rmSync(root, { recursive: true });
          continue;
        }
        // Killed after the last write: nothing is left to do.
        if (code === 0 || (code === 1 && /is there already/.test(stderr))) break;
        expect(`${code} ${stderr}`).toMatch(/^SIGKILL/);
        kills++;
      }
      expect(kills).toBeGreaterThan(0);
      expect(bytesOf(join(root, `${seed}`))).toEqual({
        ...bytesOf(join(whole, `${seed}`)),
        'manifest.json': manifestFor(root, join(whole, `${seed}`)),
      });
    },
    120_000,
  );

  it.each(names)('%s, cut off within a batch, within the journal, and after the last rename', async (name) => {
    const root = join(folder, `cut-${name}`);
    const { seed } = layouts[name];
    const settings = await config({ ...layouts[name], 'reflow.data_root': root });
    const controller = new AbortController();
    const onProgress = (done: number) => done >= 20 && controller.abort();
    const stopped = generatePairs(settings, { device, signal: controller.signal, onProgress });
    await expect(stopped).rejects.toThrow(/abort/);
    const own = join(root, `${seed}`);
    expect(readdirSync(own)).not.toContain('lock');
    await expect(PairSet.open(root)).rejects.toThrow(/has 20 of 38 pairs; repeat the command that generates them/);
    const journal = join(own, 'progress.jsonl');
    truncateSync(journal, readFileSync(journal).length - 7);
    const data = join(own, name === 'official' ? 'z1.npy.part' : 'z1_000003.npy');
    truncateSync(data, readFileSync(data).length - (name === 'official' ? 300 : 5));
    writeFileSync(join(own, '.z1_000003.npy.0123456789ab.tmp'), 'half');
    const notices: string[] = [];
    await generatePairs(settings, { device, onNotice: (text) => notices.push(text) });
    expect(notices).toEqual([`resuming from pair ${name === 'official' ? 16 : 12} of 38`]);
    const expected = { ...bytesOf(join(whole, `${seed}`)), 'manifest.json': manifestFor(root, join(whole, `${seed}`)) };
    expect(bytesOf(own)).toEqual(expected);
    // The state after a kill before the last manifest is written.
    const manifest = JSON.parse(readFileSync(join(own, 'manifest.json'), 'utf8'));
    writeFileSync(journal, manifest.shards.map((shard: unknown) => `${JSON.stringify(shard)}\n`).join(''));
    writeFileSync(join(own, 'manifest.json'), JSON.stringify({ ...manifest, done: 0, shards: [] }));
    expect(await generatePairs(settings, { device })).toMatchObject({ count: pairs });
    expect(bytesOf(own)).toEqual(expected);
    await expect(generatePairs(settings, { device })).rejects.toThrow(/exists already; use another --config\.seed/);
    expect(bytesOf(own)).toEqual(expected);
  });
});

/** The complete lines of the journal. */
function batchesIn(path: string): number {
  const journal = join(path, 'progress.jsonl');
  return existsSync(journal) ? readFileSync(journal, 'utf8').split('\n').length - 1 : 0;
}

/** The manifest of the uninterrupted run, adapted to another root. */
function manifestFor(root: string, path: string): string {
  const text = readFileSync(join(path, 'manifest.json'), 'utf8');
  return Buffer.from(text.replace(JSON.stringify(whole), JSON.stringify(root))).toString('hex');
}

describe('refuses', { timeout: 180_000 }, () => {
  it('to resume with another teacher, sampler or batch size, naming each', async () => {
    const root = join(folder, 'other');
    const begun = await config({ 'reflow.data_root': root });
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    await expect(generatePairs(begun, { device, signal: controller.signal, onProgress })).rejects.toThrow(/abort/);
    const before = bytesOf(join(root, '42'));
    const other = join(folder, 'other.safetensors');
    cpSync(teacher, other);
    const same = readFileSync(other);
    same[same.length - 1] ^= 1;
    writeFileSync(other, same);
    const changed = {
      'reflow.data_root': root,
      'reflow.last_flow_ckpt': other,
      'sampling.use_ode_sampler': 'euler',
      'sampling.sample_N': 3,
      'training.batch_size': 5,
      // Keys that do not affect pairs.
      'optim.lr': 0.5,
      'training.n_iters': 9,
    };
    const refused = generatePairs(await config(changed), { device });
    await expect(refused).rejects.toThrow(/holds pairs of another run; give another --config\.seed or the same values/);
    await expect(refused).rejects.toThrow(/ {2}training\.batch_size: 4 there, 5 now/);
    await expect(refused).rejects.toThrow(
      / {2}SHA-256 of reflow\.last_flow_ckpt or of the weights in model\.folder: "[0-9a-f]{64}" there, "[0-9a-f]{64}" now/,
    );
    await expect(refused).rejects.toThrow(/ {2}sampling\.use_ode_sampler: "rk45" there, "euler" now/);
    await expect(refused).rejects.not.toThrow(/optim|n_iters/);
    expect(bytesOf(join(root, '42'))).toEqual(before);
  });

  it('no run if there is no complete batch yet', async () => {
    const root = join(folder, 'anew');
    const controller = new AbortController();
    controller.abort();
    const shards = await config({ ...layouts.shards, 'reflow.data_root': root });
    await expect(generatePairs(shards, { device, signal: controller.signal })).rejects.toThrow(/abort/);
    // Killed between writing the shard and its journal line.
    cpSync(join(whole, '2/z1_000000.npy'), join(root, '2/z1_000000.npy'));
    await generatePairs(await config({ seed: 2, 'reflow.data_root': root, 'reflow.total_number_of_samples': 5 }), {
      device,
    });
    expect(readdirSync(join(root, '2')).sort()).toEqual(['manifest.json', 'z0.npy', 'z1.npy']);
    // Shards without a manifest may be of value and are not overwritten.
    rmSync(join(root, '2'), { recursive: true });
    cpSync(join(whole, '2/z1_000000.npy'), join(root, '2/z1_000000.npy'));
    await expect(generatePairs(shards, { device })).rejects.toThrow(/z1_000000\.npy: exists already/);
  });

  it('a second process with the same seed, but not with another seed', async () => {
    const root = join(folder, 'two');
    const one = await config({ 'reflow.data_root': root });
    const two = await config({ 'reflow.data_root': root, seed: 43 });
    mkdirSync(join(root, '42'), { recursive: true });
    const unlock = await lockFolder(join(root, '42'));
    await expect(generatePairs(one, { device })).rejects.toThrow(
      /in use by process \d+ on .*; give another --config\.seed or end that process/,
    );
    expect(readdirSync(join(root, '42'))).toEqual(['lock']);
    await unlock();
    await Promise.all([generatePairs(one, { device }), generatePairs(two, { device })]);
    const set = await PairSet.open(root);
    expect(set.count).toBe(2 * pairs);
    await set.close();
  });

  it('16 bits in official files; leaves no files for a missing teacher', async () => {
    await expect(config({ 'reflow.pair_dtype': 'u16' })).rejects.toThrow(
      /reflow\.pair_dtype: expected f32 unless reflow\.pair_format is shards; got u16/,
    );
    const root = join(folder, 'none');
    const gone = await config({ 'reflow.data_root': root, 'reflow.last_flow_ckpt': join(folder, 'gone.pth') });
    await expect(generatePairs(gone, { device })).rejects.toThrow(/gone\.pth: no such file/);
    expect(existsSync(root)).toBe(false);
  });
});

describe('training', { timeout: 180_000 }, () => {
  it('reads shards and official files alike', async () => {
    const losses: number[] = [];
    for (const name of ['official', 'shards'] as const) {
      const root = join(folder, `train-${name}`);
      const settings = await config({ ...layouts[name], seed: 5, 'reflow.data_root': root });
      await generatePairs(settings, { device });
      const training = { ...settings, reflow: { ...settings.reflow, reflow_type: 'train_reflow' as const } };
      training.training = { ...training.training, snapshot_sampling: false };
      losses.push((await trainReflow(training, { workdir: join(folder, `student-${name}`), device })).loss);
    }
    expect(losses[1]).toBe(losses[0]);
  });

  it('refuses pairs whose z0 does not have the stated deviation, without changing the work directory', async () => {
    const root = join(folder, 'no-manifest');
    cpSync(join(whole, '1'), join(root, '1'), { recursive: true });
    rmSync(join(root, '1/manifest.json'));
    const settings = { 'reflow.reflow_type': 'train_reflow', 'reflow.data_root': root };
    const workdir = join(folder, 'refused');
    const refused = trainReflow(await config({ ...settings, 'sampling.init_noise_scale': 1 }), { workdir, device });
    await expect(refused).rejects.toThrow(
      /no-manifest: z0 is not noise of deviation 1 \(sampling\.init_noise_scale\): .*variance 2\.\d+.*; see rectiflow pairs/,
    );
    expect(existsSync(workdir)).toBe(false);
  });

  it('mirrors both ends of a pair or neither, as a function of seed and index', async () => {
    const set = await PairSet.open(whole);
    const plain = await pairBatch({ pairs: set }, 7, await config({ 'training.batch_size': 16 }));
    const flipped = await config({ 'training.batch_size': 16, 'reflow.flip_pairs': true });
    const [a, b] = [await pairBatch({ pairs: set }, 7, flipped), await pairBatch({ pairs: set }, 7, flipped)];
    expect(b).toEqual(a);
    const mirror = (image: Float32Array) => image.map((_, i) => image[i - (i % 8) + 7 - (i % 8)]);
    let mirrored = 0;
    for (let place = 0; place < 16; place++) {
      const [z0, z1, f0, f1] = [plain.z0, plain.z1, a.z0, a.z1].map((all) => all.slice(place * 64, (place + 1) * 64));
      const is = f0[0] !== z0[0];
      expect(f0).toEqual(is ? mirror(z0) : z0);
      expect(f1).toEqual(is ? mirror(z1) : z1);
      mirrored += Number(is);
    }
    expect(mirrored).toBeGreaterThan(1);
    expect(mirrored).toBeLessThan(15);
    await set.close();
  });
});
