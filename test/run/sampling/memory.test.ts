// Two ways to train in less memory: activation checkpointing is bit-identical, and a batch in parts has the same draws
// and, up to rounding, the same weights.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { openDevice, scope } from '../../../src/index.ts';
import type { TrainingStep } from '../../../src/run/checkpoints/training_step.ts';
import { trainingBatches } from '../../../src/run/data.ts';
import { type Config, train } from '../../../src/run/index.ts';
import { trainingLoop } from '../../../src/run/training/loop.ts';
import { flowObjective } from '../../../src/run/training/objective.ts';
import { planTraining } from '../../../src/run/training/plan.ts';
import { trainingState } from '../../../src/run/training/session.ts';
import { configWith } from '../../support/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-memory-'));
let device: Device;
beforeAll(async () => {
  // Does not affect results, and small kernels are faster without synchronisation.
  device = await openDevice('cpu', { threads: 1 });
});

function digits(overrides: Record<string, unknown>): Promise<Config> {
  const values = { 'model.dropout': 0.2, 'training.batch_size': 32, 'training.snapshot_sampling': false, ...overrides };
  return configWith('digits', values);
}

/** Makes `steps` updates. @returns losses, all weights in one list, and peak bytes beyond those that stay in use */
async function outcome(overrides: Record<string, unknown>, steps: number) {
  const config = await digits(overrides);
  const { model, optimizer } = trainingState(config, device);
  const { batch_size: batchSize, accumulation } = config.training;
  const batches = await trainingBatches(config);
  const { live } = device.memory();
  device.resetHighWater();
  const infos: TrainingStep[] = [];
  const memory: number[] = [];
  const onStep = (info: TrainingStep) => {
    infos.push(info);
    memory.push(device.memory().live);
  };
  await trainingLoop({
    model,
    optimizer,
    objective: flowObjective(batches, { model, config, device }),
    device,
    batchSize,
    accumulation,
    from: 0,
    total: steps,
    onStep,
  });
  const peak = device.memory().highWater - live;
  expect(new Set(memory).size).toBe(1);
  const weights = scope(() => Float32Array.from(optimizer.arena.values.dataSync()));
  optimizer.dispose();
  model.dispose();
  return { losses: infos.map(({ loss }) => loss), norms: infos.map((info) => info.gradientNorm), weights, peak };
}

describe('activation checkpointing', () => {
  // A batch size at which activations dominate memory, rather than the scratch of convolutions, which does not grow
  // with the batch.
  const deep = { 'model.nf': 16, 'model.num_res_blocks': 3, 'model.init_scale': 1, 'training.batch_size': 128 };

  it('has the same losses and weights after 3 steps in less than 0.4 of the memory', async () => {
    const plain = await outcome(deep, 3);
    const checkpointed = await outcome({ ...deep, 'model.activation_checkpointing': true }, 3);
    expect(checkpointed.losses).toEqual(plain.losses);
    expect(checkpointed.norms).toEqual(plain.norms);
    expect(checkpointed.weights).toEqual(plain.weights);
    expect(checkpointed.peak).toBeLessThan(0.4 * plain.peak);
  });

  it('may be switched when a run resumes', async () => {
    const options = { workdir: join(folder, 'switched'), device };
    const small = { 'model.nf': 8, 'training.batch_size': 16 };
    const short = await digits({ ...small, 'training.n_iters': 1 });
    await train(short, options);
    const longer = await digits({ ...small, 'training.n_iters': 3, 'model.activation_checkpointing': true });
    expect(await train(longer, options)).toMatchObject({ steps: 4 });
  });
});

describe('a batch in parts', () => {
  it.each([2, 8])('of %i', async (accumulation) => {
    const small = { 'model.nf': 8, 'optim.lr': 1e-3 };
    const whole = await outcome(small, 5);
    const parts = await outcome({ ...small, 'training.accumulation': accumulation }, 5);
    const relative = (a: number, b: number) => Math.abs(a - b) / Math.abs(b);
    parts.losses.forEach((loss, i) => expect(relative(loss, whole.losses[i])).toBeLessThan(1e-6));
    parts.norms.forEach((norm, i) => expect(relative(norm, whole.norms[i])).toBeLessThan(1e-4));
    const distance = Math.max(...parts.weights.map((w, i) => Math.abs(w - whole.weights[i])));
    expect(distance).toBeLessThan(1e-5);
    expect(parts.peak).toBeLessThan((1.3 * whole.peak) / accumulation + 2e5);
  });

  it('must be equal', async () => {
    await expect(digits({ 'training.accumulation': 5 })).rejects.toThrow(
      /training\.accumulation: expected a divisor of training\.batch_size, 32; got 5/,
    );
  });

  it('is accounted for in the plan, like the memory of checkpointing', async () => {
    const memory = async (overrides: Record<string, unknown>) => {
      const config = await digits({
        'model.nf': 8,
        'model.num_res_blocks': 3,
        'training.batch_size': 64,
        ...overrides,
      });
      const { model, optimizer } = trainingState(config, device);
      const plan = await planTraining({ model, optimizer, config, device, workdir: folder, from: 0 });
      optimizer.dispose();
      model.dispose();
      return plan.memory;
    };
    const whole = await memory({});
    expect(await memory({ 'training.accumulation': 8 })).toBeLessThan(0.5 * whole);
    expect(await memory({ 'model.activation_checkpointing': true })).toBeLessThan(0.7 * whole);
  });
});
