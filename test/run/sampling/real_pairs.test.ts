// Reflow with real images: pairs (z0, z1) of images z1 and where the reverse ODE takes them, mixed with pairs of noise.
import { cpSync, mkdtempSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { batchIndices, checkPairs, PairSet, sequentialBatch } from '../../../src/data/index.ts';
import { isReal } from '../../../src/data/pairs/set.ts';
import type { Device } from '../../../src/device/device.ts';
import { openDevice } from '../../../src/device/open.ts';
import { encode, networkVelocity } from '../../../src/flow/index.ts';
import { missingKeys } from '../../../src/run/config/requirements.ts';
import { generatePairs, loadCheckpoint, loadDataset, loadModel, train, trainReflow } from '../../../src/run/index.ts';
import { pairBatch } from '../../../src/run/training/objective.ts';
import { configWith } from '../../support/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-real-pairs-'));
const flow = join(folder, 'flow/checkpoints/checkpoint_0.safetensors');
const [drawn, real] = [join(folder, 'drawn'), join(folder, 'real')];
const count = 22;

async function config(values: Record<string, unknown> = {}) {
  const all = {
    'model.nf': 8,
    'training.batch_size': 8,
    'training.n_iters': 3,
    'training.snapshot_sampling': false,
    'sampling.use_ode_sampler': 'rk45',
    'sampling.ode_tol': 1e-3,
    'reflow.last_flow_ckpt': flow,
    'reflow.data_root': drawn,
    'reflow.real_data_root': real,
    'reflow.total_number_of_samples': count,
    ...values,
  };
  return configWith('digits', all);
}
const reversed = { 'reflow.reflow_type': 'generate_data_from_z1', 'reflow.data_root': real };
const mixed = { 'reflow.reflow_type': 'train_reflow', 'reflow.real_data_ratio': 0.5 };

let device: Device;
beforeAll(async () => {
  // Small batches are faster with one thread.
  device = await openDevice('cpu', { threads: 1 });
  await train(await config(), { workdir: join(folder, 'flow'), device });
  await generatePairs(await config(), { device });
  await generatePairs(await config(reversed), { device });
}, 120_000);

const bytesOf = (path: string) =>
  Object.fromEntries(readdirSync(path).map((name) => [name, readFileSync(join(path, name), 'hex')]));

describe('pairs of images', () => {
  it('hold the images and where the ODE takes them, batch by batch', async () => {
    expect(readdirSync(join(real, '42')).sort()).toEqual(['manifest.json', 'z0.npy', 'z1.npy']);
    const chosen = await config();
    const dataset = await loadDataset(chosen, 'train');
    const { images } = await sequentialBatch(dataset, 0, count, { centered: chosen.data.centered });
    const { model: loaded } = await loadModel(flow, chosen, { device });
    using model = loaded;
    const way = { shape: [8, 8, 1], solver: 'rk45', tolerance: 1e-3, batch: 8, device } as const;
    const { latents } = await encode(networkVelocity(model.eval()), images, way);
    const set = await PairSet.open(real);
    const { z0, z1 } = await set.load(Int32Array.from({ length: count }, (_, i) => i));
    await set.close();
    expect(z1).toEqual(images);
    expect(z0).toEqual(latents);
  });

  it('resume after the last batch and end with identical bytes', async () => {
    const root = join(folder, 'stopped');
    const settings = await config({ ...reversed, 'reflow.data_root': root });
    const controller = new AbortController();
    const onProgress = (done: number) => done >= 16 && controller.abort();
    await expect(generatePairs(settings, { device, signal: controller.signal, onProgress })).rejects.toThrow(/abort/);
    expect(readdirSync(join(root, '42')).sort()).toEqual(['manifest.json', 'progress.jsonl', 'z0.npy.part']);
    const part = join(root, '42/z0.npy.part');
    truncateSync(part, readFileSync(part).length - 10);
    await expect(generatePairs(await config({ 'reflow.data_root': root }), { device })).rejects.toThrow(
      /pairs of another run.*\n {2}reflow\.reflow_type \(the end that the ODE gives\): "z0" there, none now/,
    );
    const notices: string[] = [];
    await generatePairs(settings, { device, onNotice: (text) => notices.push(text) });
    expect(notices).toEqual(['resuming from pair 8 of 22']);
    const whole = bytesOf(join(real, '42'));
    const manifest = Buffer.from(whole['manifest.json'], 'hex').toString().replaceAll(real, root);
    const expected = manifest.replace(`"real_data_root": "${root}"`, `"real_data_root": "${real}"`);
    expect(bytesOf(join(root, '42'))).toEqual({ ...whole, 'manifest.json': Buffer.from(expected).toString('hex') });
  });

  it('pass the checks of their kind: checksums, z0 not drawn, z1 equal to the images', async () => {
    const findings = await checkPairs(real);
    const stateOf = Object.fromEntries(findings.map(({ what, state }) => [what, state]));
    expect(stateOf).toMatchObject({ checksums: 'ok', finite: 'ok', 'z1 channels': 'ok' });
    expect(Object.keys(stateOf)).toContain('z0 of images');
    expect(Object.keys(stateOf)).not.toContain('z0 is noise');
    expect(findings.filter(({ state }) => state === 'broken')).toEqual([]);
    expect(findings[0].detail).toContain('z0 from images');
    // Next to drawn pairs, each folder is checked by its own rules.
    const both = join(folder, 'both');
    cpSync(join(real, '42'), join(both, 'images'), { recursive: true });
    cpSync(join(drawn, '42'), join(both, 'noise'), { recursive: true });
    const named = (await checkPairs(both)).map(({ what }) => what);
    expect(named).toEqual(expect.arrayContaining(['z0 of images', 'z0 is noise', 'z0 of noise']));
    // Changes a byte of z0.
    const damaged = join(folder, 'damaged/42');
    cpSync(join(real, '42'), damaged, { recursive: true });
    const bytes = readFileSync(join(damaged, 'z0.npy'));
    bytes[bytes.length - 3] ^= 1;
    writeFileSync(join(damaged, 'z0.npy'), bytes);
    expect((await checkPairs(join(folder, 'damaged'))).filter(({ state }) => state === 'broken')).toMatchObject([
      { what: 'checksums', detail: 'mismatches: 42 pairs 16 to 21' },
    ]);
  });

  it.each<[Record<string, unknown>, RegExp]>([
    [{ 'reflow.total_number_of_samples': 9999 }, /but there are only 1400 training images/],
    [{ 'reflow.pair_format': 'shards' }, /reflow\.pair_format: expected official for pairs of images/],
  ])('%j is refused', async (values, message) => {
    const make = async () => generatePairs(await config({ ...reversed, seed: 1, ...values }), { device });
    await expect(make()).rejects.toThrow(message);
    expect(readdirSync(real)).toEqual(['42']);
  });
});

