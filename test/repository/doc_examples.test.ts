// Every public function of the engine has an example in its docstring, and every example of the engine runs and gives the values
// that its comments state.
import { beforeAll, describe, expect, it } from 'vitest';
import * as engine from '../../src/index.ts';
import { agrees, readExamples, runExample, stepsOf } from '../support/doc_examples.ts';

const { functions, examples } = readExamples(['index.ts']);

beforeAll(async () => {
  await engine.openDevice('cpu');
});

it('are on every public function', () => {
  const shown = new Set(examples.map(({ name }) => name));
  expect(functions.length).toBeGreaterThan(200);
  expect(functions.filter(({ name }) => !shown.has(name))).toEqual([]);
});

describe('of the engine', () => {
  it.each(examples.map(({ name, code }) => [name, code]))('%s', async (name, code) => {
    let compared = 0;
    await runExample(code, engine as unknown as Record<string, unknown>, (value, stated, text) => {
      compared++;
      const expected = new Function(`return (${stated})`)();
      expect(agrees(value, expected), `${text} is ${JSON.stringify(value)}, not ${stated}`).toBe(true);
    });
    // An example that states no value would pass whatever it computes.
    expect(compared).toBeGreaterThan(0);
    expect(code).toMatch(new RegExp(`\\b${name}\\b`));
  });
});

it('fail if a value is wrong, in any digit that is printed', async () => {
  const results: boolean[] = [];
  const run = (code: string) =>
    runExample(code, engine as unknown as Record<string, unknown>, (value, stated) => {
      results.push(agrees(value, new Function(`return (${stated})`)()));
    });
  await run(
    'const x = tensor([1, 2]);\nsqrt(x); // [1, 1.414]\nsqrt(x); // [1, 1.416]\nsqrt(x); // [1]\nx.shape; // [2]',
  );
  await run('greater(tensor([1, 2]), 1); // [0, 1]\ngreater(tensor([1, 2]), 1); // [false, true]');
  expect(results).toEqual([true, false, false, true, false, true]);
  expect(stepsOf('const a = 1; // text\na; // 1\na;')).toEqual([
    { text: 'const a = 1;' },
    { text: 'a', stated: '1' },
    { text: 'a', stated: undefined },
  ]);
});
