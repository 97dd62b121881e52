// The digits in the built page: grids of the same noise, the walk between two noises, and a drawn digit that is led back to its noise.
import { createRequire } from 'node:module';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { linkTo, openPage, startPlayground } from '../support/playground.ts';

let browser: Browser;
let address: string;

beforeAll(async () => {
  ({ address, browser } = await startPlayground());
}, 120_000);

afterAll(() => browser?.close());

it('come from noise in one step or in ten, between two noises, and lead back to their noise', async () => {
  const { page, messages } = await openPage(browser, linkTo(address, { view: { page: 'digits' } }));
  const shown = (selector: string) =>
    page.evaluate(`[...document.querySelectorAll('${selector} canvas')].map((one) => one.toDataURL())`) as Promise<
      string[]
    >;
  /** The red parts of the pixels of each image, from 0 to 255. */
  const pixels = (selector: string) =>
    page.evaluate(
      `[...document.querySelectorAll('${selector} canvas')].map((one) => { const copy = new OffscreenCanvas(8, 8).getContext('2d', { willReadFrequently: true }); copy.drawImage(one, 0, 0); return [...copy.getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 0); })`,
    ) as Promise<number[][]>;
  const farthest = (a: number[], b: number[]) => Math.max(...a.map((value, i) => Math.abs(value - b[i])));
  const grid = (flow: string, steps: number) =>
    page.waitForSelector(`[data-digits="${flow}"][data-steps="${steps}"]`, { timeout: 30_000 });
  for (const flow of ['1', '2', 'distilled']) await grid(flow, 1);
  const one = await shown('[data-digits="1"]');
  expect(new Set(await shown('[data-digits="2"]')).size).toBe(16);
  // Ten steps of the first flow.
  await page.locator('.digitbar input[type="range"]').first().fill('10');
  await grid('1', 10);
  const ten = await shown('[data-digits="1"]');
  expect(ten).toHaveLength(16);
  ten.forEach((image, i) => expect(image).not.toBe(one[i]));
  // A new noise changes its own digit alone.
  await page.click('[data-cell="3"]');
  await expect.poll(() => shown('[data-digits="1"]'), { timeout: 20_000 }).not.toEqual(ten);
  const changed = await shown('[data-digits="1"]');
  expect(changed.map((image, i) => image !== ten[i]).indexOf(true)).toBe(3);
  expect(changed.filter((image, i) => image !== ten[i])).toHaveLength(1);
  // From one noise to another: the ends of the walk are the digits of the grid.
  await page.dragAndDrop('[data-cell="4"]', '[data-cell="15"]', { force: true });
  await page.waitForSelector('.cells.noise .end.b[data-cell="15"]');
  const walked = async () => (await pixels('[data-walk="2"]')).slice(0, 9);
  const own = await pixels('[data-digits="2"]');
  await expect.poll(async () => farthest((await walked())[8], own[15]), { timeout: 20_000 }).toBeLessThanOrEqual(2);
  expect(farthest((await walked())[0], own[4])).toBeLessThanOrEqual(2);
  // The drawn digit comes back from its noise.
  await page.click('.easel', { position: { x: 40, y: 60 } });
  for (const flow of ['1', '2']) {
    const text = await page.waitForSelector(`[data-inverse="${flow}"] .figure:has-text("difference")`, {
      timeout: 30_000,
    });
    expect(Number(/difference ([\d.]+)/.exec((await text.textContent()) ?? '')?.[1])).toBeLessThan(0.1);
  }
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve('axe-core/axe.min.js') });
  for (const width of [360, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    const faults = (await page.evaluate(
      'axe.run().then(({ violations }) => violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).map(({ id, nodes }) => id + " " + nodes.map(({ html }) => html.slice(0, 90))))',
    )) as string[];
    expect(faults).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
  }
  await page.click('header button:has-text("Link")');
  await page.waitForSelector('.notice:has-text("link")');
  const again = await openPage(browser, page.url());
  await again.page.waitForSelector('[data-digits="2"][data-steps="10"]', { timeout: 30_000 });
  await again.page.waitForSelector('.cells.noise .end.b[data-cell="15"]');
  const easel = 'document.querySelector(".easel canvas").toDataURL()';
  expect(await again.page.evaluate(easel)).toBe(await page.evaluate(easel));
  expect(messages).toEqual([]);
  await again.page.close();
  await page.close();
}, 120_000);
