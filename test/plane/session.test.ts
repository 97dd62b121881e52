// Sessions of flows in the plane: the numbers of the tour on the official notebook's mixtures, the same numbers however the work is
// sliced, couplings, c-rectified flows, and settings that are refused.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { countCrossings, optimalAssignment, sample, straightness, transportCost } from '../../src/flow/index.ts';
import { drawPlane, type FlowFigures, PlaneSession, type PlaneSettings, planeSettings } from '../../src/plane/index.ts';
import { buildWasm } from '../support/wasm.ts';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});

/** Few and small: for what does not depend on how well a flow is trained. */
const small: Partial<PlaneSettings> = {
  width: 16,
  depth: 2,
  steps: 30,
  batch: 32,
  reflowPairs: 64,
  eulerSteps: 10,
  points: 40,
};

const figuresOf = (session: PlaneSession) => session.flows.map(({ figures }) => figures as FlowFigures);
async function finished(settings: Partial<PlaneSettings>, on = device) {
  const session = new PlaneSession(settings, { device: on });
  await session.run();
  const figures = figuresOf(session);
  session.dispose();
  return { figures, session };
}

it('the official mixtures: reflow straightens at least 10-fold, one step becomes at least 10 times as good, no cost rises', async () => {
  const { figures } = await finished({ seed: 1, reflow: 2 });
  const [first, second, third] = figures;
  expect(second.straightness).toBeLessThan(first.straightness / 10);
  expect(second.energy[1]).toBeLessThan(first.energy[1] / 10);
  expect(second.cost).toBeLessThan(1.005 * first.cost);
  expect(third.cost).toBeLessThan(1.005 * second.cost);
  // Many steps of the first flow reach the target, and one step does not.
  expect(first.energy[100]).toBeLessThan(first.energy[1] / 20);
}, 120_000);

describe('the numbers of a session', () => {
  it('do not depend on how the work is sliced, or on what is looked at in between', async () => {
    const settings = { ...small, reflow: 1, distil: true };
    const { figures: expected } = await finished(settings);
    const session = new PlaneSession(settings, { device });
    const tasks = new Set<string>();
    while (!session.idle) {
      const { task, flow, loss } = session.advance(1e-6);
      tasks.add(`${task} ${flow}`);
      if (task !== 'train' || Number.isNaN(loss)) continue;
      session.paths(flow, session.starts(3), { steps: 4 });
      session.velocities(flow, [0, 0, 1, 1], 0.5);
    }
    expect(figuresOf(session)).toEqual(expected);
    expect([...tasks].slice(0, 5)).toEqual(['pairs 0', 'train 0', 'measure 0', 'pairs 1', 'train 1']);
    expect(session.progress.task).toBe('idle');
    session.dispose();
  });

  it('are the same on wasm with one thread and with two, and differ with the seed', async () => {
    buildWasm();
    const settings = { ...small, reflow: 1 };
    const results = [];
    for (const threads of [1, 2]) {
      const wasm = await openDevice('wasm', { threads });
      results.push((await finished(settings, wasm)).figures);
    }
    expect(results[1]).toEqual(results[0]);
    const { figures } = await finished({ ...settings, seed: 5 });
    expect(figures[0].straightness).not.toBeCloseTo(results[0][0].straightness, 3);
  });

  it('are those of the library: straightness, samples and cost', async () => {
    const session = new PlaneSession({ ...small, points: 200 }, { device });
    await session.run();
    const { flow, figures } = session.flows[0];
    const starts = Float32Array.from(session.starts(200));
    const given = { shape: [2], count: 200, seed: 0, epsilon: 0, device };
    const velocity = (flow as NonNullable<typeof flow>).velocity;
    const { samples } = await sample(velocity, { ...given, latents: starts, solver: 'euler', steps: 10 });
    const { points } = session.paths(0, starts, { steps: 10 });
    expect(Math.max(...samples.map((value, i) => Math.abs(value - points[10][i])))).toBeLessThan(1e-3);
    expect(figures?.cost).toBeCloseTo(transportCost(starts, points[10]), 6);
    // The same mean, in float64 from the paths.
    let total = 0;
    for (let k = 0; k < 10; k++)
      for (let i = 0; i < 400; i++)
        total += ((points[k + 1][i] - points[k][i]) * 10 - (points[10][i] - points[0][i])) ** 2 / 2000;
    expect(figures?.straightness).toBeCloseTo(total, 3);
    const { straightness: fromNoise } = await straightness(velocity, { ...given, steps: 10 });
    expect(fromNoise).toBeGreaterThan(0);
    session.dispose();
  });
});

