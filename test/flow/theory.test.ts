// The theorems of the paper on distributions in the plane: the coupling (Z_0, Z_1) keeps both marginals (theorem 3.3),
// no convex cost of Z_1 - Z_0 rises from one coupling to the next (theorem 3.5), and paths become straighter (theorem 3.7).
// They are checked exactly where the velocity has a closed form, then for learned flows up to sampling error.
import { beforeAll, describe, expect, it } from 'vitest';
import { gradients } from '../../src/autograd/gradients.ts';
import { samplePoints } from '../../src/data/index.ts';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import {
  encode,
  featureDistance,
  initialNoise,
  rectifiedFlowLoss,
  sample,
  straightness,
  type Velocity,
} from '../../src/flow/index.ts';
import { add, square, sub } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { concat, reshape } from '../../src/kernels/movement.ts';
import { Adam, Initializer, MLP } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { random } from '../support/random.ts';

let device: Device;
beforeAll(async () => {
  // One thread is faster on batches this small.
  device = await openDevice('cpu', { threads: 1 });
});

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const standardError = (values: readonly number[]) => {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)) / values.length);
};

/** |z1 - z0|^power of each pair. */
function costs(z0: Float32Array, z1: Float32Array, power: 1 | 2): number[] {
  return Array.from(
    { length: z0.length / 2 },
    (_, i) => Math.hypot(z1[2 * i] - z0[2 * i], z1[2 * i + 1] - z0[2 * i + 1]) ** power,
  );
}

const noise = (count: number, seed: number) =>
  scope(() => initialNoise([count, 2], { seed, device }).dataSync() as Float32Array);

// The distribution of the closed forms: N(m, R diag(s^2) R^T), where R is a rotation.
const m = [1.5, -1];
const s = [2, 0.25];
const [cos, sin] = [Math.cos(0.6), Math.sin(0.6)];

/** R diag(a, b) R^T, symmetric, row by row. */
const turned = (a: number, b: number) => [
  [a * cos * cos + b * sin * sin, (a - b) * cos * sin],
  [(a - b) * cos * sin, a * sin * sin + b * cos * cos],
];

/** m + S^(1/2) z: a point of that distribution, and the point to which its rectified flow from N(0, I) maps z. */
function gaussianMap(z: Float32Array): Float32Array {
  const root = turned(s[0], s[1]);
  return Float32Array.from(z, (_, i) => {
    const [row, at] = [root[i % 2], i - (i % 2)];
    return m[i % 2] + row[0] * z[at] + row[1] * z[at + 1];
  });
}

/** v(x, t) = m + R diag(rate(s_i, t)) R^T (x - t m), for one time at once. */
function linearVelocity(rate: (deviation: number, t: number) => number): Velocity {
  return (x, t) => {
    const time = t.dataSync()[0];
    const matrix = tensor(turned(rate(s[0], time), rate(s[1], time)), { device });
    const centre = tensor(
      m.map((value) => time * value),
      { device },
    );
    return add(matmul(sub(x, centre), matrix), tensor(m, { device }));
  };
}

