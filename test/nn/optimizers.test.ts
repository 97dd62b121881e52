// 20 steps of every optimiser compared with PyTorch's, and learning rates with its schedulers. Lion and Muon are compared with NumPy
// programs from their paper and reference implementation. The numbers are in golden/optimizers.json, made by
// bench/pytorch/optimizers.py, which states the formula of weights and gradients.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import { sum } from '../../src/kernels/reduce.ts';
import * as nn from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

type Options = Record<string, unknown> & { groups?: ({ parameters: string[] } & Record<string, unknown>)[] };

interface Golden {
  steps: number;
  shapes: Record<string, number[]>;
  cases: Record<string, { optimizer: 'SGD' | 'Adam' | 'AdamW' | 'Lion' | 'Muon'; options: Options; ends: number[] }>;
  schedules: Record<
    'constantSchedule' | 'linearSchedule' | 'cosineSchedule' | 'stepSchedule',
    { options: never; rates: number[] }
  >;
}

const golden: Golden = JSON.parse(readFileSync(new URL('../golden/optimizers.json', import.meta.url), 'utf8'));

/** Parameters by name, filled by the formula. */
class Parameters extends nn.Module {
  constructor(device?: Device, shapes: Record<string, number[]> = golden.shapes) {
    super();
    let first = 0;
    for (const [name, shape] of Object.entries(shapes)) {
      const start = first;
      const values = Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(start + i + 1));
      Object.assign(this, { [name]: tensor(values, { shape, device, requiresGrad: true }) });
      first += values.length;
    }
  }

  /** The loss whose gradient is that of the formula. */
  loss(step: number): Tensor {
    let first = 0;
    return [...this.namedParameters()]
      .map(([, p]) => {
        const start = first;
        const slopes = Float32Array.from({ length: p.size }, (_, i) => Math.cos(3 * step + start + i));
        first += p.size;
        return add(sum(mul(p, tensor(slopes, { shape: p.shape, device: p.device }))), mul(sum(mul(p, p)), 0.25));
      })
      .reduce((a, b) => add(a, b));
  }

  get values(): number[] {
    return [...this.namedParameters()].flatMap(([, p]) => Array.from(p.dataSync()));
  }
}

/** The optimiser of a case; groups name their parameters. */
function optimizerOf(name: keyof typeof golden.cases, model: nn.Module): nn.Optimizer {
  const { optimizer, options } = golden.cases[name];
  const groups = options.groups?.map(({ parameters, ...rest }) => ({
    ...rest,
    parameters: (path: string) => parameters.includes(path),
  }));
  return new nn[optimizer](model, { ...options, groups });
}

const names = Object.keys(golden.cases);

describe.each([...new Set([...deviceNames, 'wasm'])])('on %s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test.each(names)('20 steps of %s equal the reference', (which) => {
    using model = new Parameters(device);
    const optimizer = optimizerOf(which, model);
    for (let step = 0; step < golden.steps; step++) optimizer.minimize(() => model.loss(step));
    expectClose(which, model.values, golden.cases[which].ends, { absolute: 1e-5 });
    optimizer.dispose();
  });

  test.each(names)('%s moves its average, clips, and skips a gradient that is not finite', (which) => {
    using model = new Parameters(device);
    const { optimizer: type } = golden.cases[which];
    const optimizer = new nn[type](model, { emaRate: 0.5, gradientClip: 1e-3 });
    const before = model.values;
    optimizer.minimize(() => model.loss(0));
    const after = model.values;
    expect(after).not.toEqual(before);
    // The decay of the first update is min(0.5, 2 / 11).
    const averages = [...optimizer.state('ema')].flatMap(([, t]) => Array.from(t.dataSync()));
    const expected = after.map((value, i) => value + (2 / 11) * (before[i] - value));
    expectClose('average', averages, expected, { absolute: 1e-6 });
    optimizer.minimize(() => mul(model.loss(1), Number.POSITIVE_INFINITY));
    expect(model.values).toEqual(after);
    optimizer.minimize(() => model.loss(2));
    expect(model.values.every(Number.isFinite)).toBe(true);
    expect(model.values).not.toEqual(after);
    optimizer.dispose();
  });
});

