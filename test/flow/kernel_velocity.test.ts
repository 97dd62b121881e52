// The non-parametric velocity against numbers that NumPy computed in float64 (test/golden/toy), and the flows that follow it.
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { type KernelVelocity, kernelVelocity, optimalAssignment, transportCost } from '../../src/flow/index.ts';
import { readNpz } from '../../src/io/index.ts';
import { PlaneSession } from '../../src/plane/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { random } from '../support/random.ts';

const file = fileURLToPath(new URL('../golden/toy/nonparametric.npz', import.meta.url));
let golden: Map<string, Float64Array>;
let device: Device;
const array = (name: string) => golden.get(name) as Float64Array;
const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  expect(a.length).toBe(b.length);
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i])));
};

beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
  const arrays = await readNpz(file);
  golden = new Map([...arrays].map(([name, { data }]) => [name, data as Float64Array]));
});

describe('the velocity is that of the golden file', () => {
  it.each([0, 0.25, 0.5, 0.9])('at t = %d in three forms', (t) => {
    const pairs = { x0: array('x0'), x1: array('x1') };
    const forms: [string, KernelVelocity][] = [
      ['v_paper', kernelVelocity(pairs)],
      ['v_difference', kernelVelocity(pairs, { form: 'difference' })],
      ['v_difference_all_h0.4', kernelVelocity(pairs, { form: 'difference', bandwidth: 0.4, neighbours: 600 })],
    ];
    for (const [name, velocity] of forms) {
      const expected = array(`${name}_t${t === 0 ? '0.0' : t}`);
      expect(largestDifference(velocity.at(array('query'), t), expected), name).toBeLessThan(1e-10);
      // As tensors, points and times have the digits of float32.
      scope(() => {
        const x = tensor(Float32Array.from(array('query')), { shape: [50, 2], device });
        const v = velocity(x, tensor(new Float32Array(50).fill(t), { device }));
        expect(largestDifference(v.dataSync(), expected), name).toBeLessThan(2e-4);
      });
    }
  });
});

it('three flows of it have the paths and the figures of the golden file', async () => {
  const session = new PlaneSession(
    { velocity: 'kernel', given: { x0: array('x0'), x1: array('x1') }, reflow: 2, points: 200, assigned: 200 },
    { device },
  );
  await session.run();
  const { coupling } = session;
  expect(coupling?.cost).toBeCloseTo(array('cost_of_pairs')[0], 9);
  expect(coupling?.optimalCost).toBeCloseTo(array('optimal_cost')[0], 9);
  const start = array('x0').subarray(0, 400);
  session.flows.forEach(({ figures }, k) => {
    const { points } = session.paths(k, start);
    const path = array(`path_${k + 1}`);
    [0, 1, 50, 99, 100].forEach((step, i) => {
      expect(largestDifference(points[step], path.subarray(400 * i, 400 * (i + 1)))).toBeLessThan(1e-4);
    });
    const figure = [figures?.straightness, figures?.cost, figures?.coupling.excess, figures?.oneStepError] as number[];
    const expected = array('by_flow_straightness_cost_excess_oneStepError').subarray(4 * k, 4 * k + 4);
    expect(largestDifference(figure, expected)).toBeLessThan(1e-6);
  });
  session.dispose();
}, 30_000);