describe('Gaussian to Gaussian, with the exact velocity', () => {
  const count = 4000;
  // E[X_1 - X_0 | X_t = x] of the independent coupling; X_t has the variance c = t^2 s^2 + (1 - t)^2 along an axis.
  const first = linearVelocity((dev, t) => (t * dev ** 2 - (1 - t)) / (t ** 2 * dev ** 2 + (1 - t) ** 2));
  // The velocity of the coupling (z, m + S^(1/2) z).
  const second = linearVelocity((dev, t) => (dev - 1) / (t * dev + 1 - t));
  const along = { shape: [2], count, seed: 3, epsilon: 0 };

  it('the coupling is the optimal map, and reflow does not change it', async () => {
    const z0 = noise(count, 3);
    const expected = gaussianMap(z0);
    const worst = (z1: Float32Array) => z1.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
    const { samples: z1 } = await sample(first, { ...along, solver: 'rk4', steps: 60, device });
    expect(worst(z1)).toBeLessThan(1e-4);
    // Paths are straight, so one step is exact.
    const { samples: one } = await sample(second, { ...along, solver: 'euler', steps: 1, device });
    expect(worst(one)).toBeLessThan(1e-5);
    const { samples: many } = await sample(second, { ...along, solver: 'rk4', steps: 20, device });
    expect(worst(many)).toBeLessThan(1e-5);
  });

  it('the transport cost falls from sum (s^2 + 1) + |m|^2 to sum (s - 1)^2 + |m|^2', () => {
    const z0 = noise(count, 3);
    const squared = m[0] ** 2 + m[1] ** 2;
    const independent = costs(z0, gaussianMap(noise(count, 4)), 2);
    const rectified = costs(z0, gaussianMap(z0), 2);
    const within = (found: number[], expected: number) =>
      expect(Math.abs(mean(found) - expected)).toBeLessThan(4 * standardError(found));
    within(independent, squared + s[0] ** 2 + s[1] ** 2 + 2);
    within(rectified, squared + (s[0] - 1) ** 2 + (s[1] - 1) ** 2);
    for (const power of [1, 2] as const)
      expect(mean(costs(z0, gaussianMap(z0), power))).toBeLessThan(
        mean(costs(z0, gaussianMap(noise(count, 4)), power)),
      );
  });

  it('straightness is int E|v|^2 - E|Z_1 - Z_0|^2, then 0', async () => {
    const steps = 200;
    // With Z_t = t m + sqrt(c) z along each axis, v - m = c' / (2 sqrt(c)) z; the mean over two dimensions.
    const integral = (dev: number) => {
      const at = (t: number) => {
        const c = t ** 2 * dev ** 2 + (1 - t) ** 2;
        return (t * dev ** 2 - (1 - t)) ** 2 / c;
      };
      return mean(Array.from({ length: 2000 }, (_, i) => at((i + 0.5) / 2000)));
    };
    const expected = mean(s.map((dev) => integral(dev) - (dev - 1) ** 2));
    const bent = await straightness(first, { ...along, steps, device });
    // The sample's variance of z is within 4 standard errors of 1; Euler's own error is of order 1 / steps.
    expect(Math.abs(bent.straightness / expected - 1)).toBeLessThan(4 * Math.sqrt(2 / count) + 2 / steps);
    expect((await straightness(second, { ...along, steps: 20, device })).straightness).toBeLessThan(1e-10);
  });
});

/** Trains a flow on pairs that are drawn for each step. */
function learn(pairs: (step: number) => { x0?: Float32Array; x1: Float32Array }, steps: number) {
  const network = new MLP([3, 64, 64, 2], new Initializer({ seed: 1, device }));
  const optimizer = new Adam(network, { learningRate: 3e-3, emaRate: 0.999, warmup: 50 });
  const velocity: Velocity = (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));
  for (let step = 0; step < steps; step++) {
    // The learning rate decays to 0, so that little noise of the small batches remains.
    optimizer.options.learningRate = 3e-3 * Math.cos((Math.PI / 2) * (step / steps)) ** 2;
    const { x0, x1 } = pairs(step);
    const shape = [x1.length / 2, 2];
    optimizer.minimize(() =>
      rectifiedFlowLoss(velocity, tensor(x1, { shape, device }), {
        seed: 0,
        first: shape[0] * step,
        ...(x0 && { x0: tensor(x0, { shape, device }) }),
      }),
    );
  }
  return { velocity, optimizer };
}

