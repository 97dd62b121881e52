// The drawer of interpolants and samplers in the built page.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { exported, linkTo, openPage, quick, startPlayground, trained } from '../support/playground.ts';

let browser: Browser;
let address: string;

beforeAll(async () => {
  ({ address, browser } = await startPlayground());
}, 120_000);

afterAll(() => browser?.close());

it('natural Euler ends where straight Euler does, Euler elsewhere; noise is offered with the Gaussian', async () => {
  const { page, messages } = await openPage(
    browser,
    linkTo(address, { problem: { ...quick, steps: 100 }, view: { drawer: true, steps: 10, interpolant: 'spherical' } }),
  );
  await page.click('button.main');
  await page.waitForSelector('[data-measure="Straightness 1"]');
  await trained(page);
  const distance = async (which: string) => Number(await page.textContent(`[data-compared="${which}"]`));
  for (const interpolant of ['spherical', 'vp']) {
    expect(await distance(`${interpolant} natural`)).toBeLessThan(1e-3);
    expect(await distance(`${interpolant} euler`)).toBeGreaterThan(0.02);
  }
  expect(await page.textContent('.compared caption')).toContain('where 10 straight Euler steps end');
  const stepsBy = '.choice:has-text("Steps by") select';
  expect(await page.locator(`${stepsBy} option`).allTextContents()).toEqual(['As above', 'Natural Euler']);
  await page.selectOption('select[aria-label="Shape of the source"]', 'gaussian');
  await page.waitForSelector('button.main:enabled');
  await page.click('button.main');
  await page.waitForSelector('[data-measure="Straightness 1"]');
  await trained(page);
  const endOf = async () =>
    JSON.parse((await exported(page, 'JSON')).bytes.toString()).paths.points.at(-1)[0] as number[];
  const ends = [await endOf()];
  for (const sampler of ['refresh', 'sde']) {
    await page.selectOption(stepsBy, sampler);
    await expect.poll(endOf, { timeout: 20_000 }).not.toEqual(ends.at(-1));
    ends.push(await endOf());
  }
  expect(messages).toEqual([]);
  await page.close();
}, 90_000);
