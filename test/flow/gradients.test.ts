// Gradients through solvers: to the start and to the operands of the velocity, and none where none are documented.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import {
  encode,
  type FixedSolver,
  fixedSolvers,
  likelihood,
  pathStatistics,
  replayable,
  type SolverName,
  sample,
  sdeDrifts,
  solve,
  solveFixed,
  solveRk45,
  solveStochastic,
  straightness,
  trajectory,
  type Velocity,
  withMicroBatches,
} from '../../src/flow/index.ts';
import { withReplay } from '../../src/flow/replay.ts';
import {
  add,
  checkpoint,
  gradients,
  matmul,
  mul,
  noGrad,
  randn,
  reshape,
  scope,
  sin,
  square,
  sum,
  type Tensor,
  tanh,
  tensor,
} from '../../src/index.ts';
import { full } from '../../src/tensor/create.ts';
import { streams } from '../../src/tensor/streams.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

/** The option of a solver: a tolerance, or a number of steps. */
const precisionOf = (solver: SolverName, steps: number) => (solver === 'rk45' ? { tolerance: 1e-2 } : { steps });

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const leaf = (value: number) => tensor([[value]], { device, requiresGrad: true });
  const linear =
    (w: Tensor): Velocity =>
    (x) =>
      mul(w, x);
  const item = (t: Tensor | null) => (t as Tensor).item();
  const expectNear = (got: number, want: number, relative = 2e-6) =>
    expect(Math.abs(got - want), `${got} and ${want}`).toBeLessThan(relative * Math.max(1, Math.abs(want)));

  it('one Euler step adds its gradient to that of another path', () => {
    scope(() => {
      const [start, w] = [leaf(1), leaf(2)];
      const { x } = solveFixed(linear(w), start, { solver: 'euler', steps: 1 });
      sum(add(square(x), square(w))).backward();
      expect([w.grad, start.grad].map(item)).toEqual([10, 18]);
    });
  });

  /** dx/dt = w x: a step is the polynomial of z = w h, with its derivative. */
  const polynomials: Record<FixedSolver, [(z: number) => number, (z: number) => number]> = {
    euler: [(z) => 1 + z, () => 1],
    heun: [(z) => 1 + z + z ** 2 / 2, (z) => 1 + z],
    midpoint: [(z) => 1 + z + z ** 2 / 2, (z) => 1 + z],
    rk4: [(z) => 1 + z + z ** 2 / 2 + z ** 3 / 6 + z ** 4 / 24, (z) => 1 + z + z ** 2 / 2 + z ** 3 / 6],
  };

  it.each(fixedSolvers)('%s has the gradients of its closed form, forward and backward in time', (solver) => {
    const steps = 3;
    for (const reverse of [false, true])
      scope(() => {
        const [start, w] = [leaf(1.5), leaf(0.7)];
        solve(linear(w), start, { solver, steps, reverse }).x.backward();
        const h = (reverse ? -1 : 1) / steps;
        const [value, slope] = polynomials[solver].map((f) => f(0.7 * h));
        expectNear(item(start.grad), value ** steps);
        expectNear(item(w.grad), 1.5 * steps * value ** (steps - 1) * slope * h);
      });
  });

  it('rk45 has the gradients of exp, to its tolerance', () => {
    scope(() => {
      const [start, w] = [leaf(1.5), leaf(0.7)];
      const { x } = solve(linear(w), start, { solver: 'rk45', epsilon: 0, tolerance: 1e-6 });
      x.backward();
      expectNear(item(start.grad), Math.exp(0.7), 1e-5);
      expectNear(item(w.grad), 1.5 * Math.exp(0.7), 1e-5);
    });
  });

  it('intermediate states have gradients', () => {
    scope(() => {
      const [start, w] = [leaf(1.5), leaf(0.5)];
      const losses: Tensor[] = [];
      const onStep = ({ x }: { x: Tensor }) => losses.push(sum(square(x)));
      solveFixed(linear(w), start, { solver: 'euler', steps: 3, onStep });
      losses.reduce((a, b) => add(a, b)).backward();
      const factors = [1, 2, 3].map((n) => (1 + 0.5 / 3) ** n);
      expectNear(
        item(start.grad),
        factors.reduce((total, factor) => total + 2 * 1.5 * factor ** 2, 0),
      );
    });
  });
});