/** The p-value of a permutation test (99 relabellings) that two sets of points share a distribution, by their energy distance. */
function permutationTest(a: Float32Array, b: Float32Array, rounds = 99): number {
  const n = a.length / 2;
  const points = [...a, ...b];
  const distances = new Float64Array(4 * n * n);
  for (let i = 0; i < 2 * n; i++)
    for (let j = 0; j < 2 * n; j++)
      distances[i * 2 * n + j] = Math.sqrt(
        (points[2 * i] - points[2 * j]) ** 2 + (points[2 * i + 1] - points[2 * j + 1]) ** 2,
      );
  const side = Float64Array.from({ length: 2 * n }, (_, i) => (i < n ? 1 : -1));
  // 2 E|X - Y| - E|X - X'| - E|Y - Y'| = -sum of side_i side_j d_ij / n^2
  const energy = () => {
    let total = 0;
    for (let i = 0; i < 2 * n; i++) {
      let row = 0;
      for (let j = 0; j < i; j++) row += side[j] * distances[i * 2 * n + j];
      total -= 2 * side[i] * row;
    }
    return total / n ** 2;
  };
  const found = energy();
  const draw = random('relabelling');
  let above = 0;
  for (let round = 0; round < rounds; round++) {
    for (let i = 2 * n - 1; i > 0; i--) {
      const j = Math.floor(draw() * (i + 1));
      [side[i], side[j]] = [side[j], side[i]];
    }
    if (energy() >= found) above++;
  }
  return (above + 1) / (rounds + 1);
}

describe.each([
  ['a Gaussian', (count: number, seed: number) => gaussianMap(samplePoints('gaussian', count, seed))],
  ['a mixture of eight', (count: number, seed: number) => samplePoints('eight_gaussians', count, seed)],
] as const)('learned, to %s', (_, draw) => {
  const count = 4000;
  const batch = 256;
  const pairCount = 64 * batch;
  type Flow = ReturnType<typeof learn>;
  let flow: Flow;
  let reflow: Flow;
  const end = ({ velocity, optimizer }: Flow, n: number, seed: number) =>
    optimizer.withEma(() => sample(velocity, { shape: [2], count: n, seed, solver: 'rk4', steps: 50, device }));

  beforeAll(async () => {
    flow = learn((step) => ({ x1: draw(batch, step) }), 3000);
    const z0 = noise(pairCount, 7);
    const { samples: z1 } = await end(flow, pairCount, 7);
    reflow = learn((step) => {
      const first = 2 * batch * (step % 64);
      return { x0: z0.slice(first, first + 2 * batch), x1: z1.slice(first, first + 2 * batch) };
    }, 3000);
  }, 120_000);

  it('reflow keeps the marginal: moments, and energy distance to fresh points', async () => {
    const [one, two] = [(await end(flow, count, 11)).samples, (await end(reflow, count, 11)).samples];
    const data = draw(count, 1e6);
    const moments = (points: Float32Array) => {
      const [x, y] = [0, 1].map((axis) => Array.from({ length: count }, (_, i) => points[2 * i + axis]));
      return [x, y, x.map((v) => v * v), y.map((v) => v * v), x.map((v, i) => v * y[i])];
    };
    const expected = moments(data);
    for (const points of [one, two])
      for (const [i, values] of moments(points).entries()) {
        const error = Math.hypot(standardError(values), standardError(expected[i]));
        expect(Math.abs(mean(values) - mean(expected[i])), `moment ${i}`).toBeLessThan(4 * error);
      }
    const n = 800;
    const fresh = draw(n, 2e6);
    const own = (await end(reflow, n, 12)).samples;
    expect(permutationTest(one.slice(0, 2 * n), fresh)).toBeGreaterThan(0.01);
    expect(permutationTest(own, fresh)).toBeGreaterThan(0.01);
    expect(permutationTest(own, one.slice(0, 2 * n))).toBeGreaterThan(0.01);
    // The test is sensitive enough to detect a shift by a fifth of the deviation.
    expect(
      permutationTest(
        own.map((value) => value + 0.2),
        fresh,
      ),
    ).toBe(0.01);
  }, 60_000);

  it('no convex cost rises, and paths become straight', async () => {
    const z0 = noise(count, 11);
    const [one, two] = [(await end(flow, count, 11)).samples, (await end(reflow, count, 11)).samples];
    for (const power of [1, 2] as const) {
      const [independent, first, second] = [draw(count, 1e6), one, two].map((z1) => costs(z0, z1, power));
      const fall = Math.hypot(standardError(independent), standardError(first));
      expect(mean(first) - mean(independent)).toBeLessThan(-4 * fall);
      // Pairs are compared one by one, from the same z0.
      const rise = second.map((value, i) => value - first[i]);
      expect(mean(rise)).toBeLessThan(3 * standardError(rise));
    }
    const bent = ({ velocity, optimizer }: Flow) =>
      optimizer.withEma(() => straightness(velocity, { shape: [2], count: 1000, seed: 5, steps: 50, device }));
    expect((await bent(reflow)).straightness).toBeLessThan((await bent(flow)).straightness / 20);
  }, 60_000);
});

