// Velocities that samplers record and replay: they are bit-identical to eager evaluation for batches of several sizes, and their
// memory is freed; a velocity that cannot be recorded is evaluated eagerly.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { RecordingError } from '../../src/errors.ts';
import {
  likelihood,
  networkVelocity,
  replayable,
  type SampleOptions,
  sample,
  type Velocity,
  withMicroBatches,
} from '../../src/flow/index.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import { buildModel } from '../../src/run/checkpoints/model.ts';
import { full as filled } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { configWith } from '../support/config.ts';
import { deviceNames, full, openTestDevice } from '../support/devices.ts';

describe.each([...deviceNames, 'wasm'])('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const counted = (velocity: Velocity) => {
    const counts = { calls: 0 };
    const counting: Velocity = (x, t) => {
      counts.calls++;
      return velocity(x, t);
    };
    return { counts, counting };
  };

  it('samples are bit-identical to eager evaluation, with two calls for each micro-batch size', async () => {
    const model = buildModel(await configWith('digits', { 'model.nf': 8, 'model.num_res_blocks': 1 }), device).eval();
    const { counts, counting } = counted(networkVelocity(model));
    // There are batches of 4 in parts of 2, and a last batch of 1.
    const options = { shape: [8, 8, 1], count: 9, batch: 4, microBatch: 2, steps: 3, seed: 1, device } as const;
    for (const solver of ['euler', 'heun'] as const) {
      counts.calls = 0;
      const expected = await sample(counting, { ...options, solver });
      expect(counts.calls).toBe((solver === 'euler' ? 1 : 2) * 3 * 5);
      // Tables of sizes and constants exist by now.
      const { live } = device.memory();
      counts.calls = 0;
      expect(await sample(replayable(counting), { ...options, solver })).toEqual(expected);
      expect(counts.calls).toBe(2 * 2);
      expect(device.memory().live).toBe(live);
    }
    model.dispose();
  }, 120_000);

  it('micro-batches of unequal sizes are bit-identical to eager evaluation, in the same memory', async () => {
    const model = buildModel(await configWith('digits', { 'model.nf': 8, 'model.num_res_blocks': 1 }), device).eval();
    const { counts, counting } = counted(networkVelocity(model));
    const options = { shape: [8, 8, 1], count: 5, microBatch: 3, solver: 'euler', steps: 3, seed: 1, device } as const;
    const expected = await sample(counting, options);
    const { reserved } = device.memory();
    counts.calls = 0;
    expect(await sample(replayable(counting), options)).toEqual(expected);
    expect(counts.calls).toBe(2 * 3);
    expect(device.memory().reserved).toBe(reserved);
    model.dispose();
  });

  // The emulated card is slow.
  it.skipIf(name === 'cuda-emulated' && !full)(
    'a likelihood is bit-identical to eager evaluation',
    async () => {
      const config = await configWith('digits', { 'model.nf': 8, 'model.num_res_blocks': 1 });
      const model = buildModel(config, device).eval();
      const { counts, counting } = counted(networkVelocity(model));
      const data = Float32Array.from({ length: 3 * 64 }, (_, i) => Math.sin(i));
      const options = { shape: [8, 8, 1], tolerance: 0.1, batch: 2, repeats: 2, device };
      const expected = await likelihood(counting, data, options);
      expect(counts.calls).toBeGreaterThan(4 * 5);
      counts.calls = 0;
      expect(await likelihood(replayable(counting), data, options)).toEqual(expected);
      // There are two calls for each batch and repeat, since their probes differ.
      expect(counts.calls).toBe(2 * 4);
      model.dispose();
    },
    120_000,
  );

  it('a velocity that reads a value is evaluated eagerly', async () => {
    const { counts, counting } = counted((x, t) => mul(x, t.dataSync()[0] as number));
    const options: SampleOptions = { shape: [2], count: 2, solver: 'euler', steps: 5, seed: 1, device };
    const expected = await sample(counting, options);
    counts.calls = 0;
    expect(await sample(replayable(counting), options)).toEqual(expected);
    // One more call is the failed attempt to record.
    expect(counts.calls).toBe(5 + 1);
  });

  it('refuses evaluation inside a recording, and rethrows errors of the velocity', () => {
    using evaluate = withMicroBatches(
      replayable((x, t) => add(x, t)),
      2,
    );
    scope(() => {
      const [x, t] = [filled([1], 3, { device }), filled([1], 0.5, { device })];
      for (let i = 0; i < 3; i++) expect(evaluate(x, t).item()).toBe(3.5);
      expect(() => device.record(() => evaluate(x, t))).toThrow(RecordingError);
      expect(evaluate(x, t).item()).toBe(3.5);
    });
    let calls = 0;
    using failing = withMicroBatches(
      replayable((x) => {
        if (calls++ > 0) throw new RangeError('of its own');
        return x;
      }),
      2,
    );
    scope(() => {
      const [x, t] = [filled([1], 3, { device }), filled([1], 0.5, { device })];
      failing(x, t);
      expect(() => failing(x, t)).toThrow('of its own');
    });
  });
});
