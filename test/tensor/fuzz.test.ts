// Random graphs of almost every op against reverse-mode differentiation in float64 (test/support/tape64.ts).
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { gradients, jvp, mul, scope, sum, type Tensor, tensor } from '../../src/index.ts';
import { add } from '../../src/kernels/elementwise.ts';
import { full, openTestDevice } from '../support/devices.ts';
import { random } from '../support/random.ts';
import { describeGraph, drawGraph, type Graph, names, runOnEngine, runOnTape } from '../support/random_program.ts';
import { Tape } from '../support/tape64.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

const GRAPHS = full ? 10_000 : 500;
const CHUNK = 500;

const largest = (values: ArrayLike<number>) => Array.from(values).reduce((most, v) => Math.max(most, Math.abs(v)), 0);

/** The engine rounds in other places than a tape that rounds each result, so it may differ by a multiple. */
const boundOf = (moved: number, size: number) => 64 * moved + 4e-6 * size + 1e-6;

function expectNear(
  got: ArrayLike<number>,
  exact: Float64Array,
  rounded: Float64Array,
  sizes: Float64Array,
  what: string,
) {
  const off = largest(exact.map((v, i) => v - got[i]));
  expect(off, what).toBeLessThan(boundOf(largest(exact.map((v, i) => v - rounded[i])), largest(sizes)));
}

function loss({ ends }: Graph, results: readonly Tensor[]): Tensor {
  const terms = ends.map(({ step, weights }) => {
    const shape = results[step].shape;
    return sum(mul(results[step], tensor(Float32Array.from(weights), { shape, device })));
  });
  return terms.reduce((a, b) => add(a, b));
}

function check(seed: number, seen: Set<string>): void {
  const graph = drawGraph(random(seed));
  if (graph.ends.length === 0) return;
  const title = `seed ${seed}: ${describeGraph(graph)}`;
  const exact = runOnTape(graph, new Tape());
  const rounded = runOnTape(graph, new Tape({ round: Math.fround }));
  const { gradients: sizes } = runOnTape(graph, new Tape({ absolute: true }));
  scope(() => {
    const leaves = graph.leaves.map(({ shape, data }) =>
      tensor(Float32Array.from(data), { shape, device, requiresGrad: true }),
    );
    const results = runOnEngine(graph, leaves);
    results.forEach((t, i) => {
      expectNear(t.dataSync(), exact.results[i], rounded.results[i], exact.results[i], `${title}: result ${i}`);
    });
    const grads = gradients(loss(graph, results), leaves);
    grads.forEach((grad, i) => {
      expectNear(
        grad.dataSync(),
        exact.gradients[i],
        rounded.gradients[i],
        sizes[i],
        `${title}: gradient of leaf ${i}`,
      );
    });
    // The derivative of the loss along a direction is the product of the gradient with it.
    const draw = random(-seed);
    const directions = graph.leaves.map(({ data }) => Float32Array.from(data, () => 2 * draw() - 1));
    const tangents = directions.map((values, i) => tensor(values, { shape: graph.leaves[i].shape, device }));
    const [, tangent] = jvp((...xs: Tensor[]) => loss(graph, runOnEngine(graph, xs)), leaves, tangents);
    const along = (gradients: readonly Float64Array[], weight = (x: number) => x) =>
      gradients.reduce((all, row, i) => row.reduce((total, g, j) => total + g * weight(directions[i][j]), all), 0);
    const moved = along(
      exact.gradients.map((row, i) => row.map((g, j) => Math.abs(g - rounded.gradients[i][j]))),
      Math.abs,
    );
    const off = Math.abs(tangent.item() - along(exact.gradients));
    expect(off, `${title}: jvp`).toBeLessThan(boundOf(moved, along(sizes, Math.abs)));
  });
  for (const { name } of graph.steps) seen.add(name);
}

const seen = new Set<string>();

test.for(Array.from({ length: GRAPHS / CHUNK }, (_, i) => CHUNK * i + 1))(
  `values, gradients and tangents of ${CHUNK} random graphs from seed %i on are those of float64`,
  { timeout: 600_000 },
  (first) => {
    for (let seed = first; seed < first + CHUNK; seed++) check(seed, seen);
  },
);

test('every op of the table occurs in them', () => {
  expect([...seen].sort()).toEqual(names.toSorted());
});
