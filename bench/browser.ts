// npm run bench:browser [-- --only training|frames|frameworks] [--turns N] [--packages DIR]
// What the playground does in Chromium on this machine:
//   training    seconds from Train to the one-step arrows of the 2-rectified flow, at the default settings, and the share of each task
//   frames      main-thread tasks above 50 ms and script time in a frame while the page trains, from a trace
//   frameworks  training steps a second of one network: rectiflow, TensorFlow.js and jax-js, each in WebAssembly, in turns
// TensorFlow.js and jax-js are not dependencies. Those that are installed in --packages are timed:
//   npm install --prefix runs/bench_browser @tensorflow/tfjs-core @tensorflow/tfjs-backend-wasm @jax-js/jax
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type * as Playwright from 'playwright-core';

import { browserPath } from '../test/support/browser.ts';
import { measureFrames } from './browser/frames.ts';
import { compareFrameworks } from './browser/frameworks.ts';
import { serveIsolated } from './browser/server.ts';
import { measureTraining } from './browser/training.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
// jiti's loader cannot import this package on Node 20.
const { chromium } = createRequire(import.meta.url)('playwright-core') as typeof Playwright;
const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    turns: { type: 'string', default: '7' },
    packages: { type: 'string', default: `${root}runs/bench_browser` },
  },
});
const parts = ['training', 'frames', 'frameworks'];
if (values.only !== undefined && !parts.includes(values.only)) {
  console.error(`--only expects ${parts.join(', ')}, got ${values.only}`);
  process.exit(2);
}
const { status } = spawnSync(process.execPath, ['scripts/build_playground.js', '--unless-current'], {
  cwd: root,
  stdio: 'inherit',
});
if (status !== 0) process.exit(1);
const page = pathToFileURL(`${root}dist/playground/index.html`).href;
const browser = await chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox', '--disable-gpu'] });
try {
  console.log(`Chromium ${browser.version()}`);
  const wants = (part: string) => values.only === undefined || values.only === part;
  if (wants('training')) {
    await measureTraining(browser, 'from disk, one thread', page);
    const { url, close } = await serveIsolated({ '/': `${root}dist/playground/index.html` });
    await measureTraining(browser, 'isolated, all cores but one', url).finally(close);
  }
  if (wants('frames')) await measureFrames(browser, page);
  if (wants('frameworks')) await compareFrameworks(browser, { packages: values.packages, turns: Number(values.turns) });
} finally {
  await browser.close();
}