describe('on cpu', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice('cpu');
  });

  test.each(names)('%s continues from its saved state with the same bits', (which) => {
    using straight = new Parameters(device);
    const whole = optimizerOf(which, straight);
    for (let step = 0; step < 6; step++) whole.minimize(() => straight.loss(step));

    using first = new Parameters(device);
    const begun = optimizerOf(which, first);
    for (let step = 0; step < 3; step++) begun.minimize(() => first.loss(step));
    const host = (t: Tensor) => ({ shape: t.shape, data: t.dataSync() as Float32Array });
    const states = Object.fromEntries(
      begun.states.map((name) => [name, new Map([...begun.state(name)].map(([path, t]) => [path, host(t)]))]),
    );
    using second = new Parameters(device);
    second.loadStateDict(first.stateDict());
    const resumed = optimizerOf(which, second);
    resumed.restore(3, states);
    for (let step = 3; step < 6; step++) resumed.minimize(() => second.loss(step));
    expect(second.values).toEqual(straight.values);
  });

  test('every parameter belongs to the group that names it, and to no other', () => {
    using model = new nn.MLP([3, 4, 2], new nn.Initializer({ device }));
    const { weight, bias } = model.layers[0];
    const start = [weight, bias, model.layers[1].weight].map((t) => Array.from(t.dataSync()));
    const optimizer = new nn.SGD(model, {
      learningRate: 1,
      groups: [
        { parameters: weight, learningRate: 0 },
        { parameters: [model.layers[1]], learningRate: 2 },
      ],
    });
    // The gradient of the sum of all parameters is 1.
    optimizer.minimize(() => [...model.namedParameters()].map(([, p]) => sum(p)).reduce((a, b) => add(a, b)));
    expect(Array.from(model.layers[0].weight.dataSync())).toEqual(start[0]);
    expectClose(
      'bias',
      model.layers[0].bias.dataSync(),
      start[1].map((v) => v - 1),
      { absolute: 1e-6 },
    );
    expectClose(
      'other layer',
      model.layers[1].weight.dataSync(),
      start[2].map((v) => v - 2),
      { absolute: 1e-6 },
    );
    expect([...optimizer.state('ema')].map(([path]) => path)).toEqual([...model.stateDict().keys()]);
  });

  test('Muon keeps moments of matrices for itself and those of other parameters for AdamW', () => {
    using model = new Parameters(device);
    const optimizer = new nn.Muon(model, { groups: [{ parameters: (name) => name === 'tall', useMuon: false }] });
    const held = optimizer.states.map((name) => [name, [...optimizer.state(name)].map(([path]) => path)]);
    expect(Object.fromEntries(held)).toEqual({
      momentum_buffer: ['wide', 'conv'],
      exp_avg: ['bias', 'tall'],
      exp_avg_sq: ['bias', 'tall'],
      ema: ['wide', 'bias', 'conv', 'tall'],
    });
  });

  test('hooks of parameters that were added before the optimiser see its gradients', () => {
    using model = new Parameters(device, { w: [2] });
    const seen: number[][] = [];
    const handle = model
      .stateDict()
      .get('w')
      ?.registerHook((gradient) => {
        seen.push(Array.from(gradient.dataSync()));
        return mul(gradient, 0);
      });
    const optimizer = new nn.SGD(model, { learningRate: 0.5 });
    const w = model.stateDict().get('w') as Tensor;
    const before = w.dataSync();
    optimizer.minimize(() => sum(w));
    expect([seen, w.dataSync()]).toEqual([[[1, 1]], before]);
    handle?.remove();
    optimizer.minimize(() => sum(w));
    expect(seen.length).toBe(1);
    expect(w.dataSync()[0]).toBeCloseTo(before[0] - 0.5, 5);
    optimizer.dispose();
  });

  test('plain SGD keeps no moments', () => {
    using model = new Parameters(device);
    expect(new nn.SGD(model).states).toEqual(['ema']);
  });

  test.each<[string, (model: Parameters, stranger: Tensor) => unknown, string]>([
    [
      'a tensor of another module',
      (model, stranger) => new nn.Adam(model, { groups: [{ parameters: stranger }] }),
      '[Adam] expected groups of parameters of the module, got tensor f32 [2]',
    ],
    [
      'a parameter in two groups',
      (model) => new nn.Lion(model, { groups: [{ parameters: model }, { parameters: (name) => name === 'bias' }] }),
      '[Lion] expected each parameter in one group, got "bias" in groups 0 and 1',
    ],
    [
      'an empty group',
      (model) => new nn.AdamW(model, { groups: [{ parameters: () => false }] }),
      '[AdamW] expected parameters in groups[0], got none',
    ],
    [
      'a group without parameters',
      (model) => new nn.SGD(model, { groups: [{ learningRate: 1 } as never] }),
      '[SGD groups[0]] expected parameters to be modules, tensors, or a function of path and tensor, got none',
    ],
    [
      'an option that holds for all groups',
      (model) => new nn.SGD(model, { groups: [{ parameters: model, emaRate: 0.9 } as never] }),
      '[SGD groups[0]] expected options among learningRate, warmup, momentum, dampening, nesterov, weightDecay, parameters',
    ],
    [
      'dampened Nesterov momentum',
      (model) => new nn.SGD(model, { nesterov: true }),
      '[SGD] expected momentum > 0 and dampening 0 with nesterov, got momentum 0 and dampening 0',
    ],
    [
      'a vector for Muon',
      (model) => new nn.Muon(model, { useMuon: true }),
      '[Muon] expected parameters of at least two axes with useMuon, got tensor f32 [5]',
    ],
    [
      'a rate that is not a number',
      (model) => new nn.SGD(model, { learningRate: () => Number.NaN }).minimize(() => model.loss(0)),
      '[SGD.step] expected the rate of step 0 to be a finite number >= 0, got NaN',
    ],
  ])('refuses %s', (_, make, message) => {
    using model = new Parameters(device);
    expect(() => make(model, tensor([1, 2], { device }))).toThrow(message);
  });

  test('takes its rate from a schedule, after its own warm-up', () => {
    using model = new Parameters(device);
    const optimizer = new nn.SGD(model, { learningRate: (step) => 1 + step, warmup: 4 });
    const rates = Array.from({ length: 6 }, (_, step) => {
      const { learningRate } = optimizer;
      optimizer.minimize(() => model.loss(step));
      return learningRate;
    });
    expect(rates).toEqual([0, 0.5, 1.5, 3, 5, 6]);
  });
});

