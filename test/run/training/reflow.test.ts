// Pairs of a flow and its students, on a tiny network.
import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { PairSet } from '../../../src/data/index.ts';
import type { Device } from '../../../src/device/device.ts';
import { Draw, rectifiedFlowLoss, scheduledTimes, TIME_EPSILON } from '../../../src/flow/index.ts';
import { readNpy, writePth } from '../../../src/io/index.ts';
import { mul } from '../../../src/kernels/elementwise.ts';
import type { UNet } from '../../../src/nn/unet.ts';
import { generatePairs, loadCheckpoint, sampleFromCheckpoint, train, trainReflow } from '../../../src/run/index.ts';
import { DeviceBatch } from '../../../src/run/training/batch.ts';
import { pairObjective } from '../../../src/run/training/objective.ts';
import { tensor } from '../../../src/tensor/create.ts';
import { scope } from '../../../src/tensor/scope.ts';
import type { Tensor } from '../../../src/tensor/tensor.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-reflow-'));
const flow = join(folder, 'flow/checkpoints/checkpoint_0.safetensors');
const root = join(folder, 'pairs');

async function config(values: Record<string, unknown> = {}) {
  const all = {
    'model.nf': 8,
    'training.batch_size': 16,
    'training.n_iters': 20,
    'optim.warmup': 2,
    'reflow.student': 'raw',
    'reflow.last_flow_ckpt': flow,
    'reflow.data_root': root,
    'reflow.total_number_of_samples': 37,
    ...values,
  };
  return configWith('digits', all);
}

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  await train(await config(), { workdir: join(folder, 'flow'), device });
  await generatePairs(await config({ 'reflow.reflow_type': 'generate_data_from_z0', seed: 3 }), { device });
}, 120_000);

describe('pairs of a flow', () => {
  it('have the requested number, and z1 is where the flow takes z0', async () => {
    expect(readdirSync(join(root, '3')).sort()).toEqual(['manifest.json', 'z0.npy', 'z1.npy']);
    const [z0, z1] = [await readNpy(join(root, '3/z0.npy')), await readNpy(join(root, '3/z1.npy'))];
    expect([z0.shape, z1.shape]).toEqual([
      [37, 1, 8, 8],
      [37, 1, 8, 8],
    ]);
    const request = { num: 37, batch: 16, latents: z0.data as Float32Array, device };
    const { images } = await sampleFromCheckpoint(flow, await config(), request);
    expect(Array.from(z1.data as Float32Array)).toEqual(Array.from(images));
  });

  it('are never overwritten', async () => {
    const again = generatePairs(await config({ seed: 3 }), { device });
    await expect(again).rejects.toThrow(/z0\.npy: exists already; use another --config\.seed/);
  });

  it('do not depend on the batch size', async () => {
    const other = await config({ seed: 3, 'training.batch_size': 5, 'reflow.data_root': join(folder, 'pairs5') });
    const { count, folder: made } = await generatePairs(other, { device });
    expect(count).toBe(37);
    expect((await readNpy(join(made, 'z0.npy'))).data).toEqual((await readNpy(join(root, '3/z0.npy'))).data);
  });
});