it('a stopped run continues where it was', async () => {
  const { figures: expected } = await finished(small);
  const session = new PlaneSession(small, { device });
  const controller = new AbortController();
  const onProgress = () => controller.abort();
  await expect(session.run({ signal: controller.signal, onProgress })).rejects.toThrow('abort');
  await session.run();
  expect(figuresOf(session)).toEqual(expected);
  session.dispose();
});

it('frees what it allocated, finished or stopped in the middle of a training', async () => {
  const used = async (pieces: number) => {
    const session = new PlaneSession({ ...small, distil: true }, { device });
    for (let i = 0; i < pieces && !session.idle; i++) session.advance(1e-6);
    session.dispose();
    expect(() => session.advance(1)).toThrow('the session was disposed');
    return device.memory().live;
  };
  const before = await used(Number.POSITIVE_INFINITY);
  for (const pieces of [5, 60, Number.POSITIVE_INFINITY]) expect(await used(pieces)).toBe(before);
});

describe('couplings of the first flow', () => {
  const figures = async (coupling: PlaneSettings['coupling'], more: Partial<PlaneSettings> = {}) => {
    const session = new PlaneSession({ ...small, coupling, ...more, reflow: 0 }, { device });
    await session.run();
    const found = session.coupling as NonNullable<typeof session.coupling>;
    session.dispose();
    return found;
  };

  it('cost what they should: random most, classes by class, minibatches nearly as little as the optimum', async () => {
    const [random, fixed, classes, minibatch, optimal] = [
      await figures('random'),
      await figures('fixed', { pairs: 600 }),
      await figures('classes'),
      await figures('minibatch', { batch: 150 }),
      await figures('optimal', { pairs: 600 }),
    ];
    expect(Math.abs(random.cost - fixed.cost)).toBeLessThan(20);
    // Class k of the triangle lies opposite to class k of its mirror image: 10, 10 and 10 sqrt(3) away.
    expect(Math.abs(classes.cost - ((100 + 100 + 300) / 3 + 4 * 0.3))).toBeLessThan(15);
    expect(optimal.excess).toBeCloseTo(0, 9);
    expect(optimal.swaps).toBe(0);
    expect(minibatch.cost).toBeLessThan(1.1 * minibatch.optimalCost);
    expect(minibatch.excess).toBeGreaterThan(0);
    expect(random.crossings).toBeGreaterThan(10 * optimal.crossings);
  }, 30_000);

  it('are shown as they are trained on', () => {
    const session = new PlaneSession({ ...small, coupling: 'classes' }, { device });
    const { x0, x1 } = session.couplingPairs(50);
    // The triangle upside down: a point and its partner have the same sign of x where it is large.
    for (let i = 0; i < 50; i++) if (Math.abs(x0[2 * i]) > 4) expect(x0[2 * i] * x1[2 * i]).toBeGreaterThan(0);
    session.dispose();
  });

  it('of given pairs are the pairs', async () => {
    const x0 = drawPlane('two_moons', 'from', 60, 1).points;
    const x1 = drawPlane('rings', 'to', 60, 1).points;
    const { session, figures: found } = await finished({ ...small, given: { x0, x1 } });
    expect(session.coupling?.cost).toBeCloseTo(transportCost(x0, x1), 9);
    expect(session.coupling?.optimalCost).toBeCloseTo(optimalAssignment(x0, x1).cost, 9);
    expect(session.coupling).toMatchObject(countCrossings(x0, x1));
    // There are no fresh points to compare with.
    expect(found[0].energy).toEqual({});
  });
});

