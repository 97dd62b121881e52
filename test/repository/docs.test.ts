// `npm run docs` describes every public function and class, without a warning: no broken link, none without a docstring.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const typedoc = join(dirname(createRequire(import.meta.url).resolve('typedoc/package.json')), 'bin/typedoc');
const out = mkdtempSync(join(tmpdir(), 'rectiflow-docs-'));
const readJson = (name: string) => JSON.parse(readFileSync(join(root, name), 'utf8'));

beforeAll(() => {
  // Types are `npm run check`'s.
  const { stdout, stderr, status } = spawnSync(process.execPath, [typedoc, '--out', out, '--skipErrorChecking'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  expect(`${stdout}${stderr}`).not.toMatch(/warning|error/);
  expect(status).toBe(0);
}, 120_000);

it('covers what the package exports', () => {
  const exported = Object.values(readJson('package.json').exports)
    .flatMap((entry) => (typeof entry === 'object' ? [(entry as { default: string }).default] : []))
    .map((path) => path.replace('./dist/', 'src/').replace(/\.js$/, '.ts'));
  expect([...readJson('typedoc.json').entryPoints].sort()).toEqual(exported.sort());
});

it.each([
  'index',
  'classes/index.Tensor',
  'functions/index.conv2d',
  'variables/index.add',
  'functions/flow.rectifiedFlowLoss',
  'functions/run.train',
])('has the page %s', (page) => {
  expect(existsSync(join(out, `${page}.html`))).toBe(true);
});
