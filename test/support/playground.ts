// The built page of the playground, and what tests of it share.
import { spawnSync } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Browser, Download, Page } from 'playwright-core';
import { buildWasm } from './wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Builds the page if its sources are newer. @returns its address on disk */
export function builtPage(): string {
  buildWasm();
  const words = ['scripts/build_playground.js', '--unless-current'];
  const { status, stderr } = spawnSync(process.execPath, words, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the playground was not built: ${stderr}`);
  return pathToFileURL(`${root}dist/playground/index.html`).href;
}

export interface Opened {
  page: Page;
  /** What the console and the page's errors say. */
  messages: string[];
}

/** Opens the page and waits for its engine. */
export async function openPage(
  browser: Browser,
  address: string,
  options: Parameters<Browser['newPage']>[0] = {},
): Promise<Opened> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 }, acceptDownloads: true, ...options });
  const messages: string[] = [];
  page.on('console', (message) => messages.push(message.text()));
  page.on('pageerror', (error) => messages.push(error.message));
  await page.goto(address);
  await page.waitForSelector('footer:has-text("WebAssembly")', { timeout: 30_000 });
  await page.waitForSelector('button.main:enabled, .status:has-text("kernel")', { timeout: 30_000 });
  return { page, messages };
}

/** Waits until nothing is trained. */
export async function trained(page: Page): Promise<void> {
  await page.waitForFunction('document.body.dataset.working === "false"', null, { timeout: 60_000 });
}

/** The bytes of a file that the page exports. */
export async function exported(page: Page, name: string): Promise<{ file: string; bytes: Buffer }> {
  await page.click('header button:has-text("Export")');
  const [download] = await Promise.all([
    page.waitForEvent('download', { timeout: 30_000 }) as Promise<Download>,
    page.click(`.menu li button:has-text("${name}")`),
  ]);
  const parts: Buffer[] = [];
  for await (const part of await download.createReadStream()) parts.push(part as Buffer);
  return { file: download.suggestedFilename(), bytes: Buffer.concat(parts) };
}

/** A figure of the table, such as measure 'Straightness' of flow '1'. */
export async function figureOf(page: Page, measure: string, flow: string): Promise<number> {
  const text = await page.textContent(`[data-measure="${measure} ${flow}"]`, { timeout: 20_000 });
  return Number(text?.replace(',', ''));
}
