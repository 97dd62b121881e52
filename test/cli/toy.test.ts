// The command `toy` from outside: the figures of the golden file, the page and its numbers as JSON, and input that is refused without a
// file being written.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { readNpz, writeNpz } from '../../src/io/index.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const golden = fileURLToPath(new URL('../golden/toy/nonparametric.npz', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-toy-'));
afterAll(() => rmSync(folder, { recursive: true }));

function toy(...words: string[]) {
  return spawnSync(process.execPath, [bin, 'toy', ...words], { cwd: folder, encoding: 'utf8', timeout: 100_000 });
}
const small = ['--steps', '20', '--batch', '16', '--width', '8', '--depth', '1', '--points', '40', '--reflow', '0'];

it('prints the figures of the golden file for its pairs', async () => {
  const { stdout, status } = toy('--given', golden, '--velocity', 'kernel', '--reflow', '2', '--points', '200');
  expect(status).toBe(0);
  const arrays = await readNpz(golden);
  const array = (name: string) => (arrays.get(name) as { data: ArrayLike<number> }).data;
  const figures = array('by_flow_straightness_cost_excess_oneStepError');
  const rows = [...stdout.matchAll(/^(\d)-rectified flow +(\S+) +(\S+) +(\S+) +- +-$/gm)];
  expect(rows.map(([, k]) => k)).toEqual(['1', '2', '3']);
  rows.forEach(([, , ...printed], k) => {
    printed.map(Number).forEach((value, i) => {
      expect(Math.abs(value - figures[4 * k + i])).toBeLessThan(1e-3);
    });
  });
  const [, cost, excess] = /^pairs +- +(\S+) +(\S+)/m.exec(stdout) ?? [];
  const [paired, optimal] = ['cost_of_pairs', 'optimal_cost'].map((name) => array(name)[0]);
  expect(Math.abs(Number(cost) - paired)).toBeLessThan(1e-3);
  expect(Math.abs(Number(excess) - (paired - optimal))).toBeLessThan(1e-3);
}, 60_000);

it('writes a page that loads nothing, and the same numbers as JSON; one seed gives one result', () => {
  const line = [...small, '--from', 'spiral', '--to', 'rings', '--reflow', '1', '--distil', '--seed', '4'];
  const words = line.filter(
    (word, i) => !(word === '--reflow' && line[i + 1] === '0') && !(word === '0' && line[i - 1] === '--reflow'),
  );
  const page = toy(...words, '--out', 'page.html');
  expect(page.stderr).not.toMatch(/^rectiflow:/m);
  expect(page.status).toBe(0);
  const json = toy(...words, '--out', 'figures.json');
  expect(json.stdout.replace(/report: .*/, '')).toBe(page.stdout.replace(/report: .*/, ''));
  const html = readFileSync(join(folder, 'page.html'), 'utf8');
  expect(html).toContain('From spiral to rings');
  expect(html).not.toMatch(/(src|href)="(?!#|data:)/);
  // Pairs and two flows; three of one step; the error in two sizes; three against the number of the flow.
  expect(html.match(/<svg /g)).toHaveLength(3 + 3 + 2 + 3);
  const { flows, settings, pairs } = JSON.parse(readFileSync(join(folder, 'figures.json'), 'utf8'));
  expect(settings).toMatchObject({ from: 'spiral', to: 'rings', seed: 4, steps: 20, distil: true });
  expect(page.stdout).toContain(pairs.cost.toFixed(4));
  for (const { kind, straightness, energy } of flows) {
    expect(page.stdout).toContain(energy[1].toFixed(5));
    if (kind !== 'distil') expect(page.stdout).toContain(straightness.toFixed(4));
  }
  expect(toy(...words.slice(0, -1), '5').stdout).not.toBe(json.stdout);
}, 60_000);

describe('points of a file', () => {
  it('are drawn from', () => {
    writeFileSync(join(folder, 'points.csv'), 'x,y\n0,0\n5,5\n-5,5\n');
    const { stdout, status } = toy(...small, '--to', 'points.csv', '--out', 'csv.json');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^1-rectified flow +\d/m);
    expect(JSON.parse(readFileSync(join(folder, 'csv.json'), 'utf8')).settings.to).toBe('points.csv');
  });

  it.each<[name: string, text: string, message: string]>([
    ['text', 'x,y\n1,2\n1,two\n', '"two"'],
    ['a third column', 'x,y,z\n1,2,3\n', 'expected two columns, x and y, below a line of names, got 3'],
    ['nothing', '', ''],
    ['no points', 'x,y\n', ''],
    ['half a line', 'x,y\n1,2\n3\n', ''],
    ['100,000 points', `x,y\n${'1,2\n'.repeat(100_000)}`, 'at most 20000 points of "bad.csv", got 100000'],
    ['points too far away', 'x,y\n1,2\n1e30,2\n', 'rescale them'],
    ['infinity', 'x,y\n1,2\nInfinity,2\n', ''],
  ])('with %s are refused', (_, text, message) => {
    writeFileSync(join(folder, 'bad.csv'), text);
    const before = readdirSync(folder).length;
    const { stderr, stdout, status } = toy(...small, '--from', 'bad.csv', '--out', 'never.html');
    expect(stderr).toMatch(/^rectiflow: .*bad\.csv/m);
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect([1, 2]).toContain(status);
    expect(readdirSync(folder)).toHaveLength(before);
  });
});

it.each<[what: string, arrays: Record<string, number[]>, message: string]>([
  ['no x1', { x0: [2, 2] }, 'x1'],
  ['three coordinates', { x0: [2, 3], x1: [2, 3] }, 'expected x0 [N, 2], got [2, 3]'],
  ['fewer ends', { x0: [2, 2], x1: [3, 2] }, 'as many points in x1 as in x0, got 3 and 2'],
])('given pairs with %s are refused', async (_, shapes, message) => {
  const arrays = Object.entries(shapes).map(([name, shape]) => {
    const data = new Float32Array(shape[0] * shape[1]).map((_value, i) => i);
    return [name, { shape, dtype: 'f32', data }] as const;
  });
  await writeNpz(join(folder, 'bad.npz'), Object.fromEntries(arrays));
  const { stderr, status } = toy('--given', 'bad.npz', '--velocity', 'kernel', '--out', 'never.html');
  expect(stderr).toContain(message);
  expect([1, 2]).toContain(status);
  expect(existsSync(join(folder, 'never.html'))).toBe(false);
});

it.each<[words: string[], message: string]>([
  [['--from', 'triangel'], 'unknown set "triangel"; did you mean triangle?'],
  [['--coupling', 'optimum'], '--coupling expects one of random, fixed, optimal, minibatch, classes, got "optimum"'],
  [['--given', golden, '--from', 'rings'], 'expected no --from with given pairs'],
  [['--cost', '2', '--velocity', 'kernel'], '--cost trains networks'],
  [['--out', 'no/such/folder/x.html'], 'no/such/folder'],
  [['--device', 'wasmm'], 'did you mean wasm?'],
])('%j is refused', (words, message) => {
  const { stderr, stdout, status } = toy(...words);
  expect(stderr).toContain(message);
  expect(stdout).toBe('');
  expect([1, 2]).toContain(status);
});
