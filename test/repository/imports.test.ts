// The import rules of biome.json hold: one violation of each kind, planted in a copy of the sources, is reported.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome');

const restricted = 'lint/style/noRestrictedImports';
const planted: [rule: string, file: string, text: string][] = [
  [restricted, 'src/tensor/planted.ts', `export { conv2d } from '../kernels/index.ts';`],
  [restricted, 'src/device/planted.ts', `export { tensor } from '../tensor/create.ts';`],
  [restricted, 'src/kernels/planted.ts', `export { Module } from '../nn/index.ts';`],
  [restricted, 'src/flow/planted.ts', `export { train } from '../run/index.ts';`],
  [restricted, 'src/run/config/planted.ts', `export { trainCommand } from '../../cli/train.ts';`],
  [restricted, 'src/planted.ts', `export { train } from './run/index.ts';`],
  [restricted, 'src/nn/planted.ts', `export { openLibrary } from '../device/native/loader.ts';`],
  [restricted, 'src/io/planted.ts', `export { default } from 'koffi';`],
  [restricted, 'src/data/planted.ts', `export { cases } from '../../test/cases.ts';`],
  ['lint/suspicious/noImportCycles', 'src/nn/cycle_a.ts', `export { b } from './cycle_b.ts';\nexport const a = 1;`],
  ['lint/suspicious/noImportCycles', 'src/nn/cycle_b.ts', `export { a } from './cycle_a.ts';\nexport const b = 1;`],
];

let found: string[];

beforeAll(() => {
  const copy = mkdtempSync(join(tmpdir(), 'rectiflow-imports-'));
  for (const name of ['src', 'biome.json']) cpSync(join(root, name), join(copy, name), { recursive: true });
  for (const [, file, text] of planted) writeFileSync(join(copy, file), `${text}\n`);
  const { stdout } = spawnSync(process.execPath, [biome, 'lint', '--max-diagnostics=1000', '--reporter=json'], {
    cwd: copy,
    encoding: 'utf8',
  });
  const { diagnostics } = JSON.parse(stdout) as { diagnostics: { category: string; location: { path: string } }[] };
  found = diagnostics.map(({ category, location }) => `${category} ${location.path}`);
});

it.each(planted)('%s: %s', (rule, file) => {
  expect(found).toContain(`${rule} ${file}`);
});

it('reports nothing else', () => {
  const expected = planted.map(([rule, file]) => `${rule} ${file}`);
  expect(found.filter((entry) => entry.startsWith('lint/') && !expected.includes(entry))).toEqual([]);
});
