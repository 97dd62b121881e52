// The optimal assignment against all permutations and against its certificate, prices of the columns; crossings against their definition.
import { describe, expect, it } from 'vitest';
import { countCrossings, optimalAssignment, transportCost } from '../../src/flow/index.ts';
import { random } from '../support/random.ts';

const draw = random('assignment');
const cloud = (n: number, round = false) =>
  Float64Array.from({ length: 2 * n }, () => (round ? Math.round(3 * draw()) : 20 * draw() - 10));

function* permutations(items: number[]): Generator<number[]> {
  if (items.length < 2) yield items;
  else
    for (const [i, first] of items.entries())
      for (const rest of permutations(items.filter((_, j) => j !== i))) yield [first, ...rest];
}

const costOf = (x0: Float64Array, x1: Float64Array, partner: ArrayLike<number>, power: number) =>
  Array.from(partner, (j, i) => Math.hypot(x1[2 * j] - x0[2 * i], x1[2 * j + 1] - x0[2 * i + 1]) ** power).reduce(
    (a, b) => a + b,
    0,
  ) /
  (x0.length / 2);

describe('the assignment', () => {
  it.each([1, 2, 3, 4, 5, 6, 7])('of %d points is the best permutation, also among equal costs', (n) => {
    for (let round = 0; round < 12; round++)
      for (const power of [1, 2, 4]) {
        const [x0, x1] = [cloud(n, round % 2 === 0), cloud(n, round % 2 === 0)];
        const { partner, cost } = optimalAssignment(x0, x1, { power });
        const all = [...permutations(Array.from({ length: n }, (_, i) => i))];
        const best = Math.min(...all.map((one) => costOf(x0, x1, one, power)));
        expect(new Set(partner).size).toBe(n);
        expect(cost).toBeCloseTo(best, 9);
        expect(costOf(x0, x1, partner, power)).toBeCloseTo(cost, 9);
      }
  });

  it('of 150 points has no swap and no cycle that would cost less', () => {
    for (const round of [false, true]) {
      const n = 150;
      const [x0, x1] = [cloud(n, round), cloud(n, round)];
      const { partner } = optimalAssignment(x0, x1);
      const cost = (i: number, j: number) => (x1[2 * j] - x0[2 * i]) ** 2 + (x1[2 * j + 1] - x0[2 * i + 1]) ** 2;
      // Bellman and Ford: rows are nodes, and i -> k costs what row i gains or loses by taking the column of row k.
      const distance = new Float64Array(n);
      let changed = true;
      for (let pass = 0; pass <= n && changed; pass++) {
        changed = false;
        for (let i = 0; i < n; i++)
          for (let k = 0; k < n; k++) {
            const through = distance[i] + cost(i, partner[k]) - cost(i, partner[i]);
            if (through < distance[k] - 1e-9) [distance[k], changed] = [through, true];
          }
      }
      // A negative cycle would lower distances for ever.
      expect(changed).toBe(false);
    }
  });

  it('of a cloud with itself is the identity, and of equal points costs nothing', () => {
    const x = cloud(40);
    expect(Array.from(optimalAssignment(x, x).partner)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    const same = new Float64Array(80).fill(3);
    const { partner, cost } = optimalAssignment(same, same);
    expect(cost).toBe(0);
    expect(new Set(partner).size).toBe(40);
  });

  it('on a line is the sorted order', () => {
    const n = 300;
    const line = () => Float64Array.from({ length: n }, () => draw());
    const [x0, x1] = [line(), line()];
    const { cost } = optimalAssignment(x0, x1, { dim: 1 });
    expect(cost).toBeCloseTo(transportCost(x0.slice().sort(), x1.slice().sort(), { dim: 1 }), 12);
  });
});

it('crossings are lines that share a point, swaps are pairs that cost less with their ends swapped', () => {
  const n = 40;
  const [x0, x1] = [cloud(n), cloud(n)];
  let [crossings, swaps] = [0, 0];
  for (let i = 0; i < n; i++)
    for (let j = 0; j < i; j++) {
      const [ax, ay, bx, by] = [x0[2 * i], x0[2 * i + 1], x1[2 * i], x1[2 * i + 1]];
      const [cx, cy, dx, dy] = [x0[2 * j], x0[2 * j + 1], x1[2 * j], x1[2 * j + 1]];
      // a + s (b - a) = c + u (d - c)
      const det = (bx - ax) * (cy - dy) - (by - ay) * (cx - dx);
      const s = ((cx - ax) * (cy - dy) - (cy - ay) * (cx - dx)) / det;
      const u = ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / det;
      if (s > 0 && s < 1 && u > 0 && u < 1) crossings++;
      const square = (x: number, y: number) => x * x + y * y;
      const now = square(bx - ax, by - ay) + square(dx - cx, dy - cy);
      if (square(dx - ax, dy - ay) + square(bx - cx, by - cy) < now) swaps++;
    }
  expect(crossings).toBeGreaterThan(20);
  expect(countCrossings(x0, x1)).toEqual({ crossings, swaps, compared: (n * (n - 1)) / 2 });
  const { partner } = optimalAssignment(x0, x1);
  const matched = Array.from(partner, (j) => [x1[2 * j], x1[2 * j + 1]]).flat();
  expect(countCrossings(x0, matched).swaps).toBe(0);
});
