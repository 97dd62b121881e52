// Distillation to one step with LPIPS, whose VGG16 weights follow a formula (test/golden/README.md).
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { batchIndices, PairSet } from '../../../src/data/index.ts';
import type { Device } from '../../../src/device/device.ts';
import { Lpips } from '../../../src/eval/index.ts';
import { saveCheckpoint } from '../../../src/run/checkpoints/checkpoint.ts';
import { generatePairs, loadModel, trainReflow } from '../../../src/run/index.ts';
import { DeviceBatch } from '../../../src/run/training/batch.ts';
import { openDistance } from '../../../src/run/training/distance.ts';
import { pairObjective } from '../../../src/run/training/objective.ts';
import { trainingState } from '../../../src/run/training/session.ts';
import { tensor } from '../../../src/tensor/create.ts';
import { scope } from '../../../src/tensor/scope.ts';
import { writeFormulaWeights } from '../../eval/weights.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-distil-'));
const vgg16 = join(folder, 'vgg16_formula.pth');
const flow = join(folder, 'flow.safetensors');

async function config(values: Record<string, unknown> = {}) {
  const all = {
    'data.image_size': 16,
    'model.nf': 8,
    'model.ch_mult': [1, 1],
    'model.num_res_blocks': 1,
    'model.init_scale': 1,
    'model.dropout': 0,
    'sampling.use_ode_sampler': 'euler',
    'sampling.sample_N': 4,
    'training.batch_size': 4,
    'training.n_iters': 9,
    'training.snapshot_sampling': false,
    'optim.lr': 2e-3,
    'optim.warmup': 1,
    'reflow.last_flow_ckpt': flow,
    'reflow.data_root': join(folder, 'pairs'),
    'reflow.total_number_of_samples': 8,
    'reflow.vgg16': vgg16,
    ...values,
  };
  return configWith('cifar10_rf_gaussian_reflow_distill_k=1', all);
}

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  await writeFormulaWeights('vgg16', vgg16);
  const own = await config();
  const { model, optimizer } = trainingState(own, device);
  await saveCheckpoint(flow, { model, optimizer, config: own, step: 1 });
  optimizer.dispose();
  model.dispose();
  await generatePairs(own, { device });
}, 120_000);

it('lpips-huber weights its parts by the time', async () => {
  const chosen = await config({ 'reflow.reflow_loss': 'lpips-huber', 'reflow.reflow_t_schedule': 'uniform' });
  const measure = await openDistance(chosen, { device });
  const lpips = await Lpips.load(vgg16, { device });
  const [v, x0, x1] = [0, 1, 2].map((k) =>
    Float32Array.from({ length: 2 * 768 }, (_, i) => Math.sin(i * (k + 1.3) + k)),
  );
  const times = [0.25, 0.75];
  const images = (data: Float32Array) => tensor(data, { shape: [2, 16, 16, 3], device });
  const [got, expected] = scope(() => {
    const t = tensor(Float32Array.from(times), { device });
    const ends = x1.map((end, i) => end + (1 - times[Math.floor(i / 768)]) * (v[i] - (end - x0[i])));
    const perceptual = lpips.forward(images(ends), images(x1)).dataSync();
    const parts = times.map((time, n) => {
      const c = 0.00054 * 768;
      let square = c * c;
      for (let i = n * 768; i < (n + 1) * 768; i++) square += (v[i] - (x1[i] - x0[i])) ** 2;
      return (time * (Math.sqrt(square) - c)) / 768 + perceptual[n] / (1 - time);
    });
    return [measure.distance?.(images(v), images(x0), images(x1), t).item() ?? 0, (parts[0] + parts[1]) / 2];
  });
  expect(Math.abs(got / expected - 1)).toBeLessThan(1e-5);
  lpips[Symbol.dispose]();
  measure[Symbol.dispose]();
  await expect(
    openDistance(await config({ 'reflow.reflow_loss': 'lpips-huber', 'reflow.reflow_t_schedule': 't1' }), { device }),
  ).rejects.toThrow(/compares images, so it cannot have reflow\.reflow_t_schedule t1.*or add .*reflow_loss l2/);
});

describe.each(['lpips', 'lpips+l2', 'lpips-huber'] as const)('%s', (loss) => {
  it('is the LPIPS of z0 + v and z1, averaged over the batch', async () => {
    const chosen = await config({ 'reflow.reflow_loss': loss, 'reflow.exact_t0': true });
    const { model } = await loadModel(flow, chosen, { device, weights: 'raw' });
    const pairs = await PairSet.open(chosen.reflow.data_root, [3, 16, 16]);
    const measure = await openDistance(chosen, { device });
    const objective = pairObjective({ pairs }, { model, config: chosen, device, distance: measure.distance });
    using batch = new DeviceBatch(4, objective.shapes, device);
    batch.load(0, await objective.fetch(0));
    const got = scope(() => objective.loss(batch.part(0, 4)).item());
    // Computed again by hand.
    const lpips = await Lpips.load(vgg16, { device });
    const { z0, z1 } = await pairs.load(batchIndices(0, 4, 8, chosen.seed));
    const expected = scope(() => {
      const [x0, x1] = [z0, z1].map((data) => tensor(data, { shape: [4, 16, 16, 3], device }));
      const v = model.forward(x0, tensor(new Float32Array(4).fill(0.001 * 999), { device })).dataSync();
      const errors = z0.map((value, i) => v[i] - (z1[i] - value));
      // lpips-huber extrapolates over the remaining time 1 - t.
      const ends = errors.map((error, i) => (loss === 'lpips-huber' ? z1[i] + 0.999 * error : z0[i] + v[i]));
      const perceptual = lpips.forward(tensor(ends, { shape: [4, 16, 16, 3], device }), x1).dataSync();
      const mean = (values: ArrayLike<number>) => Array.from(values).reduce((x, y) => x + y, 0) / values.length;
      if (loss !== 'lpips-huber') return mean(perceptual) + (loss === 'lpips' ? 0 : mean(errors.map((e) => e * e)));
      const c = 0.00054 * 768;
      const hubers = [0, 1, 2, 3].map((i) => {
        const square = errors.subarray(i * 768, (i + 1) * 768).reduce((total, e) => total + e * e, 0);
        return (Math.sqrt(square + c * c) - c) / 768;
      });
      return 0.001 * mean(hubers) + mean(perceptual) / 0.999;
    });
    expect(Math.abs(got / expected - 1)).toBeLessThan(1e-5);
    lpips[Symbol.dispose]();
    measure[Symbol.dispose]();
    await pairs.close();
    model.dispose();
  });

  it('decreases', async () => {
    const losses: number[] = [];
    await trainReflow(await config({ 'reflow.reflow_loss': loss }), {
      workdir: join(folder, loss),
      device,
      onStep: (info) => losses.push(info.loss),
    });
    expect(losses).toHaveLength(10);
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(mean(losses.slice(-3))).toBeLessThan(0.8 * mean(losses.slice(0, 3)));
  });
});
