// Builds the playground into dist/playground/index.html, one file with the engine in it, and dist/playground/rectiflow.mjs, the engine as one
// module for pages without a bundler. `npm run build` comes first. With
// --unless-current, a page that is newer than its sources and than dist is kept.

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'dist/playground');
const page = join(folder, 'index.html');

const timeOf = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
/** The time of the newest file below a folder. */
function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

const inputs = ['playground', 'scripts/build_playground.js', 'dist/package.json', 'dist/wasm/kernels.js'];
if (timeOf(join(root, 'dist/package.json')) === 0) {
  console.error('the playground needs the built package; run `npm run build` first');
  process.exit(1);
}
const current = timeOf(page) > Math.max(...inputs.map((path) => newest(join(root, path))));
if (!(process.argv.includes('--unless-current') && current)) {
  // Two builds at a time do not disturb each other: each has its own folder, and the last one to end is kept.
  const made = mkdtempSync(join(root, 'dist/.playground-'));
  try {
    const vite = join(dirname(createRequire(import.meta.url).resolve('vite/package.json')), 'bin/vite.js');
    const words = [vite, 'build', '--config', 'playground/vite.config.ts', '--outDir', made, '--logLevel', 'warn'];
    const { status } = spawnSync(process.execPath, words, { cwd: root, stdio: 'inherit' });
    if (status === 0) {
      await bundleEngine(join(made, 'rectiflow.mjs'));
      rmSync(folder, { recursive: true, force: true });
      chmodSync(made, 0o755);
      renameSync(made, folder);
    } else process.exitCode = 1;
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}

/** All entry points that work in browsers, with the kernels, as one module. */
async function bundleEngine(outfile) {
  const entries = ['', '/nn', '/flow', '/plane', '/data', '/io'];
  await build({
    stdin: { contents: entries.map((entry) => `export * from 'rectiflow${entry}';`).join('\n'), resolveDir: root },
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    minify: true,
    logLevel: 'error',
  });
}