describe('mixed in', () => {
  it('with the configured share, as a function of (seed, sample), in whole pairs', async () => {
    const share = Array.from({ length: 20_000 }, (_, item) => isReal(7, item, 0.3)).filter(Boolean).length / 20_000;
    // Three standard errors.
    expect(Math.abs(share - 0.3)).toBeLessThan(0.01);
    expect([isReal(7, 5, 0), isReal(7, 5, 1)]).toEqual([false, true]);
    const chosen = await config(mixed);
    const [pairs, images] = [await PairSet.open(drawn), await PairSet.open(real)];
    const batch = await pairBatch({ pairs, real: images }, 3, chosen);
    const items = Array.from({ length: 8 }, (_, place) => 24 + place);
    const kinds = items.map((item) => isReal(chosen.seed, item, 0.5));
    expect(new Set(kinds).size).toBe(2);
    for (const [place, kind] of kinds.entries()) {
      const set = kind ? images : pairs;
      const expected = await set.load(batchIndices(3, 8, set.count, chosen.seed).subarray(place, place + 1));
      for (const end of ['z0', 'z1'] as const)
        expect(batch[end].subarray(place * 64, (place + 1) * 64)).toEqual(expected[end]);
    }
    expect(await pairBatch({ pairs, real: images }, 3, chosen)).toEqual(batch);
    await pairs.close();
    await images.close();
  });

  it('a stopped run resumes to bit-identical results, which differ from those without mixing', async () => {
    const end = async (workdir: string) =>
      loadCheckpoint(join(folder, workdir, 'checkpoints/checkpoint_0.safetensors'));
    await trainReflow(await config(mixed), { workdir: join(folder, 'mixed'), device });
    const controller = new AbortController();
    const onStep = ({ step }: { step: number }) => step === 1 && controller.abort();
    const stopped = { workdir: join(folder, 'halted'), device, signal: controller.signal, onStep };
    expect(await trainReflow(await config(mixed), stopped)).toMatchObject({ stopped: true });
    await trainReflow(await config(mixed), { workdir: join(folder, 'halted'), device });
    expect((await end('halted')).model).toEqual((await end('mixed')).model);
    const without = { 'reflow.reflow_type': 'train_reflow' };
    await trainReflow(await config(without), { workdir: join(folder, 'plain'), device });
    expect((await end('plain')).model).not.toEqual((await end('mixed')).model);
  });

  it('is refused for a folder of drawn pairs, a missing folder, or online reflow', async () => {
    const wrong = trainReflow(await config({ ...mixed, 'reflow.real_data_root': drawn }), {
      workdir: join(folder, 'x'),
      device,
    });
    await expect(wrong).rejects.toThrow(
      /drawn\/42: does not hold pairs of images; generate them with reflow\.reflow_type/,
    );
    expect(readdirSync(folder)).not.toContain('x');
    expect(missingKeys(await config({ ...mixed, 'reflow.real_data_root': '' }), 'reflow')).toEqual([
      'add --config.reflow.real_data_root DIR: the folder of the pairs of real images',
    ]);
    await expect(config({ ...mixed, 'reflow.reflow_type': 'train_online_reflow' })).rejects.toThrow(
      /reflow\.real_data_ratio: expected 0 for train_online_reflow; got 0\.5/,
    );
  });
});
