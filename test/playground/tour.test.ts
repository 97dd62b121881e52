// The eight stops of the tour, whose claims all get their numbers; and the tools of the clouds, the training and the picture that no other
// test uses.
import { encode as encodePng } from 'fast-png';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exported, linkTo, openPage, quick, startPlayground, trained } from '../support/playground.ts';

let browser: Browser;
let address: string;

beforeAll(async () => {
  ({ address, browser } = await startPlayground());
}, 120_000);

afterAll(() => browser?.close());

it('each claim of the tour has a number, and those of reflow hold', async () => {
  const { page, messages } = await openPage(browser, linkTo(address, { problem: quick }));
  await page.click('header button:has-text("Tour")');
  const titles: string[] = [];
  const numbers = new Map<string, number>();
  for (let stop = 1; stop <= 8; stop++) {
    await page.waitForSelector(`.tour .where:has-text("Stop ${stop} of 8")`);
    titles.push((await page.textContent('.tour h2')) as string);
    const work = page.locator('.tour .main:has-text("Train"), .tour .main:has-text("Reflow")');
    if (await work.count()) await work.click();
    await page.waitForFunction(
      '[...document.querySelectorAll(".tour dd")].every((one) => /\\d/.test(one.textContent))',
      null,
      { timeout: 60_000 },
    );
    await trained(page);
    for (const figure of await page.locator('.tour dd').all())
      numbers.set(
        `${stop} ${await figure.getAttribute('data-figure')}`,
        Number.parseFloat(((await figure.textContent()) as string).replace(',', '')),
      );
    await page.click(`.tour button:has-text("${stop < 8 ? 'Next' : 'Finish'}")`);
  }
  expect(await page.locator('.tour').count()).toBe(0);
  expect(new Set(titles).size).toBe(8);
  for (const [name, value] of numbers) expect(value, name).not.toBeNaN();
  expect(numbers.get('1 Cost of the random pairs')).toBeGreaterThan(
    2 * (numbers.get('1 Cost of the optimal pairs') ?? 0),
  );
  for (const stop of [5, 6]) expect(numbers.get(`${stop} It falls by a factor of`), `stop ${stop}`).toBeGreaterThan(2);
  expect(messages).toEqual([]);
  await page.close();
}, 120_000);

/** A drag over a part of an element, in shares of its sides. */
async function drag(page: Page, selector: string, from: [number, number], to: [number, number]): Promise<void> {
  await page.locator(selector).scrollIntoViewIfNeeded();
  const { x, y, width, height } = (await page.locator(selector).boundingBox()) as Record<
    'x' | 'y' | 'width' | 'height',
    number
  >;
  await page.mouse.move(x + from[0] * width, y + from[1] * height);
  await page.mouse.down();
  await page.mouse.move(x + to[0] * width, y + to[1] * height, { steps: 10 });
  await page.mouse.up();
}

it('words, pictures, the eraser, swap, single steps, time, solvers and lines do what their names say', async () => {
  const { page, messages } = await openPage(browser, linkTo(address, { problem: { ...quick, steps: 100 } }));
  const count = async (side: string) =>
    Number((await page.textContent(`.pad.${side} .count`))?.replace(/\D/g, '') || Number.NaN);
  await page.click('.pad.from .tool:nth-child(3)');
  await page.fill('.pad.from textarea', 'flow');
  await page.click('.pad.from button:has-text("Use word")');
  await expect.poll(() => count('from')).toBe(1500);
  // A dark square on white.
  const data = Uint8Array.from({ length: 400 }, (_, i) => (i % 20 < 10 && i < 200 ? 0 : 255));
  await page.click('.pad.to .tool:nth-child(3)');
  await page.setInputFiles('.pad.to input[type="file"]', {
    name: 'square.png',
    mimeType: 'image/png',
    buffer: Buffer.from(encodePng({ width: 20, height: 20, data, channels: 1 })),
  });
  await expect.poll(() => count('to')).toBe(1500);
  const target = async () => JSON.parse((await exported(page, 'JSON')).bytes.toString()).target as [number, number][];
  await page.waitForSelector('button.main:enabled');
  const square = await target();
  expect(square.filter(([x, y]) => x < 1 && y > -1).length).toBeGreaterThan(0.99 * square.length);
  await page.click('.pad.to .tool:nth-child(2)');
  await drag(page, '.pad.to .paper', [0.1, 0.1], [0.1, 0.4]);
  await expect.poll(() => count('to')).toBeLessThan(1500);
  const kept = await count('to');
  await page.click('.swap');
  await expect.poll(() => count('from')).toBe(kept);
  expect(await count('to')).toBe(1500);
  await page.waitForSelector('button[aria-label="One training step"]:enabled');
  await page.click('button[aria-label="One training step"]');
  await page.waitForSelector('.status:has-text("step 1 of 100")');
  await page.click('button.main');
  await page.waitForSelector('.status:has-text("step 100 of 100")');
  await trained(page);
  const paths = async () => JSON.parse((await exported(page, 'JSON')).bytes.toString()).paths;
  expect((await paths()).points).toHaveLength(101);
  await page.selectOption('.choice:has-text("Sampler") select', 'rk45');
  await expect.poll(async () => (await paths()).solver).toBe('rk45');
  await page.locator('.scrub').fill('0.25');
  expect(await page.textContent('.time output')).toBe('t = 0.25');
  await drag(page, '#plane', [0.3, 0.3], [0.7, 0.4]);
  await page.waitForSelector('.caption:has-text("The line and its image under the flow")');
  await page.check('text=Density');
  await page.check('text=Field');
  expect(messages).toEqual([]);
  await page.close();
}, 60_000);