describe('on cpu', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice('cpu');
  });

  const [n, width] = [4, 3];
  const list = (t: Tensor | null) => Array.from((t as Tensor).dataSync());

  /** Weight and bias of a velocity that depends on all its arguments. */
  function network(): { velocity: Velocity; weight: Tensor; bias: Tensor } {
    const weight = randn([width, width], { seed: 1, stream: 1, device, requiresGrad: true });
    const bias = randn([width], { seed: 1, stream: 2, device, requiresGrad: true });
    const velocity: Velocity = (x, t) => tanh(add(add(matmul(x, weight), bias), sin(reshape(t, [t.size, 1]))));
    return { velocity, weight, bias };
  }

  /** The end state, and the gradients of start, weight and bias. */
  function outcome(run: (velocity: Velocity, start: Tensor) => Tensor): number[][] {
    return scope(() => {
      const { velocity, weight, bias } = network();
      const start = randn([n, width], { seed: 1, stream: 3, device, requiresGrad: true });
      const x = run(velocity, start);
      x.backward(randn([n, width], { seed: 1, stream: 4, device }));
      return [list(x), ...[start, weight, bias].map(({ grad }) => list(grad))];
    });
  }

  function expectSame(got: number[][], want: number[][], tolerance: number): void {
    const parts = ['end', 'start', 'weight', 'bias'];
    got.forEach((values, i) => {
      const largest = Math.max(...want[i].map(Math.abs));
      expect(largest, parts[i]).toBeGreaterThan(0.1);
      for (const [j, value] of values.entries())
        expect(Math.abs(value - want[i][j]), `${parts[i]} [${j}]`).toBeLessThan(tolerance * largest);
    });
  }

  const at = (velocity: Velocity, x: Tensor, t: number) => velocity(x, full([n], t, { device }));
  const along = (x: Tensor, ...terms: [number, Tensor][]) =>
    terms.reduce((total, [factor, k]) => add(total, mul(k, factor)), x);

  it('fixed steps have the gradients of the same steps written with ops', () => {
    const h = 1 / 2;
    const epsilon = 0.1;
    const byOps: Record<FixedSolver, (velocity: Velocity, x: Tensor, t: (s: number) => number) => Tensor> = {
      euler: (v, x, t) => along(x, [h, at(v, x, t(0))]),
      heun: (v, x, t) => {
        const k1 = at(v, x, t(0));
        return along(x, [h / 2, k1], [h / 2, at(v, along(x, [h, k1]), t(1))]);
      },
      midpoint: (v, x, t) => along(x, [h, at(v, along(x, [h / 2, at(v, x, t(0))]), t(0.5))]),
      rk4: (v, x, t) => {
        const k1 = at(v, x, t(0));
        const k2 = at(v, along(x, [h / 2, k1]), t(0.5));
        const k3 = at(v, along(x, [h / 2, k2]), t(0.5));
        const k4 = at(v, along(x, [h, k3]), t(1));
        return along(x, [h / 6, k1], [h / 3, k2], [h / 3, k3], [h / 6, k4]);
      },
    };
    for (const solver of fixedSolvers) {
      const got = outcome((v, start) => solveFixed(v, start, { solver, steps: 2, epsilon }).x);
      const want = outcome((v, start) =>
        [0, 1].reduce((x, step) => byOps[solver](v, x, (s) => (step + s) * h * (1 - epsilon) + epsilon), start),
      );
      expectSame(got, want, 2e-6);
    }
  });

  it.each(sdeDrifts)('stochastic steps have the gradients of the formula written with ops, drift %s', (drift) => {
    const [steps, sigmaVariance, epsilon, seed] = [2, 1.5, 0.01, 7];
    const got = outcome(
      (v, start) => solveStochastic(v, start, { steps, sigmaVariance, drift, epsilon, seed, first: 3 }).x,
    );
    const want = outcome((velocity, start) => {
      let x = start;
      for (let step = 0; step < steps; step++) {
        const t = (step / steps) * (1 - epsilon) + epsilon;
        const v = at(velocity, x, t);
        const gain = sigmaVariance ** 2 / 2 / steps;
        const pull: [number, Tensor][] =
          drift === 'exact'
            ? [
                [gain * (1 - t) * t, v],
                [-gain * (1 - t), x],
              ]
            : [
                [(gain * t * (1 - t)) / 2, v],
                [(-gain * (2 - t)) / 2, x],
              ];
        const noise = randn([n, width], { seed, first: 3, stream: streams.diffusion + step, device });
        x = along(x, [1 / steps, v], ...pull, [((1 - t) * sigmaVariance) / Math.sqrt(steps), noise]);
      }
      return x;
    });
    expectSame(got, want, 3e-6);
  });

  it('rk45 has the gradients of its accepted steps written with ops, with step sizes as constants', () => {
    const tableau = [
      [],
      [1 / 5],
      [3 / 40, 9 / 40],
      [44 / 45, -56 / 15, 32 / 9],
      [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
      [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    ];
    const nodes = [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1];
    const weights = [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84];
    const times = [0];
    let nfe = 0;
    const got = outcome((v, start) => {
      const onStep = ({ t }: { t: number }) => times.push(t);
      // The velocity has a kink, so that steps are rejected.
      const kinked: Velocity = (x, t) => (t.dataSync()[0] > 0.4 ? mul(v(x, t), -8) : v(x, t));
      const solution = solveRk45(kinked, start, { tolerance: 1e-3, onStep });
      nfe = solution.nfe;
      return solution.x;
    });
    const accepted = times.length - 1;
    expect(accepted).toBeGreaterThan(3);
    expect((nfe - 2) / 6).toBeGreaterThan(accepted);
    const want = outcome((v, start) => {
      const kinked: Velocity = (x, t) => (t.dataSync()[0] > 0.4 ? mul(v(x, t), -8) : v(x, t));
      return times.slice(1).reduce((x, end, i) => {
        const h = end - times[i];
        const k: Tensor[] = [];
        for (const [stage, row] of tableau.entries())
          k.push(
            at(kinked, along(x, ...row.map((a, j): [number, Tensor] => [a * h, k[j]])), times[i] + nodes[stage] * h),
          );
        return along(x, ...weights.map((b, j): [number, Tensor] => [b * h, k[j]]));
      }, start);
    });
    expectSame(got, want, 2e-5);
  });

  it('steps in a checkpointed part are bit-identical to steps outside', () => {
    for (const solver of ['heun', 'rk45'] as const) {
      const run = (v: Velocity, x: Tensor) => solve(v, x, { solver, ...precisionOf(solver, 3) }).x;
      const got = outcome((v, start) => checkpoint((x) => run(v, x), [start]));
      expect(got).toEqual(outcome(run));
    }
  });

  it('only accepted steps keep a graph, which is freed in the end', () => {
    const big = 1 << 16;
    const kept = (kink: number) =>
      scope(() => {
        const start = randn([1, big], { seed: 1, device, requiresGrad: true });
        const before = device.memory().live;
        let accepted = 0;
        const velocity: Velocity = (x, t) => mul(sin(x), t.dataSync()[0] > 0.4 ? kink : 1);
        const { x, nfe } = solveRk45(velocity, start, { tolerance: 1e-3, onStep: () => accepted++ });
        const bytes = device.memory().live - before;
        sum(x).backward();
        x.dispose();
        start.grad?.dispose();
        start.grad = null;
        expect(device.memory().live - before, 'bytes left').toBeLessThan(4 * big);
        return { rejected: (nfe - 2) / 6 - accepted, perStep: bytes / accepted / (4 * big) };
      });
    const [smooth, kinked] = [kept(1), kept(-40)];
    expect(smooth.rejected).toBe(0);
    expect(kinked.rejected).toBeGreaterThan(2);
    expect(Math.abs(kinked.perStep - smooth.perStep)).toBeLessThan(1);
  });

  it('memory does not grow with the steps without gradients', () => {
    const peak = (solver: 'euler' | 'rk4' | 'stochastic', steps: number) =>
      scope(() => {
        const { velocity } = network();
        const start = randn([n, width], { seed: 1, device, requiresGrad: true });
        device.resetHighWater();
        noGrad(() => {
          if (solver === 'stochastic') solveStochastic(velocity, start, { steps, sigmaVariance: 1, seed: 1 });
          else solveFixed(velocity, start, { solver, steps });
        });
        return device.memory().highWater;
      });
    for (const solver of ['euler', 'rk4', 'stochastic'] as const) {
      peak(solver, 2);
      expect(peak(solver, 40), solver).toBe(peak(solver, 4));
    }
  });

  it('functions that return host arrays leave neither a graph nor a gradient, for any velocity', async () => {
    const { velocity, weight, bias } = network();
    const data = Float32Array.from({ length: n * width }, (_, i) => Math.sin(i));
    const options = { shape: [width], count: n, seed: 1, device } as const;
    const start = randn([n, width], { seed: 1, device, requiresGrad: true });
    const all = async () => {
      for (const solver of ['euler', 'rk45'] as const) {
        await sample(velocity, { ...options, solver, ...precisionOf(solver, 4) });
        await sample(replayable(velocity), { ...options, solver, ...precisionOf(solver, 4), microBatch: 2 });
        await encode(velocity, data, { shape: [width], solver, ...precisionOf(solver, 4), device });
      }
      await sample(velocity, { ...options, solver: 'euler', steps: 4, sigmaVariance: 1 });
      await straightness(velocity, { ...options, steps: 4 });
      await trajectory(velocity, { ...options, steps: 4, stops: 2 });
      await likelihood(velocity, data, { shape: [width], device, tolerance: 1e-2 });
      const { end } = pathStatistics(velocity, start, { steps: 3 });
      expect(end.requiresGrad).toBe(false);
      end.dispose();
    };
    await all();
    const { live } = device.memory();
    await all();
    expect(device.memory().live).toBe(live);
    expect([weight, bias, start].map(({ grad }) => grad)).toEqual([null, null, null]);
    for (const t of [weight, bias, start]) t.dispose();
  });

  it('a velocity in micro-batches carries no gradient, and a replayed one is evaluated eagerly while gradients are recorded', () => {
    scope(() => {
      const { velocity, weight } = network();
      using parts = withMicroBatches(velocity, 2);
      using again = withReplay(velocity, true);
      const x = randn([n, width], { seed: 1, device });
      const t = full([n], 0.5, { device });
      expect(parts(x, t).requiresGrad).toBe(false);
      const direct = list(gradients(sum(velocity(x, t)), [weight])[0]);
      for (let call = 0; call < 4; call++) {
        noGrad(() => again(x, t));
        expect(list(gradients(sum(again(x, t)), [weight])[0])).toEqual(direct);
      }
    });
  });
});