describe('c-rectified flows', () => {
  it.each([1.5, 2, 4])(
    'for |x|^%d: the velocity of the potential is learned, and no cost rises',
    async (power) => {
      const { figures, session } = await finished({
        potential: true,
        power,
        reflow: 1,
        steps: 600,
        width: 32,
        depth: 2,
        points: 300,
      });
      const [first, second] = figures;
      // Far below the cost of random pairs, near the optimum of their ends.
      expect(first.cost).toBeLessThan(0.75 * (session.coupling?.cost ?? 0));
      expect(first.coupling.excess).toBeLessThan(0.1 * first.coupling.optimalCost);
      expect(second.cost).toBeLessThan(1.01 * first.cost);
      expect(second.straightness).toBeLessThan(first.straightness);
    },
    60_000,
  );

  it('have the gradient of one function as velocity, up to the map of the cost', async () => {
    const session = new PlaneSession({ ...small, potential: true, power: 4 }, { device });
    await session.run();
    // grad c(v) = |v|^(p - 2) v is a gradient field, so its integral around a square is 0.
    const n = 400;
    const corner = [
      [-2, -1],
      [5, -1],
      [5, 6],
      [-2, 6],
      [-2, -1],
    ];
    let around = 0;
    let along = 0;
    for (let side = 0; side < 4; side++) {
      const [[ax, ay], [bx, by]] = [corner[side], corner[side + 1]];
      const points = Array.from({ length: n }, (_, i) => {
        const s = (i + 0.5) / n;
        return [ax + s * (bx - ax), ay + s * (by - ay)];
      }).flat();
      const v = session.velocities(0, points, 0.4);
      for (let i = 0; i < n; i++) {
        const square = v[2 * i] ** 2 + v[2 * i + 1] ** 2;
        const part = (square * (v[2 * i] * (bx - ax) + v[2 * i + 1] * (by - ay))) / n;
        around += part;
        along += Math.abs(part);
      }
    }
    expect(Math.abs(around)).toBeLessThan(1e-3 * along);
    session.dispose();
  });
});

it('kernels need no network: reflow keeps their start points, and their ends lie in the hull of the target', async () => {
  const { session, figures } = await finished({
    velocity: 'kernel',
    from: 'gaussian',
    to: 'two_moons',
    pairs: 200,
    points: 50,
    bandwidth: 0.5,
  });
  expect(session.flows.map(({ kind }) => kind)).toEqual(['coupling', 'reflow']);
  const [first, second] = session.flows.map(({ pairs }) => pairs);
  expect(second?.x0).toEqual(first?.x0);
  const most = Math.max(...(first?.x1 ?? []).map(Math.abs));
  expect(Math.max(...(second?.x1 ?? []).map(Math.abs))).toBeLessThanOrEqual(most + 1e-9);
  expect(figures[1].straightness).toBeLessThan(figures[0].straightness / 5);
});

describe('sets of points', () => {
  it('of the notebook have its centres and its variance', () => {
    for (const [end, up] of [
      ['from', 1],
      ['to', -1],
    ] as const) {
      const { points, classes } = drawPlane('triangle', end, 6000, 3);
      for (const [k, centre] of [
        [0, [8.6603, 5 * up]],
        [1, [-8.6603, 5 * up]],
        [2, [0, -8.6603 * up]],
      ] as const) {
        const own = Array.from(classes.keys()).filter((i) => classes[i] === k);
        expect(Math.abs(own.length - 2000)).toBeLessThan(200);
        for (const axis of [0, 1]) {
          const values = own.map((i) => points[2 * i + axis] - centre[axis]);
          const mean = values.reduce((a, b) => a + b, 0) / own.length;
          const variance = values.reduce((a, b) => a + b * b, 0) / own.length;
          expect(Math.abs(mean)).toBeLessThan(4 * Math.sqrt(0.3 / 1800));
          expect(Math.abs(variance / 0.3 - 1)).toBeLessThan(0.15);
        }
      }
    }
  });

  it('begin with the same points whatever their number, and differ between ends and seeds', () => {
    const whole = drawPlane('spiral', 'from', 20, 4).points;
    expect(drawPlane('spiral', 'from', 5, 4, 7).points).toEqual(whole.slice(14, 24));
    expect(drawPlane('spiral', 'to', 20, 4).points).not.toEqual(whole);
    expect(drawPlane('spiral', 'from', 20, 5).points).not.toEqual(whole);
  });

  it('that are given are drawn one by one, with noise', () => {
    const source = { points: [0, 0, 10, 0, 0, 10], classes: [0, 1, 1] };
    const { points, classes } = drawPlane(source, 'to', 900, 1);
    const counts = [0, 0, 0];
    classes.forEach((k, i) => {
      const which = points[2 * i] === 10 ? 1 : points[2 * i + 1] === 10 ? 2 : 0;
      expect(k).toBe(source.classes[which]);
      counts[which]++;
    });
    for (const n of counts) expect(Math.abs(n - 300)).toBeLessThan(80);
    const noisy = drawPlane({ points: [1, 2], noise: 0.5 }, 'to', 2000, 1).points;
    const spread = noisy.reduce((sum, value, i) => sum + (value - [1, 2][i % 2]) ** 2, 0) / noisy.length;
    expect(Math.abs(spread / 0.25 - 1)).toBeLessThan(0.1);
  });
});

