// Trajectories of velocities with known paths.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { initialNoise, trajectory, type Velocity } from '../../src/flow/index.ts';
import { mul } from '../../src/kernels/elementwise.ts';
import { ones } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  let start: number[];
  beforeAll(async () => {
    device = await openTestDevice(name);
    start = [...(scope(() => initialNoise([3, 2], { seed: 5, device })).dataSync() as Float32Array)];
  }, 120_000);
  const walk = (velocity: Velocity, epsilon = 0) =>
    trajectory(velocity, { shape: [2], count: 3, seed: 5, steps: 20, stops: 4, epsilon, device });

  it('a straight path predicts its end at every stop', async () => {
    const { times, points, ends } = await walk((x) => mul(ones(x.shape, { device }), 3));
    expect(times).toEqual([0, 0.25, 0.5, 0.75, 1].map((t) => expect.closeTo(t, 6)));
    for (const [i, t] of times.entries()) {
      expect([...points[i]]).toEqual(start.map((x) => expect.closeTo(x + 3 * t, 5)));
      expect([...ends[i]]).toEqual(start.map((x) => expect.closeTo(x + 3, 5)));
    }
  });

  it('dx/dt = -x shrinks by (1 - h) per step, and predicts the end x t', async () => {
    const { times, points, ends } = await walk((x) => mul(x, -1));
    for (const [i, t] of times.entries()) {
      const shrunk = 0.95 ** (5 * i);
      expect([...points[i]]).toEqual(start.map((x) => expect.closeTo(x * shrunk, 5)));
      expect([...ends[i]]).toEqual(start.map((x) => expect.closeTo(x * shrunk * t, 5)));
    }
  });

  it('reports times of the official grid', async () => {
    const { times } = await walk((x) => x, 0.1);
    expect(times).toEqual([0.1, 0.325, 0.55, 0.775, 1].map((t) => expect.closeTo(t, 6)));
  });

  it('refuses stops that do not divide the steps', async () => {
    const options = { shape: [2], count: 3, seed: 5, steps: 20, stops: 3, device };
    await expect(trajectory((x) => x, options)).rejects.toThrow('trajectory: steps 20 must be a multiple of stops 3');
  });
});
