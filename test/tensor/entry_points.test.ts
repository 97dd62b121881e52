// Every public function either has a gradient or a reason for having none: all exports of all entry points are in the op table or in
// test/cases/entry_points.ts, and the statements made there hold.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { randn, scope, Tensor } from '../../src/index.ts';
import { composed, ops } from '../../src/kernels/index.ts';
import { asList } from '../cases/case.ts';
import { type Claim, claims, type Subject } from '../cases/entry_points.ts';
import { cases } from '../cases.ts';
import { openTestDevice } from '../support/devices.ts';

const { exports } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

/** Source files of the entry points, by name: index, nn, flow, ... */
const entries = Object.values<{ default?: string }>(exports).flatMap(({ default: built }) => {
  const path = /^\.\/dist\/(.*)\.js$/.exec(built ?? '')?.[1];
  return path ? [{ entry: path.replace(/\/index$/, ''), source: `../../src/${path}.ts` }] : [];
});

/** Ops whose gradients the case table compares with float64. */
const inCases = new Set(
  cases
    .filter((definition) => definition.inputs(definition.check[0]).some(({ differentiable }) => differentiable))
    .map(({ op }) => op),
);
const isChecked = (name: string) => {
  const op = ops[name as keyof typeof ops];
  if (composed.includes(name)) return inCases.has(name);
  return op !== undefined && typeof op.backward === 'function' && inCases.has(op.name);
};

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

test('the entry points are those of the package', () => {
  expect(entries.map(({ entry }) => entry).sort()).toEqual(Object.keys(claims).sort());
});

test.each(entries)('every export of $entry states its gradient', async ({ entry, source }) => {
  const methods = new Set(Object.getOwnPropertyNames(Tensor.prototype));
  const names = Object.keys(await import(source));
  expect(names.filter((name) => !(name in claims[entry]) && !(entry === 'index' && isChecked(name)))).toEqual([]);
  // Error classes need no statement about gradients.
  const gone = Object.entries(claims[entry]).filter(([name, claim]) => !names.includes(name) && !isError(claim));
  expect(gone.map(([name]) => name)).toEqual([]);
  // The methods that an entry point adds to tensors are the functions of the same names.
  const added = Object.getOwnPropertyNames(Tensor.prototype).filter((name) => !methods.has(name));
  expect(added.filter((name) => !(name in claims.index) && !isChecked(name))).toEqual([]);
});

const isError = (claim: Claim) => 'none' in claim && claim.none === 'an error';

const all = Object.entries(claims).flatMap(([entry, byName]) =>
  Object.entries(byName).map(([name, claim]) => ({ title: `${entry} ${name}`, name, claim })),
);
const numbers = (t: Tensor) => t.dataSync() as Float32Array;

describe('the gradient matches finite differences:', () => {
  const STEP = 1 / 256;

  /** The derivative along one direction of every leaf and parameter: by backward(), and by differences of the outputs. */
  function check({ leaves, positive, run, module }: Subject): void {
    const inputs = leaves.map((shape, i) => randn(shape, { seed: 3, stream: i, device }).requireGrad());
    const parameters = [...(module?.namedParameters() ?? [])];
    const places = [...inputs.map((t, i): [string, Tensor] => [`leaf ${i}`, t]), ...parameters];
    const directions = places.map(([name, t], i) => {
      const drawn = numbers(randn(t.shape, { seed: 4, stream: i, device }));
      if (positive && name.startsWith('leaf')) t.device.upload(t.address, numbers(t).map(Math.exp));
      else if (!name.startsWith('leaf'))
        t.device.upload(
          t.address,
          drawn.map((value) => 0.3 * value + 0.1),
        );
      return numbers(randn(t.shape, { seed: 5, stream: i, device }));
    });
    const outputs = () => scope(() => asList(run(inputs)).map((t) => Float32Array.from(numbers(t))));
    scope(() => {
      const made = asList(run(inputs));
      const cotangents = made.map((t, i) => randn(t.shape, { seed: 6, stream: i, device }));
      made.forEach((t, i) => {
        t.backward(cotangents[i], { retainGraph: i + 1 < made.length });
      });
      const weights = cotangents.map(numbers);
      const loss = () =>
        outputs().reduce((total, y, i) => y.reduce((sum, value, j) => sum + value * weights[i][j], total), 0);
      places.forEach(([name, t], i) => {
        const grad = t.grad;
        // The network that embeds the time applies the time projection of a block.
        if (name.startsWith('timeProjection')) return expect(grad, name).toBeNull();
        expect(grad, `${name} has a gradient`).not.toBeNull();
        const along = numbers(grad as Tensor).reduce((sum, value, j) => sum + value * directions[i][j], 0);
        const before = Float32Array.from(numbers(t));
        const moved = [STEP, -STEP].map((step) => {
          t.device.upload(
            t.address,
            before.map((value, j) => value + step * directions[i][j]),
          );
          return loss();
        });
        t.device.upload(t.address, before);
        const difference = (moved[0] - moved[1]) / (2 * STEP);
        const size = Math.sqrt(numbers(grad as Tensor).reduce((sum, value) => sum + value * value, 0));
        expect(Math.abs(along - difference), `${name}: ${along} and ${difference}`).toBeLessThan(0.01 * size + 1e-3);
      });
    });
    for (const [, t] of places) t.dispose();
  }

  test.each(all.filter(({ claim }) => 'differentiable' in claim))('$title', ({ claim }) => {
    check((claim as { differentiable: (device: Device) => Subject }).differentiable(device));
  });
});

const leaf = () => randn([2, 3], { seed: 3, device, requiresGrad: true });

test.each(all.filter(({ claim }) => 'refused' in claim))('$title refuses backward by name', ({ claim }) => {
  const { refused, run } = claim as Extract<Claim, { refused: string }>;
  scope(() => {
    const y = run(leaf());
    expect(y.requiresGrad).toBe(false);
    expect(() => y.backward()).toThrow(refused);
  });
});

test.each(all.filter(({ claim }) => 'unrecorded' in claim))('$title carries no gradient', ({ claim }) => {
  scope(() => {
    const y = (claim as Extract<Claim, { unrecorded: object }>).unrecorded(leaf());
    expect(y.requiresGrad).toBe(false);
    expect(() => y.backward()).toThrow('nothing it was made from requires a gradient');
  });
});

test.each(all.filter(({ claim }) => 'checkedIn' in claim))(
  '$title is covered by the test that it names',
  ({ name, claim }) => {
    const { checkedIn } = claim as Extract<Claim, { checkedIn: string }>;
    const text = readFileSync(new URL(`../${checkedIn}`, import.meta.url), 'utf8');
    expect(text).toMatch(new RegExp(`\\b${name}\\b`, 'i'));
    expect(text).toMatch(/grad/i);
  },
);
