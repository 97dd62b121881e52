// Solvers on closed forms: the order of convergence, and scipy's own steps on a linear equation.
import { beforeAll, describe, expect, it, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { NonFiniteError } from '../../src/errors.ts';
import {
  encode,
  type FixedSolver,
  likelihood,
  sample,
  solve,
  solveFixed,
  solveRk45,
  solveStochastic,
  type Velocity,
  withMicroBatches,
} from '../../src/flow/index.ts';
import { add, mul, sin, sub } from '../../src/kernels/elementwise.ts';
import { reshape } from '../../src/kernels/movement.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

/** The velocity of dx/dt = (1 + t) x / 2 + t, which depends on both operands. */
const velocity: Velocity = (x, t) => {
  const time = reshape(t, [t.size, 1]);
  return add(mul(x, add(mul(time, 0.5), 0.5)), time);
};

/** Its solution in float64 by RK4 with very many steps. */
function exact(x0: number): number {
  const f = (x: number, t: number) => 0.5 * (1 + t) * x + t;
  const steps = 20_000;
  const h = 1 / steps;
  let x = x0;
  for (let i = 0; i < steps; i++) {
    const t = i * h;
    const k1 = f(x, t);
    const k2 = f(x + (h / 2) * k1, t + h / 2);
    const k3 = f(x + (h / 2) * k2, t + h / 2);
    const k4 = f(x + h * k3, t + h);
    x += (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4);
  }
  return x;
}

function errorOf(solver: FixedSolver, steps: number): number {
  return scope(() => {
    const { x, nfe } = solveFixed(velocity, tensor([[2]], { device }), { solver, steps });
    expect(nfe).toBe(steps * { euler: 1, heun: 2, midpoint: 2, rk4: 4 }[solver]);
    return Math.abs(x.item() - exact(2));
  });
}

test.each([
  ['euler', 1, 64],
  ['heun', 2, 16],
  ['midpoint', 2, 16],
  ['rk4', 4, 2],
] as const)('%s converges with order %i', (solver, order, steps) => {
  const observed = Math.log2(errorOf(solver, steps) / errorOf(solver, 2 * steps));
  expect(observed).toBeGreaterThan(order - 0.25);
  expect(observed).toBeLessThan(order + 0.6);
});

test('rk45 meets its tolerance', () => {
  for (const tolerance of [1e-2, 1e-3, 1e-4, 1e-5])
    scope(() => {
      const { x } = solveRk45(velocity, tensor([[2]], { device }), { tolerance });
      expect(Math.abs(x.item() - exact(2))).toBeLessThan(10 * tolerance);
    });
});

// Six of the twelve trials are rejected. The times come from scipy's select_initial_step and RK45, ported to
// numpy in float64, for dx/dt = -x + 8 sin(30 t^3) from [1, -2, 0.5, 3].
test('rk45 takes the same steps as scipy when some are rejected', () => {
  scope(() => {
    const times: number[] = [];
    const oscillating: Velocity = (x, t) => {
      const s = reshape(t, [-1, 1]);
      return sub(mul(sin(mul(mul(mul(s, s), s), 30)), 8), x);
    };
    const onStep = ({ t }: { t: number }) => times.push(t);
    const start = tensor([1, -2, 0.5, 3], { shape: [2, 2], device });
    const { nfe } = solveRk45(oscillating, start, { tolerance: 1e-2, onStep });
    const expected = [0.17616, 0.47158, 0.65816, 0.79886, 0.91763, 1];
    expect(times).toHaveLength(expected.length);
    for (const [i, time] of times.entries()) expect(Math.abs(time - expected[i])).toBeLessThan(1e-4);
    expect(nfe).toBe(74);
  });
});

test('rk45 is exact on a straight line and frees its intermediate results', () => {
  const run = () =>
    scope(() => {
      const { x, nfe } = solveRk45((y) => add(mul(y, 0), 3), tensor([[1, 2]], { device }), { tolerance: 1e-5 });
      for (const [i, value] of x.dataSync().entries()) expect(Math.abs(value - [4, 5][i])).toBeLessThan(2e-6);
      expect(nfe % 6).toBe(2);
    });
  run(); // loop tables of these shapes are made once and stay
  const before = device.memory().live;
  run();
  expect(device.memory().live).toBe(before);
});

test('a logical batch of 64 gives the same results as 1 x 64 and as 4 x 16', () => {
  scope(() => {
    const start = randn([64, 8], { device, seed: 1 });
    const whole = solveRk45(withMicroBatches(velocity, 64), start, { tolerance: 1e-5 });
    const parts = solveRk45(withMicroBatches(velocity, 16), start, { tolerance: 1e-5 });
    expect(parts.nfe).toBe(whole.nfe);
    const [a, b] = [whole.x.dataSync(), parts.x.dataSync()];
    for (let i = 0; i < a.length; i++) expect(Math.abs(a[i] - b[i])).toBeLessThanOrEqual(1e-6);
  });
});

describe('rk45 refuses', () => {
  const T0 = 0.001;
  const options = { shape: [3], count: 2, seed: 1, solver: 'rk45' } as const;
  const spoiling = (value: number, from: (x: Tensor, t: number, call: number) => boolean): Velocity => {
    let calls = 0;
    return (x, t) => (from(x, (t.dataSync() as Float32Array)[0], ++calls) ? mul(x, value) : x);
  };

  it.each([Number.NaN, Infinity])(
    'a velocity that is %d at the start, in the probe of the first step, or later',
    async (value) => {
      const message = 'RK45 met a velocity that is not finite near t = ';
      for (const [velocity, time] of [
        [spoiling(value, () => true), T0],
        [spoiling(value, (_, __, call) => call === 2), T0],
        [spoiling(value, (_, __, call) => call === 3), T0],
        [spoiling(value, (_, t) => t > 0.5), ''],
      ] as const) {
        const error = await sample(velocity, { ...options, device }).catch((thrown) => thrown);
        expect(error).toBeInstanceOf(NonFiniteError);
        expect(error.message).toContain(`${message}${time}`);
      }
    },
  );

  it.each([Number.NaN, Infinity])('a velocity with one %d in a thousand samples', async (value) => {
    const values = Float32Array.from({ length: 2000 }, (_, i) => (i === 777 ? value : 1));
    const velocity: Velocity = (x) => mul(x, tensor(values, { shape: [1000, 2], device }));
    await expect(sample(velocity, { ...options, shape: [2], count: 1000, device })).rejects.toThrow(
      `RK45 met a velocity that is not finite near t = ${T0}`,
    );
    const data = new Float32Array(2000).fill(0.5);
    await expect(encode(velocity, data, { shape: [2], solver: 'rk45', device })).rejects.toThrow(
      'RK45 met a velocity that is not finite near t = 1',
    );
    await expect(likelihood(velocity, data, { shape: [2], device })).rejects.toThrow(NonFiniteError);
  });

  it.each([Number.NaN, Infinity])('a start that contains %d', (value) => {
    scope(() => {
      const start = tensor([[1, value]], { device });
      expect(() => solveRk45(velocity, start, { tolerance: 1e-3 })).toThrow(
        'RK45 cannot begin at a state that is not finite',
      );
    });
  });

  it('without leaking memory', () => {
    const start = tensor([[1, 2]], { device });
    const run = (call: number) => () =>
      solveRk45(
        spoiling(Number.NaN, (_, __, at) => at === call),
        start,
        { tolerance: 1e-3 },
      );
    const { live } = device.memory();
    for (const call of [1, 2, 3, 8]) expect(() => scope(run(call))).toThrow(NonFiniteError);
    expect(device.memory().live).toBe(live);
    start.dispose();
  });
});

test('solvers refuse non-finite times and tolerances', () => {
  scope(() => {
    const start = tensor([[2]], { device });
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      const fixed = (options: object) => () => solveFixed(velocity, start, { solver: 'euler', steps: 2, ...options });
      const adaptive = (options: object) => () => solveRk45(velocity, start, { tolerance: 1e-3, ...options });
      for (const options of [{ from: bad }, { to: bad }])
        for (const run of [fixed, adaptive]) expect(run(options)).toThrow(`to be a finite number, got ${bad}`);
      expect(fixed({ epsilon: bad })).toThrow(`expected epsilon to be in [0, 1), got ${bad}`);
      expect(adaptive({ tolerance: bad })).toThrow(`expected tolerance to be a finite number > 0, got ${bad}`);
      for (const options of [{ epsilon: bad }, { solver: 'rk45' as const, tolerance: bad }])
        expect(() => solve(velocity, start, { solver: 'euler', ...options })).toThrow(`got ${bad}`);
    }
  });
});

