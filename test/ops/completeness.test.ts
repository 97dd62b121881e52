// The case table covers the op table: an op added to src/kernels/index.ts without a case fails these tests, and so does a case
// of an op that does not exist.
import { expect, test } from 'vitest';
import * as engine from '../../src/index.ts';
import { composed, ops } from '../../src/kernels/index.ts';
import { linearCombination } from '../../src/kernels/ode.ts';
import { describeCase } from '../cases/case.ts';
import { cases, casesIn } from '../cases.ts';

/** Ops without a case, each with the reason and the place where it is tested. */
const elsewhere: Record<string, string> = {};

const opNames = Object.values(ops)
  .map(({ name }) => name)
  .concat(composed);
const covered = new Set(cases.map(({ op }) => op));

/** The function of each op by name. The solvers' op does not check its arguments as public functions do. */
const functions: Record<string, unknown> = {
  ...engine,
  linearCombination: () => linearCombination(null, [], []),
};

test('every op is named after its function, in the table and in messages', () => {
  // Casts to integer dtypes are a separate op, since they have no gradient.
  const { castToWhole, flashAttention, ...others } = ops;
  expect(castToWhole.name).toBe('cast');
  // So is attention by blocks, for its other memory.
  expect(flashAttention.name).toBe('attention');
  for (const [key, { name }] of Object.entries(others)) {
    expect(name).toBe(key);
    expect(functions[name], name).toBeTypeOf('function');
    expect(functions[name] as () => unknown, name).toThrow(`[${name}] `);
  }
});

test('every composed function is public and is not an op', () => {
  expect(composed.filter((name) => name in ops || typeof functions[name] !== 'function')).toEqual([]);
});

test('every op has a case or a reason for having none', () => {
  expect(opNames.filter((name) => !covered.has(name) && !(name in elsewhere))).toEqual([]);
});

test('every case and every reason belongs to an op', () => {
  const known = new Set(opNames);
  expect([...covered, ...Object.keys(elsewhere)].filter((name) => !known.has(name))).toEqual([]);
});

test('every differentiable op has a case that checks its gradient', () => {
  const checked = new Set(
    cases
      .filter((definition) => definition.inputs(definition.check[0]).some((input) => input.differentiable))
      .map(({ op }) => op),
  );
  const differentiable = Object.values(ops).filter(({ backward }) => typeof backward === 'function');
  expect(differentiable.map(({ name }) => name).filter((name) => !checked.has(name) && !(name in elsewhere))).toEqual(
    [],
  );
});

test('case titles are unique and every case has sizes and a reason for its tolerance', () => {
  const titles = cases.map((definition) => describeCase(definition));
  expect(titles.filter((title, i) => titles.indexOf(title) !== i)).toEqual([]);
  for (const definition of cases) {
    expect(definition.check.length, describeCase(definition)).toBeGreaterThan(0);
    expect(definition.tolerance.reason.length, describeCase(definition)).toBeGreaterThan(10);
    if (definition.time) expect(definition.flops ?? definition.bytes, describeCase(definition)).toBeDefined();
  }
});

test('every op that has a build for bf16 has a case in bf16, and one for tf32 a case in tf32', () => {
  for (const precision of ['bf16', 'tf32'] as const) {
    const checked = new Set(casesIn(precision).map(({ op }) => op));
    const built = Object.values(ops).filter(({ cuda }) => typeof cuda === 'object' && precision in cuda);
    // The bf16 builds of these serve attention and gradients; the ops themselves accept f32 only and refuse bf16.
    const inner = ['argmax', 'argmin', 'crossEntropy', 'logSoftmax', 'max', 'min', 'softmax'];
    expect(built.map(({ name }) => name).filter((name) => !checked.has(name) && !inner.includes(name))).toEqual([]);
  }
});
