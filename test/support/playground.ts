// The built page of the playground, and what tests of it share.
import { spawnSync } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Browser, chromium, type Download, type Page } from 'playwright-core';
import { defaults, type Settings } from '../../playground/src/model/settings.ts';
import { encodeSettings } from '../../playground/src/model/share.ts';
import { browserPath } from './browser.ts';
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

/** The address of the built page, and a browser to open it in. */
export async function startPlayground(): Promise<{ address: string; browser: Browser }> {
  const args = ['--no-sandbox', '--disable-gpu'];
  return { address: builtPage(), browser: await chromium.launch({ executablePath: browserPath(), args }) };
}

/** The page's address with these changes of its settings. */
export function linkTo(
  address: string,
  change: { problem?: Partial<Settings['problem']>; view?: Partial<Settings['view']> },
): string {
  const problem = { ...defaults.problem, ...change.problem };
  return `${address}#${encodeSettings({ problem, view: { ...defaults.view, ...change.view } })}`;
}

/** A short training, with a rate and a width that suit it. */
export const quick = { steps: 300, width: 32, rate: 0.01 };

export interface Opened {
  page: Page;
  /** What the console and the page's errors say. */
  messages: string[];
}

/** Opens the page and waits for its engine. @param cores what the browser says of the machine; default: what it is */
export async function openPage(
  browser: Browser,
  address: string,
  { cores, ...options }: Parameters<Browser['newPage']>[0] & { cores?: number } = {},
): Promise<Opened> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 }, acceptDownloads: true, ...options });
  if (cores !== undefined)
    await page.addInitScript(`Object.defineProperty(navigator, 'hardwareConcurrency', { get: () => ${cores} })`);
  const messages: string[] = [];
  page.on('console', (message) => messages.push(message.text()));
  page.on('pageerror', (error) => messages.push(error.message));
  await page.goto(address);
  await page.waitForSelector('footer:has-text("WebAssembly")', { timeout: 30_000 });
  await page.waitForSelector('button.main:enabled, .status:has-text("kernel"), [data-digits]', { timeout: 30_000 });
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
