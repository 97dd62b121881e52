// `npm run docs` documents every public function and class without a warning: no broken link, no missing docstring. The pages in
// docs/, the README and the other pages name files that exist.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const typedoc = join(dirname(createRequire(import.meta.url).resolve('typedoc/package.json')), 'bin/typedoc');
const out = mkdtempSync(join(tmpdir(), 'rectiflow-docs-'));
const json = join(out, 'public.json');
const readJson = (name: string) => JSON.parse(readFileSync(join(root, name), 'utf8'));

describe('npm run docs', () => {
  beforeAll(() => {
    // `npm run check` checks the types.
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [typedoc, '--out', out, '--json', json, '--skipErrorChecking'],
      {
        cwd: root,
        encoding: 'utf8',
        env: { ...process.env, NO_COLOR: '1' },
      },
    );
    expect(`${stdout}${stderr}`).not.toMatch(/warning|error/);
    expect(status).toBe(0);
  }, 120_000);

  it('covers the exports of the package', () => {
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
});

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'test/README.md',
  ...readdirSync(join(root, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])),
];
/** Folders that commands create and git ignores. */
const made = ['bench/.opponents', 'bench/.venv'];

describe.each(pages)('%s', (page) => {
  const text = readFileSync(join(root, page), 'utf8');

  it('names files that exist', () => {
    const named = [...text.matchAll(/(?<![\w./-])(?:src|test|bench|scripts|examples)\/[\w./-]*/g)];
    const paths = named.map(([path]) => path.replace(/\.$/, ''));
    expect(paths.filter((path) => !made.includes(path) && !existsSync(join(root, path)))).toEqual([]);
  });

  it('links to files that exist', () => {
    const prose = text.replace(/```.*?```/gs, '');
    const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link);
    const files = links.filter((link) => !/^(https?:|#)/.test(link)).map((link) => link.split('#')[0]);
    expect(files.filter((file) => !existsSync(join(root, dirname(page), file)))).toEqual([]);
  });
});

it('test/README.md names tests that exist', () => {
  const text = readFileSync(join(root, 'test/README.md'), 'utf8');
  const folders = readdirSync(join(root, 'test')).join('|');
  const named = [...text.matchAll(new RegExp(`\`((?:${folders})/[\\w/]+)\``, 'g'))].map(([, path]) => path);
  expect(named.length).toBeGreaterThan(20);
  const exists = (path: string) => ['', '.test.ts'].some((ending) => existsSync(join(root, 'test', path + ending)));
  expect(named.filter((path) => !exists(path))).toEqual([]);
});

interface Reflection {
  name: string;
  children?: Reflection[];
}

/** Names of the members that the documentation shows. */
function membersOf(module: string, name: string): string[] {
  const { children = [] } = JSON.parse(readFileSync(json, 'utf8')) as Reflection;
  const found = children.find((one) => one.name === module)?.children?.find((one) => one.name === name);
  return (found?.children ?? []).map((member) => member.name);
}

it.each<[module: string, name: string, members: string[]]>([
  [
    'index',
    'Device',
    [
      ...[
        'computesBf16',
        'description',
        'exact',
        'kind',
        'memory',
        'name',
        'precision',
        'resetHighWater',
        'synchronize',
      ],
    ],
  ],
  ['index', 'Scope', ['[dispose]', 'close', 'run']],
  [
    'nn',
    'Adam',
    [
      ...['constructor', 'dispose', 'learningRate', 'minimize', 'options', 'restore', 'state', 'states', 'step'],
      'withEma',
    ],
  ],
  [
    'nn',
    'Module',
    [
      ...['[dispose]', 'constructor', 'dispose', 'eval', 'loadStateDict', 'namedParameters', 'namedTensors'],
      ...['parameterCount', 'stateDict', 'train', 'training'],
    ],
  ],
  ['data', 'PairSet', ['close', 'count', 'load', 'open', 'shape']],
])('of %s: %s has no internal member', (module, name, members) => {
  expect(membersOf(module, name).sort()).toEqual(members);
});

it('of index: Tensor has its data, its gradient and the ops as methods', async () => {
  const members = new Set(membersOf('index', 'Tensor'));
  const { Tensor } = await import('../../src/index.ts');
  const before = new Set(Object.getOwnPropertyNames(Tensor.prototype));
  await import('../../src/fluent.ts');
  for (const method of Object.getOwnPropertyNames(Tensor.prototype)) if (!before.has(method)) members.delete(method);
  expect([...members].sort()).toEqual([
    ...[
      '[custom]',
      '[dispose]',
      'backward',
      'data',
      'dataSync',
      'device',
      'dispose',
      'disposed',
      'dtype',
      'grad',
      'is',
    ],
    ...['item', 'label', 'rank', 'registerHook', 'requireGrad', 'requiresGrad', 'shape', 'size', 'toString', 'write'],
  ]);
});
