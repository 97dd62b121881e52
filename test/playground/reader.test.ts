// What readers do to the built page other than to follow it: double clicks, other buttons of the mouse, the browser's own back, links that
// are put into an open page, couplings that do not suit the clouds, a lost worker, and windows that change their size.
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { linkTo, openPage, quick, startPlayground, trained } from '../support/playground.ts';

let browser: Browser;
let address: string;
const short = { ...quick, steps: 100 };

beforeAll(async () => {
  ({ address, browser } = await startPlayground());
}, 120_000);

afterAll(() => browser?.close());

/** Trains flow after flow, by the buttons with these names. */
async function trainAll(page: Page, names: string[]): Promise<void> {
  for (const name of names) {
    await page.click(`.buttons button:has-text("${name}"):enabled`);
    await page.waitForFunction('document.body.dataset.working === "true"');
    await trained(page);
  }
}

const fragmentOf = (link: string) => link.split('#')[1];
const wide = (page: Page) => page.evaluate('document.documentElement.scrollWidth');

it('nothing overflows in a window that becomes narrow and wide again, with all flows trained', async () => {
  const { page } = await openPage(browser, linkTo(address, { problem: short }));
  await trainAll(page, ['Train', 'Reflow', 'Reflow', 'Distil']);
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve('axe-core/axe.min.js') });
  for (const width of [1280, 768, 320, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    await page.evaluate('new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))');
    expect(await wide(page)).toBe(width);
    const outside = await page.evaluate(
      '[...document.querySelectorAll(".panel, .pad, .stage, .transport")].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.className)',
    );
    expect(outside).toEqual([]);
    const faults = await page.evaluate('axe.run().then(({ violations }) => violations.map(({ id }) => id))');
    expect(faults).toEqual([]);
  }
  // The table shows all four flows without scrolling on a wide screen.
  expect(
    await page.evaluate(
      '(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector(".scroll"))',
    ),
  ).toBe(0);
  await page.close();
}, 60_000);

