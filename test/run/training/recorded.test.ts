// A training step as one recorded graph, on the emulated card: the losses of the CPU, and after the first step no
// allocation, compilation or launch other than that of the graph.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { NonFiniteError } from '../../../src/errors.ts';
import { div } from '../../../src/kernels/elementwise.ts';
import type { TrainingStep } from '../../../src/run/checkpoints/training_step.ts';
import { trainingBatches } from '../../../src/run/data.ts';
import { trainingLoop } from '../../../src/run/training/loop.ts';
import { flowObjective, type Objective } from '../../../src/run/training/objective.ts';
import { trainingState } from '../../../src/run/training/session.ts';
import { zeros } from '../../../src/tensor/create.ts';
import { configWith } from '../../support/config.ts';
import { deviceNames, full, openTestDevice } from '../../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-recorded-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const card = deviceNames.find((name) => name.startsWith('cuda'));

interface Run {
  steps: TrainingStep[];
  /** Calls to the fake driver, by step. */
  calls: string[][];
  notices: string[];
  memory: number[];
  /** What trainingLoop returned. */
  next: number;
}

async function train(
  device: Device,
  total: number,
  values: Record<string, unknown> = {},
  change: (objective: Objective) => Objective = (objective) => objective,
  more: Pick<Parameters<typeof trainingLoop>[0], 'mayRunAhead' | 'signal'> & {
    onStep?: (step: number) => void;
    weights?: Float32Array[];
  } = {},
): Promise<Run> {
  const small = { 'model.nf': 8, 'model.dropout': 0.1, 'training.batch_size': 8, 'optim.warmup': 5 };
  const config = await configWith('digits', { ...small, ...values });
  const { model, optimizer } = trainingState(config, device);
  const { batch_size: batchSize, accumulation } = config.training;
  const run: Run = { steps: [], calls: [], notices: [], memory: [], next: 0 };
  const { onStep, weights, ...options } = more;
  const log = join(folder, `calls-${Math.random()}`);
  vi.stubEnv('FAKECUDA_CALLS', log);
  let read = 0;
  try {
    run.next = await trainingLoop({
      ...options,
      model,
      optimizer,
      device,
      objective: change(flowObjective(await trainingBatches(config), { model, config, device })),
      batchSize,
      accumulation,
      from: 0,
      total,
      onNotice: (text) => run.notices.push(text),
      onStep: (step) => {
        run.steps.push(step);
        onStep?.(step.step);
        run.memory.push(device.memory().live);
        const calls = existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : [];
        run.calls.push(calls.slice(read));
        read = calls.length;
      },
    });
  } finally {
    vi.unstubAllEnvs();
    weights?.push(optimizer.arena.values.dataSync() as Float32Array);
    optimizer.dispose();
    model.dispose();
  }
  return run;
}

const relative = (a: number, b: number) => Math.abs(a / b - 1);
/** Driver calls that a recorded step may make: copies of batch and results, the graph launch, synchronisation. */
const afterwards = [
  'cuGraphLaunch',
  'cuMemcpyHtoDAsync_v2',
  'cuMemcpyDtoHAsync_v2',
  'cuStreamSynchronize',
  'cuEventRecord',
  'cuEventSynchronize',
];