test('refuses a velocity with another shape than x, which kernels would read out of bounds', () => {
  scope(() => {
    const start = tensor([[1, 2]], { device });
    const narrow: Velocity = (x) => sum(x, { axes: 1, keepDims: true });
    const message = '[velocity] expected a result [1, 2] as x, got [1, 1]';
    expect(() => solveFixed(narrow, start, { solver: 'heun', steps: 1 })).toThrow(message);
    expect(() => solveRk45(narrow, start, { tolerance: 1e-3 })).toThrow(message);
    expect(() => solveStochastic(narrow, start, { steps: 1, sigmaVariance: 1, seed: 1 })).toThrow(message);
  });
});

test('rk45 does not dispose a tensor that the velocity returns and keeps, and returns a new tensor for an empty interval', () => {
  scope(() => {
    const start = tensor([[1, 2]], { device });
    const constant = tensor([[3, 4]], { device });
    const same = solveRk45((x) => x, start, { tolerance: 1e-5 });
    for (const [i, value] of same.x.dataSync().entries())
      expect(Math.abs(value / ((i + 1) * Math.E) - 1)).toBeLessThan(1e-5);
    expect(solveRk45(() => constant, start, { tolerance: 1e-5 }).x.shape).toEqual([1, 2]);
    expect([start.disposed, constant.disposed]).toEqual([false, false]);
    const { x, nfe } = solveRk45(velocity, start, { from: 0.5, to: 0.5, tolerance: 1e-5 });
    expect([x === start, nfe]).toEqual([false, 0]);
    expect(x.dataSync()).toEqual(start.dataSync());
  });
});
