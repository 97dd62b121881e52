// `npm run check`: types, style and import rules (biome.json), and every kernel built for WebAssembly, where warnings are errors.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { resolve } = createRequire(import.meta.url);
const tsc = resolve('typescript/bin/tsc');
const biome = resolve('@biomejs/biome/bin/biome');

function run(what, command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status === 0) return;
  console.error(`check: ${what} failed${error ? `: ${error.message}` : ''}`);
  process.exit(1);
}

run('types', process.execPath, [tsc, '--noEmit', '-p', 'tsconfig.json']);
run('lint; `npx biome check --write` repairs most', process.execPath, [biome, 'check', '--error-on-warnings']);

run('the kernels for WebAssembly', process.execPath, ['--import', 'jiti/register', 'scripts/build_wasm.ts']);
console.log('check: types, style, imports and the WebAssembly build of all kernels are in order');