describe.runIf(card !== undefined)('on the card', () => {
  let cpu: Device;
  let device: Device;
  beforeAll(async () => {
    cpu = await openTestDevice('cpu');
    device = await openTestDevice(card as string);
  }, 120_000);

  it.each([
    [full ? 20 : 6, 8, 1, 'fp32', 1e-3],
    [4, 4, 2, 'fp32', 1e-3],
    [3, 2, 1, 'tf32', 1e-3],
    // Activations are rounded to 8 bits.
    [3, 2, 1, 'bf16', 1e-2],
  ] as const)(
    '%i steps of batch %i in %i parts in %s have the losses of the CPU, to %f, and are one graph after the first',
    async (total, batch, accumulation, precision, tolerance) => {
      const device = await openTestDevice(card as string, { precision });
      const values = { 'training.batch_size': batch, 'training.accumulation': accumulation };
      const before = device.memory().live;
      const expected = await train(cpu, total, values);
      const { steps, calls, notices, memory } = await train(device, total, values);
      expect(notices).toEqual([]);
      steps.forEach(({ loss, gradientNorm, learningRate }, i) => {
        expect(relative(loss, expected.steps[i].loss), `loss ${i}`).toBeLessThan(tolerance);
        expect(relative(gradientNorm, expected.steps[i].gradientNorm), `norm ${i}`).toBeLessThan(10 * tolerance);
        expect(learningRate).toBe(expected.steps[i].learningRate);
      });
      expect(new Set(memory).size).toBe(1);
      // Constants and tables stay allocated as long as the device is open.
      expect(device.memory().live - before).toBeLessThan(20_000);
      if (card !== 'cuda-emulated') return;
      expect(calls[0]).toContain('cuStreamBeginCapture_v2');
      for (const step of calls.slice(1)) {
        expect(step.filter((call) => !afterwards.includes(call))).toEqual([]);
        expect(step.filter((call) => call === 'cuGraphLaunch')).toHaveLength(1);
      }
    },
    240_000,
  );

  it('a loss that is not finite names step and op', async () => {
    // Divides the third batch by zero.
    const spoiled = (objective: Objective): Objective => ({
      ...objective,
      fetch: async (step) => (await objective.fetch(step)).map((values) => values.fill(step === 2 ? 0 : 1)),
      loss: (part) => objective.loss({ ...part, tensors: part.tensors.map((x) => div(x, x)) }),
    });
    const losses = train(device, 5, {}, spoiled);
    await expect(losses).rejects.toThrow(NonFiniteError);
    await expect(losses).rejects.toThrow(/the loss is NaN at step 2: \[div\] produced \d+ non-finite/);
  }, 120_000);

  describe('a step that is launched before the figures of the step before are read', () => {
    const mayRunAhead = () => true;
    const figures = ({ steps }: Run) =>
      steps.map(({ step, loss, gradientNorm, learningRate }) => [step, loss, gradientNorm, learningRate]);
    /** How often a graph is launched while one is running. */
    const overlaps = ({ calls }: Run) => {
      let [running, count] = [0, 0];
      for (const call of calls.flat()) {
        if (call === 'cuGraphLaunch' && running++ > 0) count++;
        if (call === 'cuEventSynchronize') running--;
        if (call === 'cuStreamSynchronize') running = 0;
      }
      return count;
    };

    it('gives the same figures and weights', async () => {
      const weights: Float32Array[] = [];
      const apart = await train(device, 6, {}, undefined, { weights });
      const ahead = await train(device, 6, {}, undefined, { mayRunAhead, weights });
      expect(figures(ahead)).toEqual(figures(apart));
      expect(weights[1]).toEqual(weights[0]);
      if (card !== 'cuda-emulated') return;
      expect(overlaps(apart)).toBe(0);
      expect(overlaps(ahead)).toBe(4);
      // A step after which the network is used is waited for.
      const some = await train(device, 6, {}, undefined, { mayRunAhead: (step) => step !== 3 });
      expect(overlaps(some)).toBe(3);
    }, 240_000);

    it('changes nothing if those figures are not finite', async () => {
      const spoiled = (objective: Objective): Objective => ({
        ...objective,
        fetch: async (step) =>
          (await objective.fetch(step)).map((values) => values.map((x) => (step === 2 ? 0 : x + 2))),
        loss: (part) => objective.loss({ ...part, tensors: part.tensors.map((x) => div(x, x)) }),
      });
      const weights: Float32Array[] = [];
      const messages: string[] = [];
      for (const more of [{}, { mayRunAhead }])
        await train(device, 5, {}, spoiled, { ...more, weights }).catch((error: Error) => messages.push(error.message));
      expect(messages[0]).toMatch(/the loss is NaN at step 2: \[div\] produced/);
      expect(messages[1]).toBe(messages[0]);
      expect(weights[1]).toEqual(weights[0]);
      await train(device, 2, {}, spoiled, { weights });
      expect(weights[2]).toEqual(weights[0]);
    }, 240_000);

    it('is reported when the run is stopped meanwhile, and when the next batch cannot be read', async () => {
      const stop = new AbortController();
      const more = { mayRunAhead, signal: stop.signal, onStep: (step: number) => step === 2 && stop.abort() };
      const stopped = await train(device, 9, {}, undefined, more);
      expect(stopped.next).toBe(stopped.steps.length);
      const whole = await train(device, stopped.next, {});
      expect(figures(stopped)).toEqual(figures(whole));
      const reported: number[] = [];
      const torn = (objective: Objective): Objective => ({
        ...objective,
        fetch: (step) => (step < 4 ? objective.fetch(step) : Promise.reject(new Error('torn'))),
      });
      const failed = train(device, 9, {}, torn, { mayRunAhead, onStep: (step) => reported.push(step) });
      await expect(failed).rejects.toThrow('torn');
      expect(reported).toEqual([0, 1, 2, 3]);
    }, 240_000);
  });

  it('a step that cannot be recorded runs op by op, with a notice that says why', async () => {
    const reading = (objective: Objective): Objective => ({
      ...objective,
      loss: (part) => {
        const loss = objective.loss(part);
        loss.item();
        return loss;
      },
    });
    const { steps, notices } = await train(device, 3, {}, reading);
    expect(steps).toHaveLength(3);
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(
      /steps run op by op, which is slower: tensor of mse f32 \[\]: reading a value is not possible while work is recorded \(after the kernel loss_squares_sum\)/,
    );
    const uploading = (objective: Objective): Objective => ({
      ...objective,
      loss: (part) => {
        zeros([1], { device }).dispose();
        device.upload(part.tensors[0].address, new Float32Array(1));
        return objective.loss(part);
      },
    });
    expect((await train(device, 2, {}, uploading)).notices[0]).toMatch(/writing values of the host is not possible/);
  }, 120_000);
});
