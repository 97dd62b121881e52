// `npm run check`: types, style (biome.json), the imports that the lattice allows (layers.js), the wording of prose
// (prose.js), what is made from the schema of configurations (config_pages.ts), the package as npm would publish it
// (check_package.js), and whether wasm/kernels.wasm was built from these kernels.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { resolve } = createRequire(import.meta.url);
const tsc = resolve('typescript/bin/tsc');
const biome = resolve('@biomejs/biome/bin/biome');

/** @returns whether the program succeeded */
async function run(what, args) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  const [status] = await once(child, 'close');
  if (status !== 0) console.error(`check: ${what} failed`);
  return status === 0;
}

// The package is checked as it is built, and no other check may read dist while it is written.
if (!(await run('the build', ['scripts/build.js', '--unless-current']))) process.exit(1);
const results = await Promise.all([
  run('types', [tsc, '--noEmit', '-p', 'tsconfig.json']),
  run('types of the playground', [tsc, '--noEmit', '-p', 'playground/tsconfig.json']),
  run('lint; `npx biome check --write` repairs most', [biome, 'check', '--error-on-warnings']),
  run('the lattice of imports', ['scripts/layers.js']),
  run('the wording of comments, messages and docs', ['scripts/prose.js']),
  run('docs/config.md and the type of a configuration', [
    '--import',
    'jiti/register',
    'scripts/config_pages.ts',
    '--check',
  ]),
  run('the package', ['scripts/check_package.js']),
  run('the WebAssembly module of the kernels', ['--import', 'jiti/register', 'scripts/build_wasm.ts', '--check']),
]);
if (results.includes(false)) process.exit(1);
console.log('check: types, style, imports, wording, the package and the WebAssembly module are in order');