describe('schedules', () => {
  test.each(Object.keys(golden.schedules) as (keyof typeof golden.schedules)[])('%s equals that of PyTorch', (name) => {
    const { options, rates } = golden.schedules[name];
    const schedule = nn[name](0.1, options);
    expectClose(
      name,
      rates.map((_, step) => schedule(step)),
      rates,
      { absolute: 1e-9 },
    );
  });

  test.each<[string, nn.Schedule, number[]]>([
    ['constant', nn.constantSchedule(8, { warmup: 4 }), [0, 2, 4, 6, 8, 8, 8, 8]],
    ['linear', nn.linearSchedule(8, { warmup: 4, steps: 6 }), [0, 2, 4, 6, 8, 4, 0, 0]],
    ['cosine', nn.cosineSchedule(8, { warmup: 4, steps: 6, end: 2 }), [0, 2, 4, 6, 8, 5, 2, 2]],
    ['step', nn.stepSchedule(8, { warmup: 4, every: 2, factor: 0.5 }), [0, 2, 4, 6, 8, 8, 4, 4]],
  ])('%s rises linearly in its warm-up', (_, schedule, rates) => {
    expectClose(
      'rates',
      rates.map((_, step) => schedule(step)),
      rates,
      { absolute: 1e-12 },
    );
  });

  test('refuses a warm-up that does not end before the schedule', () => {
    expect(() => nn.cosineSchedule(1, { steps: 10, warmup: 10 })).toThrow(
      '[cosineSchedule] expected a warm-up shorter than 10 steps, got 10',
    );
    expect(() => nn.linearSchedule(1, {} as never)).toThrow('[linearSchedule] expected steps to be');
    expect(() => nn.stepSchedule(-1, { every: 1 })).toThrow('[stepSchedule] expected rate to be a finite number >= 0');
  });
});
