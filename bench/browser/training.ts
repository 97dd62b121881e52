// Seconds in which the page trains the two flows of the tour at its default settings, and what they go into.
import type { Browser, Page } from 'playwright-core';

/** What the page says while it works, by the name of the task. */
const tasks = { pairs: /making pairs/, measure: /measuring/, train: /step [\d,]+ of/ };
/** Milliseconds between two looks at the page. */
const LOOK = 20;

export async function measureTraining(browser: Browser, name: string, address: string): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  await page.goto(address);
  await page.waitForSelector('button.main:enabled');
  await page.evaluate(`globalThis.looks = []; setInterval(() => {
    globalThis.looks.push([performance.now(), document.querySelector('.status')?.textContent ?? '']);
  }, ${LOOK})`);
  const start = performance.now();
  await page.click('button.main:has-text("Train")');
  await trained(page, 1);
  const first = performance.now();
  await page.click('button:has-text("Reflow")');
  await trained(page, 2);
  await page.check('text=One-step arrows');
  await page.waitForSelector('.legend:has-text("what it misses")');
  await page.evaluate('new Promise(requestAnimationFrame)');
  const end = performance.now();
  const seconds = (a: number, b: number) => ((b - a) / 1000).toFixed(1);
  console.log(
    `${name}: ${seconds(start, end)} s to the one-step arrows of the 2-RF, the 1-RF after ${seconds(start, first)} s`,
  );
  const looks = (await page.evaluate('globalThis.looks')) as [number, string][];
  for (const flow of ['1-RF', '2-RF']) {
    const shares = Object.entries(tasks).map(([task, pattern]) => {
      let total = 0;
      for (const [i, [time, text]] of looks.entries())
        if (i > 0 && text.startsWith(flow) && pattern.test(text) && /steps\/s/.test(text))
          total += time - looks[i - 1][0];
      return `${task} ${(total / 1000).toFixed(1)} s`;
    });
    console.log(`  ${flow}: ${shares.join(', ')}`);
  }
  const figures = (await page.$$eval('[data-measure]', (cells) =>
    cells.map((cell) => `${cell.getAttribute('data-measure')}: ${cell.textContent}`),
  )) as string[];
  console.log(`  ${figures.filter((text) => /^(Straightness|Cost|Error, N = 1 )/.test(text)).join(', ')}`);
  await page.close();
}

/** Waits until a flow is trained and measured. */
async function trained(page: Page, flow: number): Promise<void> {
  await page.waitForSelector(`#tab-${flow} .figure:has-text("S ")`, { timeout: 600_000 });
  await page.waitForFunction('document.body.dataset.working === "false"', null, { timeout: 600_000 });
}
