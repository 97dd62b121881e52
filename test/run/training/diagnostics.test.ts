// The diagnostics of each evaluation: the same numbers computed by hand, in the log, and in the TensorBoard files.
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { PairSet } from '../../../src/data/index.ts';
import type { Device } from '../../../src/device/device.ts';
import { openDevice } from '../../../src/device/open.ts';
import {
  encode,
  initialNoise,
  networkVelocity,
  pathStatistics,
  sample,
  straightness,
  type Velocity,
} from '../../../src/flow/index.ts';
import { add, mul } from '../../../src/kernels/elementwise.ts';
import { reshape } from '../../../src/kernels/movement.ts';
import { generatePairs, loadModel, sampleFromCheckpoint, train, trainReflow } from '../../../src/run/index.ts';
import { scope } from '../../../src/tensor/scope.ts';
import { configWith } from '../../support/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-diagnostics-'));
const flow = join(folder, 'flow/checkpoints/checkpoint_0.safetensors');

async function config(values: Record<string, unknown> = {}) {
  const all = {
    'model.nf': 8,
    'model.ema_rate': 0,
    'training.batch_size': 4,
    'training.n_iters': 4,
    'training.eval_freq': 2,
    'optim.warmup': 0,
    'sampling.use_ode_sampler': 'euler',
    'sampling.sample_N': 4,
    'reflow.last_flow_ckpt': flow,
    'reflow.data_root': join(folder, 'pairs'),
    'reflow.total_number_of_samples': 9,
    'reflow.online_steps': 3,
    ...values,
  };
  return configWith('digits', all);
}

let device: Device;
beforeAll(async () => {
  // Small batches are faster with one thread.
  device = await openDevice('cpu', { threads: 1 });
  await train(await config(), { workdir: join(folder, 'flow'), device });
  await generatePairs(await config(), { device });
}, 120_000);

function logged(workdir: string): Record<string, number>[] {
  const text = readFileSync(join(folder, workdir, 'log.jsonl'), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** The names of the scalars in a run's event files. */
function scalars(workdir: string): string[] {
  const events = join(folder, workdir, 'tensorboard');
  const text = readdirSync(events).map((name) => readFileSync(join(events, name), 'latin1'));
  return [...new Set(text.join('').match(/eval\/[a-z_]+(\/[0-9.]+-[0-9.]+)?/g))].sort();
}

const meanSquare = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0) / a.length;

it('one Euler solve gives end, straightness and transport cost', async () => {
  const bent: Velocity = (x, t) => add(mul(x, reshape(t, [t.size, 1])), 0.5);
  const given = { shape: [3], count: 50, seed: 2, device };
  const expected = await straightness(bent, { ...given, steps: 5 });
  const { samples: z1 } = await sample(bent, { ...given, solver: 'euler', steps: 5 });
  scope(() => {
    const z0 = initialNoise([50, 3], { seed: 2, device });
    const { end, ...found } = pathStatistics(bent, z0, { steps: 5 });
    expect(end.dataSync()).toEqual(z1);
    expect(found.straightness).toBeCloseTo(expected.straightness, 6);
    expect(found.transportCost).toBeCloseTo(meanSquare(z0.dataSync() as Float32Array, z1), 6);
    // Back from there, by as many steps.
    expect(pathStatistics(bent, end, { steps: 5, reverse: true }).transportCost).toBeGreaterThan(0);
    expect(pathStatistics(bent, z0, { steps: 1 }).straightness).toBeLessThan(1e-6);
  });
});

describe('a run', () => {
  it('of a flow logs straightness and transport cost at each evaluation', async () => {
    const log = logged('flow');
    const fields = ['step', 'loss', 'lr', 'grad_norm', 'images_per_s'];
    const statistics = ['eval_loss', 'straightness', 'transport_cost'];
    expect(log.map((line) => Object.keys(line))).toEqual([
      [...fields, ...statistics],
      fields,
      [...fields, ...statistics],
      fields,
      [...fields, ...statistics],
    ]);
    for (const { straightness, transport_cost: cost } of [log[0], log[2], log[4]]) {
      expect(straightness).toBeGreaterThan(0);
      expect(cost).toBeGreaterThan(0);
    }
    expect(scalars('flow')).toEqual(expect.arrayContaining(['eval/loss', 'eval/straightness', 'eval/transport_cost']));
    expect(scalars('flow')).not.toContain('eval/coupling_error');
  });

  it('of reflow also logs the distance to the stored pairs and the loss by time', async () => {
    const chosen = await config();
    const { checkpoint } = await trainReflow(chosen, { workdir: join(folder, 'second'), device });
    const pairs = await PairSet.open(chosen.reflow.data_root);
    const { z0, z1 } = await pairs.load(Int32Array.of(0, 2, 4, 6));
    await pairs.close();
    const request = { num: 4, latents: z0, solver: 'euler', steps: 8, device } as const;
    const { images } = await sampleFromCheckpoint(checkpoint, chosen, request);
    const last = logged('second').at(-1) as Record<string, number>;
    expect(last.coupling_error).toBeCloseTo(meanSquare(images, z1), 6);
    expect(last.transport_cost).toBeCloseTo(meanSquare(images, z0), 6);
    const buckets = Array.from({ length: 10 }, (_, k) => `eval/loss_by_time/${k / 10}-${(k + 1) / 10}`);
    expect(scalars('second')).toEqual(
      ['eval/coupling_error', 'eval/loss', ...buckets, 'eval/straightness', 'eval/transport_cost'].sort(),
    );
  });

  it.each([
    ['t0', 1],
    [2, 2],
    ['t1', 1],
  ] as const)('of distillation at times %s uses the %i steps that it distils to', async (schedule, steps) => {
    const chosen = await config({ 'reflow.reflow_t_schedule': schedule, 'training.n_iters': 0 });
    const workdir = `distilled-${schedule}`;
    const { checkpoint } = await trainReflow(chosen, { workdir: join(folder, workdir), device });
    const pairs = await PairSet.open(chosen.reflow.data_root);
    const { z0, z1 } = await pairs.load(Int32Array.of(0, 2, 4, 6));
    await pairs.close();
    const { model: loaded } = await loadModel(checkpoint, chosen, { device });
    using model = loaded;
    const velocity = networkVelocity(model.eval());
    const way = { shape: [8, 8, 1], solver: 'euler', steps, device } as const;
    const expected =
      schedule === 't1'
        ? meanSquare((await encode(velocity, z1, way)).latents, z0)
        : meanSquare((await sample(velocity, { ...way, count: 4, seed: 0, latents: z0 })).samples, z1);
    const [line] = logged(workdir);
    expect(line.coupling_error).toBeCloseTo(expected, 6);
    expect(line.straightness > 1e-6).toBe(steps > 1);
    expect(scalars(workdir)).toEqual(['eval/coupling_error', 'eval/loss', 'eval/straightness', 'eval/transport_cost']);
  });

  it('of online reflow logs the distance to the ends of its teacher', async () => {
    const online = { 'reflow.reflow_type': 'train_online_reflow', 'training.n_iters': 0 };
    await trainReflow(await config({ ...online, 'reflow.online_steps': 8 }), {
      workdir: join(folder, 'online'),
      device,
    });
    // The raw weights, and after so few steps also the average, are those of the teacher; the first learning rate is
    // not 0.
    expect(logged('online')[0].coupling_error).toBeGreaterThan(0);
    const still = await config({ ...online, 'reflow.online_steps': 8, 'optim.warmup': 9 });
    await trainReflow(still, { workdir: join(folder, 'still'), device });
    expect(logged('still')[0].coupling_error).toBe(0);
  });
});
