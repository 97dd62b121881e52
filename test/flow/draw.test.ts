// A Draw against randn and uniform with the same seed and streams, and functions with a draw against the same with a seed.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError } from '../../src/errors.ts';
import { Draw, initialNoise, rectifiedFlowLoss, sample, solveStochastic, TIME_EPSILON } from '../../src/flow/index.ts';
import { dropout, mul, randn, type Tensor, tensor, uniform } from '../../src/index.ts';
import { Counter } from '../../src/tensor/counter.ts';
import { scope } from '../../src/tensor/scope.ts';
import { streams } from '../../src/tensor/streams.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const valuesOf = (make: () => Tensor) => scope(() => make().dataSync());
const velocity = (x: Tensor) => mul(x, 0.5);

describe.each([...new Set([...deviceNames, 'wasm'])])('on %s', (name) => {
  let device: Device;
  let draw: Draw;
  beforeAll(async () => {
    device = await openTestDevice(name);
    draw = new Draw({ seed: 3, first: 40, device });
  });

  it('is bit-identical to randn and uniform with its seed, first sample and a stream', () => {
    const numbers = { seed: 3, first: 40, device };
    expect(valuesOf(() => draw.normal([4, 3], 9))).toEqual(valuesOf(() => randn([4, 3], { ...numbers, stream: 9 })));
    expect(valuesOf(() => draw.uniform([4, 3], 9))).toEqual(valuesOf(() => uniform([4, 3], { ...numbers, stream: 9 })));
  });

  it('draws the noise and times of training by default, each from its own stream', () => {
    const { noise, times, evaluationTimes } = streams;
    const drawn = valuesOf(() => draw.normal([4, 3], noise));
    expect(valuesOf(() => draw.noise([4, 3]))).toEqual(drawn);
    expect(valuesOf(() => draw.noise([4, 3], { scale: 2 }))).toEqual(drawn.map((value) => 2 * value));
    for (const stream of [times, evaluationTimes]) {
      const options = stream === times ? undefined : { stream };
      const u = valuesOf(() => draw.uniform([5], stream));
      valuesOf(() => draw.times(5, options)).forEach((t, i) => {
        expect(t).toBeCloseTo(u[i] * (1 - TIME_EPSILON) + TIME_EPSILON, 6);
      });
    }
  });

  it('skips samples, so that a batch in parts draws the same numbers as the whole batch', () => {
    const whole = valuesOf(() => draw.noise([6, 2]));
    expect(valuesOf(() => draw.skip(4).noise([2, 2]))).toEqual(whole.slice(8));
    expect(draw.skip(4).first).toBe(44);
  });

  it('counts samples from an origin in memory', () => {
    using origin = new Counter(device);
    origin.set(38);
    const counted = new Draw({ seed: 3, first: 2, origin, device });
    expect(valuesOf(() => counted.noise([3, 2]))).toEqual(valuesOf(() => draw.noise([3, 2])));
    expect(valuesOf(() => counted.skip(1).times(2))).toEqual(valuesOf(() => draw.skip(1).times(2)));
  });

  it('is what the loss and the stochastic sampler draw from', () => {
    const x1 = tensor([1, 2, 3, 4], { shape: [2, 2], device });
    const loss = (options: Parameters<typeof rectifiedFlowLoss>[2]) =>
      scope(() => rectifiedFlowLoss(velocity, x1, options).item());
    const same = loss({ seed: 3, first: 40 });
    expect(loss({ draw })).toBe(same);
    const [x0, t] = [draw.noise([2, 2]), draw.times(2)];
    expect(loss({ seed: 99, x0, t })).toBe(same);
    expect(loss({ x0, t })).toBe(same);
    expect(() => loss({ x0, t, first: 3 } as never)).toThrow('expected seed to be');
    expect(() => loss({ x0 } as never)).toThrow('expected seed to be');
    expect(loss({ draw: draw.skip(1) })).not.toBe(same);
    const options = { steps: 2, sigmaVariance: 1 };
    expect(valuesOf(() => solveStochastic(velocity, x1, { ...options, draw }).x)).toEqual(
      valuesOf(() => solveStochastic(velocity, x1, { ...options, seed: 3, first: 40 }).x),
    );
    for (const made of [x1, x0, t]) made.dispose();
  });

  it('gives the starting noise of initialNoise and sample, in the stream of samples', async () => {
    const start = valuesOf(() => draw.noise([3, 2], { scale: 2, stream: streams.samples }));
    const options = { seed: 3, first: 40, noiseScale: 2, device };
    expect(valuesOf(() => initialNoise([3, 2], options))).toEqual(start);
    const still = (x: Tensor) => mul(x, 0);
    const { samples } = await sample(still, { ...options, shape: [2], count: 3, solver: 'euler', steps: 1 });
    expect(samples).toEqual(start);
  });
});

it('names an invalid seed, sample number, stream or device, and does not change', () => {
  expect(() => new Draw({ seed: -1 })).toThrow('[Draw] expected seed to be a whole number >= 0, got -1');
  expect(() => new Draw({ first: 1 } as never)).toThrow('[Draw] expected seed to be a whole number >= 0, got none');
  expect(() => new Draw({ seed: 1, sample: 2 } as never)).toThrow('got "sample"');
  expect(() => new Draw({ seed: 1 }).skip(-1)).toThrow(ArgumentError);
  expect(() => new Draw({ seed: 1, first: 2 ** 53 - 1 }).skip(1)).toThrow('[Draw] expected first to be');
  const draw = new Draw({ seed: 1 });
  for (const name of ['normal', 'uniform'] as const)
    expect(() => draw[name]([2], undefined as never)).toThrow(
      `[Draw.${name}] expected stream to be a whole number >= 0`,
    );
  expect(() => draw.on(undefined as never)).toThrow('[Draw.on] expected device to be a device');
  expect(() => Object.assign(draw, { seed: 2 })).toThrow(TypeError);
});

it('calls the number of the first sample `first` everywhere', async () => {
  const device = await openTestDevice('cpu');
  const old = { seed: 1, sample: 2 } as never;
  const x = tensor([[1, 2]], { device });
  const refusal = /expected options among .*\bfirst\b.*, got "sample"/;
  for (const call of [() => randn([1], old), () => dropout(x, 0.5, old), () => rectifiedFlowLoss(velocity, x, old)])
    expect(call).toThrow(refusal);
  const { seed, first, device: own } = new Draw({ seed: 1, first: 2, device });
  expect([seed, first, own]).toEqual([1, 2, device]);
  x.dispose();
});
