// Interpolations and samplers in the plane: natural Euler is the same for all interpolations, plain Euler is not; curves lead to the ends of
// the straight paths; samplers that draw noise keep the law of the target; and what does not go together is refused.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import type { PlaneFlow } from '../../src/plane/flows.ts';
import { drawPlane, PlaneSession, type SampledPathOptions } from '../../src/plane/index.ts';
import { type CurvedOptions, followCurve, interpolantNames } from '../../src/plane/interpolants.ts';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});

/** The exact flow from N(0, 5^2) to N(m, s^2) in both coordinates. */
const [A, M, S] = [5, [6, -3], 0.8];
const gaussian = {
  name: 'exact flow',
  at(points: Float64Array, t: number) {
    const gain = (t * S * S - (1 - t) * A * A) / (t * t * S * S + (1 - t) ** 2 * A * A);
    return points.map((x, i) => M[i % 2] + gain * (x - t * M[i % 2]));
  },
} as unknown as PlaneFlow;
const starts = Float64Array.from(drawPlane('gaussian', 'from', 3000, 1).points);
const endsOf = (options: CurvedOptions) => {
  let end: Float64Array = starts;
  followCurve(gaussian, starts, options, (_t, x) => {
    end = x;
  });
  return end;
};
const farthest = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);

describe('natural Euler', () => {
  it('ends where straight Euler ends, for every interpolation and number of steps, and plain Euler does not', () => {
    for (const steps of [1, 2, 7, 40]) {
      const straight = endsOf({ interpolant: 'straight', steps, method: 'euler' });
      for (const interpolant of interpolantNames) {
        expect(farthest(endsOf({ interpolant, steps, method: 'natural' }), straight)).toBeLessThan(1e-9);
        const plain = farthest(endsOf({ interpolant, steps, method: 'euler' }), straight);
        if (interpolant === 'straight') expect(plain).toBe(0);
        else expect(plain).toBeGreaterThan(0.05);
      }
    }
  });

  it('passes through the points of the straight path times alpha + beta', () => {
    const straight: Float64Array[] = [];
    followCurve(gaussian, starts, { interpolant: 'straight', steps: 8, method: 'euler' }, (_t, x) => straight.push(x));
    let step = 0;
    followCurve(gaussian, starts, { interpolant: 'spherical', steps: 8, method: 'natural' }, (t, x) => {
      const [alpha, beta] = [Math.sin((Math.PI / 2) * t), Math.cos((Math.PI / 2) * t)];
      expect(alpha / (alpha + beta)).toBeCloseTo((step + 1) / 8, 12);
      expect(
        farthest(
          x,
          straight[step++].map((value) => value * (alpha + beta)),
        ),
      ).toBeLessThan(1e-9);
    });
    expect(step).toBe(8);
  });
});

it.each(interpolantNames)('Euler along %s tends to the exact ends', (interpolant) => {
  const exact = starts.map((x, i) => M[i % 2] + (S / A) * x);
  const errors = [250, 500, 1000].map((steps) => farthest(endsOf({ interpolant, steps, method: 'euler' }), exact));
  // The first order, until what the variance preserving schedule leaves out at t = 0 is larger.
  expect(errors[1]).toBeLessThan(0.75 * errors[0]);
  expect(errors[2]).toBeLessThan(0.75 * errors[1]);
  expect(errors[2]).toBeLessThan(0.2);
});

it('noise refresh keeps the law of the target, and each start leads elsewhere', () => {
  const fresh = { share: 0.5, deviation: A, seed: 3 };
  const end = endsOf({ interpolant: 'straight', steps: 200, method: 'natural', fresh });
  for (const axis of [0, 1]) {
    const values = Array.from(end).filter((_, i) => i % 2 === axis);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
    expect(Math.abs(mean - M[axis])).toBeLessThan(0.08);
    expect(Math.abs(deviation / S - 1)).toBeLessThan(0.08);
  }
  const same = endsOf({ interpolant: 'straight', steps: 200, method: 'natural', fresh });
  expect(farthest(end, same)).toBe(0);
  const other = endsOf({ interpolant: 'straight', steps: 200, method: 'natural', fresh: { ...fresh, seed: 4 } });
  expect(farthest(end, other)).toBeGreaterThan(1);
});

describe('a session', () => {
  it('follows its flows by every sampler, on the times of the interpolation', async () => {
    const session = new PlaneSession(
      { from: 'gaussian', velocity: 'kernel', pairs: 300, neighbours: 50, points: 40, reflow: 0 },
      { device },
    );
    await session.run();
    const start = session.starts(20);
    const ends = (options: SampledPathOptions) => session.paths(0, start, { steps: 10, ...options });
    const euler = ends({});
    expect(farthest(ends({ sampler: 'natural', interpolant: 'vp' }).points[10], euler.points[10])).toBeLessThan(1e-4);
    const curved = ends({ interpolant: 'spherical' });
    expect([curved.times.length, curved.times[10], curved.nfe]).toEqual([11, 1, 10]);
    expect(ends({ interpolant: 'spherical', stops: 5 }).times).toHaveLength(6);
    for (const sampler of ['sde', 'refresh'] as const) {
      const [once, again] = [ends({ sampler }), ends({ sampler })];
      expect(farthest(once.points[10], again.points[10])).toBe(0);
      expect(farthest(once.points[10], euler.points[10])).toBeGreaterThan(0.1);
      // Without noise, both are Euler's.
      expect(farthest(ends({ sampler, noise: 0 }).points[10], euler.points[10])).toBeLessThan(1e-4);
    }
    session.dispose();
  });

  it('refuses what does not go together', async () => {
    const session = new PlaneSession({ velocity: 'kernel', pairs: 20, neighbours: 5, points: 10 }, { device });
    await session.run();
    const paths = (options: SampledPathOptions) => () => session.paths(0, [0, 0], options);
    expect(paths({ sampler: 'sde' })).toThrow(
      'the sampler "sde" draws new noise, which is that of the source "gaussian"',
    );
    expect(paths({ sampler: 'refresh' })).toThrow('set from to gaussian');
    expect(paths({ interpolant: 'vp', solver: 'heun' })).toThrow(
      'the solver "heun" has no form for the interpolant "vp"',
    );
    expect(paths({ sampler: 'natural', solver: 'rk45' })).toThrow('has no form for the sampler "natural"');
    expect(paths({ sampler: 'natural', reverse: true })).toThrow('reverse follows straight paths');
    expect(paths({ noise: 0.5 })).toThrow('noise has no effect on the sampler "solver"');
    expect(paths({ interpolant: 'cubic' as 'vp' })).toThrow(
      'expected interpolant to be one of "straight", "spherical", "vp", got "cubic"',
    );
    session.dispose();
  });
});
