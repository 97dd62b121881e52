// CUDA kernels outside the op table, on the emulated card against the same calls on the CPU; and checks that read results back.
import { beforeAll, describe, expect, test } from 'vitest';
import { checkFinite } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { log } from '../../src/kernels/elementwise.ts';
import { adamStep, globalNorm, scheduleOf } from '../../src/kernels/inner/optimizer.ts';
import { gather, oneHot } from '../../src/kernels/movement.ts';
import { linearCombination, scaledErrorNorm } from '../../src/kernels/ode.ts';
import { dropout, randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { crossEntropy } from '../../src/kernels/softmax.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const cards = deviceNames.filter((name) => name.startsWith('cuda'));

describe.each(cards)('%s', (name) => {
  let devices: Device[];

  beforeAll(async () => {
    devices = [await openTestDevice('cpu'), await openTestDevice(name)];
  }, 120_000);

  /** The results of `f` on the CPU and on the card. */
  function both(f: (device: Device) => Tensor): ArrayLike<number>[] {
    return devices.map((device) => scope(() => f(device)).dataSync());
  }

  /** Sizes: more than one run of a sum, and not a multiple of any block size. */
  const sizes = [1, 37, 4096, 10_001];

  test.each(sizes)('the norm of %d gradients matches the CPU', (size) => {
    const [cpu, card] = both((device) => globalNorm(randn([size], { device, seed: 1 }), 0.5));
    expectClose('norm', card, cpu, { relative: 1e-6 });
  });

  test.each([
    { weightDecay: 0, maxNorm: -1, zeroGradients: false, averaged: false },
    { weightDecay: 0.01, maxNorm: 0.5, zeroGradients: true, averaged: true },
  ])("Adam's update matches the CPU with %j", ({ averaged, maxNorm, ...options }) => {
    const states = ['parameters', 'gradients', 'firstMoment', 'ema'] as const;
    const results = devices.map((device) => {
      const drawn = (stream: number) => randn([1003], { device, seed: 2, stream });
      const secondMoment = tensor(new Float32Array(1003).fill(0.3), { device });
      const state = { parameters: drawn(0), gradients: drawn(1), firstMoment: drawn(2), secondMoment };
      const ema = averaged ? drawn(3) : null;
      const norm = globalNorm(state.gradients, maxNorm);
      const rates = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
      const schedule = tensor(scheduleOf(3, { ...rates, learningRate: 0.1, emaDecay: 0.9 }), { device });
      adamStep({ ...state, ema, norm, schedule }, { ...rates, ...options });
      return { ...state, ema };
    });
    for (const which of states) {
      const [cpu, card] = results.map((state) => state[which]?.dataSync() ?? []);
      expectClose(which, card, cpu, { relative: 2e-6, absolute: 2e-7 });
    }
    if (options.zeroGradients) expect(new Set(results[1].gradients.dataSync())).toEqual(new Set([0]));
  });

  test('skips an update whose norm is not finite, and zeroes the gradients', () => {
    const device = devices[1];
    const [parameters, firstMoment, secondMoment] = [0, 1, 2].map((stream) => randn([99], { device, seed: 5, stream }));
    const gradients = tensor(new Float32Array(99).fill(1), { device });
    const schedule = tensor(scheduleOf(1, { learningRate: 1, beta1: 0.9, beta2: 0.9, emaDecay: 0 }), { device });
    const norm = tensor([Number.NaN, Number.NaN], { device });
    const before = [parameters, firstMoment, secondMoment].map((t) => t.dataSync());
    const rates = { beta1: 0.9, beta2: 0.9, epsilon: 1e-8, weightDecay: 0, zeroGradients: true };
    adamStep({ parameters, gradients, firstMoment, secondMoment, ema: null, norm, schedule }, rates);
    expect([parameters, firstMoment, secondMoment].map((t) => t.dataSync())).toEqual(before);
    expect(new Set(gradients.dataSync())).toEqual(new Set([0]));
  });

  test('linear combinations of stages match the CPU, with and without a start', () => {
    for (const start of [true, false]) {
      const [cpu, card] = both((device) => {
        const [x, k0, k1, k2] = [0, 1, 2, 3].map((stream) => randn([301], { device, seed: 3, stream }));
        return linearCombination(start ? x : null, [k0, k1, k2], [0.5, 0, -2]);
      });
      expectClose('combination', card, cpu, { absolute: 1e-6 });
    }
  });

  test.each(sizes)('the error norm of %d elements matches the CPU', (size) => {
    const [cpu, card] = devices.map((device) => {
      const [error, before, after] = [0, 1, 2].map((stream) => randn([size], { device, seed: 4, stream }));
      return scaledErrorNorm(error, before, after, { absolute: 1e-3, relative: 1e-2 });
    });
    expect(Math.abs(card / cpu - 1)).toBeLessThan(1e-12);
  });

  test('dropout is bit-identical to the CPU', () => {
    const [cpu, card] = both((device) => dropout(randn([3, 1029], { device, seed: 5 }), 0.3, { seed: 6, first: 9 }));
    expect(card).toEqual(cpu);
  });

  test('sums over more than one run match the CPU', () => {
    // A sequential run of 4,096 terms rounds each partial sum (up to about 64) by 6e-8; the errors accumulate by sqrt(4,096) = 64.
    for (const [shape, axes, absolute] of [
      [[3, 10_001], 1, 1e-4],
      [[10_001, 3], 0, 2.5e-4],
    ] as const) {
      const terms = scope(() => randn(shape, { device: devices[0], seed: 7 }).dataSync());
      const exact = [0, 0, 0];
      terms.forEach((term, i) => {
        exact[axes === 1 ? Math.floor(i / 10_001) : i % 3] += term;
      });
      const [cpu, card] = both((device) => sum(randn(shape, { device, seed: 7 }), { axes }));
      expectClose('sum on the CPU', cpu, exact, { absolute });
      expectClose('sum on the card', card, exact, { absolute });
    }
  });

  test('the op that produces a non-finite value reports it', () => {
    expect(() => scope(() => checkFinite(() => log(tensor([-1, 1, 0], { device: devices[1] }))))).toThrow(
      /\[log\] produced 2 non-finite of 3 values/,
    );
  });

  test('names the first index out of range, as on the CPU', () => {
    const device = devices[1];
    const index = tensor([0, 1, 7, -1], { device, dtype: 'i32' });
    expect(() => gather(zeros([3, 2], { device }), index)).toThrow('[gather] index 7 at position 2 is outside [0, 3)');
    expect(() => oneHot(index, 3)).toThrow('[oneHot] index 7 at position 2 is outside [0, 3)');
    expect(() => crossEntropy(zeros([4, 3], { device }), index)).toThrow(/label 7 at position 2 is outside \[0, 3\)/);
  });
});
