// Pages of reports in a browser: they fit every width in light and dark mode, have legible text and labels that do not
// overlap, pass axe, enlarge pictures by keyboard, and run nothing that a name or a path holds.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shellLine } from '../../../src/run/report/repeat.ts';
import { browserPath } from '../../support/browser.ts';
import { pages } from './pages.ts';

const look = readFileSync(new URL('look.js', import.meta.url), 'utf8');
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-report-'));
let browser: Browser;
let all: Awaited<ReturnType<typeof pages>>;

beforeAll(async () => {
  all = await pages();
  for (const [name, { html }] of Object.entries(all)) writeFileSync(join(folder, `${name}.html`), html);
  browser = await chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox', '--disable-gpu'] });
}, 120_000);

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

/** Opens a page; messages of its console, such as violations of its security policy, are collected in `messages`. */
async function open(name: string, options: Parameters<Browser['newPage']>[0] = {}) {
  const page = await browser.newPage(options);
  const messages: string[] = [];
  page.on('console', (message) => messages.push(message.text()));
  page.on('pageerror', (error) => messages.push(error.message));
  await page.goto(`file://${join(folder, `${name}.html`)}`);
  return { page, messages, [Symbol.asyncDispose]: () => page.close() };
}

const names = [
  'chain',
  'hostile',
  'a single run',
  'a distilled run without scores',
  'a run that has just begun',
  'plane',
];

describe.each(names)('the page of %s', (name) => {
  it.each(['light', 'dark'] as const)(
    'fits 320 to 1280 pixels and is legible in %s mode',
    async (colorScheme) => {
      await using opened = await open(name, { colorScheme });
      const { page, messages } = opened;
      for (const width of [360, 768, 1280]) {
        await page.setViewportSize({ width, height: 800 });
        const seen = await page.evaluate(`(${look})()`);
        expect(seen, `${width} pixels`).toEqual({
          width,
          small: [],
          faint: [],
          overlapping: [],
          uneven: [],
          empty: [],
        });
      }
      await page.setViewportSize({ width: 320, height: 600 });
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(320);
      expect(messages).toEqual([]);
    },
    60_000,
  );

  it('has the sections that it has something to say in, and passes axe', async () => {
    // The page's own policy would keep axe out.
    await using opened = await open(name, { bypassCSP: true });
    const { page } = opened;
    expect(await page.locator('h2').allTextContents()).toEqual(all[name].sections);
    await page.addScriptTag({ path: axe });
    const { violations } = (await page.evaluate('axe.run()')) as {
      violations: { id: string; nodes: { html: string }[] }[];
    };
    expect(
      violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(' ')}`),
    ).toEqual([]);
  }, 60_000);
});

it('names and paths run nothing and stay text', async () => {
  await using opened = await open('hostile');
  const { page } = opened;
  expect(await page.evaluate(() => (globalThis as { attacked?: number }).attacked)).toBeUndefined();
  const count = (selector: string) => page.locator(selector).count();
  expect([await count('script'), await count('img[src^="data:image/png;base64,"]'), await count('img')]).toEqual([
    1,
    // Six samplers and the paths of two flows, one of the distilled one, and real images.
    2 * 7 + 2,
    // And the one that enlarges them.
    2 * 7 + 3,
  ]);
  expect(await page.locator('h3').first().textContent()).toContain('<script>globalThis.attacked=1</script>');
  expect(all.hostile.html).not.toContain('\u202e');
});

it('enlarges pictures by keyboard and by pointer, and returns to where the reader was', async () => {
  await using opened = await open('chain', { viewport: { width: 1280, height: 800 } });
  const { page, messages } = opened;
  const buttons = page.locator('button.zoom');
  const dialog = page.locator('dialog');
  const shown = () => page.locator('dialog img').getAttribute('alt');
  await buttons.nth(1).focus();
  await page.keyboard.press('Enter');
  expect(await dialog.isVisible()).toBe(true);
  expect(await shown()).toBe('18 samples of the 1-rectified flow, 2 steps');
  const large = page.locator('dialog img');
  const width = await page.evaluate('document.querySelector("dialog img").naturalWidth');
  const factor = ((await large.boundingBox())?.width as number) / (width as number);
  expect(factor).toBe(Math.floor(factor));
  expect(factor).toBeGreaterThan(4);
  await page.keyboard.press('ArrowRight');
  expect(await shown()).toBe('18 samples of the 1-rectified flow, 4 steps');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  expect(await page.locator('dialog p').textContent()).toBe(
    '4 paths of the 2-rectified flow from noise at the left to an image at the right, with two rows each (16 of 16)',
  );
  await page.keyboard.press('Escape');
  expect(await dialog.isVisible()).toBe(false);
  expect(await page.evaluate('[...document.querySelectorAll("button.zoom")].indexOf(document.activeElement)')).toBe(1);
  await buttons.first().click();
  await page.getByRole('button', { name: 'Next' }).click();
  expect(await shown()).toBe('18 samples of the 1-rectified flow, 2 steps');
  await page.getByRole('button', { name: 'Close' }).click();
  expect(await dialog.isVisible()).toBe(false);
  expect(messages).toEqual([]);
}, 60_000);

it('prints in black on white, without what only a screen needs', async () => {
  await using opened = await open('chain', { colorScheme: 'dark' });
  const { page } = opened;
  const colors = (page: Page) => page.evaluate('getComputedStyle(document.body).backgroundColor');
  expect(await colors(page)).toBe('rgb(18, 22, 28)');
  await page.emulateMedia({ media: 'print' });
  expect(await colors(page)).toBe('rgb(255, 255, 255)');
  expect(await page.locator('nav').isVisible()).toBe(false);
});

it('is one light file that fetches nothing', () => {
  for (const { html } of Object.values(all)) {
    expect(html.length).toBeLessThan(1_000_000);
    expect(html).not.toMatch(/https?:|<link|src="(?!data:)|url\(/);
  }
  expect(all.chain.html.length).toBeLessThan(400_000);
});

it('says how to make a run again, in words that a shell reads as they are', () => {
  expect(all.chain.html).toContain('npx rectiflow chain --config digits --workdir runs/quickstart-again');
  expect(all.chain.html).toContain('npx rectiflow report --workdir runs/quickstart');
  expect(all['a single run'].html).toContain(
    'npx rectiflow train --config cifar10_small --config.training.n_iters=400',
  );
  expect(shellLine(['a', '--b=c d', "it's", '$(x)', ''])).toBe(`a '--b=c d' 'it'\\''s' '$(x)' ''`);
});

it('says what is not finished, and shows a distilled flow with its own number of steps', () => {
  expect(all['a run that has just begun'].html).toContain('The rectified flow is not finished: 3 of 401 updates.');
  const { html } = all['a distilled run without scores'];
  expect(html).toContain('flow distilled to 3 steps');
  expect(html.match(/<button type="button" class="zoom"/g)).toHaveLength(1);
  expect(html).not.toMatch(/Frechet|reflow \(/);
});
