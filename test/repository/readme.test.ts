// The README is short, shows pictures that scripts/pictures.js makes, and links to places that exist.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { openDevice } from '../../src/index.ts';
import { readPng } from '../../src/io/index.ts';
import { chainStages, flowStages } from '../../src/run/chain/stages.ts';
import { saveCheckpoint } from '../../src/run/checkpoints/checkpoint.ts';
import { trainingState } from '../../src/run/training/session.ts';
import { configWith } from '../support/config.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (page: string) => readFileSync(join(root, page), 'utf8');
const readme = read('README.md');
const images = readdirSync(join(root, 'docs/images')).sort();
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-readme-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('README.md', () => {
  it('has at most 700 words outside programs and pictures', () => {
    const prose = readme
      .replace(/```.*?```/gs, '')
      .replace(/<img[^>]*>|!\[[^\]]*\]\([^)]*\)/g, '')
      .replace(/\]\([^)]*\)/g, '');
    const words = prose.match(/[\w'.+-]*\w[\w'.+-]*/g) ?? [];
    expect(words.length).toBeGreaterThan(300);
    expect(words.length).toBeLessThanOrEqual(700);
  });

  it('gives two commands, and says that the package is not on npm', () => {
    const [first] = /```\n(.*?)```/s.exec(readme) as RegExpExecArray;
    expect(first).toBe('```\nnpm ci && npm start\nnpm run test:setup && npm test\n```');
    expect(readme).toContain('not yet on npm');
  });

  it('shows every picture, each small', () => {
    const shown = [...readme.matchAll(/docs\/images\/([\w.]+)/g)].map(([, name]) => name);
    expect([...new Set(shown)].sort()).toEqual(images);
    for (const name of images) expect(statSync(join(root, 'docs/images', name)).size, name).toBeLessThan(100_000);
  });
});

describe('links to a heading', () => {
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    ...readdirSync(join(root, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])),
  ];

  /** The address of a heading on GitHub. */
  const anchorOf = (heading: string) =>
    heading
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-');
  const anchorsOf = (page: string) =>
    [
      ...read(page)
        .replace(/```.*?```/gs, '')
        .matchAll(/^#+ (.*)$/gm),
    ].map(([, heading]) => anchorOf(heading));

  it.each(pages)('of %s exist', (page) => {
    const links = [
      ...read(page)
        .replace(/```.*?```/gs, '')
        .matchAll(/\]\(([^)\s]*)#([^)\s]+)\)/g),
    ];
    const missing = links
      .filter(([, path]) => !/^https?:/.test(path))
      .map(([, path, anchor]) => ({ file: path === '' ? page : join(dirname(page), path), anchor }))
      .filter(({ file, anchor }) => !existsSync(join(root, file)) || !anchorsOf(file).includes(anchor));
    expect(missing).toEqual([]);
  });
});

describe('scripts/pictures.js', () => {
  it('makes the pictures of the README again', async () => {
    const config = await configWith('digits', { 'model.nf': 8, 'chain.distil_steps': 1 });
    const device = await openDevice('cpu');
    const { model, optimizer } = trainingState(config, device);
    for (const { checkpoint, config: own } of flowStages(chainStages(config, folder))) {
      mkdirSync(dirname(checkpoint), { recursive: true });
      await saveCheckpoint(checkpoint, { model, optimizer, config: own, step: 1 });
    }
    optimizer.dispose();
    model.dispose();
    const out = join(folder, 'images');
    const words = ['scripts/pictures.js', '--chain', folder, '--out', out, '--steps', '20'];
    const { status, stderr } = spawnSync(process.execPath, words, { cwd: root, encoding: 'utf8', timeout: 120_000 });
    expect(status, stderr).toBe(0);
    expect(readdirSync(out).sort()).toEqual(images);
    for (const name of images) {
      const [made, committed] = [out, join(root, 'docs/images')].map((path) => join(path, name));
      // The first element has the size.
      const opening = (path: string) => /^<svg[^>]*>/.exec(readFileSync(path, 'utf8'))?.[0];
      if (name.endsWith('.svg')) expect(opening(made)).toBe(opening(committed));
      else {
        const [{ width, height }, there] = await Promise.all([readPng(made), readPng(committed)]);
        expect({ width, height }, name).toEqual({ width: there.width, height: there.height });
      }
    }
  }, 180_000);
});
