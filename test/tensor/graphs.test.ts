// Random graphs: the same results with and without checkpointed parts, and the gradient of every value in them.
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { gradients, scope, type Tensor, tensor } from '../../src/index.ts';
import { full, openTestDevice } from '../support/devices.ts';
import { integer, random } from '../support/random.ts';
import { asPart, drawProgram, inline, type Program, runProgram, sourcesOn } from '../support/random_graph.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

const programs = fc.nat().map((seed) => {
  const draw = random(seed);
  return drawProgram((low, high) => integer(draw, low, high));
});
const runs = { numRuns: full ? 5000 : 400, seed: 2_016_04 };
const list = (t: Tensor | null) => t && Array.from(t.dataSync());

/** The values, whether each requires a gradient, and the gradients of the leaves, or the error. */
function outcome(program: Program, part: typeof inline): unknown {
  return scope(() => {
    const sources = sourcesOn(device);
    const { values, loss } = runProgram(program, sources, part);
    const found = values.map((t) => ({ values: list(t), requiresGrad: t.requiresGrad, blocked: t.blocked }));
    try {
      loss.backward();
    } catch (error) {
      return { found, error: (error as Error).message };
    }
    return { found, grads: sources.map(({ grad }) => list(grad)) };
  });
}

test('checkpointed parts give the same values, gradients and errors as the plain graph', () => {
  fc.assert(
    fc.property(programs, (program) => {
      expect(outcome(program, asPart)).toEqual(outcome(program, inline));
    }),
    runs,
  );
  // The device caches tables of the shapes that it has seen.
  const { live } = device.memory();
  for (const program of fc.sample(programs, { ...runs, numRuns: 20 })) outcome(program, asPart);
  expect(device.memory().live).toBe(live);
});

test('gradients() of every value equals the gradient of a leaf in its place', () => {
  fc.assert(
    fc.property(programs, (program) => {
      scope(() => {
        const sources = sourcesOn(device);
        const { values, loss } = runProgram(program, sources, asPart);
        if (!loss.requiresGrad) return;
        const places = values.flatMap((t, i) => (t.requiresGrad ? [i] : []));
        // Each value is listed twice.
        const inputs = [...places, ...places].map((i) => values[i]);
        const got = gradients(loss, inputs).map(list);
        const expected = places.map((place) =>
          scope(() => {
            const others = sourcesOn(device);
            let leaf = others[place];
            const { loss: again } = runProgram(program, others, asPart, (made, at) => {
              if (at !== place) return made;
              leaf = tensor(made.dataSync(), { shape: made.shape, device, requiresGrad: true });
              return leaf;
            });
            again.backward();
            return list(leaf.grad) ?? new Array(leaf.size).fill(0);
          }),
        );
        expect(got).toEqual([...expected, ...expected]);
        expect(sources.every(({ grad }) => grad === null)).toBe(true);
      });
    }),
    runs,
  );
});
