// Work that yields to the event loop between two evaluations of a velocity and between two micro-batches of one. Solvers that run
// synchronously and those that run in pieces are bit-identical and leak no memory.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import {
  encode,
  likelihood,
  type SampleOptions,
  sample,
  solve,
  straightness,
  trajectory,
  type Velocity,
  withMicroBatches,
} from '../../src/flow/index.ts';
import { atOnce, inTurns, type Pieces, within, withScope } from '../../src/flow/pieces.ts';
import { mul, noGrad, sub, sum, tensor } from '../../src/index.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

/** Blocks the event loop for longer than the interval between yields. */
function block() {
  const end = performance.now() + 25;
  while (performance.now() < end);
}

const slow: Velocity = (x) => {
  block();
  return mul(x, -1);
};

const common = { shape: [2], count: 4, seed: 3 };

describe('timers fire between two evaluations of', () => {
  const data = Float32Array.from({ length: 8 }, (_, i) => i / 8);
  it.each<[string, number, (signal: AbortSignal) => Promise<unknown>]>([
    ['euler', 8, (signal) => sample(slow, { ...common, device, solver: 'euler', steps: 8, signal })],
    ['rk45', 8, (signal) => sample(slow, { ...common, device, solver: 'rk45', signal })],
    [
      'the stochastic sampler',
      8,
      (signal) => sample(slow, { ...common, device, solver: 'euler', steps: 8, sigmaVariance: 1, signal }),
    ],
    [
      'an evaluation in parts',
      4,
      (signal) => sample(slow, { ...common, device, solver: 'euler', steps: 1, microBatch: 1, signal }),
    ],
    ['encode', 8, (signal) => encode(slow, data, { shape: [2], device, solver: 'heun', steps: 4, signal })],
    ['likelihood', 8, (signal) => likelihood(slow, data, { shape: [2], device, signal })],
    ['straightness', 8, (signal) => straightness(slow, { ...common, device, steps: 8, signal })],
    ['trajectory', 8, (signal) => trajectory(slow, { ...common, device, steps: 8, stops: 2, signal })],
  ])('%s, and an abort ends it there', async (_, least, run) => {
    let ticks = 0;
    const count = () => {
      ticks++;
      timer = setTimeout(count, 0);
    };
    let timer = setTimeout(count, 0);
    await run(new AbortController().signal);
    clearTimeout(timer);
    expect(ticks).toBeGreaterThanOrEqual(least - 2);

    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 30);
    const { live } = device.memory();
    await expect(run(controller.signal)).rejects.toThrow('enough');
    expect(device.memory().live).toBe(live);
  });
});

it('pieces give the same results synchronously and asynchronously, and free all but their results', async () => {
  const { live } = device.memory();
  function* work(): Pieces<ReturnType<typeof mul>> {
    const start = tensor([1, 2, 3], { device });
    const doubled = yield* withScope(function* () {
      const first = mul(start, 3);
      yield;
      return sub(first, start);
    });
    yield;
    return mul(doubled, 2);
  }
  const scopeOfCall = within(noGrad, () => withScope(work));
  using once = atOnce(scopeOfCall);
  using turned = await inTurns(work);
  expect([...once.dataSync()]).toEqual([4, 8, 12]);
  expect([...turned.dataSync()]).toEqual([4, 8, 12]);
  expect(device.memory().live - live).toBeLessThanOrEqual(2 * 64);
});

it('cancelled pieces run their finally blocks in their scope', () => {
  const { live } = device.memory();
  let ended = 0;
  const pieces = withScope(function* () {
    const made = tensor([1], { device });
    try {
      yield;
      return made;
    } finally {
      ended++;
      mul(made, 2);
    }
  });
  pieces.next();
  pieces.return(undefined as never);
  expect(ended).toBe(1);
  expect(device.memory().live).toBe(live);
});

it('a solver with a velocity in parts carries gradients only where the velocity records them', () => {
  const start = tensor([[1], [2]], { device }).requireGrad();
  const { x } = solve((y) => mul(y, -1), start, { solver: 'euler', steps: 2, epsilon: 0 });
  sum(x).backward();
  expect([...(start.grad?.dataSync() ?? [])]).toEqual([0.25, 0.25]);
  using parts = withMicroBatches((y) => mul(y, -1), 1);
  const { x: constant } = solve(parts, start, { solver: 'euler', steps: 2, epsilon: 0 });
  expect([...constant.dataSync()]).toEqual([0.25, 0.5]);
});

describe('samples that are not finite', () => {
  /** A velocity that gives NaN for values below a bound. */
  const broken =
    (bound: number): Velocity =>
    (x) =>
      noGrad(() => {
        const values = x.dataSync().map((value) => (value < bound ? Number.NaN : -value)) as Float32Array;
        return tensor(values, { shape: x.shape, device });
      });
  const latents = Float32Array.of(-2, 1, 2, -3, 4, 5);
  const options: Omit<SampleOptions, 'solver'> = { shape: [1], count: 6, seed: 0, latents, epsilon: 0 };

  it.each(['euler', 'rk45', 'heun'] as const)('cause an error that counts them, with %s', async (solver) => {
    await expect(sample(broken(0), { ...options, device, solver })).rejects.toThrow(/2 of 6 samples/);
    await expect(sample(broken(0), { ...options, device, solver })).rejects.toMatchObject({ samples: [0, 3] });
  });

  it.each(['euler', 'rk45', 'heun'] as const)('are left out and listed on request, with %s', async (solver) => {
    const { samples, leftOut } = await sample(broken(0), {
      ...options,
      device,
      solver,
      batch: 3,
      notFinite: 'leave out',
    });
    expect(leftOut).toEqual([0, 3]);
    const { samples: sound } = await sample(broken(Number.NEGATIVE_INFINITY), {
      ...{ ...options, device, solver, count: 4, latents: Float32Array.of(1, 2, 4, 5), batch: 2 },
    });
    expect(samples).toEqual(sound);
  });

  it('are an error if no sample is left', async () => {
    const all = sample(broken(Number.POSITIVE_INFINITY), {
      ...options,
      device,
      solver: 'rk45',
      notFinite: 'leave out',
    });
    await expect(all).rejects.toThrow('6 of 6 samples are not finite');
  });

  it('have no likelihood, straightness or trajectory', async () => {
    const nan: Velocity = (x) => mul(x, Number.NaN);
    await expect(likelihood(nan, latents, { shape: [1], device })).rejects.toThrow('not finite');
    await expect(straightness(nan, { ...common, device, steps: 2 })).rejects.toThrow('not finite');
    await expect(trajectory(nan, { ...common, device, steps: 2, stops: 1 })).rejects.toThrow('4 of 4 paths');
  });
});
