// The page of `rectiflow serve --model` in a real browser: a person types a prompt, sees the progress and the picture, repeats the seed
// and cancels an order. The page looks right on phones and screens, in light and dark mode, and reaches nothing else.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { decodePng } from '../../../src/io/index.ts';
import { loadTextToImage, type SampleServer, serveTextToImage } from '../../../src/run/index.ts';
import { browserPath } from '../../support/browser.ts';
import { openTestDevice } from '../../support/devices.ts';
import { pipelineShapes, writePipeline } from '../../support/instaflow.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-page-'));
const model = join(folder, 'instaflow');
/** Where screenshots are kept, to be looked at; by default nowhere. */
const screenshots = process.env.RECTIFLOW_SCREENSHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const look = readFileSync(fileURLToPath(new URL('../report/look.js', import.meta.url)), 'utf8');

let server: SampleServer;
let browser: Browser;
let page: Page;
const messages: string[] = [];
const requested = new Set<string>();

beforeAll(async () => {
  await writePipeline(model, pipelineShapes().shapes);
  [server, browser] = await Promise.all([
    serveTextToImage(model, { port: 0, threads: 1, queue: 2 }),
    chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox', '--disable-gpu'] }),
  ]);
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.on('console', (message) => messages.push(message.text()));
  page.on('pageerror', (error) => messages.push(error.message));
  page.on('request', (request) => requested.add(new URL(request.url()).host));
  await page.goto(server.url);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await server?.close();
  rmSync(folder, { recursive: true, force: true });
});

const field = (label: string) => page.getByLabel(label, { exact: true });
const card = (prompt: string) => page.locator('article').filter({ has: page.getByRole('heading', { name: prompt }) });

async function fill(values: Record<string, string | number>): Promise<void> {
  for (const [label, value] of Object.entries(values)) await field(label).fill(String(value));
}

/** The bytes of the picture that the newest card of a prompt shows, or an older one. */
async function pictureOf(prompt: string, back = 0): Promise<Buffer> {
  const path = await card(prompt).nth(back).locator('img').first().getAttribute('src');
  return Buffer.from(await (await fetch(server.url + path)).arrayBuffer());
}

const shoot = async (name: string) =>
  screenshots && page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });

it('a prompt becomes the picture that the library makes, with its progress', async () => {
  await page.getByText('instaflow, 3 million parameters, on cpu').waitFor();
  expect(await field('Height').inputValue()).toBe('512');
  await fill({ 'What to show': 'a photo of a <b>cat</b>', Height: 128, Width: 128, Steps: 40, Seed: 3 });
  expect(await field('a new seed each time').isChecked()).toBe(false);
  await page.getByRole('button', { name: 'Make' }).click();
  const own = card('a photo of a <b>cat</b>');
  await own.getByText(/^Step \d+ of 40, \d+ s$/).waitFor();
  await shoot('running');
  expect(Number(await page.evaluate('document.querySelector("progress").value'))).toBeLessThan(1);
  await own.getByText(/^Made in [\d.]+ s$/).waitFor();
  const shown = await page.evaluate(
    "document.querySelector('img').decode().then(() => document.querySelector('img').naturalWidth)",
  );
  expect(shown).toBe(128);
  const device = await openTestDevice('cpu');
  using same = await loadTextToImage(model, { device });
  const { images } = await same.generate({ prompt: 'a photo of a <b>cat</b>', size: 128, steps: 40, seed: 3 });
  expect(Buffer.from((await decodePng(await pictureOf('a photo of a <b>cat</b>'))).data).equals(images)).toBe(true);
}, 60_000);

it('the same seed gives the same bytes, and another one does not', async () => {
  await fill({ 'What to show': 'a boat', Steps: 2, Seed: 11 });
  await page.getByRole('button', { name: 'Make' }).click();
  await card('a boat')
    .getByText(/^Made in/)
    .waitFor();
  const first = await pictureOf('a boat');
  await card('a boat').getByRole('button', { name: 'Use again' }).click();
  expect([await field('Seed').inputValue(), await field('Height').inputValue()]).toEqual(['11', '128']);
  const repeat = async () => {
    const before = await card('a boat').count();
    await page.getByRole('button', { name: 'Make' }).click();
    await card('a boat').nth(before).waitFor();
    await card('a boat')
      .first()
      .getByText(/^Made in/)
      .waitFor();
    return pictureOf('a boat');
  };
  expect((await repeat()).equals(first)).toBe(true);
  await field('a new seed each time').check();
  expect((await repeat()).equals(first)).toBe(false);
}, 60_000);