/** Gaussians of one deviation around centres, each as likely as the others. */
interface Mixture {
  centres: readonly (readonly [number, number])[];
  deviation: number;
}

function drawMixture({ centres, deviation }: Mixture, count: number, seed: number): Float32Array {
  const choose = random(`centres ${seed}`);
  const points = samplePoints('gaussian', count, seed);
  for (let i = 0; i < count; i++) {
    const centre = centres[Math.floor(choose() * centres.length)];
    for (const axis of [0, 1]) points[2 * i + axis] = centre[axis] + deviation * points[2 * i + axis];
  }
  return points;
}

/**
 * E[X_1 - X_0 | X_t = x] of independent points of two mixtures: X_t is one around every t b + (1 - t) a, with the variance
 * c = t^2 r^2 + (1 - t)^2 s^2, and given its centre E[X_1 - X_0 | x] = b - a + (t r^2 - (1 - t) s^2) / c (x - t b - (1 - t) a).
 */
function mixtureVelocity(from: Mixture, to: Mixture): Velocity {
  return (x, t) => {
    const [points, times] = [x.dataSync(), t.dataSync()];
    const values = new Float32Array(points.length);
    for (let i = 0; i < times.length; i++) {
      const [px, py, time] = [points[2 * i], points[2 * i + 1], times[i]];
      const c = (time * to.deviation) ** 2 + ((1 - time) * from.deviation) ** 2;
      const rate = (time * to.deviation ** 2 - (1 - time) * from.deviation ** 2) / c;
      const given = from.centres.flatMap((a) =>
        to.centres.map((b) => {
          const [dx, dy] = [px - time * b[0] - (1 - time) * a[0], py - time * b[1] - (1 - time) * a[1]];
          return { log: -(dx * dx + dy * dy) / (2 * c), v: [b[0] - a[0] + rate * dx, b[1] - a[1] + rate * dy] };
        }),
      );
      const most = given.reduce((found, { log }) => Math.max(found, log), Number.NEGATIVE_INFINITY);
      let total = 0;
      for (const { log, v } of given) {
        const weight = Math.exp(log - most);
        total += weight;
        for (const axis of [0, 1]) values[2 * i + axis] += weight * v[axis];
      }
      for (const axis of [0, 1]) values[2 * i + axis] /= total;
    }
    return tensor(values, { shape: x.shape, device });
  };
}

