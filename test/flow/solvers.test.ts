/** Solvers on closed forms: the order of convergence, and scipy's own path through a linear equation. */
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { type FixedSolver, microBatched, solveFixed, solveRk45, type Velocity } from '../../src/flow/index.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import { reshape } from '../../src/kernels/movement.ts';
import { randn } from '../../src/kernels/random.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 120_000);

/** dx/dt = (1 + t) x / 2 + t, by a velocity that uses both operands. */
const velocity: Velocity = (x, t) => {
  const time = reshape(t, [t.size, 1]);
  return add(mul(x, add(mul(time, 0.5), 0.5)), time);
};

/** Its solution in float64: RK4 with very many steps. */
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

test('rk45 is exact on a straight line and frees what it made', () => {
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

test('a logical batch of 64 is the same as 1 x 64 and as 4 x 16', () => {
  scope(() => {
    const start = randn([64, 8], { device, seed: 1 });
    const whole = solveRk45(microBatched(velocity, 64), start, { tolerance: 1e-5 });
    const parts = solveRk45(microBatched(velocity, 16), start, { tolerance: 1e-5 });
    expect(parts.nfe).toBe(whole.nfe);
    const [a, b] = [whole.x.dataSync(), parts.x.dataSync()];
    for (let i = 0; i < a.length; i++) expect(Math.abs(a[i] - b[i])).toBeLessThanOrEqual(1e-6);
  });
});