describe('a student', () => {
  it.each(['train_reflow', 'train_online_reflow'])('of %s starts from the raw weights', async (type) => {
    const workdir = join(folder, type);
    // The first update has learning rate 0.
    const { checkpoint } = await trainReflow(
      await config({ 'reflow.reflow_type': type, 'training.n_iters': 0, 'training.snapshot_sampling': false }),
      { workdir, device },
    );
    const [student, teacher] = [await loadCheckpoint(checkpoint), await loadCheckpoint(flow)];
    expect(student.step).toBe(1);
    expect(student.model).toEqual(teacher.model);
    // Its average starts there too, not from that of the teacher.
    for (const [name, { data }] of student.ema) expect(data, name).toEqual(teacher.model.get(name)?.data);
    expect([...teacher.ema.values()]).not.toEqual([...teacher.model.values()]);
  });

  it('of reflow.student ema starts from the average', async () => {
    const values = { 'reflow.reflow_type': 'train_reflow', 'reflow.student': 'ema', 'training.n_iters': 0 };
    const { checkpoint } = await trainReflow(await config({ ...values, 'training.snapshot_sampling': false }), {
      workdir: join(folder, 'from-average'),
      device,
    });
    const [student, teacher] = [await loadCheckpoint(checkpoint), await loadCheckpoint(flow)];
    expect(student.model).toEqual(teacher.ema);
    expect(student.ema).toEqual(teacher.ema);
  });

  // [t, weight of z0, weight of z1]: times and inputs of the official code, and z0 itself with exact_t0.
  it.each<[Record<string, unknown>, [number, number, number][]]>([
    [{ 'reflow.reflow_t_schedule': 't0' }, [[0.001, 0.999, 0.001]]],
    [{ 'reflow.reflow_t_schedule': 't0', 'reflow.exact_t0': true }, [[0.001, 1, 0]]],
    [{ 'reflow.reflow_t_schedule': 't1' }, [[1, 0, 1]]],
    [
      { 'reflow.reflow_t_schedule': 2 },
      [
        [0.001, 0.999, 0.001],
        [0.5005, 0.4995, 0.5005],
      ],
    ],
  ])('with %j is evaluated at %j', async (values, expected) => {
    const chosen = await config(values);
    const pairs = await PairSet.open(root);
    const seen: { x: ArrayLike<number>; labels: ArrayLike<number> }[] = [];
    const model = {
      forward(x: Tensor, labels: Tensor) {
        seen.push({ x: x.dataSync(), labels: labels.dataSync() });
        return mul(x, 0);
      },
    } as unknown as UNet;
    const objective = pairObjective({ pairs }, { model, config: chosen, device });
    using batch = new DeviceBatch(16, objective.shapes, device);
    const [z0, z1] = await objective.fetch(5);
    batch.load(5, [z0, z1]);
    scope(() => objective.loss(batch.part(0, 16)));
    await pairs.close();
    const [{ x, labels }] = seen;
    const found = new Set<number>();
    for (let i = 0; i < 16; i++) {
      const at = expected.findIndex(([t]) => Math.abs(labels[i] - 999 * t) < 1e-3);
      found.add(at);
      const [, a, b] = expected[at];
      for (let k = 64 * i; k < 64 * (i + 1); k++) expect(x[k]).toBeCloseTo(a * z0[k] + b * z1[k], 5);
    }
    expect(found.size).toBe(expected.length);
  });

  it('learns its pairs, and resumes to bit-identical results', async () => {
    const changes = {
      'reflow.reflow_type': 'train_reflow',
      'training.n_iters': 30,
      'training.snapshot_sampling': false,
    };
    const whole = await trainReflow(await config(changes), { workdir: join(folder, 'whole'), device });
    const controller = new AbortController();
    const workdir = join(folder, 'stopped');
    const onStep = ({ step }: { step: number }) => step === 12 && controller.abort();
    await trainReflow(await config(changes), { workdir, device, signal: controller.signal, onStep });
    const rest = await trainReflow(await config(changes), { workdir, device });
    const [a, b] = [await loadCheckpoint(whole.checkpoint), await loadCheckpoint(rest.checkpoint)];
    expect({ ...b, path: a.path }).toEqual(a);
    // The pairs of an untrained flow are straight, so their loss is far below that from noise to images.
    expect(whole.loss).toBeLessThan(0.1);
  });

  it('reports a file that was found under another spelling', async () => {
    const notices: string[] = [];
    const spelt = join(folder, 'flow/checkpoints/checkpoint-0.pth');
    await trainReflow(
      await config({ 'reflow.last_flow_ckpt': spelt, 'training.n_iters': 0, 'training.snapshot_sampling': false }),
      { workdir: join(folder, 'spelt'), device, onNotice: (text) => notices.push(text) },
    );
    expect(notices).toContain(`reading ${flow} for ${spelt}`);
  });

  it.each<[Record<string, unknown>, RegExp]>([
    [
      { 'reflow.reflow_loss': 'lpips' },
      /compares images, so it needs reflow\.reflow_t_schedule t0; or add .*reflow_loss l2/,
    ],
    [
      { 'reflow.reflow_loss': 'lpips+l2', 'reflow.reflow_t_schedule': 't0' },
      /expects images of 3 channels, got 1; or add/,
    ],
    [
      {
        'reflow.reflow_loss': 'lpips',
        'reflow.reflow_t_schedule': 't0',
        'data.num_channels': 3,
        'reflow.vgg16': '/nowhere/vgg16-397923af.pth',
      },
      /^\/nowhere\/vgg16-397923af\.pth: no such file.*; or add --config\.reflow\.reflow_loss l2$/,
    ],
  ])('%j is refused before anything else, with advice', async (values, message) => {
    const refused = trainReflow(await config(values), { workdir: join(folder, 'x'), device });
    await expect(refused).rejects.toThrow(message);
    expect(readdirSync(folder)).not.toContain('x');
  });

  it('with weights whose hash differs from their name is refused', async () => {
    const path = join(folder, 'vgg16-397923af.pth');
    await writePth(path, new Map());
    const values = {
      'reflow.reflow_loss': 'lpips',
      'reflow.reflow_t_schedule': 't0',
      'data.num_channels': 3,
      'reflow.vgg16': path,
    };
    const refused = trainReflow(await config(values), { workdir: join(folder, 'x'), device });
    await expect(refused).rejects.toThrow(
      /has SHA-256 [0-9a-f]{16}\.\.\., but its name says 397923af; the file is damaged or misnamed/,
    );
  });
});

describe('times and losses', () => {
  const times = (schedule: Parameters<typeof scheduledTimes>[0]) =>
    Array.from(scope(() => scheduledTimes(schedule, 4000, new Draw({ seed: 1, device })).dataSync()));

  it('t0 is eps, t1 is 1', () => {
    expect(new Set(times('t0'))).toEqual(new Set([Math.fround(TIME_EPSILON)]));
    expect(new Set(times('t1'))).toEqual(new Set([1]));
  });

  it.each([1, 2, 4])('k = %i uses the times of k Euler steps equally often', (k) => {
    const found = times(k);
    const expected = Array.from({ length: k }, (_, i) => (i * (1 - TIME_EPSILON)) / k + TIME_EPSILON);
    for (const t of expected) {
      const share = found.filter((value) => Math.abs(value - t) < 1e-6).length / found.length;
      expect(Math.abs(share - 1 / k)).toBeLessThan(0.05);
    }
    expect(new Set(found).size).toBe(k);
  });

  it('another schedule is refused', () => {
    expect(() => scheduledTimes(0, 1, new Draw({ device, seed: 0 }))).toThrow(/a time schedule is uniform, t0, t1/);
  });

  it('without reduce_mean it is half the sum over the dimensions', () => {
    const x1 = tensor(
      Float32Array.from({ length: 24 }, (_, i) => i / 24),
      { shape: [2, 3, 4], device },
    );
    const loss = (reduceMean: boolean) => scope(() => rectifiedFlowLoss((x) => x, x1, { seed: 5, reduceMean }).item());
    expect(loss(false)).toBeCloseTo((loss(true) * 12) / 2, 5);
  });
});
