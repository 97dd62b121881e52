// One network in one browser by three libraries, each in WebAssembly: the velocity network of the playground (3-64-64-64-2, SiLU), the
// loss of rectified flow on 256 pairs, and Adam. Each trains in a worker-free page of its own; they take turns, and medians are printed.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import { serveIsolated } from './server.ts';

const folder = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../..', import.meta.url));

/** Packages by the name of the contestant; none for ours. */
const contestants: Record<string, string | undefined> = {
  rectiflow: undefined,
  'TensorFlow.js': '@tensorflow/tfjs-backend-wasm',
  'jax-js': '@jax-js/jax',
};
const programs: Record<string, string> = { rectiflow: 'ours.js', 'TensorFlow.js': 'tensorflow.js', 'jax-js': 'jax.js' };
/** Steps of a turn, after as many to warm up. */
const STEPS = 200;

export async function compareFrameworks(
  browser: Browser,
  { packages, turns }: { packages: string; turns: number },
): Promise<void> {
  const modules = join(packages, 'node_modules');
  const files: Record<string, string> = {};
  const names: string[] = [];
  for (const [name, needed] of Object.entries(contestants)) {
    if (needed !== undefined && !existsSync(join(modules, needed))) {
      console.log(`${name} is left out: ${needed} is not in ${modules}`);
      continue;
    }
    const { outputFiles } = await build({
      entryPoints: [join(folder, programs[name])],
      bundle: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      write: false,
      nodePaths: [modules],
      alias: { rectiflow: join(root, 'dist/playground/rectiflow.mjs') },
      logLevel: 'error',
    });
    names.push(name);
    files[`/${programs[name]}`] = `\n${outputFiles[0].text}`;
    files[`/${name}.html`] =
      `\n<!doctype html><link rel="icon" href="data:,"><script type="module" src="/${programs[name]}"></script>`;
  }
  const tf = join(modules, '@tensorflow/tfjs-backend-wasm/dist');
  for (const kind of ['', '-simd', '-threaded-simd'])
    files[`/tfjs-backend-wasm${kind}.wasm`] = join(tf, `tfjs-backend-wasm${kind}.wasm`);
  const { url, close } = await serveIsolated(files);
  try {
    const pages = new Map<string, Page>();
    for (const name of names) pages.set(name, await ready(browser, name, `${url}${name}.html`));
    const rates = new Map<string, number[]>(names.map((name) => [name, []]));
    for (let turn = 0; turn < turns; turn++)
      for (const [name, page] of pages) {
        const milliseconds = (await page.evaluate(`globalThis.train(${STEPS})`)) as number;
        rates.get(name)?.push((1000 * STEPS) / milliseconds);
      }
    const medians = new Map([...rates].map(([name, all]) => [name, [...all].sort((a, b) => a - b)[all.length >> 1]]));
    const ours = medians.get('rectiflow') as number;
    for (const [name, rate] of medians) {
      const [least, most] = [Math.min(...(rates.get(name) ?? [])), Math.max(...(rates.get(name) ?? []))];
      const loss = (await pages.get(name)?.evaluate('globalThis.loss')) as number;
      console.log(
        `${name}: ${rate.toFixed(0)} steps/s (${least.toFixed(0)} to ${most.toFixed(0)} in ${turns} turns), ` +
          `ours are ${(ours / rate).toFixed(2)} times as many; ${await pages.get(name)?.evaluate('globalThis.about')}; last loss ${loss.toFixed(3)}`,
      );
    }
  } finally {
    close();
  }
}

async function ready(browser: Browser, name: string, address: string): Promise<Page> {
  const page = await browser.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  await page.goto(address);
  await page.waitForFunction('globalThis.train !== undefined', null, { timeout: 60_000 }).catch(() => {
    throw new Error(`${name} did not start: ${faults.join('; ') || 'no error was reported'}`);
  });
  await page.evaluate(`globalThis.train(${STEPS})`);
  return page;
}