it('a running order and a waiting one are cancelled, and a full queue is refused', async () => {
  await fill({ 'What to show': 'a long walk', Steps: 1000, Height: 512, Width: 512, Seed: 1 });
  await page.getByRole('button', { name: 'Make' }).click();
  await card('a long walk').getByText(/^Step/).waitFor();
  for (const prompt of ['second', 'third']) {
    await field('What to show').fill(prompt);
    await page.getByRole('button', { name: 'Make' }).click();
    await card(prompt).waitFor();
  }
  await card('second').getByText('Waits for one other order').waitFor();
  await card('third').getByText('Waits for 2 other orders').waitFor();
  await field('What to show').fill('fourth');
  await page.getByRole('button', { name: 'Make' }).click();
  await page.getByRole('alert').getByText('the queue is full: 2 orders are waiting').waitFor();
  await shoot('waiting');
  await card('third').getByRole('button', { name: 'Cancel' }).click();
  await card('third').getByText('Cancelled').waitFor();
  await card('a long walk').getByRole('button', { name: 'Cancel' }).click();
  await card('a long walk').getByText('Cancelled').waitFor();
  await card('second').getByText(/^Step/).waitFor();
  await card('second').getByRole('button', { name: 'Cancel' }).click();
  await card('second').getByText('Cancelled').waitFor();
  await card('second').getByRole('button', { name: 'Remove' }).click();
  await card('second').waitFor({ state: 'detached' });
  // What was interrupted leaves nothing behind: the next picture has the bytes of the first test.
  await fill({ 'What to show': 'a boat', Steps: 2, Height: 128, Width: 128, Seed: 11 });
  await page.getByRole('button', { name: 'Make' }).click();
  await card('a boat')
    .first()
    .getByText(/^Made in/)
    .waitFor();
  const again = await pictureOf('a boat');
  expect(again.equals(await pictureOf('a boat', 3))).toBe(true);
}, 60_000);

it('several pictures, a negative text, and a note', async () => {
  await fill({ 'What to show': `cats ${'and cats '.repeat(60)}`, Guidance: 2, Steps: 1, Pictures: 4 });
  await field('What not to show').fill('dogs');
  await page.getByRole('button', { name: 'Make' }).click();
  const own = card('cats and cats').first();
  await own.getByText(/^Made in .*The text network reads 75 tokens/).waitFor();
  expect(await own.locator('img').count()).toBe(4);
  const saved = page.waitForEvent('download');
  await own.getByRole('link', { name: 'Save 2' }).click();
  expect((await saved).suggestedFilename()).toMatch(/^cats_and_cats_\w+_11_1\.png$/);
  expect(await own.getByText('guidance 2, not: dogs').count()).toBe(1);
}, 60_000);

it('looks right on phones and screens, in light and dark mode, without help from elsewhere', async () => {
  for (const colorScheme of ['light', 'dark'] as const)
    for (const width of [360, 768, 1280]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      const { small, faint, ...seen } = (await page.evaluate(`(${look})()`)) as Record<string, string[]> & {
        width: number;
      };
      expect({ width: seen.width, small, faint }).toEqual({ width, small: [], faint: [] });
      await shoot(`${colorScheme}-${width}`);
    }
  // The policy of the page keeps everything else out, axe-core too.
  const { violations } = (await page.evaluate(`(() => { ${axe} return axe.run(); })()`)) as {
    violations: { id: string }[];
  };
  expect(violations.map(({ id }) => id)).toEqual([]);
  expect(messages.filter((text) => !text.includes('503'))).toEqual([]);
  expect([...requested]).toEqual([new URL(server.url).host]);
}, 60_000);