it('the exports lie within the window, whatever its width', async () => {
  const { page } = await openPage(browser, address);
  for (const width of [320, 360, 430, 600, 768, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    await page.click('header button:has-text("Export")');
    const box = await page.locator('.menu ul').boundingBox();
    expect(box?.x).toBeGreaterThanOrEqual(0);
    expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(width);
    await page.keyboard.press('Escape');
  }
  await page.close();
}, 30_000);

it('the grids of digits stand in rows', async () => {
  const { page } = await openPage(browser, linkTo(address, { view: { page: 'digits' } }));
  for (const width of [360, 768, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    const tops = (await page.evaluate(
      '[...document.querySelectorAll(".four .cells")].map((one) => Math.round(one.getBoundingClientRect().top))',
    )) as number[];
    expect(new Set(tops).size).toBe(width === 360 ? 2 : 1);
  }
  await page.close();
}, 30_000);

it('a double click on Train trains, and on the other buttons does what one click does', async () => {
  const { page, messages } = await openPage(browser, linkTo(address, { problem: short }));
  await page.dblclick('button.main');
  await page.waitForSelector('.status:has-text("step 100 of 100")');
  await trained(page);
  await page.dblclick('button:has-text("Reflow"):enabled');
  await page.waitForSelector('.status:has-text("2-RF, step 100 of 100")');
  await trained(page);
  expect(await page.isEnabled('button:has-text("Reflow")')).toBe(true);
  expect(messages).toEqual([]);
  await page.close();
}, 30_000);

it('only the first button of a mouse draws', async () => {
  const { page } = await openPage(browser, address);
  await page.click('.pad.from .paper', { button: 'right' });
  await page.click('#plane', { button: 'right' });
  expect(await page.textContent('.pad.from .count')).toBe('');
  expect(await page.textContent('.empty')).toContain('Press Train');
  await page.close();
}, 30_000);

it('back and forward restore what the address says, and the way to the picture keeps what was trained', async () => {
  const { page, messages } = await openPage(browser, address);
  const target = 'select[aria-label="Shape of the target"]';
  const go = (fragment: string) => page.evaluate(`location.hash = ${JSON.stringify(fragment)}`);
  const rings = fragmentOf(linkTo(address, { problem: { ...short, to: { preset: 'rings' } } }));
  await go(rings);
  await expect.poll(() => page.inputValue(target)).toBe('rings');
  await go(rings.slice(0, -9));
  await page.waitForSelector('.notice:has-text("starts with its default settings")');
  expect(await page.inputValue(target)).toBe('triangle');
  await page.goBack();
  await expect.poll(() => page.inputValue(target)).toBe('rings');
  expect(await page.locator('.notice').count()).toBe(0);
  await page.goBack();
  await expect.poll(() => page.inputValue(target)).toBe('triangle');
  await page.goForward();
  await expect.poll(() => page.inputValue(target)).toBe('rings');
  await page.waitForSelector('button.main:enabled');
  await trainAll(page, ['Train']);
  await page.focus('.skip');
  await page.keyboard.press('Enter');
  expect(await page.evaluate('document.activeElement.id')).toBe('plane');
  expect(fragmentOf(page.url())).toBe(rings);
  expect(await page.textContent('.status')).toContain('step 100 of 100');
  expect(messages).toEqual([]);
  await page.close();
}, 30_000);

it('a coupling that does not suit the clouds is named as the page names it, and the sentence goes with the cause', async () => {
  const { page } = await openPage(browser, address);
  const coupling = '.choice:has-text("Coupling") select';
  await page.selectOption('select[aria-label="Shape of the target"]', 'rings');
  await page.selectOption(coupling, 'classes');
  await page.waitForSelector('.notice:has-text("The coupling \\"Part by part\\" needs")');
  expect(await page.textContent('.empty')).toContain('the message above');
  expect(await page.isEnabled('button.main')).toBe(false);
  await page.selectOption(coupling, 'random');
  await page.waitForSelector('button.main:enabled');
  expect(await page.locator('.notice').count()).toBe(0);
  await page.close();
}, 30_000);

it('a worker that is lost while it trains offers Reset alone', async () => {
  const { page, messages } = await openPage(browser, linkTo(address, { problem: { ...quick, steps: 20_000 } }));
  await page.click('button.main');
  await page.waitForSelector('[data-measure="Straightness 1"]');
  await page.workers()[0].evaluate('setTimeout(() => { throw new Error("gone"); })');
  await page.waitForSelector('.notice:has-text("was lost")');
  for (const name of ['Train', 'Reflow', 'Distil'])
    expect(await page.isEnabled(`.buttons button:has-text("${name}")`)).toBe(false);
  await page.click('header button:has-text("Export")');
  await page.click('.menu li button:has-text("safetensors")');
  await page.waitForSelector('.notice:has-text("Press Reset first")');
  await page.click('button[aria-label="Reset the training"]');
  await page.waitForSelector('button.main:enabled');
  expect(messages).toEqual([]);
  await page.close();
}, 30_000);

it('a long list is used as soon as it is pasted, and the kernel shows each flow of 10,000 pairs as soon as it is there', async () => {
  const permissions = ['clipboard-read', 'clipboard-write'];
  const { page } = await openPage(browser, address, { permissions });
  for (const side of ['from', 'to']) {
    await page.evaluate(
      `navigator.clipboard.writeText(Array.from({ length: 100_000 }, (_, i) => [8 * Math.sin(7 * i), '${side}' === 'to' ? 3 : i % 8]).join('\\n'))`,
    );
    await page.click(`.pad.${side} .tool:nth-child(3)`);
    await page.focus(`.pad.${side} textarea`);
    await page.keyboard.press('ControlOrMeta+V');
    await page.waitForSelector(`.pad.${side} .count:has-text("10,000 points")`);
    expect(await page.locator(`.pad.${side} textarea`).count()).toBe(0);
  }
  await page.selectOption('.choice:has-text("Coupling") select', 'listed');
  await page.selectOption('.choice:has-text("Velocity") select', 'kernel');
  await page.waitForSelector('[data-measure="Straightness 1"]', { timeout: 10_000 });
  expect(await page.locator('[data-measure="Straightness 3"]').count()).toBe(0);
  await page.waitForSelector('[data-measure="Straightness 3"]', { timeout: 40_000 });
  await page.close();
}, 60_000);

it('the training of the tour can be paused and continues from there', async () => {
  const { page } = await openPage(browser, linkTo(address, { problem: { ...quick, steps: 2000 } }));
  await page.click('header button:has-text("Tour")');
  await page.click('.tour button:has-text("Next")');
  await page.click('.tour button:has-text("Train")');
  await page.waitForSelector('[data-measure="Straightness 1"]');
  await page.click('.transport button:has-text("Pause")');
  await trained(page);
  const before = await page.textContent('.status');
  await page.waitForTimeout(300);
  expect(await page.textContent('.status')).toBe(before);
  await page.click('.tour button:has-text("Train")');
  await page.waitForFunction('document.body.dataset.working === "true"');
  await page.close();
}, 30_000);
