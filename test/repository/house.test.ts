// Where files belong, how they begin, and how long they may be: the top level of src/kernels holds the ops, src/run holds folders and a few files,
// and a file that grows beyond 450 lines is split.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const src = join(root, 'src');

const MOST_LINES = 450;
/** Files that may be longer; docs/decisions.md gives the reason for each. */
const longFiles = [
  'src/fluent.ts',
  'src/run/config/types.ts',
  'test/fakecuda/driver.cpp',
  'test/run/serve/serve.test.ts',
  'test/support/fuzz/containers.ts',
  'test/support/fuzz/formats.ts',
];

function filesIn(folder: string): string[] {
  return readdirSync(join(src, folder), { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
}

test('the top level of src/kernels holds op triplets, index.ts and op.ts alone', () => {
  const names = filesIn('kernels').filter((name) => name !== 'index.ts' && name !== 'op.ts');
  const ops = [...new Set(names.map((name) => name.replace(/\.\w+$/, '')))];
  expect(names.sort()).toEqual(ops.flatMap((op) => [`${op}.c`, `${op}.cu`, `${op}.ts`]).sort());
});

test('src/run has at most 4 files besides its folders', () => {
  expect(filesIn('run').length).toBeLessThanOrEqual(4);
});

test(`no file of code has more than ${MOST_LINES} lines, but for those that docs/decisions.md names`, () => {
  const lines = (file: string) => readFileSync(join(root, file), 'utf8').split('\n').length - 1;
  const files = ['src', 'test', 'bench', 'scripts', 'configs', 'examples'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
  );
  const code = files.filter(
    (file) => /\.(ts|js|mjs|cjs|c|h|cu|cuh|cpp|py)$/.test(file) && !/^bench\/\.|node_modules/.test(file),
  );
  expect(code.filter((file) => lines(file) > MOST_LINES).sort()).toEqual(longFiles);
  const reasons = readFileSync(join(root, 'docs/decisions.md'), 'utf8');
  expect(longFiles.filter((file) => !reasons.includes(file))).toEqual([]);
});

test('every source file of src begins with a comment that says what it is for', () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.(ts|c|h|cu|cuh)$/.test(file),
  );
  const first = (file: string) =>
    readFileSync(join(src, file), 'utf8')
      .split('\n')
      .find((line) => !/^(#!|\/\/\/)/.test(line));
  expect(files.filter((file) => !/^\/[/*]/.test(first(file) ?? ''))).toEqual([]);
});