describe('from a mixture of three to a mixture of two, with the exact velocity, and its reflow', () => {
  const [from, to]: Mixture[] = [
    {
      centres: [
        [-3, -1],
        [-3, 2],
        [-1, 0],
      ],
      deviation: 0.6,
    },
    {
      centres: [
        [2, 2],
        [2, -2],
      ],
      deviation: 0.8,
    },
  ];
  const count = 1500;
  const along = { shape: [2], solver: 'rk4', steps: 40, epsilon: 0 } as const;
  interface Coupling {
    z0: Float32Array;
    z1: Float32Array;
  }
  /** Where points of the source go, and where points of the target come from, along one flow. */
  const couplings = async (velocity: Velocity, seed: number): Promise<Coupling[]> => {
    const [z0, z1] = [drawMixture(from, count, seed), drawMixture(to, count, seed + 1)];
    const there = await sample(velocity, { ...along, count, seed, latents: z0, device });
    const back = await encode(velocity, z1, { ...along, device });
    return [
      { z0, z1: there.samples },
      { z0: back.latents, z1 },
    ];
  };
  let first: Coupling[];
  let second: Coupling[];
  beforeAll(async () => {
    const exact = mixtureVelocity(from, to);
    first = await couplings(exact, 21);
    const batch = 256;
    const total = 32 * batch;
    const z0 = drawMixture(from, total, 5);
    const { samples: z1 } = await sample(exact, { ...along, steps: 20, count: total, seed: 5, latents: z0, device });
    const { velocity, optimizer } = learn((step) => {
      const at = 2 * batch * (step % 32);
      return { x0: z0.slice(at, at + 2 * batch), x1: z1.slice(at, at + 2 * batch) };
    }, 3000);
    // The same starts as those of the first flow, so that costs are compared pair by pair.
    second = await optimizer.withEma(() => couplings(velocity, 21));
  }, 60_000);

  it('both keep their marginals, in both directions', () => {
    const n = 600;
    const part = (points: Float32Array) => points.slice(0, 2 * n);
    const [source, target] = [drawMixture(from, n, 91), drawMixture(to, n, 92)];
    for (const [there, back] of [first, second]) {
      expect(permutationTest(part(there.z1), target)).toBeGreaterThan(0.01);
      expect(permutationTest(part(back.z0), source)).toBeGreaterThan(0.01);
    }
    // The test is sensitive enough to see other weights of the centres.
    const upper = { ...to, centres: [...to.centres, to.centres[0]] };
    expect(permutationTest(drawMixture(upper, n, 93), target)).toBe(0.01);
  }, 60_000);

  it('no convex cost rises, in either direction', () => {
    const independent: Coupling = { z0: drawMixture(from, count, 31), z1: drawMixture(to, count, 32) };
    const convex: [string, (dx: number, dy: number) => number][] = [
      ['length', (dx, dy) => Math.hypot(dx, dy)],
      ['square', (dx, dy) => dx ** 2 + dy ** 2],
      ['fourth power', (dx, dy) => (dx ** 2 + dy ** 2) ** 2],
      ['vertical', (_, dy) => Math.abs(dy)],
      ['one-sided', (dx, dy) => Math.max(0, dx + dy - 4)],
    ];
    for (const [name, cost] of convex) {
      const of = ({ z0, z1 }: Coupling) =>
        Array.from({ length: count }, (_, i) => cost(z1[2 * i] - z0[2 * i], z1[2 * i + 1] - z0[2 * i + 1]));
      const before = of(independent);
      for (const [direction, coupling] of first.entries()) {
        const once = of(coupling);
        const error = Math.hypot(standardError(before), standardError(once));
        expect(mean(once) - mean(before), name).toBeLessThan(-2 * error);
        const rise = of(second[direction]).map((value, i) => value - once[i]);
        expect(mean(rise), name).toBeLessThan(3 * standardError(rise));
      }
    }
  });

  it('weight 0 of the loss in features is the plain loss, and its gradient, to the bit', () => {
    const [x0, x1] = [drawMixture(from, 64, 1), drawMixture(to, 64, 2)];
    const results = [undefined, featureDistance((x) => square(x), 0)].map((distance) =>
      scope(() => {
        const network = new MLP([3, 16, 2], new Initializer({ seed: 1, device }));
        const velocity: Velocity = (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));
        const shape = [64, 2];
        const loss = rectifiedFlowLoss(velocity, tensor(x1, { shape, device }), {
          ...{ seed: 0, first: 0, x0: tensor(x0, { shape, device }), distance },
        });
        const slopes = gradients(
          loss,
          [...network.namedTensors()].map(([, weight]) => weight),
        );
        return [loss, ...slopes].map((value) => Array.from(value.dataSync()));
      }),
    );
    expect(results[1]).toEqual(results[0]);
  });
});