it.each<[settings: Record<string, unknown>, message: string]>([
  [{ from: 'triangel' }, 'unknown set "triangel"; did you mean triangle?'],
  [{ from: 3 }, 'from to be the name of a set, or { points }, got 3'],
  [{ from: { points: [] } }, 'points of "points" to hold points of 2 numbers'],
  [{ to: { points: [0, 1, Number.POSITIVE_INFINITY, 2] } }, 'finite numbers in points of "points", got Infinity at 2'],
  [{ to: { points: [0, 1e9] } }, 'between -1000000 and 1000000, got 1000000000 at point 0'],
  [{ to: { points: new Float32Array(200_000) } }, 'at most 20000 points of "points", got 100000'],
  [{ to: { points: [0, 1], classes: [0, 1] } }, 'a class for each of 1 points'],
  [{ to: { points: [0, 1, 2, 3], classes: [0, 2] } }, 'got none of class 1'],
  [{ to: { points: [0, 1], classes: [0.5] } }, 'whole numbers from 0 to 999, got 0.5 for point 0'],
  [{ coupling: 'classes', to: 'rings' }, 'equally many classes, at least 2; "triangle" has 3 and "rings" 4'],
  [{ coupling: 'optimal', pairs: 2001 }, 'at most 2000 pairs, got 2001'],
  [{ coupling: 'best' }, 'coupling to be one of "random", "fixed"'],
  [{ velocity: 'kernel', width: 8 }, 'no width with the velocity "kernel"'],
  [{ bandwidth: 2 }, 'no bandwidth with the velocity "mlp"'],
  [{ given: { x0: [0, 0], x1: [1, 1] }, from: 'rings' }, 'no from with given pairs'],
  [{ given: { x0: [0, 0], x1: [1, 1, 2, 2] } }, 'as many points in x1 as in x0, got 2 and 1'],
  [{ potential: true, power: 1 }, 'a power of at least 1.1 for c-rectified flows, got 1'],
  [{ power: 0.5 }, 'power to be a number from 1 to 10, got 0.5'],
  [{ seed: 2 ** 40 }, 'seed to be a whole number from 0 to 2147483647'],
  [{ steps: 1e9 }, 'steps to be a whole number from 1 to 1000000'],
  [{ neighbors: 3 }, 'did you mean "neighbours"?'],
])('%o is refused', (settings, message) => {
  expect(() => new PlaneSession(settings as Partial<PlaneSettings>, { device })).toThrow(message);
});

it('a training that diverges says so', async () => {
  const session = new PlaneSession({ ...small, to: { points: [1e6, 0], noise: 1e38 } }, { device });
  await expect(session.run()).rejects.toThrow(/not finite|finite numbers/);
  session.dispose();
});

it('what cannot follow is refused, and the defaults are filled in', async () => {
  const session = new PlaneSession({ ...small, velocity: undefined, distil: true }, { device });
  expect(() => session.reflow()).toThrow('reflow before distil');
  expect(() => session.distil()).toThrow('distilled already');
  expect(() => session.paths(0, [0, 0])).toThrow('a flow that has begun');
  session.dispose();
  expect(planeSettings({})).toMatchObject({
    from: 'triangle',
    width: 64,
    batch: 256,
    pairs: 10_000,
    points: 2000,
    assigned: 300,
  });
});
