// The measurements before a run: they leave weights, moments, average and gradients as they were to the bit, and time
// the run's own objective on the batch of the run.
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../../src/index.ts';
import { square } from '../../../src/kernels/elementwise.ts';
import { mean } from '../../../src/kernels/reduce.ts';
import type { Optimizer } from '../../../src/nn/optimizer.ts';
import type { Objective } from '../../../src/run/training/objective.ts';
import { assumedNfe, evaluationsOfSample, evaluationsWhileTraining } from '../../../src/run/training/plan.ts';
import { probeEvaluation, stepMemory, stepTime } from '../../../src/run/training/probe.ts';
import { trainingState } from '../../../src/run/training/session.ts';
import { full as filled } from '../../../src/tensor/create.ts';
import { configWith } from '../../support/config.ts';

const small = { 'model.nf': 8, 'model.dropout': 0.1, 'training.batch_size': 24, 'training.accumulation': 2 };
const device = await openDevice('cpu');

function statesOf(optimizer: Optimizer): Record<string, number[]> {
  const { arena } = optimizer;
  const states = optimizer.states.map((name) => [
    name,
    [...optimizer.state(name)].flatMap(([, tensor]) => Array.from(tensor.dataSync())),
  ]);
  const [weights, gradients] = [arena.values, arena.gradients].map((tensor) => Array.from(tensor.dataSync()));
  return { ...Object.fromEntries(states), weights, gradients, rate: [optimizer.learningRate] };
}

describe.each(['Adam', 'Muon'] as const)('with %s', (name) => {
  it('measuring a step changes nothing', async () => {
    const config = await configWith('digits', { ...small, 'optim.optimizer': name });
    const { model, optimizer } = trainingState(config, device);
    const loss = () => {
      const [parameter] = [...model.namedParameters()].map(([, value]) => value);
      return mean(square(parameter));
    };
    for (let i = 0; i < 3; i++) optimizer.minimize(loss);
    const before = statesOf(optimizer);
    expect(before.weights.some((value) => value !== 0)).toBe(true);
    const options = { model, optimizer, config, device };
    const memory = stepMemory(options, 12);
    // Tables of the device stay after their first use.
    stepTime(options, memory);
    const { live } = device.memory();
    const time = stepTime(options, memory);
    expect(time.seconds).toBeGreaterThan(0);
    // Scaling the range to the whole batch rounds.
    expect(time.low).toBeLessThanOrEqual(0.8 * time.seconds * (1 + 1e-9));
    expect(time.high).toBeGreaterThanOrEqual(1.3 * time.seconds * (1 - 1e-9));
    expect(statesOf(optimizer)).toEqual(before);
    expect(device.memory().live).toBe(live);
    optimizer.minimize(loss);
    expect(statesOf(optimizer)).not.toEqual(before);
    optimizer.dispose();
    model.dispose();
  });
});

it('a step is measured with the objective of the run, on a whole part of its batch', async () => {
  const config = await configWith('digits', small);
  const { model, optimizer } = trainingState(config, device);
  const counts: number[] = [];
  const objective: Objective = {
    shapes: [[8, 8, 1]],
    fetch: () => Promise.reject(new Error('nothing is fetched')),
    loss: ({ tensors: [images], count, first }) => {
      counts.push(count);
      expect([images.shape, first]).toEqual([[count, 8, 8, 1], 0]);
      const [parameter] = [...model.namedParameters()].map(([, value]) => value);
      return mean(square(parameter));
    },
  };
  stepTime({ model, optimizer, config, device, objective }, 1e6);
  expect(counts.at(-1)).toBe(12);
  optimizer.dispose();
  model.dispose();
});

it('a step of a loss in features is measured with a classifier of its own', async () => {
  const config = await configWith('digits_bold', { ...small, 'training.feature_weight': 0.5 });
  const { model, optimizer } = trainingState(config, device);
  const options = { model, optimizer, config, device };
  stepTime(options, 1e6);
  const { live } = device.memory();
  const plain = { ...config, training: { ...config.training, feature_weight: 0 } };
  const times = [config, plain].map((one) =>
    Math.min(...[0, 1, 2].map(() => stepTime({ ...options, config: one }, 1e6).seconds)),
  );
  expect(times[0]).toBeGreaterThan(times[1]);
  expect(device.memory().live).toBe(live);
  optimizer.dispose();
  model.dispose();
});

it('an update that throws is taken back', async () => {
  const { model, optimizer } = trainingState(await configWith('digits', small), device);
  const before = statesOf(optimizer);
  const { live } = device.memory();
  expect(() =>
    optimizer.rehearse(() => {
      using gradient = filled(optimizer.arena.gradients.shape, 1);
      device.copy(optimizer.arena.gradients.address, gradient.address, 4 * gradient.size);
      optimizer.step().dispose();
      throw new Error('stopped');
    }),
  ).toThrow('stopped');
  expect(statesOf(optimizer)).toEqual(before);
  expect(device.memory().live).toBe(live);
  optimizer.dispose();
  model.dispose();
});

it('evaluations are measured in the batches of samplers', async () => {
  const config = await configWith('digits', small);
  const { model, optimizer } = trainingState(config, device);
  // The device keeps the tables of the layers that it has seen.
  probeEvaluation(model, config, device, 48);
  const { live } = device.memory();
  const { perSample, memory } = probeEvaluation(model, config, device, 48);
  expect(perSample.seconds).toBeGreaterThan(0);
  expect(memory).toBeGreaterThan(live);
  expect(device.memory().live).toBe(live);
  optimizer.dispose();
  model.dispose();
});

describe('evaluations while training', () => {
  const counted = async (values: Record<string, unknown>, from = 0) => {
    const config = await configWith('digits', {
      ...{ 'training.batch_size': 10, 'training.n_iters': 100, 'training.eval_freq': 1000 },
      ...{ 'training.snapshot_freq': 1000, 'training.snapshot_sampling': false },
      ...values,
    });
    return evaluationsWhileTraining(config, from);
  };
  /** Four batches, and the diagnostics of ten samples: 8 steps, and half of them at ten times. */
  const each = 4 * 10 + 10 * 13;

  it('are those of step 0 and every eval_freq', async () => {
    expect(await counted({})).toBe(each);
    expect(await counted({ 'training.eval_freq': 25 })).toBe(5 * each);
    expect(await counted({ 'training.eval_freq': 25 }, 51)).toBe(2 * each);
  });

  it('and those of the samples of each snapshot, of which the last step has one', async () => {
    const sampled = { 'training.snapshot_sampling': true, 'training.snapshot_freq': 40 };
    expect(await counted(sampled)).toBe(each + 3 * (each + 10 * 10));
    expect(await counted({ ...sampled, 'training.snapshot_freq': 50 })).toBe(each + 2 * (each + 10 * 10));
    expect(await counted(sampled, 81)).toBe(each + 10 * 10);
  });
});

it('RK45 takes 127 evaluations at the tolerance of the paper, and fewer at larger ones', async () => {
  expect([1e-5, 1e-3, 1].map(assumedNfe)).toEqual([127, 51, 13]);
  const heun = { 'sampling.use_ode_sampler': 'heun', 'sampling.sample_N': 5 };
  expect(evaluationsOfSample(await configWith('digits', heun))).toBe(10);
});
