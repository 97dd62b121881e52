// `npm run docs` documents every public function and class without a warning: no broken link, no missing docstring. The pages in
// docs/, the README and the other pages name files that exist.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { ReflectionKind } from 'typedoc';
import { beforeAll, describe, expect, it } from 'vitest';
import { browserPath } from '../support/browser.ts';
import { builtPage } from '../support/playground.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const typedoc = join(dirname(createRequire(import.meta.url).resolve('typedoc/package.json')), 'bin/typedoc');
const out = mkdtempSync(join(tmpdir(), 'rectiflow-docs-'));
const json = join(out, 'public.json');

interface Reflection {
  name: string;
  kind: number;
  children?: Reflection[];
  signatures?: { comment?: { summary: { text: string }[] } }[];
  categories?: { title: string }[];
}
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const readJson = (name: string) => JSON.parse(read(name));

describe('npm run docs', () => {
  beforeAll(() => {
    builtPage();
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

  it('fits phones and screens, in light and dark mode', async () => {
    const look = read('test/run/report/look.js');
    await using browser = await chromium.launch({
      executablePath: browserPath(),
      args: ['--no-sandbox', '--disable-gpu'],
    });
    const page = await browser.newPage({ viewport: { width: 360, height: 800 } });
    const open = (name: string) => page.goto(pathToFileURL(join(out, name)).href);
    for (const name of readdirSync(join(out, 'documents'))) {
      await open(`documents/${name}`);
      const width = await page.evaluate('document.documentElement.scrollWidth');
      expect.soft({ name, width }).toEqual({ name, width: 360 });
    }
    for (const name of ['index', 'functions/rectiflow.conv2d', 'documents/From_the_official_PyTorch_code']) {
      await open(`${name}.html`);
      for (const colorScheme of ['light', 'dark'] as const)
        for (const width of [360, 768, 1280]) {
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize({ width, height: 800 });
          const seen = (await page.evaluate(`(${look})()`)) as { width: number; faint: string[] };
          expect.soft({ name, width: seen.width, faint: seen.faint }).toEqual({ name, width, faint: [] });
        }
    }
  }, 60_000);

  it('has the playground as a page, to which every page links', async () => {
    await using browser = await chromium.launch({
      executablePath: browserPath(),
      args: ['--no-sandbox', '--disable-gpu'],
    });
    const page = await browser.newPage();
    for (const name of ['index', 'functions/rectiflow.conv2d']) {
      await page.goto(pathToFileURL(join(out, `${name}.html`)).href);
      await page.click('text=Open the playground');
      expect(await page.title()).toBe('rectiflow playground');
    }
  }, 60_000);

  it('covers the exports of the package', () => {
    const exported = Object.values(readJson('package.json').exports)
      .flatMap((entry) => (typeof entry === 'object' ? [(entry as { default: string }).default] : []))
      .map((path) => path.replace('./dist/', 'src/').replace(/\.js$/, '.ts'));
    expect([...readJson('typedoc.json').entryPoints].sort()).toEqual(exported.sort());
  });

  it.each([
    'index',
    'classes/rectiflow.Tensor',
    'functions/rectiflow.conv2d',
    'functions/rectiflow.add',
    'documents/From_the_official_PyTorch_code',
    'modules/rectiflow_fluent',
    'functions/rectiflow_flow.rectifiedFlowLoss',
    'functions/rectiflow_run.train',
  ])('has the page %s', (page) => {
    expect(existsSync(join(out, `${page}.html`))).toBe(true);
  });

  it('documents what can be called as functions, in categories, and each with a description', () => {
    const { children } = JSON.parse(readFileSync(json, 'utf8')) as Reflection;
    const engine = children?.find(({ name }) => name === 'rectiflow') as Reflection;
    expect(engine.children?.filter(({ kind }) => kind === ReflectionKind.Variable)).toEqual([]);
    const functions = engine.children?.filter(({ kind }) => kind === ReflectionKind.Function) ?? [];
    expect(functions.length).toBeGreaterThan(200);
    const plain = functions.filter(({ signatures }) => !signatures?.[0].comment?.summary[0]?.text);
    expect(plain.map(({ name }) => name)).toEqual([]);
    const titles = engine.categories?.map(({ title }) => title);
    expect(titles).toEqual(expect.arrayContaining(['Element by element', 'Shapes and indices', 'Networks', 'Errors']));
    expect(titles).not.toContain('Names');
  });

  it('has no page with a broken link, to a file or within one', () => {
    const files = readdirSync(out, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.html'));
    const pages = new Map(files.map((file) => [file, readFileSync(join(out, file), 'utf8')]));
    const ids = new Map<string, Set<string>>();
    const idsOf = (file: string) => {
      if (!ids.has(file))
        ids.set(file, new Set([...(pages.get(file) ?? '').matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id)));
      return ids.get(file) as Set<string>;
    };
    const broken: string[] = [];
    let count = 0;
    for (const [file, text] of pages)
      for (const [, link] of text.matchAll(/\s(?:href|src)="([^"]+)"/g)) {
        if (/^(https?|mailto|data):/.test(link)) continue;
        count++;
        const [path, anchor] = decodeURIComponent(link.replaceAll('&amp;', '&')).split('#');
        const target = path === '' ? file : join(dirname(file), path);
        const missing = !(pages.has(target) || existsSync(join(out, target)));
        if (missing || (anchor && pages.has(target) && !idsOf(target).has(anchor))) broken.push(`${file}: ${link}`);
      }
    expect(count).toBeGreaterThan(10_000);
    expect(broken).toEqual([]);
  });
});

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'SECURITY.md',
  'test/README.md',
  ...readdirSync(join(root, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])),
];
/** The anchors that GitHub gives to the headings of a page. */
function anchorsOf(page: string): string[] {
  const headings = [...page.replace(/```.*?```/gs, '').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

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

  it('links to headings that exist', () => {
    const links = [...text.replace(/```.*?```/gs, '').matchAll(/\]\(([^)\s#:]*)#([^)\s]+)\)/g)];
    const missing = links.filter(([, file, anchor]) => {
      const target = file === '' ? text : readFileSync(join(root, dirname(page), file), 'utf8');
      return !anchorsOf(target).includes(anchor);
    });
    expect(missing.map(([link]) => link)).toEqual([]);
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

/** Names of the members that the documentation shows. */
function membersOf(module: string, name: string): string[] {
  const { children = [] } = JSON.parse(readFileSync(json, 'utf8')) as Reflection;
  const found = children.find((one) => one.name === module)?.children?.find((one) => one.name === name);
  return (found?.children ?? []).map((member) => member.name);
}

it.each<[module: string, name: string, members: string[]]>([
  [
    'rectiflow',
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
        'trim',
      ],
    ],
  ],
  ['rectiflow', 'Scope', ['[dispose]', 'close', 'run']],
  [
    'rectiflow/nn',
    'Adam',
    [
      ...['constructor', 'dispose', 'learningRate', 'minimize', 'options', 'restore', 'state', 'states', 'step'],
      'withEma',
    ],
  ],
  [
    'rectiflow/nn',
    'Module',
    [
      ...['[dispose]', 'constructor', 'dispose', 'eval', 'loadStateDict', 'namedParameters', 'namedTensors'],
      ...['parameterCount', 'stateDict', 'train', 'training'],
    ],
  ],
  ['rectiflow/data', 'PairSet', ['close', 'condition', 'count', 'fromImages', 'load', 'open', 'shape']],
])('of %s: %s has no internal member', (module, name, members) => {
  expect(membersOf(module, name).sort()).toEqual(members);
});

it('of rectiflow: Tensor has its data, its gradient and the ops as methods', async () => {
  const members = new Set(membersOf('rectiflow', 'Tensor'));
  const { Tensor } = await import('../../src/index.ts');
  const before = new Set(Object.getOwnPropertyNames(Tensor.prototype));
  await import('../../src/fluent.ts');
  for (const method of Object.getOwnPropertyNames(Tensor.prototype)) if (!before.has(method)) members.delete(method);
  expect([...members].sort()).toEqual([
    ...['[dispose]', 'backward', 'data', 'dataSync', 'device', 'dispose', 'disposed', 'dtype', 'grad', 'is'],
    ...['item', 'label', 'rank', 'registerHook', 'requireGrad', 'requiresGrad', 'shape', 'size', 'toString', 'write'],
  ]);
});
