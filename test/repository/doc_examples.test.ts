// Every public function and class of the package has an example in its docstring, and every example has the right types, runs in a
// folder of its own and gives the values that its comments state.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import * as data from '../../src/data/index.ts';
import * as evaluation from '../../src/eval/index.ts';
import * as flow from '../../src/flow/index.ts';
import * as engine from '../../src/index.ts';
import * as io from '../../src/io/index.ts';
import * as nn from '../../src/nn/index.ts';
import * as plane from '../../src/plane/index.ts';
import * as run from '../../src/run/index.ts';
import * as testing from '../../src/testing/index.ts';
import { agrees, readExamples, runExample, statedIn } from '../support/doc_examples.ts';
import { folderOf } from '../support/doc_files.ts';
import { buildWasm } from '../support/wasm.ts';

/** Examples that need files which are not part of the package. Their types alone are checked. */
const notRun: Record<string, string> = {
  downloadCifar10: 'downloads 170 MB',
  downloadFile: 'downloads 96 MB',
  FidInception: 'needs published weights of 96 MB',
  Lpips: 'needs published weights of 528 MB',
};

const root = fileURLToPath(new URL('../..', import.meta.url));
const entries = Object.values(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports).flatMap((entry) =>
  typeof entry === 'object' ? [(entry as { default: string }).default.replace(/^\.\/dist\/(.*)\.js$/, '$1.ts')] : [],
);
const modules = [engine, nn, flow, data, io, evaluation, plane, run, testing];
const scope = Object.assign({}, ...modules) as Record<string, unknown>;
const { names, examples, faults } = readExamples(entries);
const typeOnly = new Set(names.filter((one) => one.typeOnly).map(({ name }) => name));
const before = process.cwd();

beforeAll(async () => {
  buildWasm();
  await engine.openDevice('cpu');
});

afterEach(() => process.chdir(before));

it('are on every public function and class', () => {
  const shown = new Set(examples.map(({ entry, name }) => `${entry} ${name}`));
  expect(names.length).toBeGreaterThan(400);
  expect(names.map(({ entry, name }) => `${entry} ${name}`).filter((name) => !shown.has(name))).toEqual([]);
});

it('have the types of the package', () => {
  expect(faults).toEqual([]);
});

it('can use the names of all entry points, which differ', () => {
  expect(Object.keys(scope)).toHaveLength(modules.reduce((sum, module) => sum + Object.keys(module).length, 0));
});

it.each(Object.keys(notRun))('of %s is not run, but exists', (name) => {
  expect(examples.map((example) => example.name)).toContain(name);
});

describe.each(entries.filter((entry) => examples.some((one) => one.entry === entry)))('of %s', (entry) => {
  const own = examples.filter((example) => example.entry === entry && !Object.hasOwn(notRun, example.name));

  it.each(own.map(({ name, code }) => [name, code]))('%s', async (name, code) => {
    let compared = 0;
    process.chdir(await folderOf(code));
    process.env.RECTIFLOW_DATA = process.cwd();
    await runExample(code, scope, (value, stated, text) => {
      compared++;
      const expected = new Function(`return (${stated})`)();
      expect(agrees(value, expected), `${text} is ${JSON.stringify(value)}, not ${stated}`).toBe(true);
    });
    // An example that states no value would pass whatever it computes.
    expect(compared).toBeGreaterThan(0);
    if (!typeOnly.has(name)) expect(code).toMatch(new RegExp(`\\b${name.split('.').at(-1)}\\b`));
  });
});

it('fail if a value is wrong, in any digit that is printed', async () => {
  const results: boolean[] = [];
  const run = (code: string) =>
    runExample(code, scope, (value, stated) => {
      results.push(agrees(value, new Function(`return (${stated})`)()));
    });
  await run(
    'const x = tensor([1, 2]);\nsqrt(x); // [1, 1.414]\nsqrt(x); // [1, 1.416]\nsqrt(x); // [1]\nx.shape; // [2]',
  );
  await run('greater(tensor([1, 2]), 1); // [0, 1]\ngreater(tensor([1, 2]), 1); // [false, true]');
  await run("import { sep } from 'node:path';\nfor (const one of [1, 2]) {\n  one + sep; // '1/'\n}");
  expect(results).toEqual([true, false, false, true, false, true, true, false]);
});

it('fail if a line that states a value does not run', async () => {
  await expect(runExample('try {\n  1; // 1\n} catch (error) {\n  error; // 2\n}', {}, () => {})).rejects.toThrow(
    'error did not run',
  );
});

it('state values at the end of a line', () => {
  const code = 'const a = 1; // text\na; // 1\na;\nif (a) {\n  a + 1; // 2\n}\nconst f = () => {\n  a; // text\n};';
  expect(statedIn(code).map(({ text, stated }) => [text, stated])).toEqual([
    ['a', '1'],
    ['a + 1', '2'],
  ]);
});
