// What `npm run check` finds in a package that is not fit to publish.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const { findProblems } = (await import(fileURLToPath(new URL('../../scripts/check_package.js', import.meta.url)))) as {
  findProblems: (tarball: Buffer) => Promise<string[]>;
};

const manifest = {
  name: 'x',
  version: '1.0.0',
  license: 'MIT',
  type: 'module',
  exports: { '.': { types: './index.d.ts', default: './index.js' } },
};
const sound = { 'index.js': 'export const a = 1;\n', 'index.d.ts': 'export declare const a: number;\n' };

/** The problems of a package with these files. */
function problemsOf(files: Record<string, string>, more: object = {}): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-check-'));
  for (const [name, text] of Object.entries({ 'package.json': JSON.stringify({ ...manifest, ...more }), ...files })) {
    mkdirSync(dirname(join(folder, 'package', name)), { recursive: true });
    writeFileSync(join(folder, 'package', name), text);
  }
  execFileSync('tar', ['-czf', 'x.tgz', 'package'], { cwd: folder });
  return findProblems(readFileSync(join(folder, 'x.tgz')));
}

it('accepts a sound package', async () => {
  expect(await problemsOf(sound)).toEqual([]);
});

it.each<[string, Record<string, string>, object, RegExp]>([
  ['without types', { 'index.js': sound['index.js'] }, { exports: './index.js' }, /no types/],
  ['whose entry point is missing', { 'index.d.ts': sound['index.d.ts'] }, {}, /publint: .*index\.js.*not/],
  ['whose types come last', sound, { exports: { '.': { default: './index.js', types: './index.d.ts' } } }, /types/],
  [
    'whose declarations import a missing file',
    { ...sound, 'index.d.ts': `export * from './other.ts';\n` },
    {},
    /types: InternalResolutionError/,
  ],
  ['whose code is CommonJS', { ...sound, 'index.js': 'exports.a = 1;\n' }, {}, /publint|types: FalseESM/],
])('reports a package %s', async (_, files, more, problem) => {
  expect((await problemsOf(files, more)).join('\n')).toMatch(problem);
});