it('the m nearest are the m nearest, also among equal distances', () => {
  const draw = random('nearest');
  const count = 60;
  // Points of a coarse grid, so that many distances are equal.
  const points = () => Float64Array.from({ length: 2 * count }, () => Math.round(6 * draw()));
  const [x0, x1] = [points(), points()];
  for (const neighbours of [1, 2, 7, 59, 60, 200])
    for (const t of [0, 0.3]) {
      const z = [3, 2.5];
      const near = Array.from({ length: count }, (_, i) => {
        const at = [0, 1].map((k) => t * x1[2 * i + k] + (1 - t) * x0[2 * i + k]);
        return { i, square: (z[0] - at[0]) ** 2 + (z[1] - at[1]) ** 2 };
      })
        .sort((a, b) => a.square - b.square || a.i - b.i)
        .slice(0, neighbours);
      const weights = near.map(({ square }) => Math.exp(-square / 2 / 0.7 ** 2));
      const total = weights.reduce((a, b) => a + b, 0);
      const expected = [0, 1].map(
        (k) => near.reduce((sum, { i }, n) => sum + weights[n] * (x1[2 * i + k] - z[k]), 0) / total / (1 - t),
      );
      const found = kernelVelocity({ x0, x1 }, { neighbours, bandwidth: 0.7 }).at(z, t);
      expect(largestDifference(found, expected)).toBeLessThan(1e-12);
    }
});

it('with all weights below the smallest number, the nearest pair counts', () => {
  const velocity = kernelVelocity({ x0: [0, 0, 1, 0], x1: [0, 1, 1, 5] }, { bandwidth: 1e-3 });
  expect(Array.from(velocity.at([100, 0], 0))).toEqual([-99, 5]);
});

it('from N(0, I) to two points, with the bandwidth 1 - t, it is the exact velocity', () => {
  const velocity = kernelVelocity({ x0: [0, 0], x1: [2, -3], dim: 1 }, { bandwidth: (t) => 1 - t });
  const [t, x] = [0.3, 0.4];
  const weights = [2, -3].map((end) => Math.exp(-((x - t * end) ** 2) / 2 / (1 - t) ** 2));
  const expected = (weights[0] * (2 - x) + weights[1] * (-3 - x)) / (weights[0] + weights[1]) / (1 - t);
  expect(velocity.at([x], t)[0]).toBeCloseTo(expected, 12);
});

it.each<[what: string, call: () => unknown, message: string]>([
  [
    'points that are not finite',
    () => kernelVelocity({ x0: [0, Number.NaN], x1: [0, 0] }),
    'finite numbers in x0, got NaN at 1',
  ],
  ['no points', () => kernelVelocity({ x0: [], x1: [] }), 'x0 to hold points of 2 numbers, got 0 numbers'],
  ['half a point', () => kernelVelocity({ x0: [1, 2, 3], x1: [1, 2, 3] }), 'points of 2 numbers, got 3 numbers'],
  [
    'clouds of two sizes',
    () => kernelVelocity({ x0: [1, 2], x1: [1, 2, 3, 4] }),
    'as many points in x1 as in x0, got 2 and 1',
  ],
  ['text', () => kernelVelocity({ x0: ['a', 2] as never, x1: [1, 2] }), 'finite numbers in x0, got a at 0'],
  [
    'a bandwidth of 0',
    () => kernelVelocity({ x0: [1, 2], x1: [1, 2] }, { bandwidth: 0 }),
    'bandwidth to be a finite number > 0',
  ],
  ['a typo', () => kernelVelocity({ x0: [1, 2], x1: [1, 2] }, { neighbors: 3 } as never), 'did you mean "neighbours"?'],
  [
    't = 1',
    () => kernelVelocity({ x0: [1, 2], x1: [1, 2] }).at([0, 0], 1),
    't < 1, because the form "end" divides by 1 - t, got t = 1',
  ],
  [
    'a bandwidth that becomes 0',
    () => kernelVelocity({ x0: [1, 2], x1: [1, 2] }, { bandwidth: (t) => 0.5 - t }).at([0, 0], 0.5),
    'bandwidth above 0 at t = 0.5, got 0',
  ],
  [
    '2,001 points to assign',
    () => optimalAssignment(new Float32Array(4002), new Float32Array(4002)),
    'at most 2000 points, got 2001',
  ],
  ['a concave cost', () => transportCost([0, 0], [1, 1], { power: 0.5 }), 'power to be a finite number >= 1'],
])('%s: refused', (_, call, message) => {
  expect(call).toThrow(message);
});
